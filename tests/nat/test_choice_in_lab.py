"""What is chosen where some ranks can only be reached through a relay."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import pytest
from nat_job import BUILD, DEADLINE_S, NatJob
from nat_kinds import RESTRICTED, SYMMETRIC
from nat_lab import Lab
from redis_server import RedisServer

JOB = """import json
import pycylon as cy
with cy.CylonEnv() as env:
    frame = cy.DataFrame({'key': list(range(env.rank, 3000, 3))}, env=env)
    rows = frame.drop_duplicates().count_rows()
    print(json.dumps([rows, env.explain()]), flush=True)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")


@pytest.fixture
def lab(stack: contextlib.ExitStack) -> Lab:
    """Two that can punch to each other, and one to whom nobody can."""
    return stack.enter_context(contextlib.closing(Lab(RESTRICTED, RESTRICTED, SYMMETRIC)))


def start(lab: Lab, stack: contextlib.ExitStack, secret: Path, tmp_path: Path, **settings: str) -> NatJob:
    """A rank for each function, with a Redis server beside."""
    server = RedisServer(tmp_path, "requirepass word", lab.ADDRESS, lab.inside(None))
    stack.callback(server.kill)
    settings = {
        "CYLON_TRANSPORT": "punch,redis",
        "CYLON_REDIS": f"redis://:word@{lab.ADDRESS}:{server.port}",
        **settings,
    }
    command = [sys.executable, "-c", JOB]
    return stack.enter_context(contextlib.closing(NatJob(lab, BUILD, secret, command, settings)))


@pytest.mark.parametrize("dear", ["redis", "relay"])
def test_a_relay_has_its_own_row_and_price(
    lab: Lab, stack: contextlib.ExitStack, secret: Path, tmp_path: Path, dear: str
) -> None:
    # Money alone counts: a hole is free, and of the two that are not one asks a dollar for a message.
    free = {"usd_per_million_messages": 0, "usd_per_gb": 0, "usd_per_hour": 0}
    channels = {name: {**free, "usd_per_million_messages": 1e6 if name == dear else 1} for name in ("relay", "redis")}
    prices = {"as_of": "now", "region": "here", "rank": {"usd_per_gib_second": 1e-9}, "channels": channels}
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(prices))
    job = start(lab, stack, secret, tmp_path, CYLON_POLICY="cheapest", CYLON_PRICES=str(path))
    answers = [json.loads(answer) for answer in job.answers(DEADLINE_S)]
    through = "relay" if dear == "redis" else "redis"
    for rows, explained in answers:
        assert rows == 3000
        pairs = {row["name"]: (row["calls"]["pairs"], row["tables"]["pairs"]) for row in explained["channels"]}
        assert pairs == {"punch": (1, 1), through: (2, 2), dear: (0, 0)}
    sent = {row["name"]: row["tables"]["messages"] for row in answers[2][1]["channels"]}
    assert sent[through] > 0
    assert sent["punch"] == sent[dear] == 0


def test_a_rank_that_cannot_reach_the_server_takes_another_channel(
    lab: Lab, stack: contextlib.ExitStack, secret: Path, tmp_path: Path
) -> None:
    job = start(lab, stack, secret, tmp_path, CYLON_REDIS=f"redis://{lab.ADDRESS}:1", CYLON_CONNECT_DEADLINE="3")
    answers = [json.loads(answer) for answer in job.answers(DEADLINE_S)]
    for rows, explained in answers:
        assert rows == 3000
        assert explained["channels"][2] == {**explained["channels"][2], "name": "redis", "latency_s": None, "usd": 0}
