"""The files by which `cylon-rendezvous` runs as a service say what systemd and the program understand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release"))
PROGRAM = BUILD / "bin" / "cylon-rendezvous"
FILES = ROOT / "packaging" / "rendezvous"
MOST_EXPOSURE = 15  # of 100, as systemd counts it: an ordinary service has 96


@pytest.fixture
def analyze() -> str:
    """The program that checks units."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed, so the unit was not checked; apt-get install systemd")
    return program


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_takes_the_unit(analyze: str, tmp_path: Path) -> None:
    unit = tmp_path / "cylon-rendezvous.service"
    unit.write_text((FILES / unit.name).read_text().replace("/opt/cylon/bin/cylon-rendezvous", str(PROGRAM)))
    done = run(analyze, "verify", unit)
    assert done.returncode == 0, done.stderr
    assert str(unit) not in done.stderr  # warnings come with its name


def test_the_service_may_do_little(analyze: str) -> None:
    unit = FILES / "cylon-rendezvous.service"
    done = run(analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["cylon-rendezvous.service", "Containerfile"])
def test_the_program_knows_every_option_that_it_is_started_with(name: str) -> None:
    lines = re.findall(r"^(?:ExecStart=|CMD ).*$", (FILES / name).read_text(), re.MULTILINE)
    options = set(re.findall(r"--[a-z-]+", " ".join(lines)))
    assert {"--listen", "--operator-key-file"} <= options
    done = run(PROGRAM, "--help")
    assert done.returncode == 0
    assert options <= set(re.findall(r"--[a-z-]+", done.stdout))
