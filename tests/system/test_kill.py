"""A rank that is killed: every other one says so, in time."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT

ROUNDS = 50 if os.environ.get("CYLON_TEST_LONG") else 6
RANKS = 4
WORKING = re.compile(r"\[(\d+)\] working (\d+)")


def pump(stream: object, lines: list[str], seen: threading.Condition) -> None:
    """Collect the lines of a stream as they come."""
    for line in stream:  # type: ignore[attr-defined]
        with seen:
            lines.append(line)
            seen.notify_all()


DIES_BEFORE_IT_JOINS = """import os, signal
if os.environ["CYLON_RANK"] == "1":
    os.kill(os.getpid(), signal.SIGKILL)
import pycylon as cy
try:
    cy.CylonEnv()
except cy.errors.RankFailedError as error:
    print("raised", error.rank, error.cause)
"""


def test_a_rank_that_dies_before_it_joins_is_named_while_the_others_join(
    cylon: str, environment: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(DIES_BEFORE_IT_JOINS)
    began = time.monotonic()
    command = [cylon, "run", "-n", "3", "--keep-going", str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert sorted(done.stdout.splitlines()) == [f"[{rank}] raised 1 killed by signal 9 (SIGKILL)" for rank in (0, 2)], (
        done.stderr
    )
    assert time.monotonic() - began < 30, "it was the join deadline of 60 s that ended the wait"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_survivors_of_a_killed_rank_name_it_within_five_seconds(
    cylon: str, environment: dict[str, str], number: int
) -> None:
    choice = random.Random(number)
    victim, delay = choice.randrange(RANKS), choice.uniform(0, 0.7)
    process = subprocess.Popen(
        [cylon, "run", "-n", str(RANKS), "--threads", "1", str(ROOT / "tests/system/programs/join_loop.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out: list[str] = []
    err: list[str] = []
    seen = threading.Condition()
    readers = [
        threading.Thread(target=pump, args=(stream, lines, seen))
        for stream, lines in ((process.stdout, out), (process.stderr, err))
    ]
    for reader in readers:
        reader.start()
    try:
        with seen:
            assert seen.wait_for(lambda: len(WORKING.findall("".join(out))) == RANKS, timeout=60), "".join(err)
        processes = {int(rank): int(pid) for rank, pid in WORKING.findall("".join(out))}
        threading.Event().wait(delay)  # the moment is what is tested: anywhere in a join
        begin = time.monotonic()
        os.kill(processes[victim], signal.SIGKILL)
        code = process.wait(timeout=30)
        seconds = time.monotonic() - begin
    finally:
        process.kill()
        for reader in readers:
            reader.join(timeout=10)
    text = "".join(err)
    assert code == 128 + signal.SIGKILL, text
    assert seconds < 5, f"the last rank ended {seconds:.1f} s after the kill\n{text}"
    for rank in set(range(RANKS)) - {victim}:
        own = "".join(line for line in err if line.startswith(f"[{rank}]"))
        assert re.search(rf"RankFailedError: rank {victim}\b", own), f"rank {rank} did not name rank {victim}:\n{text}"
