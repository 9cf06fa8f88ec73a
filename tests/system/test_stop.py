"""A rank that is stopped: every other one names it within the limit, with what was seen."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading

import pytest
from conftest import ROOT

PROGRAM = """
import os, pycylon as cy
env = cy.CylonEnv()
env.barrier()
print('working', os.getpid(), flush=True)
try:
    while True:
        env.barrier()
except cy.CylonError as error:
    names = ('rank', 'other', 'host', 'cause', 'agreed')
    print('raised', type(error).__name__, {name: getattr(error, name) for name in names}, flush=True)
    raise
"""


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_stopped_rank_is_named_by_every_other_one(
    cylon: str, environment: dict[str, str], tmp_path: object, ranks: int
) -> None:
    program = f"{tmp_path}/program.py"
    with open(program, "w") as file:
        file.write(PROGRAM)
    process = subprocess.Popen(
        [cylon, "run", "-n", str(ranks), "--threads", "1", program],
        env={**environment, "CYLON_PEER_TIMEOUT": "1.5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    out: list[str] = []
    stopped = -1
    patience = threading.Timer(60, process.kill)
    patience.start()
    try:
        for line in process.stdout:
            out.append(line)
            working = {int(rank): int(pid) for rank, pid in re.findall(r"\[(\d+)\] working (\d+)", "".join(out))}
            if stopped < 0 and len(working) == ranks:
                stopped = working[1]
                os.kill(stopped, signal.SIGSTOP)
            if len(re.findall("raised", "".join(out))) == ranks - 1:
                break
        else:
            pytest.fail(f"the others did not all raise: {out}")
    finally:
        patience.cancel()
        if stopped > 0:
            os.kill(stopped, signal.SIGKILL)
        process.kill()
        process.wait(timeout=30)
    raised = [line for line in out if "raised" in line]
    for line in raised:
        assert "RankFailedError {'rank': 1, 'other': None" in line, line
        assert "silent for 1.5 s: no heartbeat at rank" in line, line
        assert "'agreed': True" in line, line
