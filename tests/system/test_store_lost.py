"""Stores that die, come back, or cannot be used: before a job joins, while it does, and while it runs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import BUILD, Launch
from redis_server import RedisServer

# Joins, then takes a step for each line that it is told.
STEPS = """import sys
import pycylon as cy
with cy.CylonEnv() as env:
    print('joined', env.rank, flush=True)
    for line in sys.stdin:
        env.barrier()
        print('step', line.strip(), flush=True)
"""
PATIENCE_S = 60


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as ``condition`` holds; fail after a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE_S} s"
        time.sleep(0.01)  # between two looks; the condition ends the wait


def connections(port: int) -> int:
    """How many connections to ``port`` of the loopback stand."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(1 for field in fields if field[1].endswith(f":{port:04X}") and field[3] == "01")


class Rendezvous:
    """A ``cylon-rendezvous`` that can be killed and started anew on its port."""

    def __init__(self, launch: Launch, secret: Path) -> None:
        self.launch = launch
        self.secret = secret
        self.url = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        self.process = self.launch(
            BUILD / "bin" / "cylon-rendezvous", "--listen", self.url, "--secret-file", self.secret
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=PATIENCE_S)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@pytest.fixture(params=["rendezvous", "redis"])
def store(
    request: pytest.FixtureRequest, launch: Launch, secret: Path, tmp_path: Path
) -> Iterator[Rendezvous | RedisServer]:
    """A running store of each kind that a process keeps."""
    if request.param == "rendezvous":
        yield Rendezvous(launch, secret)
        return
    server = RedisServer(tmp_path)
    yield server
    server.kill()


class Rank:
    """A process of a job of two."""

    def __init__(self, environment: dict[str, str], url: str, secret: Path, rank: int, **variables: str) -> None:
        settings = {
            "CYLON_STORE": url,
            "CYLON_SECRET_FILE": str(secret),
            "CYLON_JOB": "steps",
            "CYLON_RANK": str(rank),
            "CYLON_WORLD_SIZE": "2",
            "CYLON_JOIN_DEADLINE": "40",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", STEPS],
            env={**environment, **settings, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        text = self.process.stdout.readline().strip()
        if not text:
            _, err = self.process.communicate(timeout=PATIENCE_S)
            pytest.fail(err)
        return text

    def step(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """What it said on its standard error, when it has ended well."""
        _, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, err
        return err


@pytest.fixture
def start(environment: dict[str, str], secret: Path) -> Iterator[Callable[..., Rank]]:
    """Starts ranks that do not outlive the test."""
    ranks: list[Rank] = []

    def call(url: str, rank: int, **variables: str) -> Rank:
        ranks.append(Rank(environment, url, secret, rank, **variables))
        return ranks[-1]

    yield call
    for rank in ranks:
        rank.process.kill()
        rank.process.communicate(timeout=10)


def take_step(ranks: list[Rank], name: str) -> None:
    for rank in ranks:
        rank.step(name)
    for rank in ranks:
        assert rank.line() == f"step {name}"


def test_a_store_that_comes_after_its_ranks_is_found(
    store: Rendezvous | RedisServer, start: Callable[..., Rank]
) -> None:
    store.kill()
    ranks = [start(store.url, rank) for rank in range(2)]
    store.start()
    for number, rank in enumerate(ranks):
        assert rank.line() == f"joined {number}"
    take_step(ranks, "one")
    for rank in ranks:
        rank.end()


def test_joining_goes_on_over_a_restart(store: Rendezvous | RedisServer, start: Callable[..., Rank]) -> None:
    for _ in range(3):
        ranks = [start(store.url, 0)]
        wait_until(lambda: connections(store.port) > 0, "a connection")
        store.kill()
        store.start()
        ranks.append(start(store.url, 1))
        for number, rank in enumerate(ranks):
            assert rank.line() == f"joined {number}"
        take_step(ranks, "one")
        for rank in ranks:
            rank.end()


def test_a_store_that_dies_while_ranks_join_is_named_in_bounded_time(
    store: Rendezvous | RedisServer, start: Callable[..., Rank]
) -> None:
    rank = start(store.url, 0)
    wait_until(lambda: connections(store.port) > 0, "a connection")
    store.kill()
    begin = time.monotonic()
    _, err = rank.process.communicate(timeout=PATIENCE_S)
    assert rank.process.returncode == 1
    assert f"127.0.0.1:{store.port}" in err
    assert "is gone" in err or "answered at" in err
    assert time.monotonic() - begin < 45  # the join deadline is 40 s; a store that stays away is given 10 s


def test_a_running_job_needs_no_store(store: Rendezvous | RedisServer, start: Callable[..., Rank]) -> None:
    ranks = [start(store.url, rank) for rank in range(2)]
    for number, rank in enumerate(ranks):
        assert rank.line() == f"joined {number}"
    take_step(ranks, "one")
    store.kill()
    take_step(ranks, "two")
    begin = time.monotonic()
    for rank in ranks:
        assert "stays there until it expires" in rank.end()
    assert time.monotonic() - begin < 10


def test_a_running_job_does_not_mind_a_restart(store: Rendezvous | RedisServer, start: Callable[..., Rank]) -> None:
    ranks = [start(store.url, rank) for rank in range(2)]
    for number, rank in enumerate(ranks):
        assert rank.line() == f"joined {number}"
    store.kill()
    take_step(ranks, "one")
    store.start()
    take_step(ranks, "two")
    for rank in ranks:
        rank.end()


def has_key(port: int, pattern: str) -> bool:
    """Whether a Redis server has a key like this."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as asking:
        asking.sendall(f"KEYS {pattern}\r\n".encode())
        return asking.recv(100).startswith(b"*1")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("maxmemory 1", "has no memory left"),
        ("replicaof 127.0.0.1 1", "replica"),
        ("requirepass secret", "asks for a password"),
        ("maxmemory 100mb\nmaxmemory-policy allkeys-lru", "drops keys when its memory is full"),
    ],
)
def test_a_server_that_is_started_anew_and_cannot_be_used_is_told(
    tmp_path: Path, start: Callable[..., Rank], config: str, said: str
) -> None:
    server = RedisServer(tmp_path)
    try:
        joining = start(server.url, 0)
        # Of what may have been done when the server went, as this, the rank says that it cannot know.
        wait_until(lambda: has_key(server.port, "*generation"), "the run's number")
        server.kill()
        server.start(config)
        _, err = joining.process.communicate(timeout=PATIENCE_S)
        assert joining.process.returncode == 1
        assert said in err
        assert f"127.0.0.1:{server.port}" in err
    finally:
        server.kill()


def test_a_running_job_does_not_mind_a_server_that_cannot_be_used(tmp_path: Path, start: Callable[..., Rank]) -> None:
    server = RedisServer(tmp_path)
    try:
        ranks = [start(server.url, rank) for rank in range(2)]
        for number, rank in enumerate(ranks):
            assert rank.line() == f"joined {number}"
        server.kill()
        server.start("requirepass secret")
        take_step(ranks, "one")
        for rank in ranks:
            assert "asks for a password" in rank.end()
    finally:
        server.kill()
