"""DataFusion: Arrow batches in memory tables, results as collected batches."""

from __future__ import annotations

from typing import Any

import datafusion
import pyarrow as pa

from peers.engine import Aggregate, Engine, sql_group_by, sql_group_range, sql_join, sql_squared_correlation

_FUNCTIONS = {"mean": "avg", "std": "stddev"}


class DataFusion(Engine):
    """As many partitions as threads, each in batches of the size that it works in."""

    name = "datafusion"
    batch_rows = 8192

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """Its tasks run on tokio."""
        return {"TOKIO_WORKER_THREADS": str(threads)}

    def __init__(self, threads: int) -> None:
        self.threads = threads
        config = datafusion.SessionConfig().with_target_partitions(threads).with_batch_size(self.batch_rows)
        self.context = datafusion.SessionContext(config)
        self.columns: dict[str, list[str]] = {}

    @property
    def version(self) -> str:
        return str(datafusion.__version__)

    def load(self, name: str, table: pa.Table) -> None:
        self.columns[name] = table.column_names
        share = max(1, -(-table.num_rows // self.threads))
        parts = [table.slice(begin, share) for begin in range(0, max(1, table.num_rows), share)]
        self.context.register_record_batches(name, [part.to_batches(self.batch_rows) for part in parts])

    def run(self, query: str) -> Any:
        """The batches of the query's result, with its schema for when there are none."""
        frame = self.context.sql(query)
        return frame.collect(), frame.schema()

    def rows(self, result: Any) -> int:
        return sum(batch.num_rows for batch in result[0])

    def to_arrow(self, result: Any) -> pa.Table:
        return pa.Table.from_batches(*result)

    def join(self, left: str, right: str, on: str, how: str) -> Any:
        return self.run(sql_join(self.columns, left, right, on, how))

    def sort(self, table: str, by: str) -> Any:
        return self.run(f"SELECT * FROM {table} ORDER BY {by}")

    def distinct(self, table: str, column: str) -> Any:
        return self.run(f"SELECT DISTINCT {column} FROM {table}")

    def one_row_each(self, table: str, key: str) -> Any:
        rest = [f"first_value({name}) AS {name}" for name in self.columns[table] if name != key]
        return self.run(f"SELECT {', '.join([key, *rest])} FROM {table} GROUP BY {key}")

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        return self.run(sql_group_by(_FUNCTIONS, table, keys, aggregates))

    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        return self.run(sql_group_range(table, key, high, low))

    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        return self.run(sql_squared_correlation(table, keys, first, second))

    def largest_two(self, table: str, key: str, value: str) -> Any:
        numbered = f"row_number() OVER (PARTITION BY {key} ORDER BY {value} DESC) AS place"
        return self.run(f"SELECT {key}, {value} FROM (SELECT {key}, {value}, {numbered} FROM {table}) WHERE place <= 2")
