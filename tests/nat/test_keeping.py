"""Jobs behind gateways whose connections are forgotten, cut and taken from them, and whose ranks die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from handlers import PROGRAM as HANDLER
from handlers import check_frozen, check_leftovers
from namespaces import command
from nat_job import BUILD, DEADLINE_S, PORT, NatJob
from nat_kinds import FORGETFUL, IDLE, RESTRICTED, SYMMETRIC, Kind
from nat_lab import Lab
from nat_sockets import Endpoint

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")

LONG = bool(os.environ.get("CYLON_TEST_LONG"))
long = pytest.mark.skipif(not LONG, reason="takes a while; set CYLON_TEST_LONG=1 to run it")

# Steps, a line each: so many exchanges, in which every row has to arrive once and as it was; or the end.
PROGRAM = """import os, sys
import pycylon as cy
ROWS = 10000
def text(origin, index, turn):
    return f'{origin} {index} {turn} ' * 5
def exchange(env, turn):
    frame = cy.DataFrame({
        'origin': [env.rank] * ROWS,
        'index': list(range(ROWS)),
        'text': [text(env.rank, index, turn) for index in range(ROWS)],
    }, env=env)
    came = frame.shuffle(on=['origin', 'index'])
    rows = came.to_arrow().to_pylist()
    assert all(row['text'] == text(row['origin'], row['index'], turn) for row in rows)
    assert len({(row['origin'], row['index']) for row in rows}) == len(rows)
    assert came.count_rows() == ROWS * env.world_size
env = cy.CylonEnv()
env.barrier()
print('ready', flush=True)
try:
    for line in sys.stdin:
        for turn in range(int(line)):
            exchange(env, turn)
            print('turn', turn, flush=True)
        print('did', line.strip(), flush=True)
    env.finalize()
    print('left', flush=True)
except cy.CylonError as error:
    print('raised', type(error).__name__, error.rank, error.other, error.cause, flush=True)
    os._exit(3)
