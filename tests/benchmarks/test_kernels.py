"""The kernels' benchmarks: every one of them runs, without an error, on its smallest table."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")) / "bin" / "kernel-bench"


def test_every_kernel_is_measured() -> None:
    small = [str(PROGRAM), "--benchmark_filter=/(rows:|left:)?16384", "--benchmark_min_time=0.001"]
    done = subprocess.run([*small, "--benchmark_format=json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["benchmarks"]
    assert {run["name"].split("/")[0] for run in found} == {
        *("Hash", "Partition", "Gather"),
        *("Join", "GroupBy", "Sort", "Unique"),
    }
    for run in found:
        assert not run.get("error_occurred"), run
        assert run["items_per_second"] > 0
        assert run["bytes_per_second"] > 0
