"""Every operator on drawn tables of every key type in drawn worlds gives the answer that DuckDB and pandas give.

CYLON_TEST_LONG=1 draws forty times as many cases, other ones on every run. A failure prints its tables, its world and
a decorator that replays it.
"""

from __future__ import annotations

import pyarrow as pa
import pytest
from checks import JoinCase, check_groups, check_heads, check_join, check_quantiles, check_sort, check_unique
from drawn import NUMBERS, TYPES, column, table, worlds
from hypothesis import given
from hypothesis import strategies as st

HOWS = ["inner", "left", "right", "outer", "semi", "anti"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]


@st.composite
def joins(draw: st.DrawFn, left: pa.Table, right: pa.Table) -> JoinCase:
    """Equal keys, comparisons, both, or neither (a cross join)."""
    alike = [name for name in ("k", "j", "i") if left.schema.field(name).type == right.schema.field(name).type]
    keys = draw(st.sampled_from([("k",), ("k",), ("k", "j") if "j" in alike else ("k",), ()]))
    ordered = [name for name in alike if left.schema.field(name).type != pa.null()]  # which is refused
    compared = draw(st.lists(st.sampled_from(ordered), max_size=2)) if draw(st.booleans()) else []
    condition = tuple((name, draw(st.sampled_from(COMPARISONS)), name) for name in compared)
    how = draw(st.sampled_from(HOWS)) if keys or condition else "cross"
    return JoinCase(keys, how, draw(st.booleans()), condition, draw(st.sampled_from(["auto", "hash", "sort"])))


@pytest.mark.parametrize("key", TYPES)
@given(st.data())
def test_joins_bring_together_the_right_rows(key: str, data: st.DataObject) -> None:
    left = data.draw(table(key), label="left")
    right = data.draw(table(key, most_rows=30), label="right")
    check_join(left, right, data.draw(joins(left, right), label="join"), data.draw(worlds(), label="world"))


@pytest.mark.parametrize("key", TYPES)
@given(st.data())
def test_sorted_rows_are_in_order_and_ties_stay(key: str, data: st.DataObject) -> None:
    whole = data.draw(table(key), label="table")
    by = data.draw(st.sampled_from([["k"], ["k", "j"], ["j", "k"]]), label="by")
    ascending = data.draw(st.lists(st.booleans(), min_size=len(by), max_size=len(by)), label="ascending")
    nulls_first = data.draw(st.booleans(), label="nulls_first")
    check_sort(whole, by, ascending, nulls_first, data.draw(worlds(), label="world"))


@pytest.mark.parametrize("key", TYPES)
@given(st.data())
def test_one_row_of_its_like_is_kept(key: str, data: st.DataObject) -> None:
    whole = data.draw(table(key), label="table")
    subset = data.draw(st.sampled_from([["k"], ["k", "j"], ["k", "j", "v"]]), label="subset")
    keep = data.draw(st.sampled_from(["first", "last", False]), label="keep")
    check_unique(whole, subset, keep, data.draw(worlds(), label="world"))


@pytest.mark.parametrize("key", TYPES)
@given(st.data())
def test_groups_have_the_right_aggregates(key: str, data: st.DataObject) -> None:
    whole = data.draw(table(key), label="table")
    numbers = data.draw(st.sampled_from(list(NUMBERS)), label="numbers")
    whole = whole.append_column("n", data.draw(column(whole.num_rows, numbers, NUMBERS), label="n"))
    keys = data.draw(st.sampled_from([["k"], ["k", "j"]]), label="keys")
    dropna, ordered = data.draw(st.booleans(), label="dropna"), data.draw(st.booleans(), label="sort")
    products = data.draw(st.booleans(), label="products")
    check_groups(whole, keys, dropna, ordered, data.draw(worlds(), label="world"), products)


@pytest.mark.parametrize("numbers", NUMBERS)
@given(st.data())
def test_groups_have_the_right_quantiles(numbers: str, data: st.DataObject) -> None:
    whole = data.draw(table(data.draw(st.sampled_from(["int8", "string"]), label="key"), most_rows=200), label="table")
    whole = whole.append_column("n", data.draw(column(whole.num_rows, numbers, NUMBERS), label="n"))
    keys = data.draw(st.sampled_from([["k"], ["k", "j"]]), label="keys")
    compression = data.draw(st.sampled_from([10, 100]), label="compression")
    check_quantiles(whole, keys, data.draw(worlds(), label="world"), compression)


@pytest.mark.parametrize("key", TYPES)
@given(st.data())
def test_groups_have_the_right_first_and_last_rows(key: str, data: st.DataObject) -> None:
    whole = data.draw(table(key), label="table")
    keys = data.draw(st.sampled_from([["k"], ["k", "j"]]), label="keys")
    n = data.draw(st.integers(-3, 4), label="n")
    tail, dropna = data.draw(st.booleans(), label="tail"), data.draw(st.booleans(), label="dropna")
    check_heads(whole, keys, n, tail, dropna, data.draw(worlds(), label="world"))
