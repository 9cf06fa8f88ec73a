"""A process that will be ended leaves before that, and the others learn why."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from conftest import BUILD, Launch

PROGRAM = """
import json, os, sys, time, pycylon as cy
remaining = json.loads(os.environ['REMAINING'])
begun = time.monotonic()
said = {}
try:
    with cy.CylonEnv(remaining_ms=(lambda: remaining) if remaining else None) as env:
        while True:
            env.barrier()
except cy.CylonError as error:
    said = {'kind': type(error).__name__, 'rank': error.rank, 'cause': error.cause, 'message': str(error)}
print(json.dumps({**said, 'took': time.monotonic() - begun}), flush=True)
"""


def start(launch: Launch, secret: Path, remaining: tuple[float, ...]) -> list[dict[str, object]]:
    """What each rank of a job says in which processes have so many milliseconds left; 0: nobody ends it."""
    server = launch(BUILD / "bin" / "cylon-rendezvous", "--listen", "127.0.0.1:0", "--secret-file", secret)
    assert server.stdout is not None
    settings = {"CYLON_STORE": server.stdout.readline().strip(), "CYLON_SECRET_FILE": str(secret)}
    settings |= {"CYLON_WORLD_SIZE": str(len(remaining)), "CYLON_THREADS": "1"}
    ranks = [
        launch(sys.executable, "-c", PROGRAM, **settings, CYLON_RANK=str(rank), REMAINING=json.dumps(left))
        for rank, left in enumerate(remaining)
    ]
    said = []
    for process in ranks:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        said.append(json.loads(out))
    return said


def test_a_rank_whose_time_runs_out_leaves_and_the_others_learn_why(launch: Launch, secret: Path) -> None:
    first, left, last = start(launch, secret, (0, 3000, 900_000))
    assert left["kind"] == "DeadlineError", left
    assert "its process had 3 s left when it joined (time_left_s)" in str(left["message"])
    assert "the others were told" in str(left["message"])
    for survivor in (first, last):
        assert (survivor["kind"], survivor["rank"]) == ("RankFailedError", 1), survivor
        assert survivor["cause"] == "its time was up: its process had 3 s left when it joined"


def test_what_is_no_time_is_refused(launch: Launch) -> None:
    for given, expected in (("-1", "remaining_ms is -1"), ("5, time_left_s=1", "give one of them")):
        process = launch(sys.executable, "-c", f"import pycylon as cy; cy.CylonEnv(remaining_ms={given})")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert expected in err
