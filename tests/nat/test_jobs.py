"""Whole jobs whose ranks are behind gateways and can only dial out."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flights import same, tables
from nat_flights import WAYS, run_flights
from nat_job import BUILD, DEADLINE_S, NatJob
from nat_kinds import FULL_CONE, MOVING, RESTRICTED, SAME_PRIVATE, SHARED, SYMMETRIC, Kind
from nat_lab import Lab

ROOT = Path(__file__).resolve().parents[2]

# Each rank gives rows to all others. Then the server is gone: what goes on goes on without it.
JOB = """import os, sys, time
import pycylon as cy
with cy.CylonEnv() as env:
    frame = cy.DataFrame({'key': list(range(1000)), 'value': [env.rank] * 1000}, env=env)
    counted = frame.groupby('key', env=env).agg({'value': 'sum'})
    total = counted['value'].sum()
    assert total == 1000 * sum(range(env.world_size)), total
    print('shuffled', flush=True)
    sys.stdin.readline()
    for _ in range(50):
        env.barrier()
    print('went on', flush=True)
    os._exit(0)  # what this rank put into the server cannot be taken out again
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")


@contextlib.contextmanager
def job(secret: Path, kinds: tuple[Kind, ...], *command: str, **settings: str) -> Iterator[NatJob]:
    """A job of one rank for each function of those kinds."""
    with (
        contextlib.closing(Lab(*kinds)) as lab,
        contextlib.closing(NatJob(lab, BUILD, secret, [sys.executable, *command], settings)) as made,
    ):
        yield made


@pytest.mark.parametrize(
    ("kinds", "punched"),
    [
        ((RESTRICTED, RESTRICTED, MOVING), True),
        ((SAME_PRIVATE, SAME_PRIVATE), True),
        ((SHARED,), True),  # two functions, by their private addresses
        ((FULL_CONE, SYMMETRIC), True),
        ((SYMMETRIC, SYMMETRIC), False),
        ((RESTRICTED, SYMMETRIC), False),
    ],
    ids=["keep and move ports", "same private", "shared", "full cone", "symmetric", "one symmetric"],
)
def test_ranks_meet_and_need_the_server_no_more_where_they_punched(
    secret: Path, kinds: tuple[Kind, ...], punched: bool
) -> None:
    with job(secret, kinds, "-c", JOB, CYLON_PEER_TIMEOUT="3") as running:
        for rank in running.ranks:
            assert rank.stdout is not None
            assert rank.stdout.readline() == "shuffled\n", rank.communicate()[1]
        running.kill_server()
        for rank in running.ranks:
            assert rank.stdin is not None
            rank.stdin.write("\n")
            rank.stdin.flush()
        for rank in running.ranks:
            out, err = rank.communicate(timeout=DEADLINE_S)
            if punched:
                assert (rank.returncode, out) == (0, "went on\n"), err
            else:
                assert rank.returncode != 0
                assert "IsolatedError" in err, err  # there is nobody whom they could ask who is gone


def test_a_killed_rank_is_named_by_all_others(secret: Path) -> None:
    with job(secret, (RESTRICTED, RESTRICTED, SYMMETRIC), "-c", JOB) as running:
        for rank in running.ranks:
            assert rank.stdout is not None
            assert rank.stdout.readline() == "shuffled\n", rank.communicate()[1]
        running.ranks[1].kill()
        for rank in (running.ranks[0], running.ranks[2]):
            _, err = rank.communicate("\n", timeout=DEADLINE_S)
            assert rank.returncode != 0
            assert "RankFailedError: rank 1 " in err, err


def test_without_a_server_the_address_is_named(secret: Path) -> None:
    with job(
        secret,
        (RESTRICTED,),
        "-c",
        JOB,
        CYLON_WORLD_SIZE="2",
        CYLON_RENDEZVOUS="203.0.113.1:1",
        CYLON_JOIN_DEADLINE="2",
    ) as running:
        _, err = running.ranks[0].communicate(timeout=DEADLINE_S)
        assert running.ranks[0].returncode == 1
        assert "203.0.113.1:1" in err, err


def test_what_is_no_address_is_refused(secret: Path) -> None:
    with job(secret, (RESTRICTED,), "-c", JOB, CYLON_WORLD_SIZE="2", CYLON_RENDEZVOUS="nowhere") as running:
        _, err = running.ranks[0].communicate(timeout=DEADLINE_S)
        assert running.ranks[0].returncode == 1
        assert "CYLON_RENDEZVOUS is 'nowhere'" in err, err


@pytest.mark.skipif(
    "CYLON_TEST_LONG" not in os.environ, reason="eight processes of Python by each way: CYLON_TEST_LONG=1"
)
@pytest.mark.parametrize("way", WAYS)
def test_the_main_job_gives_the_rows_of_one_process(tmp_path: Path, way: str) -> None:
    alone = tmp_path / "alone"
    program = [sys.executable, str(ROOT / "examples" / "flights" / "flights.py"), "--result", str(alone)]
    done = subprocess.run(
        program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(BUILD / "python")}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = run_flights(BUILD, ROOT, tmp_path, way)
    assert found.by == (way if way == "redis" else f"{way}: 28 pairs")
    for name, expected in tables(alone).items():
        assert same(tables(tmp_path / "result")[name], expected), name