"""


class Running:
    """A job of one rank for each function of a lab, that takes steps."""

    def __init__(self, stack: contextlib.ExitStack, secret: Path, *kinds: object, **settings: str) -> None:
        self.lab = stack.enter_context(contextlib.closing(Lab(*kinds)))  # type: ignore[arg-type]
        settings = {"CYLON_PEER_TIMEOUT": "3", **settings}
        self.job = stack.enter_context(
            contextlib.closing(NatJob(self.lab, BUILD, secret, [sys.executable, "-c", PROGRAM], settings))
        )
        self.ranks = self.job.ranks
        self.hear("ready")

    def line(self, rank: int) -> str:
        """The next thing that a rank says."""
        out = self.ranks[rank].stdout
        assert out is not None
        line = out.readline().strip()
        assert line, (self.ranks[rank].communicate()[1], self.ranks[rank].returncode)
        return line

    def hear(self, word: str, *ranks: int) -> list[str]:
        """What each of the ranks, or of all, says that begins so."""
        said = []
        for rank in ranks or range(len(self.ranks)):
            line = self.line(rank)
            while not line.startswith(word):
                assert not line.startswith("raised"), f"rank {rank}: {line}"
                line = self.line(rank)
            said.append(line)
        return said

    def tell(self, exchanges: int, *ranks: int) -> None:
        """Ask for so many exchanges."""
        for rank in ranks or range(len(self.ranks)):
            to = self.ranks[rank].stdin
            assert to is not None
            to.write(f"{exchanges}\n")
            to.flush()

    def exchange(self, exchanges: int = 2) -> None:
        """Do so many exchanges."""
        self.tell(exchanges)
        self.hear(f"did {exchanges}")

    def end(self) -> None:
        """Leave in order."""
        for rank in self.ranks:
            assert rank.stdin is not None
            rank.stdin.close()
            rank.stdin = None
        self.hear("left")
        for rank in self.ranks:
            assert rank.wait(DEADLINE_S) == 0

    def cut(self, one: int, other: int) -> None:
        """Nothing passes between two functions any more; nobody is told, and both reach all others."""
        for here, there in ((one, other), (other, one)):
            place = [*self.lab.inside_gateway(here), "nft", "insert", "rule", "inet", "gateway", "passing"]
            for direction in ("saddr", "daddr"):
                command(*place, "ip", direction, self.lab.public_address(there), "drop")

    def connections(self, rank: int) -> set[str]:
        """The two ends of each connection that stands at a function."""
        listed = command(*self.lab.inside(rank), "ss", "-Htn", "state", "established")
        return {" ".join(line.split()[-2:]) for line in listed.splitlines()}

    def to_server(self, rank: int) -> int:
        """How many connections a function has to the server."""
        return sum(1 for each in self.connections(rank) if each.endswith(f"{self.lab.ADDRESS}:{PORT}"))

    def start_server_anew(self) -> None:
        """On the same port, with nothing of what it knew."""
        self.job.kill_server()
        self.job.start_server()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as a condition holds; fail after a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE_S} s"
        time.sleep(0.05)  # between two looks; the condition ends the wait


# Keeping.


def test_idle_connections_are_not_forgotten(secret: Path, stack: contextlib.ExitStack) -> None:
    running = Running(stack, secret, IDLE, IDLE, CYLON_PEER_TIMEOUT="60", CYLON_KEEP_ALIVE="1")
    running.exchange()
    before = [running.connections(rank) for rank in range(2)]
    assert all(before)
    for rank in range(2):
        # Somebody else's connection, which is silent: when it is forgotten, so would be any other silent one.
        with Endpoint(running.lab, rank) as silent:
            entry = f"sport={silent.port} "
            table = [*running.lab.inside_gateway(rank), "conntrack", "-L", "-p", "tcp"]
            wait_until(lambda: entry not in command(*table), "forgetting")  # noqa: B023 - called here only
    running.exchange()
    assert [running.connections(rank) for rank in range(2)] == before
    running.end()


def test_a_job_goes_on_over_what_befalls_its_connections(secret: Path, stack: contextlib.ExitStack) -> None:
    running = Running(stack, secret, RESTRICTED, RESTRICTED, FORGETFUL)
    running.tell(20)
    running.hear("turn 2", 0)
    by_server = running.to_server(0)
    running.cut(0, 1)  # in the middle of an exchange: those two go by the relay from now on
    running.hear("did 20")
    assert running.to_server(0) > by_server
    running.tell(20)
    running.hear("turn 2", 2)
    running.lab.restart(2)  # all connections of that function are dead, to the server too
    running.hear("did 20")
    # A process that is killed is known by its connections, not by its silence.
    running.tell(1, 0, 1)
    running.ranks[2].kill()
    for line in running.hear("raised RankFailedError", 0, 1):
        assert line.startswith("raised RankFailedError 2 None its process ended"), line


# Deaths, and ways that are lost between two that live.


def test_a_function_that_is_destroyed_without_a_word_is_known_by_its_silence(
    secret: Path, stack: contextlib.ExitStack
) -> None:
    running = Running(stack, secret, RESTRICTED, SYMMETRIC, RESTRICTED)
    running.exchange(1)
    running.tell(1)
    running.lab.isolate(1)
    running.ranks[1].kill()
    for line in running.hear("raised RankFailedError", 0, 2):
        assert line.startswith("raised RankFailedError 1 None silent for 3 s: no heartbeat at rank"), line


def test_a_way_that_is_cut_between_two_that_live_names_both(secret: Path, stack: contextlib.ExitStack) -> None:
    running = Running(stack, secret, RESTRICTED, RESTRICTED, RESTRICTED)
    running.exchange(1)
    running.job.kill_server()  # so that there is no relay
    running.exchange(1)  # for which nobody needs it
    running.cut(0, 1)
    running.tell(1)
    for line in running.hear("raised LinkLostError"):
        assert line.startswith("raised LinkLostError 0 1 "), line


def test_who_reaches_nobody_accuses_nobody(secret: Path, stack: contextlib.ExitStack) -> None:
    running = Running(stack, secret, RESTRICTED, RESTRICTED, RESTRICTED)
    running.exchange(1)
    running.lab.isolate(2)
    running.tell(1)
    assert running.hear("raised IsolatedError", 2)[0].startswith("raised IsolatedError 2 None nothing came from rank")
    for line in running.hear("raised RankFailedError", 0, 1):
        assert line.startswith("raised RankFailedError 2 None silent for 3 s: no heartbeat at rank"), line


@long
def test_a_stopped_function_is_named_and_learns_it_when_it_goes_on(secret: Path, stack: contextlib.ExitStack) -> None:
    running = Running(stack, secret, RESTRICTED, RESTRICTED, RESTRICTED)
    running.exchange(1)
    running.tell(1)
    running.ranks[1].send_signal(signal.SIGSTOP)
    for line in running.hear("raised RankFailedError", 0, 2):
        assert line.startswith("raised RankFailedError 1 None silent for 3 s: no heartbeat at rank"), line
    running.ranks[1].send_signal(signal.SIGCONT)
    assert running.hear("raised", 1)


@long
def test_relayed_ranks_go_on_with_a_server_that_is_started_anew(secret: Path, stack: contextlib.ExitStack) -> None:
    running = Running(stack, secret, SYMMETRIC, SYMMETRIC, RESTRICTED, CYLON_PEER_TIMEOUT="10")
    running.tell(20)
    running.hear("turn 2", 0)
    running.start_server_anew()
    running.hear("did 20")
    running.exchange(1)
    running.end()


# What is left in a process in which a handler has run.


@pytest.mark.parametrize("kinds", [(RESTRICTED, RESTRICTED), (SYMMETRIC, SYMMETRIC)], ids=["punch", "relay"])
def test_nothing_outlives_a_handler(secret: Path, stack: contextlib.ExitStack, kinds: tuple[Kind, Kind]) -> None:
    lab = stack.enter_context(contextlib.closing(Lab(*kinds)))

    def start() -> list[subprocess.Popen[str]]:
        started = NatJob(lab, BUILD, secret, HANDLER, {"CYLON_PEER_TIMEOUT": "3"})
        return stack.enter_context(contextlib.closing(started)).ranks

    processes = check_leftovers(start)
    if LONG or RESTRICTED in kinds:
        check_frozen(processes)
