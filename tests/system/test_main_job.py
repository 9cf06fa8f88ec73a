"""The flights example gives the same rows on any number of ranks, in Python and in C++."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import BUILD, DATA, ROOT, Run
from flights import same, tables

PYTHON = ROOT / "examples" / "flights" / "flights.py"
NATIVE = BUILD / "bin" / "flights"


@pytest.fixture(scope="module")
def alone(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one plain process, compared with pandas."""
    result = tmp_path_factory.mktemp("alone")
    done = run(sys.executable, PYTHON, "--data", DATA, "--result", result, "--verify")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified against pandas") == 3
    return result


@pytest.mark.parametrize("ranks", [2, 4, 7])
def test_ranks_give_the_rows_of_one_process(run: Run, cylon: str, alone: Path, tmp_path: Path, ranks: int) -> None:
    done = run(cylon, "run", "-n", ranks, PYTHON, "--data", DATA, "--result", tmp_path, "--verify", timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified against pandas") == 3
    for name, expected in tables(alone).items():
        assert same(tables(tmp_path)[name], expected), name


@pytest.mark.parametrize("ranks", [1, 4])
def test_the_native_program_gives_the_same_rows(run: Run, cylon: str, alone: Path, tmp_path: Path, ranks: int) -> None:
    done = run(cylon, "run", "-n", ranks, NATIVE, "--data", DATA, "--result", tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    for name, expected in tables(alone).items():
        assert same(tables(tmp_path)[name], expected), name


def test_the_trace_has_every_rank_and_stage(run: Run, cylon: str, tmp_path: Path) -> None:
    trace, result = tmp_path / "trace", tmp_path / "result"
    done = run(cylon, "run", "-n", 3, "--trace", trace, PYTHON, "--data", DATA, "--result", result)
    assert done.returncode == 0, done.stderr
    assert str(trace) in done.stdout
    events = json.loads((trace / "trace.json").read_text())["traceEvents"]
    assert {event["pid"] for event in events} == {0, 1, 2}
    assert any("join" in event["name"].lower() for event in events)
