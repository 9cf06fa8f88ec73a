"""What the tests of gateways share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from nat_kinds import KINDS, SAME_PRIVATE
from nat_lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A gateway of each kind, and a second one of the kind that needs two to be told."""
    with contextlib.closing(Lab(*KINDS.values(), SAME_PRIVATE)) as made:
        yield made


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Closes what a test opens."""
    with contextlib.ExitStack() as made:
        yield made
