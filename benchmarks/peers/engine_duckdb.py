"""DuckDB: tables in an in-memory database, results as temporary tables."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from peers.engine import Aggregate, Engine, sql_group_by, sql_group_range, sql_join, sql_squared_correlation

_FUNCTIONS = {"mean": "avg", "std": "stddev_samp"}


class DuckDB(Engine):
    """`CREATE TABLE ... AS`; insertion order is given up, since no case but the sort asks for one."""

    name = "duckdb"

    def __init__(self, threads: int) -> None:
        self.connection = duckdb.connect(":memory:")
        self.connection.execute(f"SET threads = {threads}")
        self.connection.execute("SET preserve_insertion_order = false")
        self.columns: dict[str, list[str]] = {}
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

    def join(self, left: str, right: str, on: str, how: str) -> Any:
        return self.run(sql_join(self.columns, left, right, on, how))

    def sort(self, table: str, by: str) -> Any:
        return self.run(f"SELECT * FROM {table} ORDER BY {by}")

    def distinct(self, table: str, column: str) -> Any:
        return self.run(f"SELECT DISTINCT {column} FROM {table}")

    def one_row_each(self, table: str, key: str) -> Any:
        rest = [f"any_value({name}) AS {name}" for name in self.columns[table] if name != key]
        return self.run(f"SELECT {', '.join([key, *rest])} FROM {table} GROUP BY {key}")

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        return self.run(sql_group_by(_FUNCTIONS, table, keys, aggregates))

    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        return self.run(sql_group_range(table, key, high, low))

    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        return self.run(sql_squared_correlation(table, keys, first, second))

    def largest_two(self, table: str, key: str, value: str) -> Any:
        return self.run(f"SELECT {key}, unnest(max({value}, 2)) AS {value} FROM {table} GROUP BY {key}")
