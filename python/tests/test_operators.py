"""Every operator against pandas, on generated tables, in every world; `property/` has every type of key."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from worlds import World, pandas, parts, rows, table

import pycylon as cy

HOWS = ["inner", "left", "right", "outer", "semi", "anti"]
FEW = [World("sim", 3), World("inproc", 2, spill=True), World("tcp", 2)]


def merged(left: pa.Table, right: pa.Table, world: World, **arguments: object) -> list[pa.Table]:
    """The parts of left merged with right."""
    lefts, rights = parts(left, world.ranks, 1), parts(right, world.ranks, 2)

    def body(env: cy.CylonEnv) -> pa.Table:
        frame = cy.DataFrame(lefts[env.rank], env=env)
        return frame.merge(cy.DataFrame(rights[env.rank]), **arguments).to_arrow()  # type: ignore[arg-type]

    results = world.run(body)
    assert len({result.schema for result in results}) == 1
    return results


def expected_merge(left: pd.DataFrame, right: pd.DataFrame, how: str, on: list[str]) -> pd.DataFrame:
    if how not in ("semi", "anti"):
        return left.merge(right, how=how, on=on)
    numbered = left.assign(row=range(len(left)))
    matched = set(numbered.merge(right[on].drop_duplicates(), on=on)["row"])
    return left[[(i in matched) == (how == "semi") for i in range(len(left))]]


@pytest.mark.parametrize("how", HOWS)
def test_merge_gives_pandas_rows_in_every_world(world: World, how: str) -> None:
    left, right = table(120, 11), table(60, 12).select(["k", "j", "s"])
    got = merged(left, right, world, how=how, on=["k", "j"])
    expected = expected_merge(pandas(left), pandas(right), how, ["k", "j"])
    assert got[0].column_names == list(expected.columns)
    assert sorted(rows(got)) == sorted(rows(expected))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("few", FEW, ids=str)
def test_merge_by_sorting_gives_pandas_rows(few: World, how: str) -> None:
    left, right = table(120, 11), table(60, 12).select(["k", "j", "s"])
    got = merged(left, right, few, how=how, on=["k", "j"], algorithm="sort")
    expected = expected_merge(pandas(left), pandas(right), how, ["k", "j"])
    assert sorted(rows(got)) == sorted(rows(expected))


def test_cross_merge_pairs_every_row(world: World) -> None:
    left, right = table(30, 21), table(20, 22).select(["k", "s"])
    got = merged(left, right, world, how="cross")
    expected = pandas(left).merge(pandas(right), how="cross")
    assert got[0].column_names == list(expected.columns)
    assert sorted(rows(got)) == sorted(rows(expected))


def conditional(left: pd.DataFrame, right: pd.DataFrame, how: str) -> pd.DataFrame:
    """Left and right merged on j where x < y, by pandas: pairs first, then the rows that no pair has."""
    lefts, rights = left.assign(row=range(len(left))), right.assign(other=range(len(right)))
    pairs = lefts.merge(rights, on="j")
    pairs = pairs[pairs["x"] < pairs["y"]]
    if how in ("semi", "anti"):
        return left[lefts["row"].isin(pairs["row"]) == (how == "semi")]
    unmatched = [pairs]
    if how in ("left", "outer"):
        unmatched.append(lefts[~lefts["row"].isin(pairs["row"])])
    if how in ("right", "outer"):
        unmatched.append(rights[~rights["other"].isin(pairs["other"])])
    return pd.concat(unmatched)[[*left.columns, "y"]]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("few", FEW, ids=str)
def test_merge_with_a_condition_gives_what_pairs_and_filter_give(few: World, how: str) -> None:
    left = table(80, 61).select(["j", "x"])
    right = table(50, 62).select(["j", "x"]).rename_columns(["j", "y"])
    got = merged(left, right, few, how=how, on="j", condition=("x", "<", "y"))
    expected = conditional(pandas(left), pandas(right), how)
    assert sorted(rows(got)) == sorted(rows(expected))


def test_merge_of_null_keys_can_be_switched_off(world: World) -> None:
    left, right = table(60, 31), table(40, 32).select(["k", "s"])
    got = merged(left, right, world, on="k", null_keys="never")
    frames = pandas(left), pandas(right)
    expected = frames[0].dropna(subset=["k"]).merge(frames[1].dropna(subset=["k"]), on="k")
    assert sorted(rows(got)) == sorted(rows(expected))


@pytest.mark.parametrize("few", FEW, ids=str)
def test_merge_with_differing_key_names_and_suffixes(few: World) -> None:
    left, right = table(60, 41), table(40, 42).rename_columns(["key", "j", "x", "n", "t"])
    got = merged(left, right, few, left_on="k", right_on="key", suffixes=("_left", "_right"))
    expected = pandas(left).merge(pandas(right), left_on="k", right_on="key", suffixes=("_left", "_right"))
    assert got[0].column_names == list(expected.columns)
    assert sorted(rows(got)) == sorted(rows(expected))


@pytest.mark.parametrize("few", FEW, ids=str)
@pytest.mark.parametrize(("left_rows", "right_rows"), [(0, 0), (0, 5), (5, 0), (1, 1)])
def test_merge_of_tables_with_few_rows(few: World, left_rows: int, right_rows: int) -> None:
    left, right = table(5, 51).slice(0, left_rows), table(5, 52).slice(0, right_rows)
    for how in ("inner", "outer", "anti"):
        got = merged(left, right, few, how=how, on=["k", "j"])
        expected = expected_merge(pandas(left), pandas(right), how, ["k", "j"])
        assert sorted(rows(got)) == sorted(rows(expected))


def grouped(whole: pa.Table, world: World, by: list[str], dropna: bool = True) -> list[pa.Table]:
    split = parts(whole, world.ranks, 3)
    functions = {"x": ["sum", "count", "mean", "var", "std"], "n": ["sum", "min", "max", "mean"], "s": ["min", "max"]}

    def body(env: cy.CylonEnv) -> pa.Table:
        frame = cy.DataFrame(split[env.rank], env=env)
        return frame.groupby(by, dropna=dropna).agg(functions).to_arrow()

    return world.run(body)


def expected_groups(frame: pd.DataFrame, by: list[str], dropna: bool = True) -> pd.DataFrame:
    functions = {"x": ["sum", "count", "mean", "var", "std"], "n": ["sum", "min", "max", "mean"], "s": ["min", "max"]}
    out = frame.groupby(by, dropna=dropna).agg(functions)
    out.columns = [f"{column}_{function}" for column, function in out.columns]
    return out.reset_index()


@pytest.mark.parametrize("dropna", [True, False])
def test_groups_are_those_of_pandas_and_sorted(world: World, dropna: bool) -> None:
    whole = table(200, 61)
    got = grouped(whole, world, ["k", "j"], dropna)
    expected = expected_groups(pandas(whole), ["k", "j"], dropna)
    assert got[0].column_names == list(expected.columns)
    assert rows(got) == rows(expected)


def sorted_parts(whole: pa.Table, world: World, **arguments: object) -> list[pa.Table]:
    split = parts(whole, world.ranks, 4)
    return world.run(
        lambda env: cy.DataFrame(split[env.rank], env=env).sort_values(**arguments).to_arrow()  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("ascending", [True, False, [True, False, True]])
@pytest.mark.parametrize("na_position", ["first", "last"])
def test_sort_is_that_of_pandas(world: World, ascending: bool | list[bool], na_position: str) -> None:
    whole = table(150, 71)
    by = ["k", "s", "x"]
    got = sorted_parts(whole, world, by=by, ascending=ascending, na_position=na_position)
    expected = pandas(whole).sort_values(by, ascending=ascending, na_position=na_position, kind="stable")
    assert rows(got) == rows(expected)


def test_one_heavy_value_does_not_make_one_heavy_rank() -> None:
    whole = pa.table({"k": [7] * 3000, "row": list(range(3000))})
    got = sorted_parts(whole, World("inproc", 3), by="k")
    assert max(part.num_rows for part in got) <= 1500
    assert [row[1] for row in rows(got)] == [str(i) for i in range(3000)]


@pytest.mark.parametrize("keep", ["first", "last", False])
@pytest.mark.parametrize("subset", [None, ["k"], ["j", "s"]])
def test_duplicates_are_dropped_as_in_pandas(world: World, keep: str | bool, subset: list[str] | None) -> None:
    whole = pa.concat_tables([table(60, 81), table(60, 81).slice(10, 30)])
    split = parts(whole, world.ranks, 5)

    def body(env: cy.CylonEnv) -> pa.Table:
        return cy.DataFrame(split[env.rank], env=env).drop_duplicates(subset, keep=keep).to_arrow()  # type: ignore[arg-type]

    assert rows(world.run(body)) == rows(pandas(whole).drop_duplicates(subset, keep=keep))  # type: ignore[arg-type]


def test_filter_head_slice_concat_and_reductions(world: World) -> None:
    whole = table(100, 91)
    split = parts(whole, world.ranks, 6)
    frame = pandas(whole)

    def body(env: cy.CylonEnv) -> dict[str, object]:
        mine = cy.DataFrame(split[env.rank], env=env)
        filtered = mine[(mine["n"] > 0) & mine["s"].isin(["a", "zz", None])]
        return {
            "filtered": filtered.to_arrow(),
            "head": mine.head(17).to_arrow(),
            "slice": mine.slice(20, 31).to_arrow(),
            "concat": cy.concat([mine, filtered]).to_arrow(),
            "even": mine.repartition().to_arrow(),
            "count": filtered.count_rows(),
            "stats": [
                *(mine["x"].sum(), mine["x"].mean(), mine["x"].std()),
                *(mine["n"].min(), mine["n"].max(), mine["n"].sum()),
            ],
            "all": mine.gather().to_arrow(),
        }

    results = world.run(body)
    mask = (frame["n"] > 0).fillna(False) & frame["s"].isin(["a", "zz", None])
    assert rows([r["filtered"] for r in results]) == rows(frame[mask])
    assert rows([r["head"] for r in results]) == rows(frame.head(17))
    assert rows([r["slice"] for r in results]) == rows(frame.iloc[20:51])
    assert sorted(rows([r["concat"] for r in results])) == sorted(rows(pd.concat([frame, frame[mask]])))
    sizes = [r["even"].num_rows for r in results]
    assert max(sizes) - min(sizes) <= 1
    assert rows([r["even"] for r in results]) == rows(frame)
    for result in results:
        assert result["count"] == int(mask.sum())
        assert rows(result["all"]) == rows(frame)
        x, n = frame["x"], frame["n"]
        assert result["stats"] == pytest.approx([x.sum(), x.mean(), x.std(), n.min(), n.max(), n.sum()])


def test_equality_over_ranks(world: World) -> None:
    whole = table(80, 95)
    first, second = parts(whole, world.ranks, 7), parts(whole, world.ranks, 8)
    shuffled = whole.take(list(reversed(range(80))))
    third = parts(shuffled, world.ranks, 9)

    def body(env: cy.CylonEnv) -> list[bool]:
        a, b, c = (cy.DataFrame(p[env.rank], env=env) for p in (first, second, third))
        renamed = b.rename({"k": "q"})
        return [a.equals(b), a.equals(c), a.equals(c, ordered=False), a.equals(a.head(79)), a.equals(renamed)]

    assert world.run(body) == [[True, False, True, False, False]] * world.ranks


def test_shuffle_brings_equal_keys_together(world: World) -> None:
    whole = table(100, 96, "string")
    split = parts(whole, world.ranks, 1)
    got = world.run(lambda env: cy.DataFrame(split[env.rank], env=env).shuffle("k").to_arrow())
    assert sorted(rows(got)) == sorted(rows(whole))
    seen: dict[object, int] = {}
    for rank, part in enumerate(got):
        for key in part.column("k").to_pylist():
            assert seen.setdefault(key, rank) == rank
