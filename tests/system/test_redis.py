"""Jobs without a launcher: their ranks find each other in a Redis that nobody wipes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launch, Run, check_job, start_job
from redis_server import RedisServer

PASSWORD = "open sesame"
ROUNDS = 100 if os.environ.get("CYLON_TEST_LONG") else 5


class Server(RedisServer):
    """One that asks for a password."""

    @property
    def url(self) -> str:
        """What ``CYLON_STORE`` is set to."""
        return f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Redis that asks for a password."""
    running = Server(tmp_path_factory.mktemp("redis"), f'requirepass "{PASSWORD}"')
    yield running
    running.kill()


def test_two_jobs_at_once_and_one_that_crashed_started_again(launch: Launch, server: Server, secret: Path) -> None:
    for _ in range(ROUNDS):
        crashing = start_job(launch, server.url, secret, "crashes", CRASH="1")
        other = start_job(launch, server.url, secret, "other")
        check_job(crashing, -signal.SIGKILL)
        again = start_job(launch, server.url, secret, "crashes")
        check_job(other)
        check_job(again)


def test_a_wrong_password_is_told_and_never_shown(
    run: Run, launch: Launch, server: Server, secret: Path, cylon: str
) -> None:
    url = server.url.replace("sesame", "barley")
    for process in start_job(launch, url, secret, "refused"):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "AuthenticationError" in err
        assert f"127.0.0.1:{server.port}" in err
        assert "barley" not in err
    shown = run(cylon, "doctor", CYLON_STORE=url)
    assert f"127.0.0.1:{server.port}" in shown.stdout
    assert "barley" not in shown.stdout


MESSAGES = """import numpy, pandas
import pycylon as cy
with cy.CylonEnv() as env:
    rows = numpy.arange(env.rank, 60000, env.world_size)
    left = cy.DataFrame(pandas.DataFrame({'k': rows, 'a': rows * 2}))
    right = cy.DataFrame(pandas.DataFrame({'k': rows[::3], 'b': rows[::3] * 5}))
    joined = left.merge(right, on='k', env=env)
    frame = joined.to_pandas()
    assert (frame['a'] * 5 == frame['b'] * 2).all()
    print(len(frame), int(frame['k'].sum()))
"""


def check_messages(launch: Launch, url: str, secret: Path) -> None:
    """A job of three ranks that meet in the server, and whose messages go through it, has the right rows."""
    rows = [row for rank in range(3) for row in range(rank, 60000, 3)[::3]]
    ranks = [
        launch(
            sys.executable,
            "-c",
            MESSAGES,
            CYLON_STORE=url,
            CYLON_TRANSPORT="redis",
            CYLON_SECRET_FILE=str(secret),
            CYLON_JOB="messages",
            CYLON_RANK=str(rank),
            CYLON_WORLD_SIZE="3",
            CYLON_JOIN_DEADLINE="40",
        )
        for rank in range(3)
    ]
    found = [0, 0]
    for process in ranks:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        found = [sum(pair) for pair in zip(found, map(int, out.split()), strict=True)]
    assert found == [len(rows), sum(rows)]


def test_a_job_whose_messages_go_through_the_server(launch: Launch, server: Server, secret: Path) -> None:
    for _ in range(2):
        check_messages(launch, server.url, secret)


def test_a_job_in_a_cluster(launch: Launch, tmp_path: Path, secret: Path) -> None:
    client = shutil.which("redis-cli")
    if client is None:
        pytest.skip("no redis-cli was found, which makes the cluster; install Debian's redis-tools")
    servers = []
    try:
        for name in ("a", "b", "c"):
            (tmp_path / name).mkdir()
            servers.append(RedisServer(tmp_path / name, "cluster-enabled yes\ncluster-config-file nodes.conf"))
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        subprocess.run(
            [client, "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True, timeout=60
        )
        # The job's keys are all on one of them, and another is named.
        slot = subprocess.check_output([client, "-p", str(servers[0].port), "cluster", "keyslot", "cylon:{messages}/"])
        owner = int(slot) * len(servers) // 16384
        check_messages(launch, servers[(owner + 1) % len(servers)].url, secret)
    finally:
        for server in servers:
            server.kill()
