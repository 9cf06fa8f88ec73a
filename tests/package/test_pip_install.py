"""The package as users get it: `pip install .` into an empty environment, and a first run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONG = os.environ.get("CYLON_TEST_LONG", "0") not in ("", "0")
INSTALL_LIMIT_S = 3600  # compiles all of the library: about 6 CPU minutes, on a machine that may be busy
RUN_LIMIT_S = 120

MERGE = """import pycylon as cy

with cy.CylonEnv() as env:
    first, last = 10 * env.rank, 10 * (env.world_size - 1 - env.rank)
    left = cy.DataFrame({"key": list(range(first, first + 10)), "left": [env.rank] * 10}, env=env)
    right = cy.DataFrame({"key": list(range(last, last + 10)), "right": [env.rank] * 10}, env=env)
    merged = left.merge(right, on="key")
    print("rows", len(merged), "columns", ",".join(merged.columns))
"""


class Installed:
    """Programs of an environment that holds this package and what pip brought with it."""

    def __init__(self, venv: Path) -> None:
        self.bin = venv / "bin"
        # Nothing of the build tree, and no settings of the shell that runs the tests.
        hidden = ("CYLON_", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.environment["PATH"] = f"{self.bin}:{os.environ['PATH']}"

    def run(self, program: str, *arguments: str, folder: Path, limit_s: float = RUN_LIMIT_S) -> str:
        """Run to its end and return what it printed; anything but success fails the test with all of its output."""
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


@pytest.mark.skipif(not LONG, reason="compiles the whole library again; set CYLON_TEST_LONG=1 to run it")
def test_an_empty_environment_installs_imports_and_runs(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    installed = Installed(venv)
    installed.run("python", "-m", "pip", "install", str(ROOT), folder=tmp_path, limit_s=INSTALL_LIMIT_S)

    imported = installed.run("python", "-c", "import pycylon; print(pycylon.__file__)", folder=tmp_path)
    assert Path(imported.strip()).is_relative_to(venv), "the package came from elsewhere"

    program = tmp_path / "merge.py"
    program.write_text(MERGE)
    printed = installed.run("cylon", "run", "-n", "2", str(program), folder=tmp_path)
    rows = re.findall(r"^\[([01])\] rows (\d+) columns key,left,right$", printed, re.MULTILINE)
    assert sorted(rank for rank, _ in rows) == ["0", "1"], printed
    assert sum(int(count) for _, count in rows) == 20, printed

    report = installed.run("cylon", "doctor", folder=tmp_path)
    assert str(venv) in report, report
