"""The set-up, where it may not install: it prints the one line to run, and stops."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "setup.sh"


@pytest.fixture
def bare_path() -> Iterator[Path]:
    """A PATH with what the script itself calls, and a package database without a package.

    Beside it is a copy of the script, since another user than root may not see the checkout.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for tool in ("bash", "dirname"):
            found = shutil.which(tool)
            assert found is not None
            (folder / tool).symlink_to(found)
        (folder / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
        (folder / "dpkg-query").chmod(0o755)
        scripts = folder / "checkout" / "scripts"
        scripts.mkdir(parents=True)
        shutil.copy(SCRIPT, scripts)
        for readable in (scripts.parent, scripts, scripts / SCRIPT.name):
            readable.chmod(0o755)
        yield folder


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    user = "nobody" if os.geteuid() == 0 else None
    return subprocess.run(
        ["/usr/bin/env", "bash", str(path / "checkout" / "scripts" / SCRIPT.name), *arguments],
        env={"PATH": str(path), "HOME": "/nonexistent"},
        user=pwd.getpwnam(user).pw_uid if user else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_root_or_sudo_it_prints_the_line_to_run_and_stops(bare_path: Path) -> None:
    done = run(bare_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("apt-get update && apt-get install -y --no-install-recommends build-essential cmake")
    assert "clang-tidy-19" not in last
    assert "as root" in done.stderr


def test_lint_asks_for_its_tools_too(bare_path: Path) -> None:
    assert "clang-format-19 clang-tidy-19" in run(bare_path, "lint").stderr


def test_elsewhere_it_says_what_to_install(bare_path: Path) -> None:
    (bare_path / "dpkg-query").unlink()
    done = run(bare_path)
    assert done.returncode == 1
    assert "not Debian" in done.stderr
    assert "CYLON_SKIP_PACKAGES=1" in done.stderr
