"""Finds the package in the build tree when it is not installed, and the worlds that tests run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")) / "python"
if BUILT.exists():
    sys.path.insert(0, str(BUILT))
sys.path.insert(0, str(Path(__file__).parent))

from worlds import WORLDS, World  # noqa: E402 - it imports the package found above


@pytest.fixture(params=WORLDS, ids=str)
def world(request: pytest.FixtureRequest) -> World:
    """One world of each transport, rank count and spilling."""
    world: World = request.param
    return world
