"""What is left in a process when a rank of it has ended: nothing, however it ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, Launch
from handlers import PROGRAM, check_frozen, check_leftovers
from redis_server import RedisServer

LONG = bool(os.environ.get("CYLON_TEST_LONG"))


@pytest.mark.parametrize("transport", ["tcp", "auto", "redis"])
def test_no_thread_and_no_descriptor_outlives_a_handler(
    launch: Launch, environment: dict[str, str], secret: Path, tmp_path: Path, transport: str
) -> None:
    settings = {"CYLON_TRANSPORT": transport, "CYLON_PEER_TIMEOUT": "2", "CYLON_THREADS": "1"}
    settings |= {"CYLON_SECRET_FILE": str(secret), "CYLON_WORLD_SIZE": "2"}
    redis = RedisServer(tmp_path) if transport == "redis" else None
    if redis is not None:
        settings["CYLON_STORE"] = redis.url
    else:
        server = launch(BUILD / "bin" / "cylon-rendezvous", "--listen", "127.0.0.1:0", "--secret-file", secret)
        assert server.stdout is not None
        settings["CYLON_STORE"] = server.stdout.readline().strip()
    started: list[subprocess.Popen[str]] = []

    def start() -> list[subprocess.Popen[str]]:
        for rank in range(2):
            variables = {**environment, **settings, "CYLON_RANK": str(rank)}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            started.append(subprocess.Popen(PROGRAM, env=variables, text=True, **pipes))  # type: ignore[call-overload]
        return started

    try:
        processes = check_leftovers(start)
        if transport != "auto" or LONG:
            check_frozen(processes)
    finally:
        for process in started:
            process.kill()
            process.communicate()
        if redis is not None:
            redis.kill()
