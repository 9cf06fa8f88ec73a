"""Checks that a room includes only rooms above it, in the order that cmake/Rooms.cmake gives."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*(?:include|include_next|import)\s*(["<])([^">]+)[">]')
ROOMS = re.compile(r"^set\(CYLON_ROOMS ([^)]*)\)", re.MULTILINE)
SOURCES = {".h", ".cc", ".cpp", ".hpp", ".inc"}
# Rooms that stand above but stay strangers: bytes and ranks are moved without knowing that tables exist.
STRANGERS = dict.fromkeys(("wire", "bootstrap", "net", "comm"), ("table", "kernels"))


@dataclass(frozen=True)
class Include:
    """One #include line."""

    file: Path
    line: int
    target: str
    quoted: bool


@dataclass(frozen=True)
class Violation:
    """An include that a rule forbids."""

    include: Include
    rule: str

    def __str__(self) -> str:
        """Return `file:line: include: rule`, as compilers write it, so that editors can jump there."""
        return f"{self.include.file}:{self.include.line}: #include {self.include.target}: {self.rule}"


def read_rooms(root: Path) -> list[str]:
    """Return the rooms, the highest first."""
    path = root / "cmake" / "Rooms.cmake"
    match = ROOMS.search(path.read_text())
    if match is None:
        raise ValueError(f"{path} has no line 'set(CYLON_ROOMS ...)'; the order of the rooms is read from there")
    return match.group(1).split()


def includes_of(root: Path, file: Path) -> Iterator[Include]:
    """Yield the #include lines of `file`."""
    for number, line in enumerate((root / file).read_text(errors="replace").splitlines(), start=1):
        match = INCLUDE.match(line)
        if match:
            yield Include(file, number, match.group(2), match.group(1) == '"')


def check_include(include: Include, room: str, rooms: list[str]) -> str | None:
    """Return the rule that `include`, in a file of `room`, breaks, or None."""
    parts = include.target.split("/")
    if parts[0] != "cylon":
        if include.quoted:
            return f'a quoted include names its file from the root: "cylon/{room}/{include.target}"'
        return None
    if len(parts) < 3:
        return "no room may include the header that is for users; include what is needed of it"
    other = parts[1]
    if other not in rooms:
        return f"'{other}' is no room; the rooms are {', '.join(rooms)} (cmake/Rooms.cmake)"
    if rooms.index(other) > rooms.index(room):
        above = ", ".join(rooms[: rooms.index(room) + 1])
        return f"room '{room}' may include only rooms above it ({above}), not '{other}'"
    if other in STRANGERS.get(room, ()):
        return f"room '{room}' knows nothing of tables, so it may not include '{other}'"
    return None


def check(root: Path) -> list[Violation]:
    """Return every include under cpp/cylon that breaks a rule."""
    rooms = read_rooms(root)
    violations = []
    for room in rooms:
        folder = root / "cpp" / "cylon" / room
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if path.suffix not in SOURCES:
                continue
            for include in includes_of(root, path.relative_to(root)):
                rule = check_include(include, room, rooms)
                if rule is not None:
                    violations.append(Violation(include, rule))
    known = {"cylon.h", "CMakeLists.txt", *rooms}
    for path in sorted((root / "cpp" / "cylon").iterdir()):
        if path.name not in known:
            nowhere = Include(path.relative_to(root), 1, "-", False)
            violations.append(
                Violation(nowhere, "belongs to no room; move it into one, or add the room to Rooms.cmake")
            )
    return violations


def main() -> int:
    """Print the violations; the exit code is 1 where there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    violations = check(parser.parse_args().root)
    for violation in violations:
        print(violation)
    print(f"layers: {len(violations)} includes against the order of the rooms" if violations else "layers: in order")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
