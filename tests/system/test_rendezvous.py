"""Jobs without a launcher: their ranks find each other through `cylon-rendezvous`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUILD, Launch, Run, check_job, start_job


@pytest.fixture(scope="module")
def rendezvous() -> str:
    """The built `cylon-rendezvous` program."""
    program = BUILD / "bin" / "cylon-rendezvous"
    assert program.exists(), f"{program} is not there; run 'make build'"
    return str(program)


def serve(launch: Launch, rendezvous: str, secret: Path) -> tuple[subprocess.Popen[str], str]:
    """A running server, and its address."""
    process = launch(rendezvous, "--secret-file", secret)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_one_job_after_another_of_the_same_name(launch: Launch, rendezvous: str, secret: Path) -> None:
    server, address = serve(launch, rendezvous, secret)
    assert address.startswith("127.0.0.1:")
    for _ in range(2):
        check_job(start_job(launch, address, secret, "same"))
    assert server.poll() is None


def test_two_jobs_at_once(launch: Launch, rendezvous: str, secret: Path) -> None:
    _, address = serve(launch, rendezvous, secret)
    jobs = [start_job(launch, address, secret, job) for job in ("left", "right")]
    for ranks in jobs:
        check_job(ranks)


def test_a_busy_port_is_named(launch: Launch, run: Run, rendezvous: str, secret: Path) -> None:
    _, address = serve(launch, rendezvous, secret)
    done = run(rendezvous, "--listen", address, "--secret-file", secret, timeout=20)
    assert done.returncode == 1
    assert address in done.stderr


def test_the_port_for_probes_is_told_and_can_be_chosen(launch: Launch, run: Run, rendezvous: str, secret: Path) -> None:
    server, _ = serve(launch, rendezvous, secret)
    assert server.stdout is not None
    line = server.stdout.readline().strip()
    assert line.startswith("probes at 127.0.0.1:")
    port = line.rpartition(":")[2]
    done = run(rendezvous, "--probe-port", port, "--secret-file", secret, timeout=20)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr


def test_a_secret_that_others_may_read_is_refused(run: Run, rendezvous: str, secret: Path) -> None:
    secret.chmod(0o644)
    done = run(rendezvous, "--secret-file", secret, timeout=20)
    assert done.returncode == 1
    assert str(secret) in done.stderr
    assert "600" in done.stderr


def test_it_ends_when_asked(launch: Launch, rendezvous: str, secret: Path) -> None:
    server, address = serve(launch, rendezvous, secret)
    assert address
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=20)
    assert server.returncode == 0, err


HELD = """import os, pathlib, time
import pycylon as cy
with cy.CylonEnv() as env:
    print('joined', env.rank, flush=True)
    while not pathlib.Path(os.environ['END']).exists():
        time.sleep(0.02)
"""


def start_held(launch: Launch, address: str, secret: Path, rank: int, end: Path) -> subprocess.Popen[str]:
    """A rank of a job of two, which stays until ``end`` is there."""
    return launch(
        sys.executable,
        "-c",
        HELD,
        CYLON_STORE=address,
        CYLON_SECRET_FILE=str(secret),
        CYLON_JOB="held",
        CYLON_RANK=str(rank),
        CYLON_WORLD_SIZE="2",
        CYLON_JOIN_DEADLINE="60",
        END=str(end),
    )


def test_a_process_whose_rank_is_taken_is_told_and_the_job_goes_on(
    launch: Launch, rendezvous: str, secret: Path, tmp_path: Path
) -> None:
    _, address = serve(launch, rendezvous, secret)
    end = tmp_path / "end"
    ranks = [start_held(launch, address, secret, rank, end) for rank in range(2)]
    for rank, process in enumerate(ranks):
        assert process.stdout is not None
        assert process.stdout.readline() == f"joined {rank}\n"
    twin = start_held(launch, address, secret, 1, end)
    _, err = twin.communicate(timeout=50)
    assert twin.returncode == 1
    assert "RankTakenError: rank 1 of job 'held' was started twice" in err
    end.touch()
    for process in ranks:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
