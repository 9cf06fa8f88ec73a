"""What ten thousand processes that wait at a `cylon-rendezvous` take there."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, Launch

LONG = bool(os.environ.get("CYLON_TEST_LONG"))
CROWD = 10_000 if LONG else 500
# By whether they are encrypted: then 135 MiB of it are OpenSSL's objects, without any buffers.
LIMIT_MIB = {False: 200, True: 300}
ONCE_MIB = 5


def resident_mib(process: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found.group(1)) / 1024


def other_address() -> str | None:
    """An address of this machine over which connections are encrypted."""
    done = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    addresses = [each for each in done.stdout.split() if ":" not in each and not each.startswith("127.")]
    return addresses[0] if addresses else None


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_crowd_that_waits_takes_little_memory(launch: Launch, secret: Path, encrypted: bool) -> None:
    host = other_address() if encrypted else "127.0.0.1"
    if host is None:
        pytest.skip("this machine has no address but loopback ones, over which nothing is encrypted")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < CROWD + 200:
        pytest.skip(f"{CROWD} connections need as many descriptors, and {most} are allowed; raise ulimit -Hn")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # inherited
    try:
        server = launch(BUILD / "bin" / "cylon-rendezvous", "--secret-file", secret, "--listen", f"{host}:0")
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        alone = resident_mib(server)
        crowd = launch(
            BUILD / "bin" / "rendezvous-crowd", address, str(CROWD), CYLON_SECRET_FILE=str(secret), CYLON_JOB="crowd"
        )
        assert crowd.stdout is not None
        line = crowd.stdout.readline()
        assert line == f"open {CROWD}\n", crowd.communicate()[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    crowded = resident_mib(server)
    print(f"{alone:.1f} MiB alone, {crowded:.1f} MiB with {CROWD} sessions")
    if LONG:
        assert crowded <= LIMIT_MIB[encrypted]
    else:  # what as many of them may take, and what the first one does
        assert crowded - alone <= ONCE_MIB + (LIMIT_MIB[encrypted] - alone) * CROWD / 10_000
