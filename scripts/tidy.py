"""Runs clang-tidy over the C++ sources, two at a time, and skips those that passed before and have not changed.

The library's sources are checked by a set that takes minutes; --full checks the tests as well, by every check of
.clang-tidy. A source counts as unchanged as long as it, all headers of this project that it includes, the settings and
clang-tidy itself are the same.

Most of the time goes into the headers, so sources of one room are checked many at a time, included into one: six of io
take 11 s of CPU together, one of them 7 s. Sources with a name in common are put into different groups. Where a group
does not compile all the same, each half is checked on its own; a source in which something is found, once more alone.
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
# Sources in a group: the headers are then a third of its time. With more, two jobs do not end together.
GROUP = 14
# What unnamed namespaces define, at the beginning of a line; of a function also what it takes.
UNNAMED = re.compile(r"^namespace \{\n(.*?)^\}  // namespace\n", re.MULTILINE | re.DOTALL)
TYPES = re.compile(r"^(?:(?:class|struct|enum class) (\w+)(?: final)?[ ;:{]|using (\w+) =)", re.MULTILINE)
CONSTANTS = re.compile(r"^(?:inline |static )?(?:constexpr|const) [^(={;]*?(\w+)(?: = |\{|\[|;)", re.MULTILINE)
FUNCTIONS = re.compile(r"^[A-Za-z][\w:<>,&* ]*[ &*>](\w+\([^()]*)", re.MULTILINE)
# Where something was found, and by which check.
FINDING = re.compile(r"^(/[^:]+):\d+:\d+: (?:error|warning): .*\[([\w.,-]+)\]$", re.MULTILINE)
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


def defined_in(source: Path) -> set[str]:
    """Return what `source` defines for itself, by names."""
    names: set[str] = set()
    for block in UNNAMED.findall(source.read_text()):
        names.update(first or second for first, second in TYPES.findall(block))
        names.update(CONSTANTS.findall(block))
        names.update(FUNCTIONS.findall(block))
    return names


def in_groups(sources: list[Path]) -> list[list[Path]]:
    """Return the sources by room, tests apart, at most GROUP at a time and no two with a name in common."""
    rooms: dict[tuple[Path, bool], list[Path]] = {}
    for source in sorted(sources):
        inside = source.relative_to(ROOT / "cpp").parts
        room = Path(*inside[:2]) if inside[0] == "cylon" else source.parent
        rooms.setdefault((room, source.name.endswith("_test.cc")), []).append(source)
    groups: list[list[Path]] = []
    for members in rooms.values():
        most = -(-len(members) // -(-len(members) // GROUP))  # groups of one size, so that none is nearly empty
        open_groups: list[tuple[list[Path], set[str]]] = []
        for source in members:
            names = defined_in(source)
            for group, taken in open_groups:
                if len(group) < most and not names & taken:
                    group.append(source)
                    taken |= names
                    break
            else:
                open_groups.append(([source], names))
        groups += [group for group, _ in open_groups]
    return sorted(groups, key=len, reverse=True)  # the longest first, so that the jobs end together


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
        passed, said = self.run(path, folder)
        if passed:
            return [(source, True, "") for source in group]
        findings = FINDING.findall(said)
        found_in = {Path(file) for file, _ in findings}
        if findings and found_in <= set(group) and not any("clang-diagnostic-error" in name for _, name in findings):
            again = [self.check([source])[0] for source in group if source in found_in]
            return again + [(source, True, "") for source in group if source not in found_in]
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
    known.remove(ROOT / "cpp" / "pch.cc")  # has no code
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
