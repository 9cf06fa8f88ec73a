"""polars: queries on its streaming engine, results as frames."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from peers.engine import Aggregate, Engine


class Polars(Engine):
    """Every operation is a lazy query collected by the streaming engine, the faster of its two."""

    name = "polars"

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """Read at import."""
        return {"POLARS_MAX_THREADS": str(threads)}

    def __init__(self, threads: int) -> None:
        if pl.thread_pool_size() != threads:
            raise RuntimeError(f"polars has {pl.thread_pool_size()} threads, not {threads}")
        self.tables: dict[str, pl.LazyFrame] = {}

    @property
    def version(self) -> str:
        return pl.__version__

    def load(self, name: str, table: pa.Table) -> None:
        frame = pl.from_arrow(table, rechunk=True)
        assert isinstance(frame, pl.DataFrame)
        self.tables[name] = frame.lazy()

    def rows(self, result: Any) -> int:
        return int(result.height)

    def to_arrow(self, result: Any) -> pa.Table:
        return result.to_arrow()

    @staticmethod
    def collect(query: pl.LazyFrame) -> pl.DataFrame:
        """Run the query to its end."""
        return query.collect(engine="streaming")

    def join(self, left: str, right: str, on: str, how: str) -> Any:
        return self.collect(self.tables[left].join(self.tables[right], on=on, how=how, suffix="_r"))  # type: ignore[arg-type]

    def sort(self, table: str, by: str) -> Any:
        return self.collect(self.tables[table].sort(by))

    def distinct(self, table: str, column: str) -> Any:
        return self.collect(self.tables[table].select(column).unique())

    def one_row_each(self, table: str, key: str) -> Any:
        return self.collect(self.tables[table].unique(subset=[key], keep="any"))

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        wanted = [getattr(pl.col(column), function)().alias(name) for name, function, column in aggregates]
        return self.collect(self.tables[table].group_by(keys).agg(wanted))

    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        wanted = (pl.col(high).max() - pl.col(low).min()).alias("range")
        return self.collect(self.tables[table].group_by(key).agg(wanted))

    def largest_two(self, table: str, key: str, value: str) -> Any:
        return self.collect(self.tables[table].group_by(key).agg(pl.col(value).top_k(2)).explode(value))

    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        return self.collect(self.tables[table].group_by(keys).agg((pl.corr(first, second) ** 2).alias("r2")))
