"""Reading and writing, against pandas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import World, parts, rows, table

import pycylon as cy

SOME = [World("inproc", 1), World("sim", 3), World("inproc", 7), World("tcp", 2, spill=True)]


@pytest.fixture(params=SOME, ids=str)
def some(request: pytest.FixtureRequest) -> World:
    """A few worlds."""
    world: World = request.param
    return world


def read(world: World, path: object, **arguments: object) -> list[pa.Table]:
    return world.run(lambda env: cy.read_csv(path, env=env, **arguments).to_arrow())  # type: ignore[arg-type]


def test_csv_rows_are_neither_lost_nor_doubled(some: World, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    lines = ["id,word,number"] + [f"{i},{'w' * (i % 17)}x,{i / 4}" for i in range(500)]
    path.write_text("\n".join(lines) + "\n")
    assert rows(read(some, path)) == rows(pd.read_csv(path))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(some: World, tmp_path: Path, end: str, last: bool) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes((end.join(["a,b"] + [f"{i},{i * i}" for i in range(97)]) + (end if last else "")).encode())
    assert rows(read(some, path)) == rows(pd.read_csv(path))


def test_types_are_those_of_the_whole_file(some: World, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    lines = ["a,b,c,d"] + [f"{i},{i},NA,{'' if i % 2 else 'true'}" for i in range(300)] + ["1.5,word,NA,false"]
    path.write_text("\n".join(lines))
    got = read(some, path)
    assert [str(t) for t in got[0].schema.types[:2]] == ["double", "string"]
    assert len({part.schema for part in got}) == 1
    assert got[-1].column("b").to_pylist()[-1] == "word"
    assert rows(got)[0][1] == "0"


def test_words_for_null_are_those_of_pandas(some: World, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    words = ["NA", "N/A", "null", "None", "", "nan", "#N/A", "<NA>", "n/a", "-1.#IND", "x", "na", "none"]
    path.write_text("\n".join(["i,s,q"] + [f'{i},{w},"{w}"' for i, w in enumerate(words * 5)]))
    assert rows(read(some, path)) == rows(pd.read_csv(path))
    assert rows(read(some, path, na_values=["x"])) == rows(pd.read_csv(path, na_values=["x"]))
    got = rows(read(some, path, na_values=["x"], keep_default_na=False))
    assert got == rows(pd.read_csv(path, na_values=["x"], keep_default_na=False))


def test_quoted_newlines_by_option(some: World, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    lines = ["i,text"] + [f'{i},"line {i}\nnext ""{i}"", {"z" * (i % 9)}\n"' for i in range(120)]
    path.write_text("\n".join(lines))
    assert rows(read(some, path, newlines_in_quotes=True)) == rows(pd.read_csv(path))


def test_folders_globs_and_lists_of_files(some: World, tmp_path: Path) -> None:
    whole = pd.DataFrame({"i": range(60), "s": [f"v{i}" for i in range(60)]})
    for part in range(3):
        whole[part * 20 : part * 20 + 20].to_csv(tmp_path / f"part{part}.csv", index=False)
    for path in (tmp_path, str(tmp_path / "*.csv"), [tmp_path / f"part{i}.csv" for i in range(3)]):
        assert rows(read(some, path)) == rows(whole)


def test_few_rows_and_no_rows(some: World, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n")
    assert sum(part.num_rows for part in read(some, path)) == 0
    assert read(some, path)[0].column_names == ["a", "b"]
    path.write_text("a,b\n1,2")
    assert rows(read(some, path)) == [("1", "2")]


def test_csv_options(some: World, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1;x\n2;y\n3;z\n")
    got = read(some, path, sep=";", header=None, names=["n", "s"], usecols=["s", "n"], dtype={"n": "float64"})
    assert sorted(rows(got)) == sorted(rows(pa.table({"s": ["x", "y", "z"], "n": [1.0, 2.0, 3.0]})))
    with pytest.raises(KeyError, match="missing"):
        read(some, path, sep=";", header=None, names=["n", "s"], usecols=["missing"])


def test_ragged_lines_name_file_and_place(some: World, tmp_path: Path) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("a,b\n" + "1,2\n" * 50 + "1,2,3\n" + "1,2\n" * 50)
    with pytest.raises(ValueError, match=r"ragged\.csv"):
        read(some, path)


def test_parquet_there_and_back(some: World, tmp_path: Path) -> None:
    whole = table(300, 5)
    split = parts(whole, some.ranks)
    out = tmp_path / "out"

    def body(env: cy.CylonEnv) -> tuple[pa.Table, pa.Table]:
        cy.DataFrame(split[env.rank], env=env).to_parquet(out, row_group_rows=37)
        return cy.read_parquet(out, env=env).to_arrow(), cy.read_parquet(out, columns=["s", "k"], env=env).to_arrow()

    results = some.run(body)
    assert rows([r[0] for r in results]) == rows(whole)
    assert rows([r[1] for r in results]) == rows(whole.select(["s", "k"]))
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"part-{rank:05}.parquet" for rank in range(some.ranks)]
    assert pq.read_table(out).num_rows == 300


def test_writing_again_replaces_the_files_of_a_larger_world(tmp_path: Path) -> None:
    out = tmp_path / "out"
    World("inproc", 3).run(lambda env: cy.DataFrame({"a": [env.rank]}, env=env).to_parquet(out))
    World("inproc", 2).run(lambda env: cy.DataFrame({"a": [env.rank]}, env=env).to_parquet(out))
    assert sorted(path.name for path in out.iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
    with pytest.raises(ValueError, match="overwrite"):
        cy.DataFrame({"a": [1]}).to_parquet(out, overwrite=False)


def test_parquet_files_with_different_schemas(some: World, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "two.parquet")
    with pytest.raises(ValueError, match=r"two\.parquet"):
        some.run(lambda env: cy.read_parquet(tmp_path, env=env))


def test_folder_without_files(some: World, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no.*parquet"):
        some.run(lambda env: cy.read_parquet(tmp_path, env=env))
