"""The layer check finds an include against the order of the rooms, and only that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check_layers.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "cmake").mkdir()
    (tmp_path / "cmake" / "Rooms.cmake").write_text((ROOT / "cmake" / "Rooms.cmake").read_text())
    for room in ("base", "table", "net/tcp", "ops"):
        (tmp_path / "cpp" / "cylon" / room).mkdir(parents=True)
    (tmp_path / "cpp" / "cylon" / "ops" / "join.cc").write_text(
        '// Joins.\n#include "cylon/ops/join.h"\n\n#include <vector>\n\n#include "cylon/base/error.h"\n'
    )
    return tmp_path


def run(tree: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, SCRIPT, tree], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_includes_of_rooms_above_pass(tree: Path) -> None:
    assert run(tree) == (0, "layers: in order\n")


def test_an_include_against_the_order_fails_with_file_line_and_rule(tree: Path) -> None:
    (tree / "cpp/cylon/base/log.cc").write_text('// Log.\n\n  #  include "cylon/ops/join.h"\n')
    code, output = run(tree)
    assert code == 1
    assert (
        "cpp/cylon/base/log.cc:3: #include cylon/ops/join.h: room 'base' may include only rooms above it (base)"
        in output
    )


def test_tests_and_nested_folders_are_checked_too(tree: Path) -> None:
    (tree / "cpp/cylon/net/tcp/mesh_test.cc").write_text("#include <cylon/comm/context.h>\n")
    code, output = run(tree)
    assert code == 1
    assert "mesh_test.cc:1" in output


def test_rooms_that_move_bytes_do_not_know_tables(tree: Path) -> None:
    (tree / "cpp/cylon/net/tcp/mesh.cc").write_text('#include "cylon/table/table.h"\n')
    code, output = run(tree)
    assert code == 1
    assert "room 'net' knows nothing of tables" in output


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('#include "../table/table.h"', "names its file from the root"),
        ('#include "cylon/cylon.h"', "for users"),
        ('#include "cylon/attic/old.h"', "'attic' is no room"),
    ],
)
def test_ways_round_the_order_are_closed(tree: Path, line: str, rule: str) -> None:
    (tree / "cpp/cylon/base/log.cc").write_text(line + "\n")
    code, output = run(tree)
    assert code == 1
    assert rule in output


def test_a_folder_that_is_no_room_is_found(tree: Path) -> None:
    (tree / "cpp/cylon/attic").mkdir()
    code, output = run(tree)
    assert code == 1
    assert "cpp/cylon/attic" in output


def test_this_project_is_in_order() -> None:
    code, output = run(ROOT)
    assert code == 0, output
