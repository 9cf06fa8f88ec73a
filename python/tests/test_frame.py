"""Frames and columns in one process: data in and out, and what works row by row."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import pycylon as cy


@pytest.mark.parametrize(
    "data",
    [
        {"a": [1, 2, 3], "b": ["x", None, "z"]},
        [{"a": 1, "b": "x"}, {"a": 2, "b": None}, {"a": 3, "b": "z"}],
        pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}),
        pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}),
        pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}),
        pa.record_batch({"a": [1, 2, 3], "b": ["x", None, "z"]}),
    ],
    ids=["dict", "rows", "pandas", "polars", "pyarrow", "batch"],
)
def test_data_of_every_kind_comes_in(data: object) -> None:
    frame = cy.DataFrame(data)
    assert frame.shape == (3, 2)
    assert frame.columns == ["a", "b"]
    assert frame.to_dict() == {"a": [1, 2, 3], "b": ["x", None, "z"]}


def test_arrays_come_in_with_positions_as_names() -> None:
    frame = cy.DataFrame(np.arange(6).reshape(3, 2))
    assert frame.columns == ["0", "1"]
    assert frame.merge(frame, on=[0]).shape == (3, 3)
    assert cy.DataFrame(np.arange(4), columns=["n"]).to_dict() == {"n": [0, 1, 2, 3]}


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot make a DataFrame of int"):
        cy.DataFrame(5)
    with pytest.raises(ValueError, match="3 dimensions"):
        cy.DataFrame(np.zeros((2, 2, 2)))
    with pytest.raises((TypeError, ValueError), match="sequence of values"):
        cy.DataFrame({"a": 5})


def test_data_go_out_and_come_in_without_a_copy() -> None:
    array = pa.array(np.arange(1000))
    frame = cy.DataFrame(pa.table({"a": array}))
    out = frame.to_arrow().column("a").chunk(0)
    assert out.buffers()[1].address == array.buffers()[1].address
    assert pl.DataFrame(frame).shape == (1000, 1)
    assert pd.DataFrame.from_arrow(frame).shape == (1000, 1)


def test_a_result_outlives_its_environment() -> None:
    env = cy.CylonEnv(distributed=False)
    frame = cy.DataFrame({"a": list(range(1000))}, env=env).sort_values("a", ascending=False)
    out = frame.to_arrow()
    env.finalize()
    del frame, env
    assert out.column("a")[0].as_py() == 999


def test_tables_without_rows_or_columns() -> None:
    assert cy.DataFrame().shape == (0, 0)
    empty = cy.DataFrame({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())})
    assert empty.shape == (0, 2)
    assert empty.sort_values("a").dtypes == {"a": pa.int64(), "b": pa.string()}
    assert empty[empty["a"] > 1].shape == (0, 2)
    assert empty.groupby("b").agg({"a": "sum"}).shape == (0, 2)


def test_comparison_and_arithmetic() -> None:
    frame = cy.DataFrame({"a": [1, 2, None, 4], "b": [4, 2, 3, 0], "s": ["x", "y", None, "z"]})
    a, b = frame["a"], frame["b"]
    assert (a > 1).to_list() == [False, True, None, True]
    assert (a == b).to_list() == [False, True, None, False]
    assert (a + b * 2 - 1).to_list() == [8, 5, None, 3]
    assert (10 - a).to_list() == [9, 8, None, 6]
    assert (a / 2).to_list() == [0.5, 1.0, None, 2.0]
    assert (a / b).to_list()[:2] == [0.25, 1.0]
    assert (-a).to_list() == [-1, -2, None, -4]
    assert (frame["s"] + "!").to_list() == ["x!", "y!", None, "z!"]
    assert (~(a > 1) | (b == 0)).to_list() == [True, False, None, True]
    assert a.isin([1, 4]).to_list() == [True, False, False, True]
    assert frame["s"].isin(["x", None]).to_list() == [True, False, True, False]
    assert a.isnull().to_list() == [False, False, True, False]
    assert a.fillna(0).to_list() == [1, 2, 0, 4]
    assert cy.Series([1.5, float("nan"), None]).isnull().to_list() == [False, True, True]


def test_arithmetic_never_wraps() -> None:
    with pytest.raises(ValueError, match="overflow"):
        _ = cy.Series([2**63 - 1]) + 1


def test_dates_compare_with_dates() -> None:
    when = cy.Series([datetime.datetime(2013, 1, 1), datetime.datetime(2014, 1, 1)])
    assert (when < datetime.datetime(2013, 6, 1)).to_list() == [True, False]


def test_masks_and_selection() -> None:
    frame = cy.DataFrame({"a": [1, 2, 3], "b": [True, None, False]})
    assert frame[frame["b"]].to_dict() == {"a": [1], "b": [True]}
    assert frame[["b"]].columns == ["b"]
    assert frame[1:].to_dict()["a"] == [2, 3]
    assert frame.drop("a").columns == ["b"]
    assert frame.rename({"a": "z"}).columns == ["z", "b"]
    with pytest.raises(ValueError, match="truth of a column"):
        bool(frame["a"] > 1)
    with pytest.raises(TypeError, match="mask has to be boolean"):
        frame[frame["a"]]


def test_columns_are_set_and_cast() -> None:
    frame = cy.DataFrame({"a": [1, 2, 3]})
    frame["b"] = frame["a"] * 2
    frame["c"] = "x"
    frame["a"] = [7, 8, 9]
    assert frame.to_dict() == {"a": [7, 8, 9], "b": [2, 4, 6], "c": ["x", "x", "x"]}
    assert frame.astype({"a": "float32"}).dtypes["a"] == pa.float32()
    assert frame.assign(d=lambda f: f["a"] - f["b"]).to_dict()["d"] == [5, 4, 3]
    with pytest.raises(ValueError, match="'c'.*int64"):
        frame.astype({"c": "int64"})
    with pytest.raises(ValueError, match="3 and 2 rows"):
        frame["d"] = [1, 2]


def test_unknown_columns_are_named() -> None:
    frame = cy.DataFrame({"a": [1], "b": [2]})
    for wrong in (
        lambda: frame["z"],
        lambda: frame.sort_values("z"),
        lambda: frame.groupby("z"),
        lambda: frame.merge(frame, on="z"),
        lambda: frame.drop("z"),
        lambda: frame.rename({"z": "y"}),
        lambda: frame.drop_duplicates(["z"]),
        lambda: frame.groupby("a").agg({"z": "sum"}),
    ):
        with pytest.raises(KeyError, match=r"z.*a.*b"):
            wrong()


def test_arguments_that_make_no_sense() -> None:
    frame = cy.DataFrame({"a": [1], "b": ["x"]})
    with pytest.raises(ValueError, match="how='asof' is not one of 'inner'.*'cross'"):
        frame.merge(frame, how="asof")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="algorithm='loop' is not one of 'auto', 'hash', 'sort'"):
        frame.merge(frame, algorithm="loop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a cross join was given the keys a; .*; leave the keys out, or choose"):
        frame.merge(frame, how="cross", on="a")
    with pytest.raises(ValueError, match="condition='=<' is not one of '=='.*'<='"):
        frame.merge(frame, on="a", condition=("a", "=<", "a"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not .left column, comparison, right column.*write for example"):
        frame.merge(frame, on="a", condition=("a", "<"))  # type: ignore[arg-type]
    with pytest.raises(KeyError, match=r"z.*a.*b"):
        frame.merge(frame, on="a", condition=("a", "<", "z"))
    with pytest.raises(TypeError, match="the join condition 'a' < 'b' compares int64 with string; .*; cast one side"):
        frame.merge(frame, on="a", condition=("a", "<", "b"))
    with pytest.raises(TypeError, match="int64.*string|string.*int64"):
        frame.merge(frame, left_on="a", right_on="b")
    with pytest.raises(TypeError, match="'b'"):
        frame.groupby("a").agg({"b": "sum"})
    with pytest.raises(ValueError, match="'mode'"):
        frame.groupby("a").agg({"b": "mode"})
    with pytest.raises(ValueError, match="no columns in common"):
        frame.merge(cy.DataFrame({"z": [1]}))
    with pytest.raises(ValueError, match="is not a setting|unknown option|no option|nonsense"):
        cy.CylonEnv(nonsense=1)


def test_named_aggregation_and_shortcuts() -> None:
    frame = cy.DataFrame({"g": ["a", "b", "a", None], "x": [1, 2, 3, 4]})
    named = frame.groupby("g").agg(total=("x", "sum"), rows=("x", "size"))
    assert named.to_dict() == {"g": ["a", "b"], "total": [4, 2], "rows": [2, 1]}
    assert frame.groupby("g")["x"].mean().to_dict() == {"g": ["a", "b"], "x": [2.0, 2.0]}
    assert frame.groupby("g").size().to_dict() == {"g": ["a", "b"], "size": [2, 1]}
    assert frame.groupby("g", dropna=False).sum().to_dict() == {"g": ["a", "b", None], "x": [4, 2, 4]}
    assert frame.agg({"x": ["sum", "max"]}) == {"x_sum": 10, "x_max": 4}


def test_integer_sums_do_not_wrap() -> None:
    frame = cy.DataFrame({"g": [1, 1], "x": [2**62, 2**62]})
    with pytest.raises(ValueError, match="does not fit int64"):
        frame.groupby("g").agg({"x": "sum"})


def test_repr_shows_rows_and_size() -> None:
    text = repr(cy.DataFrame({"name": ["x", None], "value": [1.5, 2.5]}))
    assert "name" in text
    assert "[2 rows x 2 columns]" in text
