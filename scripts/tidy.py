"""Runs clang-tidy over the C++ sources, two at a time, and skips those that passed before and have not changed.

The library's sources are checked by a set that takes minutes; --full checks the tests as well, by every check of
.clang-tidy. A source counts as unchanged as long as it, all headers of this project that it includes, the settings and
clang-tidy itself are the same.
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


def configure(compiler: str) -> None:
    """Make the compile commands, for clang, with the headers that nearly every source includes parsed once."""
    python = ROOT / ".venv" / "bin" / "python"
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-DCYLON_BUILD_PYTHON=OFF"]
    options += [f"-DCMAKE_CXX_COMPILER={compiler}", f"-DPython_EXECUTABLE={python}"]
    configured = subprocess.run(
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if configured.returncode != 0:
        sys.exit(f"tidy: cmake could not configure {BUILD}:\n{configured.stdout}{configured.stderr}")
    built = subprocess.run(["ninja", "-C", str(BUILD), "cylon_pch"], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        sys.exit(f"tidy: the common headers do not compile with {compiler}:\n{built.stdout}{built.stderr}")


def check(source: Path, command: list[str]) -> tuple[bool, str]:
    """Run clang-tidy on one source; return whether it passed, and what it said."""
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    noise = re.compile(
        r"^(\d+ warnings? (and \d+ errors? )?generated|Suppressed|Use -header-filter|\d+ warnings? treated)"
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line and not noise.match(line)]
    return done.returncode == 0, "\n".join(lines)


def main() -> int:
    """Check what has to be checked; the exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every check, tests as well")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("sources", nargs="*", type=Path, help="only these")
    arguments = parser.parse_args()

    began = time.monotonic()
    configure("clang++-19")
    command = ["clang-tidy-19", "--quiet", "-p", str(BUILD)]
    if not arguments.full:
        command.append("--checks=" + ",".join(f"-{check}" for check in SLOW))
    version = subprocess.run(["clang-tidy-19", "--version"], capture_output=True, text=True, check=True).stdout
    settings = "\n".join([version, *command, (ROOT / ".clang-tidy").read_text(), (ROOT / "cpp/pch.h").read_text()])

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
        for source, (passed, said) in zip(stale, pool.map(lambda path: check(path, command), stale), strict=True):
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
