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


@pytest.mark.parametrize("transport", ["sim", "inproc", "tcp"])
def test_calls_that_differ_are_named_with_their_places(transport: str) -> None:
    def program(env: cy.CylonEnv) -> None:
        frame = cy.DataFrame({"a": [2, 1]}, env=env)
        if env.rank == 1:
            frame.sort_values("a")
        frame.drop_duplicates()

    first = program.__code__.co_firstlineno
    with pytest.raises(cy.CollectiveMismatchError) as caught:
        run_ranks(2, program, transport)  # type: ignore[arg-type]
    text = str(caught.value)
    assert f" at test_ranks.py:{first + 4} but rank 1 called Sort(" in text
    assert f" at test_ranks.py:{first + 3}; every rank has to make the same calls in the same order" in text
    assert text.startswith("rank 0 called Unique(")


@pytest.mark.parametrize("transport", ["inproc", "tcp"])  # a simulated clock stands while anything moves
def test_the_job_ends_with_its_deadline(transport: str) -> None:
    def endless(env: cy.CylonEnv) -> None:
        while True:
            env.barrier()

    with pytest.raises(cy.DeadlineError, match=r"within the 1 s .*; this rank was in Barrier\(\) at test_ranks.py:"):
        run_ranks(2, endless, transport, deadline_s=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", ["sim", "inproc", "tcp"])
def test_survivors_rejoin(transport: str) -> None:
    answers = []
    lost = []

    def program(env: cy.CylonEnv) -> None:
        dies = env.rank == 1
        while True:
            try:
                env.barrier()  # who fails before all have started is no loss to survive: the others do not start
                if dies:
                    raise MemoryError
                rows = cy.DataFrame({"a": [env.rank]}, env=env).drop_duplicates().count_rows()
                break
            except cy.RankFailedError as error:
                lost.append(error.rank)
                old = env
                env = env.rejoin(window_s=30)
                assert repr(old) == "CylonEnv(finalized)"
        answers.append((env.rank, env.world_size, rows))
        env.finalize()

    with pytest.raises(MemoryError):
        run_ranks(4, program, transport)  # type: ignore[arg-type]
    assert lost == [1, 1, 1]
    assert sorted(answers) == [(0, 3, 3), (1, 3, 3), (2, 3, 3)]


def test_rejoining_needs_a_failure_and_a_store() -> None:
    def program(env: cy.CylonEnv) -> None:
        with pytest.raises(ValueError, match="there is nothing to rejoin"):
            env.rejoin()
        env.barrier()

    run_ranks(2, program)
    with pytest.raises(ValueError, match="there is no store"):
        cy.CylonEnv(distributed=False).rejoin()
