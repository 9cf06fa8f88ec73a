"""docs/serverless-communicator.md names tests: each of them is there, and runs over what the page says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serverless-communicator.md").read_text()
PROGRAM = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")) / "cpp" / "cylon" / "cylon_comm_test"
WAYS = ["punch2", "punch5", "relay2", "relay5", "redis2", "redis5", "object2", "object5"]


def named(section: str) -> set[str]:
    """The tests that a section of the page names."""
    (text,) = [part for part in PAGE.split("\n## ") if part.startswith(section)]
    return set(re.findall(r"`(\w+Test\.\w+)`", text))


def test_every_test_that_the_page_names_is_there() -> None:
    cpp = "\n".join(path.read_text() for path in (ROOT / "cpp").rglob("*_test.cc"))
    there = {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_[FP])?\((\w+), (\w+)\)", cpp, re.MULTILINE)}
    extensions = named("What the published system added")
    assert len(extensions) > 10
    assert (extensions | named("Every call")) - there == set()


@pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")
def test_every_collective_is_tested_over_every_way() -> None:
    listing = subprocess.run([str(PROGRAM), "--gtest_list_tests"], capture_output=True, text=True, check=True).stdout
    suite, there = "", set()
    for line in listing.splitlines():
        word = line.split("#")[0].strip()
        if line.startswith(" "):
            there.add(suite + word)
        else:
            suite = word
    wanted = named("Every call")
    assert len(wanted) == 11
    assert all(f"`{way}`" in PAGE for way in WAYS)
    assert {f"Worlds/{test}/{way}" for test in wanted for way in WAYS} - there == set()


def test_every_collective_call_has_a_row() -> None:
    header = (ROOT / "cpp" / "cylon" / "comm" / "communicator.h").read_text()
    calls = set(re.findall(r"^  virtual arrow::Future<.*> (\w+)Async\(", header, re.MULTILINE))
    rows = "".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| ")).replace("-", "").lower()
    assert len(calls) == 11
    assert {call for call in calls if call.lower() not in rows} == set()
