"""Ranks that go on without one that was killed."""

from __future__ import annotations

import re
import subprocess

from conftest import ROOT


def test_the_ranks_that_are_left_go_on(cylon: str, environment: dict[str, str]) -> None:
    program = str(ROOT / "tests/system/programs/rejoin.py")
    run = subprocess.run(
        [cylon, "run", "-n", "4", "--keep-going", "--threads", "1", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.count("lost rank 1") == 3, run.stdout + run.stderr
    ends = re.findall(r"rank (\d) of 3 counts (\d+) rows", run.stdout)
    assert sorted(ends) == [("0", "1200"), ("1", "1200"), ("2", "1200")], run.stdout + run.stderr
    # The launcher still says what happened.
    assert run.returncode == 137
    assert "rank 1 failed first: killed by signal 9 (SIGKILL)" in run.stderr
