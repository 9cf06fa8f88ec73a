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

_QUESTION_ROWS = 10_000_000


def _question(number: int, title: str, keys: str, aggregates: str, target: float) -> Case:
    """A group-by of the G1 table; `aggregates` is like ``sum v1, mean v3``."""
    pairs = [text.split() for text in aggregates.split(", ")]
    wanted = [(f"{column}_{function}", function, column) for function, column in pairs]
    arguments = {"table": "x", "keys": keys.split(), "aggregates": wanted}
    return Case(f"g1-q{number}", title, "g1", "group_by", arguments, target, rows=_QUESTION_ROWS)


def _join_question(number: int, right: str, on: str, how: str, target: float) -> Case:
    arguments = {"left": "x", "right": right, "on": on, "how": how}
    return Case(f"j1-q{number}", f"{how} join, {right} on {on}", "j1", "join", arguments, target, rows=_QUESTION_ROWS)


# The ten group-bys and five joins of the public db-benchmark; their groups and tables are described in data.py. Targets
# follow those above: by 100 groups, up to 100,000, and more.
_QUESTIONS = [
    _question(1, "sum v1 by id1", "id1", "sum v1", 1),
    _question(2, "sum v1 by id1, id2", "id1 id2", "sum v1", 1.3),
    _question(3, "sum v1, mean v3 by id3", "id3", "sum v1, mean v3", 1.3),
    _question(4, "mean v1, v2, v3 by id4", "id4", "mean v1, mean v2, mean v3", 1),
    _question(5, "sum v1, v2, v3 by id6", "id6", "sum v1, sum v2, sum v3", 1.3),
    _question(6, "median v3, sd v3 by id4, id5", "id4 id5", "median v3, std v3", 1.3),
    Case(
        "g1-q7",
        "max v1 - min v2 by id3",
        "g1",
        "group_range",
        {"table": "x", "key": "id3", "high": "v1", "low": "v2"},
        1.3,
        rows=_QUESTION_ROWS,
    ),
    Case(
        "g1-q8",
        "largest two v3 by id6",
        "g1",
        "largest_two",
        {"table": "x", "key": "id6", "value": "v3"},
        1.3,
        rows=_QUESTION_ROWS,
    ),
    Case(
        "g1-q9",
        "squared correlation of v1, v2 by id2, id4",
        "g1",
        "squared_correlation",
        {"table": "x", "keys": ["id2", "id4"], "first": "v1", "second": "v2"},
        1.3,
        rows=_QUESTION_ROWS,
    ),
    _question(10, "sum v3, count by id1 to id6", "id1 id2 id3 id4 id5 id6", "sum v3, count v3", 2),
    _join_question(1, "small", "id1", "inner", 2),
    _join_question(2, "medium", "id2", "inner", 2),
    _join_question(3, "medium", "id2", "left", 2),
    _join_question(4, "medium", "id5", "inner", 2),
    _join_question(5, "big", "id3", "inner", 2),
]

CASES = [*_PUBLISHED, *_QUESTIONS]


def choose(only: str) -> list[Case]:
    """The cases whose names or data sets begin with one of the words in `only`; all of them for ''."""
    words = tuple(word.strip() for word in only.split(",") if word.strip())
    if not words:
        return list(CASES)
    chosen = [case for case in CASES if case.name in words or case.dataset in words or case.name.startswith(words)]
    if not chosen:
        raise SystemExit(f"--only={only} names no case; there are: {', '.join(case.name for case in CASES)}")
    return chosen
