"""Jobs without a launcher: their ranks find each other through `cylon-rendezvous`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import BUILD, Run

HELLO = """import pycylon as cy
with cy.CylonEnv() as env:
    env.barrier()
    print('hello', env.rank, env.world_size)
"""
Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def rendezvous() -> str:
    """The built `cylon-rendezvous` program."""
    program = BUILD / "bin" / "cylon-rendezvous"
    assert program.exists(), f"{program} is not there; run 'make build'"
    return str(program)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A secret that only its owner may read."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text("5a" * 32)
    return path


@pytest.fixture
def launch(environment: dict[str, str]) -> Iterator[Launch]:
    """Starts programs that do not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def call(*command: str | Path, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def serve(launch: Launch, rendezvous: str, secret: Path) -> tuple[subprocess.Popen[str], str]:
    """A running server, and its address."""
    process = launch(rendezvous, "--secret-file", secret)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def start_job(launch: Launch, address: str, secret: Path, job: str) -> list[subprocess.Popen[str]]:
    """Both ranks of a job of two."""
    return [
        launch(
            sys.executable,
            "-c",
            HELLO,
            CYLON_STORE=address,
            CYLON_SECRET_FILE=str(secret),
            CYLON_JOB=job,
            CYLON_RANK=str(rank),
            CYLON_WORLD_SIZE="2",
            CYLON_JOIN_DEADLINE="40",
        )
        for rank in range(2)
    ]


def check_job(ranks: list[subprocess.Popen[str]]) -> None:
    """Each rank met the other and ended well."""
    for rank, process in enumerate(ranks):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out == f"hello {rank} 2\n"


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
