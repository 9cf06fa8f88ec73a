"""Real ranks behind every kind of gateway connect by the way that the page (docs/nat.md) says."""

from __future__ import annotations

import os

import matrix
import pytest
from nat_job import BUILD
from nat_kinds import KINDS, LOSSY, MOVING, PUBLIC, RESETTING, RESTRICTED, SHARED, SYMMETRIC

LONG = bool(os.environ.get("CYLON_TEST_LONG"))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")


def test_every_pair_goes_the_way_that_the_page_says() -> None:
    """Twenty worlds of two functions of every kind, in `make test-long`; else one of some."""
    some = [PUBLIC, RESTRICTED, MOVING, SYMMETRIC, RESETTING, SHARED, LOSSY, RESTRICTED]
    kinds, worlds = ([*KINDS.values()] * 2, 20) if LONG else (some, 1)
    found = matrix.run_worlds(BUILD, kinds, worlds, seed=1)
    assert not found.failures, str(found)
    assert all(ways.total() >= (20 if LONG else 1) for ways in found.tries.values())
