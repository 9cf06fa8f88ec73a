"""Jobs without a launcher: their ranks find each other in a Redis that nobody wipes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launch, Run, check_job, start_job

PASSWORD = "open sesame"
ROUNDS = 100 if os.environ.get("CYLON_TEST_LONG") else 5


class Server:
    """A server of its own on the loopback, which keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        # The package of tools has the same program by another name, and starts no service.
        found = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        if found is None:
            pytest.skip("no redis-server was found; install Debian's redis-tools, or Redis")
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self.process = subprocess.Popen(
                ["redis-server", "-"],
                executable=found,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self.process.stdin is not None
            self.process.stdin.write(
                f'bind 127.0.0.1\nport {self.port}\nsave ""\nappendonly no\ndir {folder}\nrequirepass "{PASSWORD}"\n'
            )
            self.process.stdin.close()
            # A port that another program has taken meanwhile ends it: then with another one.
            assert self.process.stdout is not None
            if any("Ready to accept connections" in line for line in self.process.stdout):
                return
            assert time.monotonic() < deadline, "redis-server does not start"

    @property
    def url(self) -> str:
        """What ``CYLON_STORE`` is set to."""
        return f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Redis that asks for a password."""
    running = Server(tmp_path_factory.mktemp("redis"))
    yield running
    running.process.kill()
    running.process.wait(timeout=10)
    assert running.process.stdout is not None
    running.process.stdout.close()


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
