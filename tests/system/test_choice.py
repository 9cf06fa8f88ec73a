"""Jobs with several transports, between which is chosen for time or for money."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launch
from redis_server import RedisServer

JOB = """import json, sys
import numpy, pandas
import pycylon as cy
with cy.CylonEnv() as env:
    rows = numpy.arange(env.rank, 30000, env.world_size)
    left = cy.DataFrame(pandas.DataFrame({'k': rows, 'a': rows * 2}))
    right = cy.DataFrame(pandas.DataFrame({'k': rows[::3], 'b': rows[::3] * 5}))
    frame = left.merge(right, on='k', env=env).to_pandas()
    assert (frame['a'] * 5 == frame['b'] * 2).all()
    env.barrier()
    print(json.dumps({'rows': len(frame), 'explained': env.explain(), 'text': str(env.explain())}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running Redis."""
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    yield running
    running.kill()


def run_job(launch: Launch, server: RedisServer, secret: Path, **variables: str) -> list[dict]:
    """What each of three ranks printed."""
    ranks = [
        launch(
            sys.executable,
            "-c",
            JOB,
            **{
                "CYLON_STORE": server.url,
                "CYLON_TRANSPORT": "tcp,redis",
                "CYLON_SECRET_FILE": str(secret),
                "CYLON_RANK": str(rank),
                "CYLON_WORLD_SIZE": "3",
                "CYLON_JOIN_DEADLINE": "40",
                **variables,
            },
        )
        for rank in range(3)
    ]
    printed = []
    for process in ranks:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        printed.append(json.loads(out))
    assert sum(each["rows"] for each in printed) == sum(len(range(rank, 30000, 9)) for rank in range(3))
    return printed


def test_all_ranks_know_the_same_plan_and_what_it_costs(
    launch: Launch, server: RedisServer, secret: Path, tmp_path: Path
) -> None:
    printed = run_job(launch, server, secret, CYLON_TRACE=str(tmp_path))
    plans = [
        [(c["name"], c["latency_s"], c["bytes_per_s"], c["calls"]["pairs"], c["tables"]["pairs"]) for c in channels]
        for channels in (each["explained"]["channels"] for each in printed)
    ]
    assert plans[0] == plans[1] == plans[2]
    tcp, redis = plans[0]
    assert tcp[0] == "tcp"
    assert redis[0] == "redis"
    assert tcp[3] + redis[3] == 3
    assert tcp[4] + redis[4] == 3
    assert tcp[1] > 0
    assert redis[1] > 0
    explained = printed[0]["explained"]
    operations = {row["name"]: row for row in explained["operations"]}
    assert operations["Barrier"]["calls"] >= 1
    assert operations["exchange"]["predicted_seconds"] > 0
    assert operations["exchange"]["usd"] > 0
    assert explained["usd"]["rank"] > 0
    assert "redis" in printed[0]["text"]
    assert explained["prices"]["as_of"] in printed[0]["text"]
    names = {event["name"] for event in json.loads((tmp_path / "rank-0.json").read_text())["traceEvents"]}
    assert {"channel: tcp", "channel: redis", "calls: exchange"} <= names


def test_money_turns_the_choice(launch: Launch, server: RedisServer, secret: Path, tmp_path: Path) -> None:
    # Where sending from rank to rank is dear, the server takes it all, though it is slower.
    prices = tmp_path / "prices.json"
    free = {"usd_per_million_messages": 0, "usd_per_gb": 0, "usd_per_hour": 0}
    channels = {"direct": {**free, "usd_per_million_messages": 1e6}, "redis": free}
    prices.write_text(
        json.dumps({"as_of": "now", "region": "here", "rank": {"usd_per_gib_second": 1e-5}, "channels": channels})
    )
    printed = run_job(launch, server, secret, CYLON_POLICY="cheapest", CYLON_PRICES=str(prices))
    tcp, redis = printed[1]["explained"]["channels"]
    assert (tcp["calls"]["pairs"], tcp["tables"]["pairs"]) == (0, 0)
    assert (redis["calls"]["pairs"], redis["tables"]["pairs"]) == (3, 3)
    assert tcp["usd"] == 0
    assert tcp["calls"]["messages"] == 0


def test_one_transport_is_not_measured_and_has_its_price(launch: Launch, server: RedisServer, secret: Path) -> None:
    explained = run_job(launch, server, secret, CYLON_TRANSPORT="redis")[0]["explained"]
    (redis,) = explained["channels"]
    assert (redis["name"], redis["latency_s"], redis["tables"]["pairs"]) == ("redis", None, 2)
    assert redis["calls"]["messages"] > 0
    assert redis["tables"]["bytes"] > 0
    assert explained["usd"]["channels"] == redis["usd"] > 0
    assert {row["predicted_seconds"] for row in explained["operations"]} == {None}


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"CYLON_TRANSPORT": "tcp,pigeon"}, "transport is 'tcp,pigeon'"),
        ({"CYLON_TRANSPORT": "tcp,punch"}, "at most one of auto, tcp, shm and punch"),
        ({"CYLON_TRANSPORT": "redis,redis"}, "names one twice"),
        ({"CYLON_POLICY": "quick"}, "policy is 'quick'"),
        ({"CYLON_PRICES": "/nowhere.json"}, "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    launch: Launch, server: RedisServer, secret: Path, variables: dict[str, str], says: str
) -> None:
    process = launch(
        sys.executable,
        "-c",
        JOB,
        **{
            "CYLON_STORE": server.url,
            "CYLON_TRANSPORT": "tcp,redis",
            "CYLON_SECRET_FILE": str(secret),
            "CYLON_RANK": "0",
            "CYLON_WORLD_SIZE": "2",
            **variables,
        },
    )
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ValueError" in err
    assert says in err


def test_ranks_with_other_transports_are_named(launch: Launch, server: RedisServer, secret: Path) -> None:
    ranks = [
        launch(
            sys.executable,
            "-c",
            JOB,
            CYLON_STORE=server.url,
            CYLON_TRANSPORT=transport,
            CYLON_SECRET_FILE=str(secret),
            CYLON_RANK=str(rank),
            CYLON_WORLD_SIZE="2",
            CYLON_JOIN_DEADLINE="20",
        )
        for rank, transport in enumerate(["tcp,redis", "redis,tcp"])
    ]
    for rank, process in enumerate(ranks):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert re.search(f"rank {1 - rank} on .* other transports", err), err
