"""What the launcher and the environment say of bad input."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from conftest import Run

HELLO = """import pycylon as cy
with cy.CylonEnv() as env:
    env.barrier()
    print('hello', env.rank, env.world_size)
"""
SECRET = "00" * 32


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A program that meets the others and says hello."""
    path = tmp_path / "hello.py"
    path.write_text(HELLO)
    return path


def test_ranks_meet(run: Run, cylon: str, hello: Path) -> None:
    done = run(cylon, "run", "-n", 5, hello)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[{rank}] hello {rank} 5" for rank in range(5)]


def test_no_ranks(run: Run, cylon: str, hello: Path) -> None:
    done = run(cylon, "run", "-n", 0, hello)
    assert done.returncode == 2
    assert "-n" in done.stderr


def test_no_store(run: Run, hello: Path, environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    done = run(
        environment["CYLON_PYTHON"],
        hello,
        CYLON_JOB="j",
        CYLON_RANK="0",
        CYLON_WORLD_SIZE="2",
        CYLON_STORE=f"127.0.0.1:{port}",
        CYLON_SECRET=SECRET,
        CYLON_JOIN_DEADLINE="2",
        timeout=20,
    )
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr


def test_a_rank_that_never_comes_is_named(run: Run, hello: Path, environment: dict[str, str], tmp_path: Path) -> None:
    done = run(
        environment["CYLON_PYTHON"],
        hello,
        CYLON_JOB="j",
        CYLON_RANK="0",
        CYLON_WORLD_SIZE="2",
        CYLON_STORE=f"file://{tmp_path}",
        CYLON_SECRET=SECRET,
        CYLON_JOIN_DEADLINE="2",
        timeout=20,
    )
    assert done.returncode == 1
    assert "DeadlineError" in done.stderr
    assert "rank 1" in done.stderr


def test_a_wrong_secret(run: Run, cylon: str, tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    program.write_text("import os\nos.environ['CYLON_SECRET'] = '11' * 32\n" + HELLO)
    done = run(cylon, "run", "-n", 2, program, timeout=30)
    assert done.returncode == 1
    assert "AuthenticationError" in done.stderr
    assert "secret" in done.stderr


def test_half_a_launcher(run: Run, hello: Path, environment: dict[str, str]) -> None:
    done = run(environment["CYLON_PYTHON"], hello, CYLON_RANK="0")
    assert done.returncode == 1
    assert "CYLON_WORLD_SIZE" in done.stderr
