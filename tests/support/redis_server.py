"""A Redis server of the tests' own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest


class RedisServer:
    """Runs on a free port of the loopback, keeps nothing on disk, and can be killed and started anew on its port.

    Elsewhere where that is asked for: at another `host`, and behind the words of `inside`, which go before a command.
    """

    def __init__(self, folder: Path, config: str = "", host: str = "127.0.0.1", inside: Sequence[str] = ()) -> None:
        self.folder = folder
        self.host = host
        self.inside = inside
        self.port = 0
        # The package of tools has the same program by another name, and starts no service.
        found = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        if found is None:
            pytest.skip("no redis-server was found; install Debian's redis-tools, or Redis")
        self.program = found
        self.start(config)

    def start(self, config: str = "") -> None:
        """Start it, with lines of configuration beside its own."""
        deadline = time.monotonic() + 30
        chosen = self.port
        while True:
            with socket.socket() as probe:
                if not chosen:
                    probe.bind(("127.0.0.1", 0))
                    self.port = probe.getsockname()[1]
            self.process = subprocess.Popen(
                [*self.inside, "bash", "-c", 'exec -a redis-server "$0" -', self.program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self.process.stdin is not None
            self.process.stdin.write(
                f'bind {self.host}\nport {self.port}\nsave ""\nappendonly no\ndir {self.folder}\n{config}\n'
            )
            self.process.stdin.close()
            # A port that another program has taken meanwhile ends it: then with another one, or once more.
            assert self.process.stdout is not None
            if any("Ready to accept connections" in line for line in self.process.stdout):
                return
            assert time.monotonic() < deadline, "redis-server does not start"

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(timeout=10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def url(self) -> str:
        """What ``CYLON_STORE`` is set to."""
        return f"redis://{self.host}:{self.port}"
