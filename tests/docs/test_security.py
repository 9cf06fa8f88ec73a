"""SECURITY.md names tests: each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_a_claim_names_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    cpp = "\n".join(path.read_text() for path in (ROOT / "cpp").rglob("*_test.cc"))
    folders = [ROOT / "tests", ROOT / "python" / "tests"]
    python = "\n".join(path.read_text() for folder in folders for path in folder.rglob("test_*.py"))
    there = {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_[FP])?\((\w+), (\w+)\)", cpp, re.MULTILINE)}
    there |= set(re.findall(r"^def (test_\w+)\(", python, re.MULTILINE))
    there |= {f"fuzz:{path.name.removesuffix('_fuzz.cc')}" for path in (ROOT / "cpp/fuzz").glob("*_fuzz.cc")}

    named = set(re.findall(r"`(\w+Test\.\w+|test_\w+)`", text)) | set(re.findall(r"fuzz:\w+", text))
    named.discard("fuzz:x")  # where it is explained
    assert len(named) > 40
    assert named - there == set()
