"""The comparison with other engines: it runs, its engines agree, and it would see where they did not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
BUILT = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")) / "python"

sys.path.insert(0, str(BENCHMARKS))

from peers import cases, check, worker  # noqa: E402 - found in the folder above


def test_pycylon_and_pandas_agree_on_every_case(tmp_path: Path) -> None:
    program = [sys.executable, str(BENCHMARKS / "bench_peers.py"), "--out", str(tmp_path), "--rows", "3000"]
    program += ["--iterations", "1", "--threads", "2", "--engines", "pycylon,pandas"]
    done = subprocess.run(
        program, env=os.environ | {"PYTHONPATH": str(BUILT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "peers.json").read_text())["results"]
    assert {result["case"] for result in results} == {case.name for case in cases.CASES}
    page = (tmp_path / "peers.md").read_text()
    for result in results:
        assert result["disagrees"] == []
        # What an engine cannot do yet has no figures, but its error is on the page.
        assert len(result["iterations"]) == (1 if result["error"] is None else 0)
        assert result["error"] is None or result["error"].splitlines()[0] in page
    assert (tmp_path / "peers.svg").read_text().count("<rect") > len(cases.CASES)


def test_every_engine_has_an_adapter() -> None:
    files = {path.stem.removeprefix("engine_") for path in (BENCHMARKS / "peers").glob("engine_*.py")}
    assert files == set(worker.ENGINES)


ROWS = {"k": [1, 2, 2, 3], "v": [0.5, 1.5, None, 2.5]}


def test_order_does_not_count_when_answers_are_compared() -> None:
    table = pa.table(ROWS)
    assert check.differences(check.digest(table), check.digest(table.take([3, 1, 0, 2]))) == []


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"k": [1, 2, 2], "v": [0.5, 1.5, None]}, "rows"),
        ({"k": [1, 2, 2, 3], "w": [0.5, 1.5, None, 2.5]}, "columns"),
        ({"k": [1, 2, 2, 3], "v": [0.5, 1.5, 2.5, 2.5]}, "missing"),
        ({"k": [1, 2, 3, 3], "v": [0.5, 1.5, None, 2.5]}, "integers"),
        ({"k": [1, 2, 2, 3], "v": [0.5, 1.5, None, 2.500001]}, "values of v"),
        ({"k": [1, 2, 2, 3], "v": [1.5, 0.5, None, 2.5]}, "values of v"),
    ],
)
def test_answers_that_differ_are_told_apart(other: dict[str, list[float]], found: str) -> None:
    assert found in check.differences(check.digest(pa.table(ROWS)), check.digest(pa.table(other)))
