"""A column of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pycylon import _core
from pycylon.convert import ArrowView, array_capsules, import_data, type_capsule
from pycylon.env import CylonEnv, local_context
from pycylon.groupby import COMPRESSION, aggregate

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Series"]


class Series:
    """One column: this rank's part of it, in the order of its frame.

    Comparisons, arithmetic and ``isin`` work row by row on this rank and never communicate. A null operand gives a null
    result; a null in a mask counts as False. Integer arithmetic raises ValueError on overflow, it never wraps.

    Parameters
    ----------
    data : sequence, array, or Arrow array
    name : str
    env : CylonEnv, optional
        Whose ranks the reductions run over.

    Examples
    --------
    >>> import pycylon as cy
    >>> (cy.Series([1, 2, None]) * 10).to_list()
    [10, 20, None]
    """

    def __init__(self, data: Any, name: str = "0", env: CylonEnv | None = None) -> None:
        context = env.context if env is not None else local_context()
        table = import_data(context, {name: data})
        self._table = table
        self._env = env

    @classmethod
    def _of(cls, table: _core.Table, env: CylonEnv | None) -> Series:
        series = cls.__new__(cls)
        series._table = table
        series._env = env
        return series

    # What it is.

    @property
    def name(self) -> str:
        """The column's name."""
        return self._table.column_names[0]

    @property
    def dtype(self) -> pa.DataType:
        """The Arrow type of its values."""
        return pa.schema(self).field(0).type

    def __len__(self) -> int:
        return self._table.num_rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_list())

    def __repr__(self) -> str:
        head = pa.table(ArrowView(self._table.slice(0, 10))).column(0).to_pylist()
        more = ", …" if len(self) > 10 else ""
        values = ", ".join(map(repr, head))
        return f"Series({values}{more}; name={self.name!r}, {self.dtype}, {len(self)} rows on this rank)"

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.to_stream()

    def __arrow_c_schema__(self) -> object:
        return self._table.to_schema()

    # Out of Cylon.

    def to_arrow(self) -> pa.ChunkedArray:
        """Return this rank's values, without a copy."""
        return pa.table(self).column(0)

    def to_pandas(self) -> pd.Series[Any]:
        """Return this rank's values as a pandas Series."""
        series: pd.Series[Any] = self.to_arrow().to_pandas()
        series.name = self.name
        return series

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Return this rank's values as a numpy array; a copy where there are nulls or several chunks."""
        values: np.ndarray[Any, Any] = self.to_arrow().to_numpy()
        return values

    def to_list(self) -> list[Any]:
        """Return this rank's values as Python objects; None for null."""
        values: list[Any] = self.to_arrow().to_pylist()
        return values

    # Row by row.

    def _map(self, function: str, *operands: Any) -> Series:
        parsed = [_operand(operand) for operand in operands]
        return Series._of(_core.map_columns(function, parsed, self.name), self._env)

    def __eq__(self, other: object) -> Series:  # type: ignore[override]
        return self._map("equal", self, other)

    def __ne__(self, other: object) -> Series:  # type: ignore[override]
        return self._map("not_equal", self, other)

    def __lt__(self, other: object) -> Series:
        return self._map("less", self, other)

    def __le__(self, other: object) -> Series:
        return self._map("less_equal", self, other)

    def __gt__(self, other: object) -> Series:
        return self._map("greater", self, other)

    def __ge__(self, other: object) -> Series:
        return self._map("greater_equal", self, other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: object) -> Series:
        if pa.types.is_string(self.dtype) or pa.types.is_large_string(self.dtype):
            empty: Any = ""
            return self._map("binary_join_element_wise", self, other, empty)
        return self._map("add_checked", self, other)

    def __radd__(self, other: object) -> Series:
        if isinstance(other, str):
            empty: Any = ""
            return self._map("binary_join_element_wise", other, self, empty)
        return self._map("add_checked", other, self)

    def __sub__(self, other: object) -> Series:
        return self._map("subtract_checked", self, other)

    def __rsub__(self, other: object) -> Series:
        return self._map("subtract_checked", other, self)

    def __mul__(self, other: object) -> Series:
        return self._map("multiply_checked", self, other)

    def __rmul__(self, other: object) -> Series:
        return self._map("multiply_checked", other, self)

    def __truediv__(self, other: object) -> Series:
        return self._map("divide", self._real(), other)

    def __rtruediv__(self, other: object) -> Series:
        return self._map("divide", other, self._real())

    def _real(self) -> Series:
        """Integers as float64, as true division wants them."""
        return self.astype("float64") if pa.types.is_integer(self.dtype) or pa.types.is_boolean(self.dtype) else self

    def __neg__(self) -> Series:
        return self._map("negate_checked", self)

    def __abs__(self) -> Series:
        return self._map("abs_checked", self)

    def __and__(self, other: object) -> Series:
        return self._map("and_kleene" if pa.types.is_boolean(self.dtype) else "bit_wise_and", self, other)

    def __or__(self, other: object) -> Series:
        return self._map("or_kleene" if pa.types.is_boolean(self.dtype) else "bit_wise_or", self, other)

    def __xor__(self, other: object) -> Series:
        return self._map("xor" if pa.types.is_boolean(self.dtype) else "bit_wise_xor", self, other)

    def __invert__(self) -> Series:
        return self._map("invert" if pa.types.is_boolean(self.dtype) else "bit_wise_not", self)

    def __bool__(self) -> bool:
        raise ValueError("the truth of a column is not one value; combine masks with & | ~, not with and, or, not")

    def isin(self, values: Iterable[Any]) -> Series:
        """Tell row by row whether the value is one of `values`; None in `values` matches null."""
        if isinstance(values, str | bytes):
            raise TypeError(f"isin needs a list of values, not {values!r}; write [{values!r}]")
        listed = list(values)
        try:
            capsules = array_capsules(listed, self.dtype)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise TypeError(
                f"isin: {listed[:5]!r} are not values of column '{self.name}' ({self.dtype}): {error}"
            ) from None
        return Series._of(_core.is_in(self._table, capsules, self.name), self._env)

    def isnull(self) -> Series:
        """Tell row by row whether the value is null (NaN in a float column counts, as in pandas)."""
        nulls = self._map("is_null", self)
        return nulls._map("or", nulls, self._nan()) if pa.types.is_floating(self.dtype) else nulls

    def _nan(self) -> Series:
        return self._map("coalesce", self._map("is_nan", self), False)

    def notnull(self) -> Series:
        """Tell row by row whether there is a value."""
        return ~self.isnull()

    isna = isnull
    notna = notnull

    def fillna(self, value: Any) -> Series:
        """Put `value` in place of nulls (and of NaN in a float column, as in pandas)."""
        if pa.types.is_floating(self.dtype):
            return self._map("if_else", self.isnull(), value, self)
        return self._map("coalesce", self, value)

    def astype(self, dtype: Any) -> Series:
        """Cast; ValueError names a value that does not fit."""
        return Series._of(_core.cast(self._table, [(self.name, type_capsule(dtype))]), self._env)

    def rename(self, name: str) -> Series:
        """Return the same values under another name."""
        return Series._of(self._table.rename([(self.name, name)]), self._env)

    # Over all rows of all ranks.

    def _reduce(
        self,
        operation: str,
        ddof: int = 1,
        env: CylonEnv | None = None,
        quantile: float = 0.5,
        reproducible: bool = False,
        approximate: bool = False,
        compression: int = COMPRESSION,
    ) -> Any:
        env = env if env is not None else self._env
        context = env.context if env is not None else local_context()
        wanted = aggregate(self.name, operation, "value", ddof, quantile, reproducible, approximate, compression)
        table = _core.aggregate(context, self._table, [wanted])
        return pa.table(ArrowView(table)).column(0)[0].as_py()

    def sum(self, reproducible: bool = False, env: CylonEnv | None = None) -> Any:
        """Sum over all ranks; 0 where there is no value. Collective when distributed.

        ``reproducible`` gives the same bits for floats on any number of ranks, and for any order of the rows.
        """
        return self._reduce("sum", env=env, reproducible=reproducible)

    def count(self, env: CylonEnv | None = None) -> int:
        """Number of values that are not missing, over all ranks. Collective when distributed."""
        return int(self._reduce("count", env=env))

    def mean(self, reproducible: bool = False, env: CylonEnv | None = None) -> Any:
        """Mean over all ranks; None of nothing; `reproducible` as in `sum`. Collective when distributed."""
        return self._reduce("mean", env=env, reproducible=reproducible)

    def min(self, env: CylonEnv | None = None) -> Any:
        """Smallest value over all ranks. Collective when distributed."""
        return self._reduce("min", env=env)

    def max(self, env: CylonEnv | None = None) -> Any:
        """Largest value over all ranks. Collective when distributed."""
        return self._reduce("max", env=env)

    def var(self, ddof: int = 1, reproducible: bool = False, env: CylonEnv | None = None) -> Any:
        """Variance, divided by count - `ddof`; `reproducible` as in `sum`. Collective when distributed."""
        return self._reduce("var", ddof, env, reproducible=reproducible)

    def std(self, ddof: int = 1, reproducible: bool = False, env: CylonEnv | None = None) -> Any:
        """Square root of the variance; `ddof` and `reproducible` as in `var`. Collective when distributed."""
        return self._reduce("std", ddof, env, reproducible=reproducible)

    def prod(self, env: CylonEnv | None = None) -> Any:
        """Product over all ranks, 1 of nothing; ValueError where an integer overflows. Collective when distributed."""
        return self._reduce("prod", env=env)

    def any(self, env: CylonEnv | None = None) -> bool:
        """Tell whether any value of any rank is other than zero. Collective when distributed."""
        return bool(self._reduce("any", env=env))

    def all(self, env: CylonEnv | None = None) -> bool:
        """Tell whether every value of every rank is other than zero. Collective when distributed."""
        return bool(self._reduce("all", env=env))

    def nunique(self, env: CylonEnv | None = None) -> int:
        """Count the distinct values over all ranks; missing ones do not count. Collective when distributed."""
        return int(self._reduce("nunique", env=env))

    def median(self, approximate: bool = False, compression: int = COMPRESSION, env: CylonEnv | None = None) -> Any:
        """Median over all ranks; otherwise as `quantile`. Collective when distributed."""
        return self._reduce("median", env=env, approximate=approximate, compression=compression)

    def quantile(
        self, q: float = 0.5, approximate: bool = False, compression: int = COMPRESSION, env: CylonEnv | None = None
    ) -> Any:
        """Quantile over all ranks, on the line between the two nearest values. Collective when distributed.

        Exactly, for which the column is sorted over all ranks, or approximately: each rank makes a t-digest of its
        values in one pass, and only these travel.

        Parameters
        ----------
        q : float
            Between 0 (the smallest value) and 1 (the largest).
        approximate : bool
            More than some 400 values are put into a t-digest.
        compression : int
            Centroids of the t-digest at most; see ``groupby`` for what they are good for.

        Raises
        ------
        ValueError
            When `q` is not between 0 and 1, or `compression` not between 10 and 10000.
        """
        return self._reduce("quantile", env=env, quantile=q, approximate=approximate, compression=compression)


def _operand(value: object) -> object:
    if isinstance(value, Series):
        return value._table
    try:
        return array_capsules([value])
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise TypeError(f"a column can be combined with a column or one plain value, not with {value!r}") from None
