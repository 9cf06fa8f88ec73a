"""Bad input ends in an error at every rank, and the environment still works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import World, table

import pycylon as cy

SOME = [World("sim", 3), World("inproc", 3), World("tcp", 3)]


@pytest.fixture(params=SOME, ids=str)
def some(request: pytest.FixtureRequest) -> World:
    """A world of three ranks of each transport."""
    world: World = request.param
    return world


def errors_everywhere(world: World, body: Callable[[cy.CylonEnv], Any]) -> list[Exception]:
    """What `body` raises at each rank; the environment has to work afterwards."""

    def run(env: cy.CylonEnv) -> Exception:
        try:
            body(env)
        except Exception as error:
            raised = error
        else:
            raise AssertionError(f"rank {env.rank} raised nothing")
        env.barrier()
        assert cy.DataFrame({"a": [env.rank]}, env=env)["a"].sum() == sum(range(env.world_size))
        return raised

    return world.run(run)


def test_unknown_column_at_one_rank(some: World) -> None:
    def body(env: cy.CylonEnv) -> None:
        name = "zz" if env.rank == 1 else "k"
        frame = cy.DataFrame({"k": [1], "zz": [2]}) if env.rank == 1 else cy.DataFrame({"k": [1], "q": [2]})
        cy.DataFrame(frame.to_arrow(), env=env).sort_values(name)

    for error in errors_everywhere(some, body):
        assert isinstance(error, ValueError)


def test_ranks_with_different_schemas(some: World) -> None:
    def body(env: cy.CylonEnv) -> None:
        column = pa.array([1], pa.int64() if env.rank else pa.int32())
        cy.DataFrame({"k": column}, env=env).groupby("k").size()

    for error in errors_everywhere(some, body):
        assert isinstance(error, cy.CollectiveMismatchError)
        assert "int32" in str(error)
        assert "int64" in str(error)


def test_ranks_that_call_different_operators(some: World) -> None:
    def body(env: cy.CylonEnv) -> None:
        frame = cy.DataFrame({"k": [1, 2]}, env=env)
        if env.rank == 2:
            frame.sort_values("k")
        else:
            frame.drop_duplicates("k")

    for error in errors_everywhere(some, body):
        assert isinstance(error, cy.CollectiveMismatchError)
        assert "rank 2" in str(error)


def test_keys_of_different_types_say_how_to_cast(some: World) -> None:
    def body(env: cy.CylonEnv) -> None:
        cy.DataFrame({"carrier": ["a"]}, env=env).merge(cy.DataFrame({"carrier": [1]}), on="carrier")

    for error in errors_everywhere(some, body):
        assert isinstance(error, TypeError)
        assert "'carrier' is string on the left and int64 on the right" in str(error)
        assert "astype" in str(error)


def test_a_missing_file_is_named_everywhere(some: World, tmp_path: Path) -> None:
    for read in (cy.read_csv, cy.read_parquet):
        for error in errors_everywhere(some, lambda env, read=read: read(tmp_path / "nothing.x", env=env)):
            assert isinstance(error, OSError)
            assert "nothing.x" in str(error)


def test_a_corrupt_file_on_one_rank_only(some: World, tmp_path: Path) -> None:
    for rank in range(3):
        (tmp_path / str(rank)).mkdir()
        pq.write_table(table(100, 1), tmp_path / str(rank) / "part.parquet")
    path = tmp_path / "1" / "part.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 4 : len(content) // 2] = b"\xff" * (len(content) // 2 - len(content) // 4)
    path.write_bytes(bytes(content))
    good = tmp_path / "0" / "part.parquet"

    def body(env: cy.CylonEnv) -> None:
        cy.read_parquet([good, path, good], env=env)

    for error in errors_everywhere(some, body):
        assert "1/part.parquet" in str(error)


def test_a_failed_write_leaves_nothing(some: World, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("not a folder")

    def body(env: cy.CylonEnv) -> None:
        cy.DataFrame({"a": [1]}, env=env).to_parquet(target / "out")

    for error in errors_everywhere(some, body):
        assert isinstance(error, OSError)
        assert str(target) in str(error)
    assert target.read_text() == "not a folder"


def test_an_exception_in_one_rank_ends_the_others(some: World) -> None:
    seen: dict[int, BaseException] = {}

    def body(env: cy.CylonEnv) -> None:
        try:
            env.barrier()  # all have started
            if env.rank == 1:
                raise RuntimeError("boom")
            env.barrier()
        except cy.RankFailedError as error:
            seen[env.rank] = error
            raise

    with pytest.raises((RuntimeError, cy.RankFailedError)):
        some.run(body)
    assert set(seen) == {0, 2}
    for error in seen.values():
        assert isinstance(error, cy.RankFailedError)
        assert error.rank == 1


def test_a_finalized_environment_says_so() -> None:
    env = cy.CylonEnv(distributed=False)
    env.finalize()
    env.finalize()
    with pytest.raises(ValueError, match="finalized"):
        env.barrier()
