"""Tables that no cache holds: numbers of rows that reach the partitioned and the many-chunked ways through a kernel.

Hypothesis draws the shape; the values come from numpy with a drawn seed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from checks import JoinCase, check_groups, check_join, check_sort, check_unique
from drawn import Setting, worlds
from hypothesis import given, settings
from hypothesis import strategies as st

# A case takes about a second.
FEW = settings(max_examples=60 if os.environ.get("CYLON_TEST_LONG") else 3)


@dataclass(frozen=True)
class Shape:
    """A table with a key column k, a second key j, numbers n, strings v, and i, the number of the row."""

    rows: int
    key: str
    distinct: int
    heavy: float  # share of the rows that have one key
    nulls: float
    ordered: bool
    seed: int

    def table(self) -> pa.Table:
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(0, self.distinct, self.rows)
        drawn[rng.random(self.rows) < self.heavy] = 0
        if self.ordered:
            drawn.sort()
        mask = rng.random(self.rows) < self.nulls
        spread = drawn if self.ordered else (drawn.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)
        values = {
            "int64": lambda: pa.array(spread, mask=mask),
            "int32": lambda: pa.array(drawn.astype(np.int32), mask=mask),
            "float64": lambda: pa.array((drawn - self.distinct // 2) / 4, mask=mask),
            "string": lambda: pa.array(np.char.add("key ", drawn.astype(str)), mask=mask),
        }[self.key]()
        return pa.table(
            {
                "k": values,
                "j": pa.array(rng.integers(0, 3, self.rows).astype(np.int8)),
                "v": pa.array(rng.integers(0, 1000, self.rows).astype(str)),
                "n": pa.array(rng.normal(1e6, 1, self.rows), mask=rng.random(self.rows) < 0.1),
                "i": pa.array(np.arange(self.rows)),
            }
        )


@st.composite
def shapes(draw: st.DrawFn, least_distinct: int = 1, heavy: bool = True) -> Shape:
    rows = draw(st.integers(50_000, 200_000))
    return Shape(
        rows,
        draw(st.sampled_from(["int64", "int32", "float64", "string"])),
        draw(st.sampled_from([n for n in (1, 100, 5_000, rows, 4 * rows) if n >= least_distinct])),
        draw(st.sampled_from([0.0, 0.5])) if heavy else 0.0,
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.booleans()),
        draw(st.integers(0, 1000)),
    )


def sensible(setting: Setting) -> Setting:
    """The same world with morsels that suit the size, so that a case does not take minutes."""
    options = (("morsel_rows", 20_000), ("threads", 2)) if setting.options else ()
    return Setting(setting.world, setting.seed, options, setting.cuts)


BIG_WORLDS = worlds(ranks=(1, 1, 2, 3), transports=("inproc", "sim")).map(sensible)


@FEW
@given(shapes(least_distinct=5_000, heavy=False), st.data())
def test_large_joins(shape: Shape, data: st.DataObject) -> None:
    left = shape.table()
    right = Shape(shape.rows // 4, shape.key, shape.distinct, 0.0, 0.0, shape.ordered, shape.seed + 1).table()
    how = data.draw(st.sampled_from(["inner", "left", "right", "outer", "semi", "anti"]), label="how")
    keys = data.draw(st.sampled_from([("k",), ("k", "j")]), label="keys")
    condition = data.draw(st.sampled_from([(), (("n", "<", "n"),)]), label="condition")
    algorithm = data.draw(st.sampled_from(["auto", "hash", "sort"]), label="algorithm")
    case = JoinCase(keys, how, True, condition, algorithm)
    check_join(left, right, case, data.draw(BIG_WORLDS, label="world"))


@FEW
@given(shapes(), st.data())
def test_large_sorts(shape: Shape, data: st.DataObject) -> None:
    by = data.draw(st.sampled_from([["k"], ["k", "v"], ["v", "n"]]), label="by")
    ascending = data.draw(st.lists(st.booleans(), min_size=len(by), max_size=len(by)), label="ascending")
    check_sort(shape.table(), by, ascending, False, data.draw(BIG_WORLDS, label="world"))


@FEW
@given(shapes(), st.data())
def test_large_duplicates(shape: Shape, data: st.DataObject) -> None:
    subset = data.draw(st.sampled_from([["k"], ["k", "v"]]), label="subset")
    keep = data.draw(st.sampled_from(["first", "last", False]), label="keep")
    check_unique(shape.table(), subset, keep, data.draw(BIG_WORLDS, label="world"))


@FEW
@given(shapes(), st.data())
def test_large_groups(shape: Shape, data: st.DataObject) -> None:
    keys = data.draw(st.sampled_from([["k"], ["k", "j"]]), label="keys")
    check_groups(
        shape.table(), keys, True, data.draw(st.booleans(), label="sort"), data.draw(BIG_WORLDS, label="world")
    )
