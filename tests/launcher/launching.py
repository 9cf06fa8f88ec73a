"""Starting the built `cylon` program, and looking after what it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CYLON = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")) / "bin" / "cylon"
PATIENCE_S = 60


def environment(**more: str) -> dict[str, str]:
    """What every launch gets: this interpreter, and no settings of the shell that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CYLON_")}
    return kept | {"CYLON_PYTHON": sys.executable, "PYTHONUNBUFFERED": "1"} | more


def alive(marker: str) -> list[int]:
    """Processes whose command line holds `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and marker in (entry / "cmdline").read_text():
                    found.append(int(entry.name))
            except (OSError, UnicodeDecodeError):
                continue
    return found


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as `condition` holds; fail after a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen in {PATIENCE_S} s")
        time.sleep(0.01)  # between two looks; the condition ends the wait


class Launcher:
    """Runs `cylon` with programs written on the spot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def program(self, text: str, name: str = "program.py") -> str:
        """A Python program; its path is unique to the test."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def run(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """`cylon` with these arguments, to its end."""
        return subprocess.run(
            [str(CYLON), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=environment(**options.pop("env", {})),  # type: ignore[arg-type]
            stdin=subprocess.DEVNULL,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, while it runs."""
        process = subprocess.Popen(
            [str(CYLON), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            stdin=subprocess.DEVNULL,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, error = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, error

    def gone(self) -> None:
        """Nothing that names this test's folder is running any more."""
        wait_until(lambda: not alive(str(self.folder)), "the end of every process")
