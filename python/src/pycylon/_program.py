"""The `cylon` command of an installed package: hands over to the native program beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Replace this process by the native `cylon` program, with this interpreter for Python programs."""
    program = Path(__file__).parent / "bin" / "cylon"
    if not program.exists():
        sys.exit(f"cylon: {program} is missing; install the package again with 'pip install --force-reinstall pycylon'")
    environment = dict(os.environ)
    environment.setdefault("CYLON_PYTHON", sys.executable)
    os.execve(program, [str(program), *sys.argv[1:]], environment)
