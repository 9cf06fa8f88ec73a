"""Every operator on drawn tables of every key type in drawn worlds gives the answer that DuckDB and pandas give.

CYLON_TEST_LONG=1 draws forty times as many cases, other ones on every run. A failure prints its tables, its world and
a decorator that replays it.
"""

from __future__ import annotations

import pytest
from checks import check_groups, check_join, check_sort, check_unique
from drawn import NUMBERS, TYPES, column, table, worlds
from hypothesis import given
from hypothesis import strategies as st

HOWS = ["inner", "left", "right", "outer", "semi", "anti"]


@pytest.mark.parametrize("key", TYPES)
@given(st.data())
def test_joins_bring_together_the_right_rows(key: str, data: st.DataObject) -> None:
    left = data.draw(table(key), label="left")
    right = data.draw(table(key, most_rows=30), label="right")
    comparable = left.schema.field("j").type == right.schema.field("j").type
    keys = data.draw(st.sampled_from([["k"], ["k", "j"]] if comparable else [["k"]]), label="keys")
    how = data.draw(st.sampled_from(HOWS), label="how")
    null_match = data.draw(st.booleans(), label="null_match")
    check_join(left, right, keys, how, null_match, data.draw(worlds(), label="world"))


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
    check_groups(whole, keys, dropna, ordered, data.draw(worlds(), label="world"))
