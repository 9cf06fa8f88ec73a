"""pyarrow: its tables and its own join, sort and group-by."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from peers.engine import Aggregate, Engine

_FUNCTIONS = {"std": "stddev"}


class Pyarrow(Engine):
    """Results are tables as they come, in as many chunks as they have."""

    name = "pyarrow"

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """The size of its pool, also set below."""
        return {"OMP_NUM_THREADS": str(threads)}

    def __init__(self, threads: int) -> None:
        pa.set_cpu_count(threads)
        self.parallel = threads > 1
        self.tables: dict[str, pa.Table] = {}

    @property
    def version(self) -> str:
        return str(pa.__version__)

    def load(self, name: str, table: pa.Table) -> None:
        self.tables[name] = table

    def rows(self, result: pa.Table) -> int:
        return int(result.num_rows)

    def to_arrow(self, result: pa.Table) -> pa.Table:
        return result

    def join(self, left: str, right: str, on: str, how: str) -> Any:
        kind = {"inner": "inner", "left": "left outer"}[how]
        one, other = self.tables[left], self.tables[right]
        # A suffix goes to the right names that clash; the key is kept once.
        return one.join(other, keys=on, join_type=kind, right_suffix="_r", use_threads=self.parallel)

    def sort(self, table: str, by: str) -> Any:
        return self.tables[table].sort_by(by)

    def distinct(self, table: str, column: str) -> Any:
        return pa.table({column: pc.unique(self.tables[table].column(column))})

    def one_row_each(self, table: str, key: str) -> Any:
        return self._aggregate(table, [key], [(n, "first", n) for n in self.tables[table].column_names if n != key])

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        if any(function == "median" for _, function, _ in aggregates):
            raise NotImplementedError("pyarrow has approximate medians by group only")
        return self._aggregate(table, keys, aggregates)

    def _aggregate(self, table: str, keys: list[str], aggregates: list[Any]) -> pa.Table:
        # first and last are ordered aggregates, which it computes on one thread only.
        parallel = self.parallel and not any(function == "first" for _, function, _ in aggregates)
        wanted = [
            (column, _FUNCTIONS.get(function, function), pc.VarianceOptions(ddof=1) if function == "std" else None)
            for _, function, column in aggregates
        ]
        out = self.tables[table].group_by(keys, use_threads=parallel).aggregate(wanted)
        return out.rename_columns([*keys, *(name for name, _, _ in aggregates)])
