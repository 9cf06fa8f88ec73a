"""Worlds of threads: what is left of a rank when its body has ended."""

from __future__ import annotations

import pytest

import pycylon as cy
from pycylon.testing import run_ranks


def test_an_environment_that_is_kept_is_finalized() -> None:
    # A traceback keeps it when the body fails, and pytest prints what a traceback holds.
    frames = run_ranks(2, lambda env: cy.DataFrame({"a": [env.rank]}, env=env))
    assert [frame.to_dict() for frame in frames] == [{"a": [0]}, {"a": [1]}]
    assert repr(frames[0].env) == "CylonEnv(finalized)"
    with pytest.raises(ValueError, match="finalized"):
        frames[0].sort_values("a")
