"""The communication benchmark: it runs, checks what it moves, and its verdicts follow from the figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"

sys.path.insert(0, str(BENCHMARKS))

from comm import figures  # noqa: E402 - found in the folder above


def test_every_way_is_measured_in_every_case(tmp_path: Path) -> None:
    program = [sys.executable, str(BENCHMARKS / "bench_comm.py"), "--output", str(tmp_path), "--transport", "tcp,shm"]
    program += ["--ranks", "2,4", "--sizes", "8,5000", "--turns", "2", "--start", "5"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "comm.json").read_text())
    cells = [cell for report in found["reports"] for cell in figures.cells(report)]
    cases = {(cell.what, cell.ranks, cell.bytes) for cell in cells}
    assert cases == {
        *(("barrier", ranks, 0) for ranks in (2, 4)),
        *(("allreduce", ranks, 8) for ranks in (2, 4)),
        *(("alltoall", ranks, size) for ranks in (2, 4) for size in (8, 5000)),
        *(("stream", 2, size) for size in (8, 5000)),
    }
    assert {cell.way for cell in cells} == {"tcp", "shm", "sockets", "memory"}
    assert len(cells) == 4 * len(cases)
    assert all(len(cell.seconds) == 2 and cell.least > 0 for cell in cells)
    assert len(found["reports"][1]["connections"]["tcp"]) == 1
    assert found["starts"][0]["start"]["tcp"]["barrier"] > 0
    page = (tmp_path / "comm.md").read_text()
    for word in ("connecting and authenticating on tcp", "All-to-all, 4 ranks", "Point to point, 2 ranks"):
        assert word in page
    assert (tmp_path / "comm.svg").read_text().count("<polyline") == 2 * 4


@pytest.mark.parametrize(("seconds", "met"), [([1.1, 1.2, 1.1], True), ([1.1, 1.3, 1.3], False)])
def test_a_ratio_is_the_median_of_turns(seconds: list[float], met: bool) -> None:
    case = {"what": "alltoall", "bytes": 2 << 20, "seconds": {"tcp": seconds, "sockets": [1.0, 1.0, 1.0]}}
    report = {"ranks": 2, "turns": 3, "cases": [case], "connections": {"tcp": [0.001, 0.005, 0.001]}}
    starts = [{"ranks": 64, "start": {"tcp": {"joined": 1.0, "barrier": 3.5}}}]
    found = {verdict.target: verdict for verdict in figures.verdicts([report], starts)}
    assert found["all-to-all on tcp >= 0.85 of plain sockets"].met is met
    assert found["all-to-all on shm >= 3 of tcp"].met is None
    assert found["8-byte allreduce on shm, 2 ranks <= 5 us"].met is None
    assert found["connecting and authenticating on tcp <= 2 ms"].met is True
    assert found["a first barrier of 64 ranks on tcp <= 3 s after the last began to join"].met is False
