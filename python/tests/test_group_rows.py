"""First and last rows of groups, against pandas, on generated tables, in every kind of world."""

from __future__ import annotations

import pyarrow as pa
import pytest
from worlds import World, pandas, parts, rows, table

import pycylon as cy

COUNTS = [0, 1, 2, 5, 1000, -1, -3]


@pytest.mark.parametrize("key", ["int64", "string"])
def test_first_and_last_rows_are_those_of_pandas(world: World, key: str) -> None:
    whole = table(200, 81, key)
    split = parts(whole, world.ranks, 3)

    def body(env: cy.CylonEnv) -> list[pa.Table]:
        frame = cy.DataFrame(split[env.rank], env=env)
        groups = [frame.groupby("k"), frame.groupby(["k", "j"], dropna=False)]
        return [some.to_arrow() for group in groups for n in COUNTS for some in (group.head(n), group.tail(n))]

    results = world.run(body)
    frame = pandas(whole)
    wanted = [frame.groupby("k"), frame.groupby(["k", "j"], dropna=False)]
    at = 0
    for group in wanted:
        for n in COUNTS:
            for some in (group.head(n), group.tail(n)):
                assert rows([result[at] for result in results]) == rows(some), (at, n)
                at += 1


@pytest.mark.parametrize("value", ["x", "n", "s"])
def test_largest_and_smallest_rows_are_those_of_a_sort_in_pandas(world: World, value: str) -> None:
    whole = table(200, 83, "string")
    split = parts(whole, world.ranks, 3)
    counts = (0, 1, 3, 40)

    def body(env: cy.CylonEnv) -> list[pa.Table]:
        groups = cy.DataFrame(split[env.rank], env=env).groupby("k")
        return [top(n, columns=value).to_arrow() for n in counts for top in (groups.nlargest, groups.nsmallest)]

    results = world.run(body)
    frame = pandas(whole)
    at = 0
    for n in counts:
        for ascending in (False, True):
            wanted = frame.sort_values(value, ascending=ascending, kind="stable").groupby("k").head(n)
            assert rows([result[at] for result in results]) == rows(wanted), (n, ascending)
            at += 1


def test_largest_rows_have_keys_and_chosen_columns() -> None:
    frame = cy.DataFrame({"k": [1, 1, 2], "x": [5, 6, 7], "y": [1.0, None, 2.0]})
    assert frame.groupby("k")["x"].nlargest(1).to_dict() == {"k": [2, 1], "x": [7, 6]}
    assert frame.groupby("k")["x"].nsmallest(1, columns="y").to_dict() == {"k": [1, 2], "x": [5, 7]}
    assert frame.groupby("k").nlargest(5, columns=["y", "x"]).to_dict() == {
        "k": [2, 1, 1],
        "x": [7, 5, 6],
        "y": [2.0, 1.0, None],
    }
    with pytest.raises(ValueError, match="by which column"):
        frame.groupby("k").nlargest(1)
    assert frame.groupby("k")["x"].nlargest(-1).to_dict() == {"k": [], "x": []}
    with pytest.raises(KeyError, match="z"):
        frame.groupby("k").nlargest(1, columns="z")


def test_rows_stay_at_their_rank() -> None:
    def body(env: cy.CylonEnv) -> dict[str, list[int]]:
        frame = cy.DataFrame({"k": [1, 2, 1], "rank": [env.rank] * 3}, env=env)
        return frame.groupby("k").tail(1).to_dict()

    assert World("sim", 2).run(body) == [{"k": [], "rank": []}, {"k": [2, 1], "rank": [1, 1]}]


def test_chosen_columns_come_alone_and_by_default_five_rows() -> None:
    frame = cy.DataFrame({"k": [1] * 7, "x": list(range(7)), "y": list(range(7))})
    assert frame.groupby("k")[["y"]].head().to_dict() == {"y": [0, 1, 2, 3, 4]}
    assert frame.groupby("k")["y"].tail().to_dict() == {"y": [2, 3, 4, 5, 6]}
    assert frame.groupby("k")[["y", "k"]].head(1).to_dict() == {"y": [0], "k": [1]}
    assert frame.groupby("k").head(1).columns == ["k", "x", "y"]


def test_nothing_has_no_first_rows() -> None:
    empty = cy.DataFrame({"k": pa.array([], pa.string()), "x": pa.array([], pa.int64())})
    assert empty.groupby("k").head(3).to_dict() == {"k": [], "x": []}


def test_nested_keys_are_refused() -> None:
    frame = cy.DataFrame({"l": pa.array([[1]])})
    with pytest.raises(TypeError, match="group key 'l'"):
        frame.groupby("l").head(1)
