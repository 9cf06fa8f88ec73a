"""One operator on one table in one world, against the right answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest
from aggregates import MOMENTS, ORDERED, QUANTILES, assert_aggregate, assert_near_quantile, fits
from drawn import Setting, parts
from oracle import Condition, assert_rows, groups, kept, order, pairs

import pycylon as cy

__all__ = ["JoinCase", "check_groups", "check_heads", "check_join", "check_quantiles", "check_sort", "check_unique"]


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


def check_groups(
    whole: pa.Table, keys: Sequence[str], dropna: bool, ordered: bool, setting: Setting, products: bool = True
) -> None:
    """The groups, each with the key that came first, and every aggregate of columns n (numbers) and v (anything).

    Without `products`, since most of large integers do not fit, and one error is all that is seen then.
    """
    split = parts(whole, setting.cuts[0])
    expected = groups(whole, keys, dropna)
    numbers = whole.column("n")
    # Decimals have no any, all and prod.
    lacks = ["any", "all", "prod"] if pa.types.is_decimal(numbers.type) else [] if products else ["prod"]
    moments = [function for function in MOMENTS if function not in lacks]
    too_large = not all(fits(function, numbers, expected) for function in ("sum", "prod") if function in moments)

    def body(env: cy.CylonEnv) -> pa.Table:
        grouped = cy.DataFrame(split[env.rank], env=env).groupby(list(keys), sort=ordered, dropna=dropna)
        named = {f"n_{function}": ("n", function) for function in moments}
        named |= {f"v_{function}": ("v", function) for function in ORDERED}
        return grouped.agg(size=("i", "size"), row=("i", "min"), **named).to_arrow()

    if too_large:
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


def check_quantiles(whole: pa.Table, keys: Sequence[str], setting: Setting, compression: int) -> None:
    """Quantiles of column n, exactly and from t-digests, which are exact as well where groups are small."""
    split = parts(whole, setting.cuts[0])

    def body(env: cy.CylonEnv) -> list[pa.Table]:
        frame = cy.DataFrame(split[env.rank], env=env)
        exact = frame.groupby(list(keys))[["n"]]
        near = frame.groupby(list(keys), approximate=True, compression=compression)[["n"]]
        return [grouped.quantile(q).to_arrow() for grouped in (exact, near) for q in QUANTILES]

    results = setting.run(body)
    expected = groups(whole, keys, dropna=True)
    for at, q in enumerate(QUANTILES):
        assert_aggregate(
            "quantile", _whole([tables[at] for tables in results]).column("n"), whole.column("n"), expected, q
        )
        near = _whole([tables[len(QUANTILES) + at] for tables in results]).column("n")
        if max(map(len, expected), default=0) <= 2 * compression:
            assert_aggregate("quantile", near, whole.column("n"), expected, q)
        else:
            assert_near_quantile(near, whole.column("n"), expected, q, compression)


def check_heads(whole: pa.Table, keys: Sequence[str], n: int, tail: bool, dropna: bool, setting: Setting) -> None:
    """The first or last rows of each group, in the order of the frame."""
    split = parts(whole, setting.cuts[0])

    def body(env: cy.CylonEnv) -> pa.Table:
        grouped = cy.DataFrame(split[env.rank], env=env).groupby(list(keys), dropna=dropna)
        return (grouped.tail(n) if tail else grouped.head(n)).to_arrow()

    wanted: list[int] = []
    for rows in groups(whole, keys, dropna):
        count = min(len(rows), n if n >= 0 else max(len(rows) + n, 0))
        wanted += rows[len(rows) - count :] if tail else rows[:count]
    _same_rows(whole, setting.run(body), sorted(wanted))
