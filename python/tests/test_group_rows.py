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
