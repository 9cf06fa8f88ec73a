"""DuckDB: tables in an in-memory database, results as temporary tables."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from peers.sql import SqlEngine


class DuckDB(SqlEngine):
    """`CREATE TABLE ... AS`; insertion order is given up, since no case but the sort asks for one."""

    name = "duckdb"
    deviation = "stddev_samp"
    any_value = "any_value"

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.connection = duckdb.connect(":memory:")
        self.connection.execute(f"SET threads = {threads}")
        self.connection.execute("SET preserve_insertion_order = false")
        self.made = 0

    @property
    def version(self) -> str:
        return str(duckdb.__version__)

    def load(self, name: str, table: pa.Table) -> None:
        self.columns[name] = table.column_names
        self.connection.register("arrow_input", table)
        self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arrow_input")
        self.connection.unregister("arrow_input")

    def run(self, query: str) -> str:
        """The name of a new table with the query's rows."""
        self.made += 1
        name = f"result_{self.made}"
        self.connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
        self.connection.complete()
        return name

    def rows(self, result: str) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM {result}").fetchall()[0][0])

    def to_arrow(self, result: str) -> pa.Table:
        return self.connection.sql(f"SELECT * FROM {result}").to_arrow_table()

    def drop(self, result: str) -> None:
        self.connection.execute(f"DROP TABLE {result}")

    def largest_two(self, table: str, key: str, value: str) -> Any:
        return self.run(f"SELECT {key}, unnest(max({value}, 2)) AS {value} FROM {table} GROUP BY {key}")
