"""Top rows and set operations against pandas, in every world."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from worlds import World, pandas, parts, rows, table

import pycylon as cy


@pytest.mark.parametrize("keep", ["first", "last", "all"])
@pytest.mark.parametrize("largest", [True, False])
def test_top_rows_are_those_of_pandas(world: World, largest: bool, keep: str) -> None:
    whole = pa.table({"k": [i * 7 % 12 for i in range(90)], "row": list(range(90))})
    split = parts(whole, world.ranks, 4)

    def body(env: cy.CylonEnv) -> pa.Table:
        frame = cy.DataFrame(split[env.rank], env=env)
        pick: Callable[..., cy.DataFrame] = frame.nlargest if largest else frame.nsmallest
        return pick(10, "k", keep=keep).to_arrow()

    got = world.run(body)
    assert all(part.num_rows == 0 for part in got[1:])
    frame = pandas(whole)
    expected = frame.nlargest(10, "k", keep=keep) if largest else frame.nsmallest(10, "k", keep=keep)  # type: ignore[arg-type]
    assert rows(got) == rows(expected)


def test_top_rows_put_missing_values_last() -> None:
    frame = cy.DataFrame({"x": [1.0, None, float("nan"), 3.0], "s": ["a", "b", "c", "d"]})
    assert frame.nlargest(3, "x").to_dict()["s"] == ["d", "a", "c"]
    assert frame.nsmallest(9, ["x", "s"]).to_dict()["s"] == ["a", "d", "c", "b"]
    assert frame.nlargest(-1, "x").shape == (0, 2)


def test_unknown_keep_and_column_are_refused() -> None:
    frame = cy.DataFrame({"x": [1]})
    with pytest.raises(ValueError, match="keep='best' is not one of 'first', 'last', 'all'"):
        frame.nlargest(1, "x", keep="best")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="z"):
        frame.nsmallest(1, "z")


@pytest.mark.parametrize("operation", ["union", "intersect", "subtract"])
def test_set_operations_are_those_of_sets_of_rows(world: World, operation: str) -> None:
    left, right = table(90, 31).select(["k", "s"]), table(60, 32).select(["k", "s"])
    lefts, rights = parts(left, world.ranks, 1), parts(right, world.ranks, 2)

    def body(env: cy.CylonEnv) -> pa.Table:
        frame = cy.DataFrame(lefts[env.rank], env=env)
        combine: Callable[[cy.DataFrame], cy.DataFrame] = getattr(frame, operation)
        return combine(cy.DataFrame(rights[env.rank])).to_arrow()

    ours, theirs = set(rows(left)), set(rows(right))
    expected = {"union": ours | theirs, "intersect": ours & theirs, "subtract": ours - theirs}[operation]
    assert sorted(rows(world.run(body))) == sorted(expected)


def test_sets_of_other_columns_are_refused() -> None:
    with pytest.raises(TypeError, match="column 0 is 'x' of type int64 on the left and 'y' of type int64 on the right"):
        cy.DataFrame({"x": [1]}).intersect(cy.DataFrame({"y": [1]}))
