"""The benchmark of jobs behind gateways: it runs, and its verdicts follow from the figures."""

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

from nat import figures  # noqa: E402 - found in the folder above


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")
def test_meshes_and_rates_are_measured(tmp_path: Path) -> None:
    program = [sys.executable, str(BENCHMARKS / "bench_nat.py"), "--output", str(tmp_path), "--functions", "3"]
    program += ["--runs", "1", "--delayed", "2", "--rates", "2", "--sizes", "300000", "--turns", "2"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "nat.json").read_text())
    assert [(mesh["functions"], mesh["delayed"], mesh["ways"]) for mesh in found["meshes"]] == [
        (3, False, {"punch": 6}),
        (2, True, {"punch": 2}),
    ]
    assert all(mesh["seconds"][0] >= mesh["joined"][0] > 0 for mesh in found["meshes"])
    assert [case["what"] for mesh in found["meshes"] for case in mesh["measured"]] == 2 * ["barrier", "allreduce"]
    assert [rate["capped"] for rate in found["rates"]] == [True, False]
    assert all(len(figures.ratios(case)) == 2 for rate in found["rates"] for case in rate["measured"])
    page = (tmp_path / "nat.md").read_text()
    for words in ("full mesh of 3 functions", "20 ms, 1 % of SYNs lost", "2 functions, 75 MB/s, of plain TCP >= 95 %"):
        assert words in page


@pytest.mark.parametrize(("slowest", "met"), [(1.9, True), (2.1, False)])
def test_a_mesh_is_judged_by_its_slowest_run(slowest: float, met: bool) -> None:
    mesh = {"functions": 32, "path": "no delay", "delayed": False, "seconds": [1.0] * 19 + [slowest], "measured": []}
    ((name, told, found),) = figures.summary({"meshes": [mesh], "rates": []})
    assert name.endswith("<= 2 s")
    assert f"worst {slowest:.2f} s, median 1.00 s" in told
    assert found is met


def test_one_run_in_twenty_may_be_slower_where_packets_get_lost() -> None:
    mesh = {"functions": 32, "path": "far", "delayed": True, "seconds": [1.0] * 19 + [9.0], "measured": []}
    ((_, told, found),) = figures.summary({"meshes": [mesh], "rates": []})
    assert told.startswith("p95 1.00 s")
    assert found is None


@pytest.mark.parametrize(("own", "met"), [([1.0, 1.0, 1.04], True), ([1.0, 1.06, 1.06], False)])
def test_a_rate_is_the_median_of_turns(own: list[float], met: bool) -> None:
    case = {"what": "alltoall", "bytes": 16 << 20, "seconds": {"own": own, "sockets": [1.0, 1.0, 1.0]}}
    rate = {"functions": 2, "path": "75 MB/s", "capped": True, "measured": [case]}
    ((_, _, found),) = figures.summary({"meshes": [], "rates": [rate]})
    assert found is met


def test_a_price_that_is_not_told_is_none() -> None:
    took = {"way": "redis", "seconds": 2.5, "stages": 1.25, "megabytes": 30, "by": "redis", "ranks_usd": 2e-6}
    (told,) = figures.job_table([{**took, "channels_usd": 3e-5}])[2:]
    assert told == "| redis | 2.5 | 1.25 | 30.0 | 0.002 | 0.030 | redis |"
    (told,) = figures.job_table([{**took, "channels_usd": None}])[2:]
    assert told == "| redis | 2.5 | 1.25 | 30.0 | 0.002 | - | redis |"
