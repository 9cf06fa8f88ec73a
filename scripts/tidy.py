"""Runs clang-tidy over the C++ sources, two at a time, and skips those that passed before and have not changed.

The library's sources are checked by a set that takes minutes; --full checks the tests as well, by every check of
.clang-tidy. A source counts as unchanged as long as it, all headers of this project that it includes, the settings and
clang-tidy itself are the same.

Nearly all of the time goes into the headers, so sources of one folder are checked several at a time, included into one.
Where that finds something, or where two of them have a name in common, each half is checked on its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "lint"
TOGETHER = BUILD / "together"
# Sources in a group: with more, names clash more often, and a clash costs the group's time again.
GROUP = 6
INCLUDE = re.compile(r'^\s*#\s*include\s*["<](cylon/[^">]+)[">]', re.MULTILINE)
# Half of the time of a full run, for mistakes that a reader or the compiler's own warnings see as well.
SLOW = (
    "bugprone-assert-side-effect",
    "bugprone-chained-comparison",
    "bugprone-multiple-statement-macro",
    "bugprone-not-null-terminated-result",
    "bugprone-reserved-identifier",
    "bugprone-standalone-empty",
    "bugprone-stringview-nullptr",
    "bugprone-suspicious-semicolon",
    "bugprone-suspicious-string-compare",
    "bugprone-undelegated-constructor",
    "bugprone-unused-raii",
    "bugprone-unused-return-value",
)


def digest_of(path: Path, seen: dict[Path, bytes]) -> None:
    """Add the digests of `path` and of every header of this project below it to `seen`."""
    if path in seen or not path.is_file():
        return
    content = path.read_bytes()
    seen[path] = hashlib.sha256(content).digest()
    for target in INCLUDE.findall(content.decode(errors="replace")):
        digest_of(ROOT / "cpp" / target, seen)


def key_of(source: Path, settings: bytes) -> str:
    """Return a name for the state of `source` and everything that a check of it depends on."""
    seen: dict[Path, bytes] = {}
    digest_of(source, seen)
    key = hashlib.sha256(settings)
    for path in sorted(seen):
        key.update(str(path).encode() + b"\0" + seen[path])
    return key.hexdigest()


def configure(compiler: str, tests: bool) -> None:
    """Make the compile commands, for clang, with the headers that nearly every source includes parsed once."""
    python = ROOT / ".venv" / "bin" / "python"
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-DCYLON_BUILD_PYTHON=OFF"]
    options.append(f"-DCYLON_BUILD_TESTS={'ON' if tests else 'OFF'}")
    options += [f"-DCMAKE_CXX_COMPILER={compiler}", f"-DPython_EXECUTABLE={python}"]
    configured = subprocess.run(
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if configured.returncode != 0:
        sys.exit(f"tidy: cmake could not configure {BUILD}:\n{configured.stdout}{configured.stderr}")
    headers = ["cylon_pch", "cylon_test_pch"] if tests else ["cylon_pch"]
    built = subprocess.run(["ninja", "-C", str(BUILD), *headers], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        sys.exit(f"tidy: the common headers do not compile with {compiler}:\n{built.stdout}{built.stderr}")


def in_groups(sources: list[Path]) -> list[list[Path]]:
    """Return the sources by folder, tests apart, at most GROUP at a time."""
    groups: list[list[Path]] = []
    kinds: list[tuple[Path, bool]] = []
    for source in sorted(sources, key=lambda path: (path.parent, path.name.endswith("_test.cc"), path.name)):
        kind = (source.parent, source.name.endswith("_test.cc"))
        if not groups or kinds[-1] != kind or len(groups[-1]) == GROUP:
            groups.append([])
            kinds.append(kind)
        groups[-1].append(source)
    return groups


class Checker:
    """Runs clang-tidy on one source or on several together."""

    def __init__(self, entries: list[dict[str, str]], options: list[str]) -> None:
        self.entries = {entry["file"]: entry for entry in entries}
        self.options = options

    def run(self, source: Path, database: Path) -> tuple[bool, str]:
        """Whether it passed, and what it said."""
        command = ["clang-tidy-19", "--quiet", "-p", str(database), *self.options, str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        noise = re.compile(
            r"^(\d+ warnings? (and \d+ errors? )?generated|Suppressed|Use -header-filter|\d+ warnings? treated)"
        )
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line and not noise.match(line)]
        return done.returncode == 0, "\n".join(lines)

    def check(self, group: list[Path]) -> list[tuple[Path, bool, str]]:
        """Each source of the group, whether it passed, and what was said of it."""
        if len(group) == 1:
            return [(group[0], *self.run(group[0], BUILD))]
        # A source that includes them all, compiled as the first of them is.
        folder = TOGETHER / f"{group[0].parent.name}-{group[0].stem}-{len(group)}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "together.cc"
        path.write_text("".join(f'#include "{source}"\n' for source in group))
        entry = self.entries[str(group[0])]
        command = entry["command"].replace(entry["file"], str(path))
        (folder / "compile_commands.json").write_text(json.dumps([entry | {"command": command, "file": str(path)}]))
        if self.run(path, folder)[0]:
            return [(source, True, "") for source in group]
        half = len(group) // 2
        return self.check(group[:half]) + self.check(group[half:])


def main() -> int:
    """Check what has to be checked; the exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every check, tests as well")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("sources", nargs="*", type=Path, help="only these")
    arguments = parser.parse_args()

    began = time.monotonic()
    configure("clang++-19", tests=arguments.full)
    # The second is what a group does to its sources.
    without = [*([] if arguments.full else SLOW), "bugprone-suspicious-include"]
    options = ["--checks=" + ",".join(f"-{check}" for check in without)]
    version = subprocess.run(["clang-tidy-19", "--version"], capture_output=True, text=True, check=True).stdout
    settings = "\n".join([version, *options, (ROOT / ".clang-tidy").read_text(), (ROOT / "cpp/pch.h").read_text()])

    entries = json.loads((BUILD / "compile_commands.json").read_text())
    known = sorted({Path(entry["file"]) for entry in entries if Path(entry["file"]).is_relative_to(ROOT / "cpp")})
    if arguments.sources:
        wanted = {path.resolve() for path in arguments.sources}
        known = [path for path in known if path in wanted]
    if not arguments.full:
        known = [path for path in known if not path.name.endswith("_test.cc")]
    cache = BUILD / "tidy-passed"
    cache.mkdir(exist_ok=True)
    keys = {source: key_of(source, settings.encode()) for source in known}
    stale = [source for source in known if not (cache / keys[source]).exists()]

    failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for results in pool.map(Checker(entries, options).check, in_groups(stale)):
            for source, passed, said in results:
                if passed:
                    (cache / keys[source]).touch()
                else:
                    failed += 1
                    print(said, flush=True)
    took = time.monotonic() - began
    print(f"clang-tidy: {len(known)} sources, {len(stale)} checked, {failed} with findings, {took:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
