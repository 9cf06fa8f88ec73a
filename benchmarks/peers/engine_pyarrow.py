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
        return self._aggregate(
            self.tables[table], [key], [(n, "first", n) for n in self.tables[table].column_names if n != key]
        )

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        if any(function == "median" for _, function, _ in aggregates):
            raise NotImplementedError("pyarrow has approximate medians by group only")
        return self._aggregate(self.tables[table], keys, aggregates)

    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        out = self._aggregate(self.tables[table], [key], [("high", "max", high), ("low", "min", low)])
        return pa.table({key: out.column(key), "range": pc.subtract(out.column("high"), out.column("low"))})

    def largest_two(self, table: str, key: str, value: str) -> Any:
        raise NotImplementedError("pyarrow has no largest values by group")

    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        whole = self.tables[table]
        x, y = whole.column(first).cast(pa.int64()), whole.column(second).cast(pa.int64())
        columns = {"x": x, "y": y, "xx": pc.multiply(x, x), "yy": pc.multiply(y, y), "xy": pc.multiply(x, y)}
        products = pa.table({key: whole.column(key) for key in keys} | columns)
        s = self._aggregate(products, keys, [("n", "count", "x"), *((name, "sum", name) for name in columns)])

        def spread(a: str, b: str) -> Any:
            product = pc.multiply(s.column("n"), s.column("".join(sorted([a, b]))))
            return pc.subtract(product, pc.multiply(s.column(a), s.column(b))).cast(pa.float64())

        above, below = pc.power(spread("x", "y"), 2), pc.multiply(spread("x", "x"), spread("y", "y"))
        return s.select(keys).append_column("r2", pc.divide(above, below))

    def _aggregate(self, table: pa.Table, keys: list[str], aggregates: list[Any]) -> pa.Table:
        # first and last are ordered aggregates, which it computes on one thread only.
        parallel = self.parallel and not any(function == "first" for _, function, _ in aggregates)
        wanted = [
            (column, _FUNCTIONS.get(function, function), pc.VarianceOptions(ddof=1) if function == "std" else None)
            for _, function, column in aggregates
        ]
        out = table.group_by(keys, use_threads=parallel).aggregate(wanted)
        return out.rename_columns([*keys, *(name for name, _, _ in aggregates)])
