"""Some dozens of broken jobs (a thousand in `make test-long`): no hang, no wrong answer, no wrong name."""

from __future__ import annotations

import os

import cases
import judge
import pytest
import run

LONG = bool(os.environ.get("CYLON_TEST_LONG"))
TRANSPORTS = "tcp,shm"


@pytest.mark.parametrize(
    ("faults", "runs"), [("kill", 40), ("slow,disk,memory,store,restart", 10), ("stop", 4), ("blackhole", 2)]
)
def test_no_job_hangs_answers_wrongly_or_names_the_wrong_rank(
    faults: str, runs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    transports = TRANSPORTS
    if faults == "blackhole":
        transports = "tcp"  # what is on one host is not cut off
        if os.geteuid() != 0:
            pytest.skip("a network of its own for each rank needs root")
    check(faults, runs, transports, capsys)


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")
def test_no_job_behind_gateways_does(capsys: pytest.CaptureFixture[str]) -> None:
    faults = "kill,gateway,cut,restart" + (",silence,stop,slow,blackhole" if LONG else "")
    check(faults, 20 if LONG else 4, "punch", capsys, jobs=2)


def check(faults: str, runs: int, transports: str, capsys: pytest.CaptureFixture[str], jobs: int = 1) -> None:
    count = 20 * runs if LONG else runs  # a thousand cases in all, and some hundreds behind gateways
    words = ["--faults", faults, "--runs", str(count), "--transport", transports, "--jobs", str(jobs)]
    assert run.main(words) == 0, capsys.readouterr().out


def test_a_case_is_the_same_each_time_and_cases_differ() -> None:
    choice = cases.Choice(7, ("tcp", "shm", "punch"), tuple(cases.FAULTS), 3.0)
    drawn = [cases.draw(choice, number) for number in range(300)]
    assert drawn == [cases.draw(choice, number) for number in range(300)]
    assert {case.transport for case in drawn} == {"tcp", "shm", "punch"}
    assert all(len(case.gateways) == (case.ranks if case.transport == "punch" else 0) for case in drawn)
    assert {case.fault for case in drawn} == set(cases.FAULTS)
    assert {case.phase for case in drawn} == set(cases.PHASES)
    assert {operation for case in drawn for operation in case.operations} == set(cases.OPERATIONS)
    assert {case.ranks for case in drawn} == set(range(2, 9))


def error(rank: int, at: float, kind: str = "RankFailed") -> dict[str, object]:
    return {"outcome": "error", "kind": kind, "rank": rank, "message": f"rank {rank} failed", "at": at}


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ({0: error(1, 10.3), 1: None, 2: error(1, 10.4)}, "right"),
        ({0: error(1, 10.3), 1: None, 2: None}, "hang"),
        ({0: error(1, 10.3), 1: None, 2: error(0, 10.4)}, "wrong name"),
        ({0: error(1, 10.3), 1: None, 2: error(1, 10.4, "LinkLost")}, "wrong name"),
        ({0: error(1, 10.3), 1: None, 2: error(1, 12.4)}, "late"),
        ({0: error(1, 10.3), 1: None, 2: {"outcome": "ok", "at": 10.4}}, "wrong name"),
        ({0: error(1, 10.3), 1: None, 2: {"outcome": "wrong", "message": "", "at": 10.4}}, "wrong answer"),
    ],
)
def test_the_judge_sees_each_kind_of_failure(ends: dict[int, dict[str, object] | None], verdict: str) -> None:
    case = cases.Case(0, "tcp", "kill", "running", True, 3, (1,), ("barrier",), 100, 0, 1, 0.0)
    outcome = judge.judge(case, ends, 10.0, 3.0)
    assert outcome.verdict == verdict, outcome.why
    assert outcome.seconds == (pytest.approx(0.4) if verdict == "right" else outcome.seconds)
