"""The distributed dataframe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, Literal

import pyarrow as pa

from pycylon import _core
from pycylon.convert import ArrowView
from pycylon.env import CylonEnv
from pycylon.groupby import COMPRESSION, GroupBy, aggregate
from pycylon.local_frame import Label, LocalFrame

__all__ = ["DataFrame", "concat"]

How = Literal["inner", "left", "right", "outer", "semi", "anti", "cross"]
Comparison = tuple[Label, Literal["==", "!=", "<", "<=", ">", ">="], Label]


class DataFrame(LocalFrame):
    """A table, of which this process holds one rank's part.

    With `env` an operation runs over all its ranks; a frame that came from a distributed read or operation remembers
    its environment, so it need not be repeated. Without one, everything happens in this process. ``len``, ``shape``,
    ``columns`` and ``repr`` are of this rank's part and never communicate. There is no index: rows are numbered by
    their place, over (rank, row).

    Parameters
    ----------
    data : dict, list of rows, numpy array, pandas, polars or pyarrow table, or anything with ``__arrow_c_stream__``
        This rank's rows. Arrow memory is taken without a copy.
    columns : list of str, optional
        New names for the columns, or for a dict the columns to take.
    env : CylonEnv, optional
        The ranks that the frame is spread over.

    Examples
    --------
    >>> import pycylon as cy
    >>> flights = cy.DataFrame({'carrier': ['UA', 'AA', 'UA'], 'delay': [3, 9, 5]})
    >>> flights[flights['delay'] > 3].groupby('carrier').agg({'delay': 'max'}).to_dict()
    {'carrier': ['AA', 'UA'], 'delay': [9, 5]}
    """

    def count_rows(self, env: CylonEnv | None = None) -> int:
        """Rows over all ranks. Collective when distributed."""
        return _core.total_rows(self._context(env), self._table)

    def to_parquet(
        self,
        path: str | PathLike[str],
        compression: str | None = "snappy",
        row_group_rows: int = 1 << 20,
        overwrite: bool = True,
        env: CylonEnv | None = None,
    ) -> None:
        """Write one Parquet file per rank into the folder `path`. Collective when distributed.

        The files get their names only after every rank has written its own; after an error nothing is left behind.

        Raises
        ------
        OSError
            When a rank cannot write (a full disk, say); at every rank, naming the rank and the path.
        """
        _core.write_parquet(
            self._context(env), self._table, fspath(path), compression or "none", row_group_rows, overwrite
        )

    def merge(
        self,
        right: DataFrame,
        how: How = "inner",
        on: Label | Sequence[Label] | None = None,
        left_on: Label | Sequence[Label] | None = None,
        right_on: Label | Sequence[Label] | None = None,
        suffixes: tuple[str, str] = ("_x", "_y"),
        algorithm: Literal["auto", "hash", "sort"] = "auto",
        null_keys: Literal["match", "never"] = "match",
        condition: Comparison | Sequence[Comparison] = (),
        env: CylonEnv | None = None,
    ) -> DataFrame:
        """Join with `right`. Collective when distributed.

        Parameters
        ----------
        right : DataFrame
        how : {'inner', 'left', 'right', 'outer', 'semi', 'anti', 'cross'}
            ``semi`` keeps the left rows that have a match, ``anti`` those that have none; ``cross`` pairs every row
            with every row and has no keys.
        on, left_on, right_on : str, int or list, optional
            Keys: a name, or a position where there is no such name. Without any, the columns that both have; an empty
            list, or no columns in common, where there is a condition: no keys.
        suffixes : (str, str)
            For columns that both have and that are not keys.
        algorithm : {'auto', 'hash', 'sort'}
            How equal keys are found: by hash, or by sorting both sides and going through them at the same time, which
            ``auto`` does where they are sorted already.
        null_keys : {'match', 'never'}
            Whether null keys match each other; ``match`` is what pandas does.
        condition : (left column, comparison, right column), or a list of them
            What a pair of rows has to fulfil beside equal keys, all of it: ``('start', '<=', 'time')`` compares the
            left frame's ``start`` with the right one's ``time``. A comparison with a null does not hold. A row without
            a pair that fulfils it has no match.
        env : CylonEnv, optional

        Returns
        -------
        DataFrame
            The rows in no particular order; the set of rows does not depend on the number of ranks.

        Raises
        ------
        KeyError
            For an unknown column.
        TypeError
            For keys of different types, the message says how to cast; for columns that cannot be compared.
        ValueError
            For names that clash, or arguments that contradict each other.

        Examples
        --------
        >>> import pycylon as cy
        >>> left = cy.DataFrame({'k': [1, 2], 'a': ['x', 'y']})
        >>> left.merge(cy.DataFrame({'k': [2, 3], 'b': [True, False]}), on='k').to_dict()
        {'k': [2], 'a': ['y'], 'b': [True]}
        >>> shifts = cy.DataFrame({'name': ['early', 'late'], 'start': [6, 14], 'end': [14, 22]})
        >>> calls = cy.DataFrame({'time': [7, 15, 23]})
        >>> during = [('start', '<=', 'time'), ('end', '>', 'time')]
        >>> shifts.merge(calls, how='left', condition=during).sort_values('start').to_dict()
        {'name': ['early', 'late'], 'start': [6, 14], 'end': [14, 22], 'time': [7, 15]}
        """
        if not isinstance(right, DataFrame):
            raise TypeError(f"merge needs a DataFrame on the right, not {type(right).__name__}; wrap it in DataFrame")
        if null_keys not in ("match", "never"):
            raise ValueError(f"null_keys={null_keys!r} is not 'match' or 'never'")
        comparisons = self._comparisons(right, condition)
        if on is not None:
            if left_on is not None or right_on is not None:
                raise ValueError("give either on=, or left_on= and right_on=, not both")
            left_keys, right_keys = self._labels(on), right._labels(on)
        elif left_on is not None and right_on is not None:
            left_keys, right_keys = self._labels(left_on), right._labels(right_on)
        elif left_on is not None or right_on is not None:
            raise ValueError("left_on= and right_on= go together")
        elif how == "cross":
            left_keys = right_keys = []
        else:
            left_keys = right_keys = [name for name in self.columns if name in right.columns]
            if not left_keys and not comparisons:
                raise ValueError(
                    f"no columns in common: {self.columns} and {right.columns}; give left_on= and right_on="
                )
        env = env if env is not None else self._env if self._env is not None else right._env
        table = _core.join(
            self._context(env),
            self._table,
            right._table,
            how,
            left_keys,
            right_keys,
            null_keys == "match",
            suffixes,
            algorithm,
            comparisons,
        )
        return self._result(table, env)

    def _comparisons(
        self, right: DataFrame, condition: Comparison | Sequence[Comparison]
    ) -> list[tuple[str, str, str]]:
        """Names of the columns that `condition` compares, and how."""
        listed = [condition] if isinstance(condition, tuple) and condition else list(condition)
        out = []
        for comparison in listed:
            if len(comparison) != 3:
                raise ValueError(
                    f"condition={condition!r} is not (left column, comparison, right column), or a list of these; "
                    "write for example ('start', '<=', 'time')"
                )
            out.append((self._labels(comparison[0])[0], comparison[1], right._labels(comparison[2])[0]))
        return out

    def groupby(
        self,
        by: Label | Sequence[Label],
        sort: bool = True,
        dropna: bool = True,
        reproducible: bool = False,
        approximate: bool = False,
        compression: int = COMPRESSION,
        env: CylonEnv | None = None,
    ) -> GroupBy:
        """Group rows by the values of columns; aggregate with the result. Not collective itself.

        Parameters
        ----------
        by : str, int or list
        sort : bool
            The result is in global order of the keys.
        dropna : bool
            Rows with a null key are left out.
        reproducible : bool
            Sums, means and variances of floats have the same bits on any number of ranks and threads, and for any order
            of the rows: they are added without rounding, at several times the cost.
        approximate : bool
            Medians and quantiles of large groups are read from t-digests, which are made at each rank before anything
            travels and take 4 KiB a group at most. Groups of up to some 400 values are exact.
        compression : int
            Centroids of a t-digest, 10 to 10000, at most: by this the rank of a quantile ``q`` of ``n`` values is off
            by less than about ``4 * pi * sqrt(q * (1 - q)) / compression * n``, mostly by a small part of it.
        env : CylonEnv, optional

        Examples
        --------
        >>> import pycylon as cy
        >>> df = cy.DataFrame({'g': ['a', 'b', 'a'], 'x': [1, 2, 3]})
        >>> df.groupby('g', approximate=True).agg({'x': ['median', 'max']}).to_dict()
        {'g': ['a', 'b'], 'x_median': [2.0, 2.0], 'x_max': [3, 2]}
        """
        return GroupBy(
            self,
            self._labels(by),
            sort,
            dropna,
            env,
            reproducible=reproducible,
            approximate=approximate,
            compression=compression,
        )

    def agg(self, func: Mapping[str, str | Sequence[str]], env: CylonEnv | None = None) -> dict[str, Any]:
        """Aggregate over all rows of all ranks; a dict with key ``column`` or ``column_function``.

        Collective when distributed.
        """
        aggregates = []
        for label, functions in func.items():
            (column,) = self._labels([label])
            if isinstance(functions, str):
                aggregates.append(aggregate(column, functions, column))
            else:
                aggregates.extend(aggregate(column, name, f"{column}_{name}") for name in functions)
        table = _core.aggregate(self._context(env), self._table, aggregates)
        rows = pa.table(ArrowView(table)).to_pylist()
        result: dict[str, Any] = rows[0]
        return result

    def sort_values(
        self,
        by: Label | Sequence[Label],
        ascending: bool | Sequence[bool] = True,
        na_position: Literal["first", "last"] = "last",
        env: CylonEnv | None = None,
    ) -> DataFrame:
        """Sort into global order over (rank, row), ties in their former order. Collective when distributed.

        Parameters
        ----------
        by : str, int or list
        ascending : bool or list of bool
        na_position : {'first', 'last'}
            Where nulls go, whatever the direction. NaN counts as missing too, as in pandas.
        env : CylonEnv, optional
        """
        names = self._labels(by)
        directions = [ascending] * len(names) if isinstance(ascending, bool) else list(ascending)
        if len(directions) != len(names):
            raise ValueError(f"ascending= has {len(directions)} values for {len(names)} columns")
        if na_position not in ("first", "last"):
            raise ValueError(f"na_position={na_position!r} is not 'first' or 'last'")
        pairs = list(zip(names, directions, strict=True))
        return self._result(_core.sort(self._context(env), self._table, pairs, na_position == "first"), env)

    def nlargest(
        self,
        n: int,
        columns: Label | Sequence[Label],
        keep: Literal["first", "last", "all"] = "first",
        env: CylonEnv | None = None,
    ) -> DataFrame:
        """Return the `n` rows with the largest values in `columns`, largest first, missing values last.

        All of them on rank 0: every rank finds its own in one pass, and only those travel. Collective when distributed.

        Parameters
        ----------
        n : int
        columns : str, int or list
            Anything that can be sorted by, not only numbers as in pandas.
        keep : {'first', 'last', 'all'}
            Which of the rows that equal the last one: the first or the last of the frame's, or all, however many.
        env : CylonEnv, optional
        """
        return self._top(n, columns, False, keep, env)

    def nsmallest(
        self,
        n: int,
        columns: Label | Sequence[Label],
        keep: Literal["first", "last", "all"] = "first",
        env: CylonEnv | None = None,
    ) -> DataFrame:
        """Return the `n` rows with the smallest values in `columns`, smallest first; otherwise as `nlargest`."""
        return self._top(n, columns, True, keep, env)

    def _top(
        self, n: int, columns: Label | Sequence[Label], ascending: bool, keep: str, env: CylonEnv | None
    ) -> DataFrame:
        by = [(name, ascending) for name in self._labels(columns)]
        return self._result(_core.top_k(self._context(env), self._table, by, max(n, 0), keep), env)

    def union(self, other: DataFrame, env: CylonEnv | None = None) -> DataFrame:
        """Return every row of either frame once, in the order of `concat`. Collective when distributed.

        Frames have the same columns and types in the same order. Null equals null and NaN equals NaN. All rows, equal
        ones too, is `concat`.
        """
        return self._combine(other, "union", env)

    def intersect(self, other: DataFrame, env: CylonEnv | None = None) -> DataFrame:
        """Return every row that both frames have, once, in no particular order. Otherwise as `union`."""
        return self._combine(other, "intersect", env)

    def subtract(self, other: DataFrame, env: CylonEnv | None = None) -> DataFrame:
        """Return every row that `other` does not have, once, in no particular order. Otherwise as `union`."""
        return self._combine(other, "subtract", env)

    def _combine(self, other: DataFrame, operation: str, env: CylonEnv | None) -> DataFrame:
        return self._result(_core.combine_sets(self._context(env), self._table, other._table, operation), env)

    def drop_duplicates(
        self,
        subset: Label | Sequence[Label] | None = None,
        keep: Literal["first", "last", False] = "first",
        env: CylonEnv | None = None,
    ) -> DataFrame:
        """Keep one row, or with ``keep=False`` none, of each set of equal rows, in their order.

        Collective when distributed.
        """
        if keep not in ("first", "last", False):
            raise ValueError(f"keep={keep!r} is not 'first', 'last' or False")
        columns = [] if subset is None else self._labels(subset)
        return self._result(_core.unique(self._context(env), self._table, columns, keep or "none"), env)

    def head(self, n: int = 5, env: CylonEnv | None = None) -> DataFrame:
        """Return the first `n` rows of all ranks together; each rank keeps its part. Collective when distributed."""
        if n < 0:
            n = max(0, self.count_rows(env) + n)
        return self._result(_core.slice_rows(self._context(env), self._table, 0, n), env)

    def slice(self, offset: int, length: int, env: CylonEnv | None = None) -> DataFrame:
        """Return `length` rows from global position `offset`; each rank keeps its part. Collective when distributed."""
        return self._result(_core.slice_rows(self._context(env), self._table, offset, length), env)

    def shuffle(self, on: Label | Sequence[Label] | None = None, env: CylonEnv | None = None) -> DataFrame:
        """Bring rows with equal values in `on` (None: in all columns) to one rank. Collective when distributed."""
        columns = [] if on is None else self._labels(on)
        return self._result(_core.shuffle(self._context(env), self._table, columns), env)

    def repartition(self, rows_per_rank: Sequence[int] | None = None, env: CylonEnv | None = None) -> DataFrame:
        """Spread the rows evenly, or as `rows_per_rank` says, in the same global order. Collective when distributed."""
        rows = None if rows_per_rank is None else list(rows_per_rank)
        return self._result(_core.repartition(self._context(env), self._table, rows), env)

    def gather(self, root: int | None = None, env: CylonEnv | None = None) -> DataFrame:
        """Bring all rows to rank `root`, or to every rank. Collective when distributed.

        The result is a frame of this process alone: it remembers no environment.
        """
        return DataFrame._of(_core.gather(self._context(env), self._table, -1 if root is None else root), None)

    def equals(self, other: DataFrame, ordered: bool = True, env: CylonEnv | None = None) -> bool:
        """Tell whether both have the same columns, types and rows, over all ranks. Collective when distributed.

        ``ordered=False`` compares them as sets with repetition. NaN equals NaN and null equals null.
        """
        env = env if env is not None else self._env if self._env is not None else other._env
        return _core.equal(self._context(env), self._table, other._table, ordered)


def concat(objs: Sequence[DataFrame], env: CylonEnv | None = None) -> DataFrame:
    """Put the rows of frames one after another, rank by rank. Collective when distributed.

    Raises
    ------
    ValueError
        When there are no frames, or their columns differ.
    """
    frames = list(objs)
    if not frames:
        raise ValueError("concat needs at least one frame")
    if env is None:
        env = next((frame._env for frame in frames if frame._env is not None), None)
    table = _core.concat(frames[0]._context(env), [frame._table for frame in frames])
    return frames[0]._result(table, env)
