"""One operator on one table in one world, against the right answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest
from aggregates import MOMENTS, ORDERED, assert_aggregate, sums_fit
from drawn import Setting, parts
from oracle import Condition, assert_rows, groups, kept, order, pairs

import pycylon as cy

__all__ = ["JoinCase", "check_groups", "check_join", "check_sort", "check_unique"]


def _whole(results: list[pa.Table]) -> pa.Table:
    assert len({str(result.schema) for result in results}) == 1
    return pa.concat_tables(results)


@dataclass(frozen=True)
class JoinCase:
    """What a merge is asked for."""

    keys: tuple[str, ...]
    how: str
    null_match: bool = True
    condition: tuple[Condition, ...] = ()
    algorithm: str = "auto"

    def merge(self, left: cy.DataFrame, right: cy.DataFrame) -> cy.DataFrame:
        on = None if self.how == "cross" else list(self.keys)
        return left.merge(  # type: ignore[call-overload]
            right,
            how=self.how,
            on=on,
            null_keys="match" if self.null_match else "never",
            condition=list(self.condition),
            algorithm=self.algorithm,
        )


def check_join(left: pa.Table, right: pa.Table, case: JoinCase, setting: Setting) -> None:
    """The rows that belong together, with the columns of both as they were."""
    lefts, rights = parts(left, setting.cuts[0]), parts(right, setting.cuts[1])

    def body(env: cy.CylonEnv) -> pa.Table:
        return case.merge(cy.DataFrame(lefts[env.rank], env=env), cy.DataFrame(rights[env.rank])).to_arrow()

    got = _whole(setting.run(body))
    one_side = case.how in ("semi", "anti")
    from_left = got.column("i" if one_side else "i_x").to_pylist()
    from_right = [None] * got.num_rows if one_side else got.column("i_y").to_pylist()
    found = sorted(zip(from_left, from_right, strict=True), key=str)
    assert found == pairs(left, right, case.keys, case.how, case.null_match, case.condition)

    for name in ("v", "j", "k"):
        if name not in case.keys:
            assert_rows(got.column(name if one_side else f"{name}_x"), left.column(name), from_left)
            if not one_side:
                assert_rows(got.column(f"{name}_y"), right.column(name), from_right)
    for name in case.keys:
        # A row without a match on the left has the key of its right row.
        both = pa.chunked_array([*left.column(name).chunks, *right.column(name).chunks], left.column(name).type)
        places = [r + left.num_rows if li is None else li for li, r in zip(from_left, from_right, strict=True)]
        assert_rows(got.column(name), both, places, exact=False)


def _same_rows(whole: pa.Table, results: list[pa.Table], numbers: list[int]) -> None:
    got = _whole(results)
    assert got.column("i").to_pylist() == numbers
    for name in whole.column_names:
        assert_rows(got.column(name), whole.column(name), numbers)


def check_sort(
    whole: pa.Table, by: Sequence[str], ascending: Sequence[bool], nulls_first: bool, setting: Setting
) -> None:
    """Every row in its place, ties in their former order, missing keys at the end asked for."""
    split = parts(whole, setting.cuts[0])

    def body(env: cy.CylonEnv) -> pa.Table:
        frame = cy.DataFrame(split[env.rank], env=env)
        return frame.sort_values(list(by), list(ascending), "first" if nulls_first else "last").to_arrow()

    _same_rows(whole, setting.run(body), order(whole, by, ascending, nulls_first))


def check_unique(whole: pa.Table, subset: Sequence[str], keep: str | bool, setting: Setting) -> None:
    """The rows that stay, in their order."""
    split = parts(whole, setting.cuts[0])

    def body(env: cy.CylonEnv) -> pa.Table:
        return cy.DataFrame(split[env.rank], env=env).drop_duplicates(list(subset), keep=keep).to_arrow()  # type: ignore[arg-type]

    _same_rows(whole, setting.run(body), kept(whole, subset, keep))


def check_groups(whole: pa.Table, keys: Sequence[str], dropna: bool, ordered: bool, setting: Setting) -> None:
    """The groups, each with the key that came first, and every aggregate of columns n (numbers) and v (anything)."""
    split = parts(whole, setting.cuts[0])
    truthless = pa.types.is_decimal(whole.schema.field("n").type)  # decimals have no any and all
    moments = [function for function in MOMENTS if not (truthless and function in ("any", "all"))]

    def body(env: cy.CylonEnv) -> pa.Table:
        grouped = cy.DataFrame(split[env.rank], env=env).groupby(list(keys), sort=ordered, dropna=dropna)
        named = {f"n_{function}": ("n", function) for function in moments}
        named |= {f"v_{function}": ("v", function) for function in ORDERED}
        return grouped.agg(size=("i", "size"), row=("i", "min"), **named).to_arrow()

    expected = groups(whole, keys, dropna)
    if not sums_fit(whole.column("n"), expected):
        with pytest.raises(ValueError, match="does not fit"):
            setting.run(body)
        return
    got = _whole(setting.run(body))
    first = got.column("row").to_pylist()
    if not ordered:
        assert sorted(first) == sorted(rows[0] for rows in expected)
        by_first = {rows[0]: rows for rows in expected}
        expected = [by_first[row] for row in first]
    assert first == [rows[0] for rows in expected]
    assert got.column("size").to_pylist() == [len(rows) for rows in expected]
    for name in keys:
        assert_rows(got.column(name), whole.column(name), first)
    for name, functions in (("n", moments), ("v", ORDERED)):
        for function in functions:
            assert_aggregate(function, got.column(f"{name}_{function}"), whole.column(name), expected)
