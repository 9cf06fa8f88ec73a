"""The operations in SQL, for engines that are asked in it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from peers.engine import Aggregate, Engine

__all__ = ["SqlEngine"]


class SqlEngine(Engine):
    """Keeps the names of its tables' columns; says what its dialect calls things."""

    deviation: ClassVar[str]  # of a sample
    any_value: ClassVar[str]

    def __init__(self) -> None:
        self.columns: dict[str, list[str]] = {}

    @abstractmethod
    def run(self, query: str) -> Any:
        """The whole result of a query."""

    def join(self, left: str, right: str, on: str, how: str) -> Any:
        taken = set(self.columns[left])
        columns = [f"{left}.{name}" for name in self.columns[left]]
        columns += [
            f"{right}.{name} AS {name}_r" if name in taken else f"{right}.{name}"
            for name in self.columns[right]
            if name != on
        ]
        kind = {"inner": "JOIN", "left": "LEFT JOIN"}[how]
        return self.run(f"SELECT {', '.join(columns)} FROM {left} {kind} {right} ON {left}.{on} = {right}.{on}")

    def sort(self, table: str, by: str) -> Any:
        return self.run(f"SELECT * FROM {table} ORDER BY {by}")

    def distinct(self, table: str, column: str) -> Any:
        return self.run(f"SELECT DISTINCT {column} FROM {table}")

    def one_row_each(self, table: str, key: str) -> Any:
        rest = [f"{self.any_value}({name}) AS {name}" for name in self.columns[table] if name != key]
        return self.run(f"SELECT {', '.join([key, *rest])} FROM {table} GROUP BY {key}")

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        functions = {"mean": "avg", "std": self.deviation}
        wanted = [f"{functions.get(function, function)}({column}) AS {name}" for name, function, column in aggregates]
        return self.run(f"SELECT {', '.join([*keys, *wanted])} FROM {table} GROUP BY {', '.join(keys)}")

    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        return self.run(f"SELECT {key}, max({high}) - min({low}) AS range FROM {table} GROUP BY {key}")

    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        listed = ", ".join(keys)
        wanted = f"power(corr({first}, {second}), 2) AS r2"
        return self.run(f"SELECT {listed}, {wanted} FROM {table} GROUP BY {listed}")
