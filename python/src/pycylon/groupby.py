"""Groups of a frame, before they are aggregated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING

from pycylon import _core

if TYPE_CHECKING:
    from pycylon.env import CylonEnv
    from pycylon.frame import DataFrame

__all__ = ["COMPRESSION", "GroupBy", "aggregate"]

_OPERATIONS = (
    "sum",
    "count",
    "size",
    "mean",
    "min",
    "max",
    "var",
    "std",
    "prod",
    "any",
    "all",
    "first",
    "last",
    "nunique",
    "median",
    "quantile",
)

# Column, operation, name of the result, ddof, quantile, reproducible, approximate, compression.
Aggregate = tuple[str, str, str, int, float, bool, bool, int]

# Centroids of a t-digest, at most.
COMPRESSION = 100

Functions = str | Sequence[str]


def aggregate(
    column: str,
    function: str,
    name: str,
    ddof: int = 1,
    quantile: float = 0.5,
    reproducible: bool = False,
    approximate: bool = False,
    compression: int = COMPRESSION,
) -> Aggregate:
    """Return one aggregate as the extension module takes it."""
    return (column, function, name, ddof, quantile, reproducible, approximate, compression)


class GroupBy:
    """What `DataFrame.groupby` returns. Every aggregation is collective when the frame is distributed.

    The keys are columns of the result, as with ``as_index=False`` in pandas. Missing values (null, and NaN in float
    columns) do not count.
    """

    def __init__(
        self,
        frame: DataFrame,
        keys: list[str],
        sort: bool,
        dropna: bool,
        env: CylonEnv | None,
        columns: list[str] | None = None,
        single: bool = False,
        reproducible: bool = False,
        approximate: bool = False,
        compression: int = COMPRESSION,
    ) -> None:
        self._frame = frame
        self._keys = keys
        self._sort = sort
        self._dropna = dropna
        self._env = env
        self._columns = columns
        self._single = single
        self._reproducible = reproducible
        self._approximate = approximate
        self._compression = compression

    def __getitem__(self, columns: str | list[str]) -> GroupBy:
        single = isinstance(columns, str)
        chosen = self._frame._labels([columns] if isinstance(columns, str) else columns)
        chosen_of_all = copy(self)
        chosen_of_all._columns, chosen_of_all._single = chosen, single
        return chosen_of_all

    def agg(
        self, func: Functions | Mapping[str, Functions] | None = None, /, **named: tuple[str, str] | str
    ) -> DataFrame:
        """Aggregate. Collective when distributed.

        Parameters
        ----------
        func : str, list of str, or dict of column to str or list of str
            Of sum, count, size, mean, min, max, var, std, prod, any, all, first, last, nunique, median, quantile (0.5;
            see `quantile` for others). One function keeps the column's name; of a list, each makes a column
            ``name_function``.
        **named : (column, function)
            Output names: ``agg(worst=('delay', 'max'))``.

        Raises
        ------
        KeyError
            For an unknown column.
        TypeError
            For a column that cannot be aggregated so.
        ValueError
            For an unknown function, two columns of one name, or when an integer sum or product overflows.

        Examples
        --------
        >>> import pycylon as cy
        >>> df = cy.DataFrame({'g': ['a', 'b', 'a'], 'x': [1, 2, 3]})
        >>> df.groupby('g').agg(total=('x', 'sum')).to_dict()
        {'g': ['a', 'b'], 'total': [4, 2]}
        """
        aggregates: list[Aggregate] = []
        if func is not None:
            columns = self._columns or [name for name in self._frame.columns if name not in self._keys]
            table: Mapping[str, Functions] = func if isinstance(func, Mapping) else dict.fromkeys(columns, func)
            for label, functions in table.items():
                (column,) = self._frame._labels([label])
                if isinstance(functions, str):
                    aggregates.append(self._spec(column, functions, column))
                else:
                    aggregates.extend(self._spec(column, name, f"{column}_{name}") for name in functions)
        for name, what in named.items():
            if isinstance(what, str) and self._single and self._columns is not None:
                what = (self._columns[0], what)
            if not (isinstance(what, tuple) and len(what) == 2):
                raise TypeError(f"agg({name}=...) needs a pair (column, function), not {what!r}")
            (column,) = self._frame._labels([what[0]])
            aggregates.append(self._spec(column, what[1], name))
        if not aggregates:
            raise ValueError("agg needs a function, a dict of them, or named pairs such as total=('x', 'sum')")
        return self._run(aggregates)

    def _spec(self, column: str, function: str, name: str, ddof: int = 1, quantile: float = 0.5) -> Aggregate:
        if function not in _OPERATIONS:
            known = ", ".join(_OPERATIONS)
            if callable(function):
                raise NotImplementedError(f"functions of one's own are not aggregated across ranks; use one of {known}")
            raise ValueError(f"aggregation {function!r} is not one of {known}")
        of = "" if function == "size" else column
        return aggregate(of, function, name, ddof, quantile, self._reproducible, self._approximate, self._compression)

    def _run(self, aggregates: list[Aggregate]) -> DataFrame:
        context = self._frame._context(self._env)
        table = _core.group_by(context, self._frame._table, self._keys, aggregates, self._dropna, self._sort)
        return self._frame._result(table, self._env)

    def _all(self, function: str, ddof: int = 1, quantile: float = 0.5) -> DataFrame:
        columns = self._columns or [name for name in self._frame.columns if name not in self._keys]
        return self._run([self._spec(column, function, column, ddof, quantile) for column in columns])

    def sum(self) -> DataFrame:
        """Sum of each column, by group. Collective when distributed."""
        return self._all("sum")

    def count(self) -> DataFrame:
        """Number of values that are not missing, by group. Collective when distributed."""
        return self._all("count")

    def size(self) -> DataFrame:
        """Number of rows by group, as column ``size``. Collective when distributed."""
        return self._run([self._spec("", "size", "size")])

    def mean(self) -> DataFrame:
        """Mean of each column, by group. Collective when distributed."""
        return self._all("mean")

    def min(self) -> DataFrame:
        """Smallest value of each column, by group. Collective when distributed."""
        return self._all("min")

    def max(self) -> DataFrame:
        """Largest value of each column, by group. Collective when distributed."""
        return self._all("max")

    def var(self, ddof: int = 1) -> DataFrame:
        """Variance of each column, by group, divided by count - `ddof`. Collective when distributed."""
        return self._all("var", ddof)

    def std(self, ddof: int = 1) -> DataFrame:
        """Standard deviation of each column, by group. Collective when distributed."""
        return self._all("std", ddof)

    def prod(self) -> DataFrame:
        """Product of each column, by group; ValueError where an integer does not fit. Collective when distributed."""
        return self._all("prod")

    def any(self) -> DataFrame:
        """Tell by group whether any value of each column is other than zero. Collective when distributed."""
        return self._all("any")

    def all(self) -> DataFrame:
        """Tell by group whether every value of each column is other than zero. Collective when distributed."""
        return self._all("all")

    def first(self) -> DataFrame:
        """First value of each column that is not missing, by group, in the order (rank, row).

        Collective when distributed.
        """
        return self._all("first")

    def last(self) -> DataFrame:
        """Last value of each column that is not missing, by group, in the order (rank, row).

        Collective when distributed.
        """
        return self._all("last")

    def nunique(self) -> DataFrame:
        """Count the distinct values of each column, by group; missing ones do not count. Collective when distributed.

        The rows of a group travel to one rank.
        """
        return self._all("nunique")

    def median(self) -> DataFrame:
        """Median of each column, by group, exactly, or as `approximate` of ``groupby`` says.

        Collective when distributed; for an exact one the rows of a group travel to one rank.
        """
        return self._all("median")

    def quantile(self, q: float = 0.5) -> DataFrame:
        """Quantile of each column, by group, on the line between the two nearest values.

        Exactly, or as `approximate` of ``groupby`` says. Collective when distributed; for an exact one the rows of a
        group travel to one rank.

        Parameters
        ----------
        q : float
            Between 0 (the smallest value) and 1 (the largest).

        Raises
        ------
        ValueError
            When `q` is not between 0 and 1, or `compression` not between 10 and 10000.

        Examples
        --------
        >>> import pycylon as cy
        >>> df = cy.DataFrame({'g': ['a', 'a', 'a'], 'x': [1, 2, 10]})
        >>> df.groupby('g').quantile(0.75).to_dict()
        {'g': ['a'], 'x': [6.0]}
        """
        return self._all("quantile", quantile=q)

    def head(self, n: int = 5) -> DataFrame:
        """Return the first `n` rows of each group, in the order of the frame. Collective when distributed.

        Rows stay where they are: keys travel, and one bit comes back for each. All columns come, keys too, unless some
        were chosen. `sort` does not matter.

        Parameters
        ----------
        n : int
            Negative: all rows of a group but its last ``-n``.

        Examples
        --------
        >>> import pycylon as cy
        >>> df = cy.DataFrame({'g': ['b', 'a', 'b', 'b'], 'x': [1, 2, 3, 4]})
        >>> df.groupby('g').head(2).to_dict()
        {'g': ['b', 'a', 'b'], 'x': [1, 2, 3]}
        """
        return self._rows(n, tail=False)

    def tail(self, n: int = 5) -> DataFrame:
        """Return the last `n` rows of each group, in the order of the frame; otherwise as `head`.

        Parameters
        ----------
        n : int
            Negative: all rows of a group but its first ``-n``.
        """
        return self._rows(n, tail=True)

    def nlargest(self, n: int = 5, *, columns: str | list[str] | None = None) -> DataFrame:
        """Return the `n` rows of each group with the largest values in `columns`, missing values last.

        All of them largest first, over all ranks; of equal ones the first rows of the frame. What
        ``sort_values(columns, ascending=False).groupby(keys).head(n)`` gives, without sorting what cannot be among
        them. Keys and chosen columns come, or all where none were chosen. Collective when distributed.

        Parameters
        ----------
        n : int
        columns : str or list of str, optional
            Anything that can be sorted by. By default the one column that was chosen, which pandas asks for; by name
            alone, since there is no ``keep`` here, pandas' second argument.

        Raises
        ------
        ValueError
            Where neither a column was named nor just one chosen.

        Examples
        --------
        >>> import pycylon as cy
        >>> df = cy.DataFrame({'g': ['b', 'a', 'b', 'b'], 'x': [1, 2, 3, 4]})
        >>> df.groupby('g')['x'].nlargest(2).to_dict()
        {'g': ['b', 'b', 'a'], 'x': [4, 3, 2]}
        """
        return self._top(n, columns, False)

    def nsmallest(self, n: int = 5, *, columns: str | list[str] | None = None) -> DataFrame:
        """Return the `n` rows of each group with the smallest values, smallest first; otherwise as `nlargest`."""
        return self._top(n, columns, True)

    def _top(self, n: int, columns: str | list[str] | None, ascending: bool) -> DataFrame:
        frame = self._frame
        chosen = self._columns or []
        if columns is None:
            if len(chosen) != 1:
                raise ValueError("by which column? choose one, as in groupby('k')['x'].nlargest(2), or pass columns=")
            columns = chosen
        names = frame._labels([columns] if isinstance(columns, str) else columns)
        by = [(name, ascending) for name in names]
        shown = [*self._keys, *chosen] if chosen else frame.columns
        table = frame._table.select(list(dict.fromkeys([*shown, *names])))
        top = _core.group_top(frame._context(self._env), table, self._keys, by, max(n, 0), self._dropna)
        return frame._result(top.select(list(dict.fromkeys(shown))), self._env)

    def _rows(self, n: int, tail: bool) -> DataFrame:
        frame = self._frame
        columns = self._columns or frame.columns
        table = frame._table.select(list(dict.fromkeys([*self._keys, *columns])))
        kept = _core.group_head(frame._context(self._env), table, self._keys, n, tail, self._dropna)
        return frame._result(kept.select(columns), self._env)
