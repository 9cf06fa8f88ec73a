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


@pytest.mark.parametrize("few", RANKS, ids=str)
@pytest.mark.parametrize("compression", [20, 100])
def test_approximate_quantiles_are_near_those_of_pandas(few: World, compression: int) -> None:
    rng = np.random.default_rng(79)
    shapes = [rng.uniform(size=9000), rng.normal(1e6, 1, 9000), rng.lognormal(0, 3, 9000), np.arange(9000.0)]
    whole = pa.table({"k": np.repeat(np.arange(4), 9000), "x": np.concatenate(shapes)})
    whole = whole.take(rng.permutation(len(whole)))
    split = parts(whole, few.ranks, 3)
    qs = [0, 0.01, 0.25, 0.5, 0.9, 0.999, 1]

    def body(env: cy.CylonEnv) -> tuple[list[pa.Table], list[float]]:
        frame = cy.DataFrame(split[env.rank], env=env)
        groups = frame.groupby("k", approximate=True, compression=compression)
        found = [groups.quantile(q).gather().to_arrow() for q in qs]
        return found, [frame["x"].quantile(q, approximate=True, compression=compression) for q in qs]

    for tables, of_all in few.run(body):
        for i, q in enumerate(qs):
            step = 2 * math.pi / compression
            slack = step * math.sqrt(q * (1 - q)) + step * step / 4
            values = dict(zip(*tables[i].to_pydict().values(), strict=True))
            for key, shape in enumerate(shapes):
                assert abs(np.mean(shape < values[key]) - q) <= slack, (key, q)
            # Between the numbers of two shapes lies none, so that a rank there is off by the centroids of both.
            assert abs(np.mean(whole["x"].to_numpy() < of_all[i]) - q) <= 2 * slack


@pytest.mark.parametrize("few", RANKS, ids=str)
def test_approximate_quantiles_of_small_groups_are_those_of_pandas(few: World) -> None:
    whole = table(300, 80).select(["k", "x", "n"])
    split = parts(whole, few.ranks, 3)

    def body(env: cy.CylonEnv) -> list[object]:
        frame = cy.DataFrame(split[env.rank], env=env)
        groups = frame.groupby("k", approximate=True)
        return [
            groups.quantile(0.3).to_arrow(),
            groups.agg(m=("x", "median"), n=("n", "median"), most=("x", "max")).to_arrow(),
            frame["x"].median(approximate=True),
        ]

    results = few.run(body)
    grouped = pandas(whole).groupby("k")
    assert rows([result[0] for result in results]) == rows(grouped.quantile(0.3).reset_index())
    wanted = grouped.agg(m=("x", "median"), n=("n", "median"), most=("x", "max")).reset_index()
    assert rows([result[1] for result in results]) == rows(wanted)
    assert results[0][2] == pytest.approx(pandas(whole)["x"].median(), rel=1e-12)


@pytest.mark.parametrize("approximate", [False, True])
def test_infinities_have_medians(approximate: bool) -> None:
    inf = math.inf
    whole = pa.table({"k": list("aabbccdd"), "x": [0.0, -inf, inf, 1.0, -inf, inf, -inf, -inf]})
    got = cy.DataFrame(whole).groupby("k", approximate=approximate).median().to_dict()["x"]
    wanted = pandas(whole).groupby("k")["x"].median().tolist()
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(got, [-inf, inf, math.nan, -inf])


@pytest.mark.parametrize("compression", [0, 9, 10_001])
def test_compressions_that_make_no_sense_are_refused(compression: int) -> None:
    frame = cy.DataFrame({"k": [1], "x": [2]})
    with pytest.raises(ValueError, match=f"a compression of {compression} was asked for column 'x'"):
        frame.groupby("k", approximate=True, compression=compression).median()
    with pytest.raises(ValueError, match="between 10 and 10000"):
        frame["x"].median(approximate=True, compression=compression)


@pytest.mark.parametrize("q", [-0.1, 1.5, math.nan])
def test_quantiles_outside_zero_to_one_are_refused(q: float) -> None:
    frame = cy.DataFrame({"k": [1], "x": [2]})
    with pytest.raises(ValueError, match="between 0 and 1"):
        frame.groupby("k").quantile(q)
    with pytest.raises(ValueError, match="between 0 and 1"):
        frame["x"].quantile(q)
    with pytest.raises(ValueError, match="between 0 and 1"):
        frame.groupby("k", approximate=True).quantile(q)


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
