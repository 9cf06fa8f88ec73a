"""Whole jobs whose ranks are behind gateways and can only dial out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import pandas
import pytest
from nat_job import BUILD, DEADLINE_S, NatJob
from nat_kinds import FULL_CONE, MOVING, RESTRICTED, SAME_PRIVATE, SHARED, SYMMETRIC, Kind
from nat_lab import Lab
from nat_runs import Program, flights_program, join_program, run_alone, run_behind_gateways
from nat_ways import OF_MANY, WAYS

ROOT = Path(__file__).resolve().parents[2]
LONG = "CYLON_TEST_LONG" in os.environ

sys.path.insert(0, str(ROOT / "benchmarks"))

import join  # noqa: E402 - found in the folder above

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


def joined_by_pandas(rows: int, parts: int) -> dict[str, int]:
    """The answer of the join benchmark."""
    made = [join.part_tables(part, parts, rows) for part in range(parts)]
    left, right = (pandas.DataFrame(numpy.concatenate(side)) for side in zip(*made, strict=True))
    found = left.merge(right, on=0)
    return {"rows": len(found), "checksum": join.checksum(*(found[name].to_numpy() for name in found.columns))}


@pytest.mark.parametrize("way", WAYS)
def test_a_join_gives_the_rows_of_pandas(tmp_path: Path, way: str) -> None:
    if way == "s3" and not LONG:
        pytest.skip("15 s of requests; a directory does in every run, CYLON_TEST_LONG=1 runs this one too")
    program = join_program(ROOT, rows=3000, parts=3, iterations=2)
    found = run_behind_gateways(program, BUILD, tmp_path, way, functions=2)
    assert found.by == (f"{way}: 1 pairs" if way in ("punch", "relay") else way)
    assert found.ranks_usd > 0
    told = json.loads((tmp_path / "result" / "answer.json").read_text())
    assert told == joined_by_pandas(rows=3000, parts=3)


@pytest.mark.skipif(not LONG, reason="eight processes of Python by each way: CYLON_TEST_LONG=1")
@pytest.mark.parametrize("way", OF_MANY)
@pytest.mark.parametrize(
    "program", [flights_program(ROOT), join_program(ROOT, rows=50000)], ids=["main job", "join benchmark"]
)
def test_a_job_gives_the_answer_of_one_process(tmp_path: Path, program: Program, way: str) -> None:
    run_alone(program, BUILD, tmp_path / "alone")
    found = run_behind_gateways(program, BUILD, tmp_path, way)
    assert found.by == (f"{way}: 28 pairs" if way in ("punch", "relay") else way)
    assert program.same(tmp_path / "result", tmp_path / "alone" / "result")
