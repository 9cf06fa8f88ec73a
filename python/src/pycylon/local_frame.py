"""A frame's own rows and columns: what needs no other rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import pyarrow as pa

from pycylon import _core
from pycylon.convert import ArrowView, import_data, type_capsule
from pycylon.env import CylonEnv, local_context
from pycylon.series import Series

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Label", "LocalFrame"]

Label = str | int


class LocalFrame:
    """The part of a table that this rank holds. Nothing here communicates."""

    def __init__(self, data: Any = None, columns: Sequence[str] | None = None, env: CylonEnv | None = None) -> None:
        self._env = env
        table = import_data(self._context(env), data)
        if columns is not None:
            if isinstance(data, Mapping):
                table = table.select([str(name) for name in columns])
            else:
                old = table.column_names
                if len(old) != len(columns):
                    raise ValueError(f"columns= has {len(columns)} names, the data has {len(old)} columns")
                table = table.rename(list(zip(old, map(str, columns), strict=True)))
        self._table = table

    # How frames are made inside the package.

    @classmethod
    def _of(cls, table: _core.Table, env: CylonEnv | None) -> Self:
        frame = cls.__new__(cls)
        frame._table = table
        frame._env = env
        return frame

    def _context(self, env: CylonEnv | None) -> _core.Context:
        env = env if env is not None else self._env
        return env.context if env is not None else local_context()

    def _result(self, table: _core.Table, env: CylonEnv | None) -> Self:
        return self._of(table, env if env is not None else self._env)

    def _labels(self, keys: Label | Sequence[Label]) -> list[str]:
        """Names of columns that are given by name, or by position where there is no such name."""
        listed = [keys] if isinstance(keys, str | int) else list(keys)
        names = self.columns
        out = []
        for key in listed:
            if key in names or (str(key) in names and not isinstance(key, str)):
                out.append(str(key))
            elif isinstance(key, int) and not isinstance(key, bool) and -len(names) <= key < len(names):
                out.append(names[key])
            else:
                raise KeyError(f"there is no column {key!r}; the columns are {names}")
        return out

    # What it is: this rank's part.

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._table.column_names

    @property
    def shape(self) -> tuple[int, int]:
        """(rows of this rank, columns)."""
        return self._table.num_rows, self._table.num_columns

    @property
    def dtypes(self) -> dict[str, pa.DataType]:
        """Arrow type of each column, by name."""
        schema = pa.schema(self)
        return dict(zip(schema.names, schema.types, strict=True))

    @property
    def env(self) -> CylonEnv | None:
        """The environment that operations of this frame use when none is given."""
        return self._env

    def __len__(self) -> int:
        return self._table.num_rows

    def __repr__(self) -> str:
        rows, columns = self.shape
        shown = pa.table(ArrowView(self._table.slice(0, 10))).to_pylist()
        names = self.columns
        cells = [names] + [["" if row[name] is None else str(row[name]) for name in names] for row in shown]
        widths = [max(len(line[i]) for line in cells) for i in range(columns)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        if rows > len(shown):
            lines.append("…")
        where = "" if self._env is None else " on this rank"
        return "\n".join([*lines, f"[{rows} rows{where} x {columns} columns]"])

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.to_stream()

    def __arrow_c_schema__(self) -> object:
        return self._table.to_schema()

    # Out of Cylon: this rank's part.

    def to_arrow(self) -> pa.Table:
        """Return this rank's rows as a pyarrow table, without a copy of what is in memory."""
        return pa.table(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return this rank's rows as a pandas frame."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Return this rank's rows as one matrix; always a copy."""
        import numpy

        return numpy.column_stack([column.to_numpy() for column in self.to_arrow().columns])

    def to_dict(self) -> dict[str, list[Any]]:
        """Return this rank's rows as lists by column name."""
        values: dict[str, list[Any]] = self.to_arrow().to_pydict()
        return values

    # Columns and rows of this rank.

    @overload
    def __getitem__(self, key: str) -> Series: ...
    @overload
    def __getitem__(self, key: list[str] | Series | slice) -> Self: ...
    def __getitem__(self, key: str | list[str] | Series | slice) -> Series | Self:
        """Return a column by name, columns by a list of names, rows by a mask, or this rank's rows by a slice."""
        if isinstance(key, Series):
            if not pa.types.is_boolean(key.dtype):
                raise TypeError(f"a mask has to be boolean, not {key.dtype}; write a comparison, or .astype('bool')")
            return self._of(_core.filter(self._context(None), self._table, key._table), self._env)
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise NotImplementedError("rows are sliced without a step; use a mask instead")
            return self._of(self._table.slice(start, max(0, stop - start)), self._env)
        if isinstance(key, list):
            return self._of(self._table.select(self._labels(key)), self._env)
        return Series._of(self._table.select(self._labels(key)), self._env)

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(value, Series):
            scalar = isinstance(value, str | bytes) or not hasattr(value, "__len__")
            value = Series([value] * len(self) if scalar else value, name, self._env)
        self._table = _core.with_column(self._table, name, value._table)

    def assign(self, **columns: Any) -> Self:
        """Return a frame with columns added or replaced; a function gets the frame. Local."""
        out = self._of(self._table, self._env)
        for name, value in columns.items():
            out[name] = value(out) if callable(value) else value
        return out

    def rename(self, columns: Mapping[str, str]) -> Self:
        """Return a frame with other names for some columns. Local.

        Raises
        ------
        KeyError
            For an unknown column.
        """
        return self._of(self._table.rename([(str(old), new) for old, new in columns.items()]), self._env)

    def drop(self, columns: str | Sequence[str]) -> Self:
        """Return a frame without some columns. Local."""
        gone = set(self._labels(columns))
        return self._of(self._table.select([name for name in self.columns if name not in gone]), self._env)

    def astype(self, dtype: Any) -> Self:
        """Cast columns: `dtype` is one type for all, or a dict by column. Local.

        Raises
        ------
        ValueError
            When a value does not fit; the message names column and types.
        """
        types = dtype if isinstance(dtype, Mapping) else dict.fromkeys(self.columns, dtype)
        names = self._labels(list(types))
        casts = [(n, type_capsule(t)) for n, t in zip(names, types.values(), strict=True)]
        return self._of(_core.cast(self._table, casts), self._env)
