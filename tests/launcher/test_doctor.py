"""What `cylon doctor` shows."""

from __future__ import annotations

from launching import Launcher


def test_it_shows_versions_limits_and_settings(launcher: Launcher) -> None:
    result = launcher.run("doctor", env={"CYLON_THREADS": "3", "CYLON_SECRET": "ab" * 32})
    assert result.returncode == 0, result.stdout
    for word in ("Cylon", "Arrow", "26.", "OpenSSL", "tcp", "Cores", "Memory", "Spill folder", "free", "Open files"):
        assert word in result.stdout
    assert "CYLON_THREADS" in result.stdout
    assert "3 threads" in result.stdout
    assert "ab" * 32 not in result.stdout
    assert "pyarrow" in result.stdout
    assert result.stdout.endswith("No problems found\n")


def test_it_names_each_problem(launcher: Launcher) -> None:
    result = launcher.run("doctor", env={"CYLON_SPILL_DIR": "/no/such/folder"})
    assert result.returncode == 1
    assert "Problem: the spill directory /no/such/folder does not exist" in result.stdout
    result = launcher.run("doctor", env={"CYLON_THREADS": "many"})
    assert result.returncode == 1
    assert "CYLON_THREADS" in result.stdout


def test_it_does_without_python(launcher: Launcher) -> None:
    result = launcher.run("doctor", env={"CYLON_PYTHON": "/no/python"})
    assert result.returncode == 0
    assert "not found" in result.stdout


def test_the_version_is_one_line(launcher: Launcher) -> None:
    result = launcher.run("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("cylon ")
