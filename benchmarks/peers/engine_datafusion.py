"""DataFusion: Arrow batches in memory tables, results as collected batches."""

from __future__ import annotations

from typing import Any

import datafusion
import pyarrow as pa

from peers.sql import SqlEngine


class DataFusion(SqlEngine):
    """As many partitions as threads, each in batches of the size that it works in."""

    name = "datafusion"
    deviation = "stddev"
    any_value = "first_value"
    batch_rows = 8192

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """Its tasks run on tokio."""
        return {"TOKIO_WORKER_THREADS": str(threads)}

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.threads = threads
        config = datafusion.SessionConfig().with_target_partitions(threads).with_batch_size(self.batch_rows)
        self.context = datafusion.SessionContext(config)

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

    def largest_two(self, table: str, key: str, value: str) -> Any:
        numbered = f"row_number() OVER (PARTITION BY {key} ORDER BY {value} DESC) AS place"
        return self.run(f"SELECT {key}, {value} FROM (SELECT {key}, {value}, {numbered} FROM {table}) WHERE place <= 2")
