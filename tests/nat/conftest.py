"""What the tests of gateways share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from nat_kinds import KINDS, SAME_PRIVATE
from nat_lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A gateway of each kind, and a second one of the kind that needs two to be told."""
    with contextlib.closing(Lab(*KINDS.values(), SAME_PRIVATE)) as made:
        yield made


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A secret that only its owner may read."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text("5a" * 32)
    return path


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Closes what a test opens."""
    with contextlib.ExitStack() as made:
        yield made
