"""What is measured: each case is one operation on one set of tables, the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CASES", "Case", "choose"]


@dataclass(frozen=True)
class Case:
    """One operation: the name of an `Engine` method, its arguments, and the tables that it works on."""

    name: str
    title: str
    dataset: str
    method: str
    arguments: dict[str, Any]
    target: float | None = None  # times as fast as the fastest peer
    sorted_by: str | None = None
    rows: int = 9_100_000
    checked: tuple[str, ...] | None = None  # columns that have to agree; None: all


_STATISTICS = [
    ("total", "sum", "v"),
    ("average", "mean", "v"),
    ("deviation", "std", "v"),
    ("smallest", "min", "v"),
    ("largest", "max", "v"),
]


def _group(name: str, title: str, dataset: str, target: float) -> Case:
    arguments = {"table": "x", "keys": ["k"], "aggregates": _STATISTICS}
    return Case(name, title, dataset, "group_by", arguments, target)


_PUBLISHED = [
    Case("join", "inner join, all columns", "pairs", "join", {"left": "x", "right": "y", "on": "k", "how": "inner"}, 2),
    Case("sort", "sort rows by one column", "pairs", "sort", {"table": "x", "by": "k"}, 2, sorted_by="k"),
    Case("unique", "distinct values of one column", "pairs", "distinct", {"table": "x", "column": "k"}, 2),
    # Which row is kept differs among engines; pycylon keeps the first, in order.
    Case(
        "unique-rows",
        "one whole row of each key",
        "pairs",
        "one_row_each",
        {"table": "x", "key": "k"},
        2,
        checked=("k",),
    ),
    _group("group-100", "group-by, 100 groups", "pairs-100", 1),
    _group("group-100000", "group-by, 100,000 groups", "pairs-100000", 1.3),
    _group("group-many", "group-by, 0.6 groups a row", "pairs", 2),
]

CASES = _PUBLISHED


def choose(only: str) -> list[Case]:
    """The cases whose names or data sets begin with one of the words in `only`; all of them for ''."""
    words = tuple(word.strip() for word in only.split(",") if word.strip())
    if not words:
        return list(CASES)
    chosen = [case for case in CASES if case.name in words or case.dataset in words or case.name.startswith(words)]
    if not chosen:
        raise SystemExit(f"--only={only} names no case; there are: {', '.join(case.name for case in CASES)}")
    return chosen
