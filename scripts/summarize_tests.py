"""Counts what the suites ran, from the JUnit files that they leave, and prints `N passed, N failed`."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Counts:
    """How many tests ended how, and the names of those that failed."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)


def add_file(path: Path, counts: Counts, prefix: str = "") -> int:
    """Add the tests of a JUnit file to `counts`; return how many of them failed."""
    failures = 0
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{prefix}{case.get('classname', '')}.{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed.append(name)
            failures += 1
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            counts.skipped += 1
        else:
            counts.passed += 1
    return failures


def add_ctest(path: Path, counts: Counts) -> None:
    """Add one ctest run: test by test where a program left its own file, else one for the program."""
    preset = path.name.removesuffix("-ctest.xml")
    own = path.parent / preset
    prefix = "" if preset == "release" else f"{preset}: "
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name", "")
        failed = case.find("failure") is not None or case.get("status") == "fail"
        found = [file for file in (own / f"cylon_{name}_test.xml", own / f"{name}.xml") if file.exists()]
        failures = sum(add_file(file, counts, prefix) for file in found)
        if failed and failures == 0:
            # It crashed, ran out of time, or was stopped by a sanitizer: whatever its tests said before.
            counts.failed.append(f"{prefix}{name} (the program)")
        elif not found and not failed:
            counts.passed += 1


def main() -> int:
    """Print the counts; the exit code is 1 where a test failed or none ran."""
    results = Path(sys.argv[1])
    counts = Counts()
    for path in sorted(results.glob("*-ctest.xml")):
        add_ctest(path, counts)
    if (results / "pytest.xml").exists():
        add_file(results / "pytest.xml", counts)
    for name in counts.failed:
        print(f"FAILED {name}")
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    print(f"{counts.passed} passed, {len(counts.failed)} failed{skipped}")
    return 1 if counts.failed or counts.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
