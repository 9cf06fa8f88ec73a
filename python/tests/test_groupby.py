"""Aggregates by group and over all rows, against pandas, on generated tables, on one, two and three ranks."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from worlds import World, pandas, parts, rows, table

import pycylon as cy

RANKS = [World("sim", 1), World("sim", 2), World("inproc", 3, spill=True)]
FUNCTIONS = {
    "x": ["first", "last", "nunique", "median", "prod", "sum", "size"],
    "n": ["median", "nunique", "any", "all", "first", "std"],
    "s": ["first", "last", "nunique", "min"],
}


def grouped(whole: pa.Table, world: World, **named: tuple[str, str]) -> list[pa.Table]:
    split = parts(whole, world.ranks, 3)
    return world.run(lambda env: cy.DataFrame(split[env.rank], env=env).groupby(["k", "j"]).agg(**named).to_arrow())


def expected(whole: pa.Table, **named: tuple[str, str]) -> pd.DataFrame:
    return pandas(whole).groupby(["k", "j"]).agg(**named).reset_index()


@pytest.mark.parametrize("few", RANKS, ids=str)
@pytest.mark.parametrize("seed", [71, 72])
def test_named_aggregates_are_those_of_pandas(few: World, seed: int) -> None:
    whole = table(300, seed)
    named = {f"{column}_{function}": (column, function) for column, some in FUNCTIONS.items() for function in some}
    got = grouped(whole, few, **named)
    wanted = expected(whole, **named)
    assert got[0].column_names == list(wanted.columns)
    assert rows(got) == rows(wanted)


@pytest.mark.parametrize("few", RANKS, ids=str)
@pytest.mark.parametrize("q", [0, 0.1, 0.5, 0.9, 1])
def test_quantiles_are_those_of_pandas(few: World, q: float) -> None:
    whole = table(300, 73).select(["k", "x", "n"])
    split = parts(whole, few.ranks, 3)
    got = few.run(lambda env: cy.DataFrame(split[env.rank], env=env).groupby("k").quantile(q).to_arrow())
    assert rows(got) == rows(pandas(whole).groupby("k").quantile(q).reset_index())


@pytest.mark.parametrize("few", RANKS, ids=str)
def test_mostly_distinct_keys_are_grouped_as_by_pandas(few: World) -> None:
    rng = np.random.default_rng(74)
    whole = pa.table({"k": rng.permutation(2000) // 2 * 1.5, "x": rng.normal(size=2000)})
    split = parts(whole, few.ranks, 3)
    functions = ["sum", "mean", "std", "min", "max", "count"]
    got = few.run(lambda env: cy.DataFrame(split[env.rank], env=env).groupby("k").agg({"x": functions}).to_arrow())
    wanted = pandas(whole).groupby("k")["x"].agg(functions).reset_index()
    assert rows(got) == rows(wanted)


def test_groups_past_one_cache_are_those_of_pandas() -> None:
    rng = np.random.default_rng(75)
    whole = pa.table({"k": rng.integers(0, 60_000, 200_000), "v": rng.integers(-(2**40), 2**40, 200_000)})
    functions = ["sum", "mean", "std", "min", "max", "median"]
    got = cy.DataFrame(whole).groupby("k").agg({"v": functions}).to_pandas()
    wanted = whole.to_pandas().groupby("k")["v"].agg(functions).reset_index()
    assert list(got["k"]) == list(wanted["k"])
    for function in functions:
        np.testing.assert_allclose(got[f"v_{function}"], wanted[function], rtol=1e-9)


@pytest.mark.parametrize("base", [0.0, 1e9, -1e12])
def test_variances_of_small_noise_on_large_numbers_lose_nothing(base: float) -> None:
    rng = np.random.default_rng(76)
    noise = rng.integers(0, 1024, 50_000) / 1024  # exact beside the base
    frame = cy.DataFrame({"g": rng.integers(0, 10, 50_000), "x": base + noise})
    got = frame.groupby("g").var().to_pandas()["x"]
    keys = frame["g"].to_numpy()
    np.testing.assert_allclose(got, [np.var(noise[keys == g], ddof=1) for g in range(10)], rtol=1e-9)


@pytest.mark.parametrize("few", RANKS, ids=str)
def test_reductions_of_a_column_are_those_of_pandas(few: World) -> None:
    whole = table(200, 77)
    split = parts(whole, few.ranks, 3)

    def body(env: cy.CylonEnv) -> list[object]:
        frame = cy.DataFrame(split[env.rank], env=env)
        x, s = frame["x"], frame["s"]
        return [x.median(), x.quantile(0.3), x.nunique(), s.nunique(), x.any(), x.all(), (frame["j"] + 1).prod()]

    frame = pandas(whole)
    x = frame["x"]
    product = math.prod(int(v) + 1 for v in frame["j"])
    for got in few.run(body) if product < 2**63 else []:
        assert got[6] == product
    few_rows = whole.slice(0, 20)
    split = parts(few_rows, few.ranks, 3)
    frame = pandas(few_rows)
    x = frame["x"]
    for got in few.run(body):
        assert got[:2] == pytest.approx([x.median(), x.quantile(0.3)], rel=1e-12)
        assert got[2:6] == [
            x.nunique(),
            frame["s"].nunique(),
            bool((x.dropna() != 0).any()),
            bool((x.dropna() != 0).all()),
        ]
        assert got[6] == math.prod(int(v) + 1 for v in frame["j"])


def test_reproducible_sums_have_the_same_bits_on_any_number_of_ranks() -> None:
    rng = np.random.default_rng(78)
    whole = pa.table({"k": rng.integers(0, 20, 3000), "x": rng.normal(size=3000) * 10.0 ** rng.integers(-12, 12, 3000)})
    seen = set()
    for few in RANKS:
        split = parts(whole.take(rng.permutation(3000)), few.ranks, 3)

        def body(env: cy.CylonEnv, split: list[pa.Table] = split) -> tuple[pa.Table, list[float]]:
            frame = cy.DataFrame(split[env.rank], env=env)
            groups = frame.groupby("k", reproducible=True).agg({"x": ["sum", "mean", "var", "std"]})
            x = frame["x"]
            return groups.gather().to_arrow(), [x.sum(reproducible=True), x.var(reproducible=True)]

        seen.update(str((groups.to_pydict(), reductions)) for groups, reductions in few.run(body))
    assert len(seen) == 1
    sums = pandas(whole).groupby("k")["x"].apply(math.fsum)
    got = cy.DataFrame(whole).groupby("k", reproducible=True)["x"].sum().to_pandas()
    assert list(got["x"]) == list(sums)


def test_nothing_has_no_median_and_multiplies_to_one() -> None:
    empty = cy.DataFrame({"x": pa.array([], pa.float64())})["x"]
    assert empty.median() is None
    assert (empty.nunique(), empty.prod(), empty.any(), empty.all()) == (0, 1.0, False, True)


@pytest.mark.parametrize("q", [-0.1, 1.5, math.nan])
def test_quantiles_outside_zero_to_one_are_refused(q: float) -> None:
    frame = cy.DataFrame({"k": [1], "x": [2]})
    with pytest.raises(ValueError, match="between 0 and 1"):
        frame.groupby("k").quantile(q)
    with pytest.raises(ValueError, match="between 0 and 1"):
        frame["x"].quantile(q)


def test_a_product_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="the product of column 'x' does not fit int64"):
        cy.DataFrame({"k": [1, 1], "x": [2**62, 2]}).groupby("k").prod()


def test_output_names_that_clash_are_refused() -> None:
    frame = cy.DataFrame({"k": [1], "x": [2]})
    with pytest.raises(ValueError, match="two columns 'k'"):
        frame.groupby("k").agg(k=("x", "sum"))
    with pytest.raises(ValueError, match="two columns 'x_sum'"):
        frame.groupby("k").agg({"x": ["sum", "sum"]})


def test_aggregates_that_a_type_does_not_have_are_refused() -> None:
    frame = cy.DataFrame({"k": [1], "s": ["a"], "l": pa.array([[1]])})
    with pytest.raises(TypeError, match="column 's' of type string has no median"):
        frame.groupby("k").agg(m=("s", "median"))
    with pytest.raises(TypeError, match="has no first"):
        frame.groupby("k").agg(f=("l", "first"))
    with pytest.raises(TypeError, match="group key 'l'"):
        frame.groupby("l").size()
