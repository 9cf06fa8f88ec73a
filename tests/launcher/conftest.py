"""A launcher for each test, with nothing left of it afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import CYLON, Launcher, alive


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    if not CYLON.exists():
        pytest.skip(f"{CYLON} is not built; run make build, or set CYLON_BUILD")
    made = Launcher(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.wait()
    for pid in alive(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)
