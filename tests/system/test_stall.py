"""A job that stands still: every rank says what it waits for when it is asked, and nobody is harmed by the question."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE_S = 60
# Rank 1 does not come to the second barrier before somebody opens the pipe; nothing of it uses a processor meanwhile.
PROGRAM = """import os, pathlib, signal, sys
import pycylon as cy
folder = pathlib.Path(sys.argv[1])
{before}
with cy.CylonEnv() as env:
    env.barrier()
    (folder / f"up{{env.rank}}").write_text(str(os.getpid()))
    if env.rank == 1:
        open(folder / "go").read()
    env.barrier()
"""


class Job:
    """A run of PROGRAM on three ranks, with what it writes to stderr in a file."""

    def __init__(self, cylon: str, environment: dict[str, str], folder: Path) -> None:
        self.cylon, self.environment, self.folder = cylon, environment, folder
        self.process: subprocess.Popen[bytes] | None = None
        os.mkfifo(folder / "go")

    def start(self, *options: str, before: str = "", **variables: str) -> None:
        program = self.folder / "program.py"
        program.write_text(PROGRAM.format(before=before))
        command = [self.cylon, "run", "-n", "3", *options, str(program), str(self.folder)]
        with (self.folder / "err").open("wb") as err:
            environment = self.environment | variables
            self.process = subprocess.Popen(command, env=environment, stderr=err, stdin=subprocess.DEVNULL)
        files = [self.folder / f"up{rank}" for rank in range(3)]
        self.wait_until(lambda: all(file.exists() and file.read_text() for file in files), "the first barrier")

    def err(self) -> str:
        return (self.folder / "err").read_text()

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come:\n{self.err()}"
            time.sleep(0.01)  # between two looks

    def ask_until(self, pattern: str) -> None:
        """Ask by SIGQUIT until the answers have that; at first a rank may not have come to its barrier yet."""
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.err(), re.DOTALL):
            assert time.monotonic() < deadline, f"{pattern} did not come:\n{self.err()}"
            before = len(self.err())
            self.process.send_signal(signal.SIGQUIT)
            self.wait_until(lambda before=before: len(self.err()) > before, "an answer")  # type: ignore[misc]
            time.sleep(0.05)  # for the rest of it; more questions follow

    def go_on(self) -> int:
        assert self.process is not None
        (self.folder / "go").open("w").close()
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def job(cylon: str, environment: dict[str, str], tmp_path: Path) -> Iterator[Job]:
    made = Job(cylon, environment, tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_ranks_say_what_they_wait_for_and_the_job_goes_on(job: Job) -> None:
    job.start()
    job.ask_until(r"\[0\] rank 0 of 3 waits [\d.]+ s in [^\n]*Barrier\(\)[^\n]* for ranks? [^\n]*1")
    job.ask_until(r"\[2\] rank 2 of 3 waits [\d.]+ s in [^\n]*Barrier\(\)")
    assert re.search(r"\[1\] rank 1 of 3 computes since [\d.]+ s; last in [^\n]*Barrier\(\)", job.err()), job.err()
    assert re.search(r"sent [\d.]+ \w+, received", job.err())
    assert job.go_on() == 0, job.err()


def test_a_job_in_which_nothing_moves_is_asked_by_itself(job: Job) -> None:
    job.start("--stall-after", "1")
    job.wait_until(lambda: "[1] rank 1 of 3 computes" in job.err(), "the report")
    assert re.search(r"cylon run: no rank has done anything for \d+ s; what each rank waits for:", job.err())
    assert job.go_on() == 0, job.err()


def test_survivors_that_do_not_raise_are_asked_before_they_are_ended(job: Job) -> None:
    job.start()
    os.kill(int((job.folder / "up2").read_text()), signal.SIGKILL)
    assert job.process is not None
    assert job.process.wait(PATIENCE_S) == 128 + signal.SIGKILL
    assert "ranks are left that do not end by themselves" in job.err()
    assert re.search(r"\[1\] rank 1 of 3 computes since", job.err()), job.err()
    assert re.search(r"\[1\]   communicator 1 is revoked: rank 2\b", job.err()), job.err()


def test_a_handler_of_the_program_stays(job: Job) -> None:
    job.start(before="signal.signal(signal.SIGUSR1, lambda *_: print('mine', file=sys.stderr, flush=True))")
    job.ask_until(r"\[1\] mine")
    assert "rank 1 of 3" not in job.err()
    assert job.go_on() == 0, job.err()


def test_ranks_without_a_handler_are_not_asked_and_not_killed(job: Job) -> None:
    job.start(CYLON_STALL_REPORTS="0")
    assert job.process is not None
    job.process.send_signal(signal.SIGQUIT)
    job.wait_until(lambda: "SIGUSR1" in job.err(), "the answer")
    assert "not asked, as it does not catch SIGUSR1: rank 0, 1, 2" in job.err()
    assert job.go_on() == 0, job.err()


def test_a_rank_that_waits_for_others_to_join_says_so(job: Job) -> None:
    before = "if os.environ['CYLON_RANK'] == '1':\n    (folder / 'up1').write_text('0'); open(folder / 'go').read()"
    program = job.folder / "program.py"
    program.write_text(PROGRAM.format(before=before))
    with (job.folder / "err").open("wb") as err:
        command = [job.cylon, "run", "-n", "3", str(program), str(job.folder)]
        job.process = subprocess.Popen(command, env=job.environment, stderr=err, stdin=subprocess.DEVNULL)
    job.wait_until(lambda: (job.folder / "up1").exists(), "the start")
    job.ask_until(r"\[0\] no rank of process \d+ is connected: it waits for the others to join")
    (job.folder / "go").open("w").close()
    job.wait_until(lambda: (job.folder / "up0").exists(), "the first barrier")
    assert job.go_on() == 0, job.err()
