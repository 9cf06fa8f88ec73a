"""What an engine has to be able to do to be measured; one adapter per engine implements it.

Tables are loaded into the engine's own form before any clock runs, and an operation returns the engine's own form,
complete in memory: nothing lazy, nothing still on its way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa

__all__ = ["Aggregate", "Engine"]

Aggregate = Sequence[str]  # name of the result, function, column


class Engine(ABC):
    """One engine with a fixed number of threads, in a process of its own."""

    name: ClassVar[str]

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """Variables that have to be set before the engine is imported."""
        return {}

    @abstractmethod
    def __init__(self, threads: int) -> None: ...

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the library."""

    @abstractmethod
    def load(self, name: str, table: pa.Table) -> None:
        """Keep `table` under `name` in the engine's own form."""

    @abstractmethod
    def rows(self, result: Any) -> int:
        """How many rows a result has."""

    @abstractmethod
    def to_arrow(self, result: Any) -> pa.Table:
        """Copy of a result, for checking it."""

    def drop(self, result: Any) -> None:  # noqa: B027 - most engines hold nothing
        """Let go of a result that the engine itself still holds."""

    @abstractmethod
    def join(self, left: str, right: str, on: str, how: str) -> Any:
        """All columns of both, the key once; a right column whose name the left has too ends in ``_r``."""

    @abstractmethod
    def sort(self, table: str, by: str) -> Any:
        """All columns, ascending by one; ties in any order."""

    @abstractmethod
    def distinct(self, table: str, column: str) -> Any:
        """The distinct values of a column, in any order."""

    @abstractmethod
    def one_row_each(self, table: str, key: str) -> Any:
        """A whole row of each key: the first where that is the engine's way, else any."""

    @abstractmethod
    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        """Keys and aggregates in any order: sum, mean, std (n - 1), min, max, count, median."""

    @abstractmethod
    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        """Key, and by group ``range``: the largest value of one column less the smallest of another."""

    @abstractmethod
    def largest_two(self, table: str, key: str, value: str) -> Any:
        """Key and value: the two largest values of each group."""

    @abstractmethod
    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        """Keys, and by group ``r2``: the squared correlation of two columns."""
