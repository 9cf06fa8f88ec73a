"""Jobs whose messages go through an object store: a directory, and an S3 that moto plays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import BUILD, Run
from object_store import ObjectStore

Place = tuple[dict[str, str], Callable[[], list[str]]]
LONG = bool(os.environ.get("CYLON_TEST_LONG"))
# Of the cases that every transport passes, those that a request of 10 ms does not make a minute of.
SHORT = ("MessagesOfAChannelKeepTheirOrder", "GoodbyeComesAfterWhatWasSent", "ALostPeerIsToldAndSendsToItFail")

JOIN = """import os, signal
import numpy, pandas
import pycylon as cy
with cy.CylonEnv() as env:
    rows = numpy.arange(env.rank, 60000, env.world_size)
    left = cy.DataFrame(pandas.DataFrame({'k': rows, 'a': rows * 2}))
    right = cy.DataFrame(pandas.DataFrame({'k': rows[::3], 'b': rows[::3] * 5}))
    if os.environ.get('KILL') == str(env.rank):
        os.kill(os.getpid(), signal.SIGKILL)
    frame = left.merge(right, on='k', env=env).to_pandas()
    assert (frame['a'] * 5 == frame['b'] * 2).all()
    print(len(frame), int(frame['k'].sum()))
"""
EXPECTED = [row for rank in range(3) for row in range(rank, 60000, 3)[::3]]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """An S3 with a bucket."""
    running = ObjectStore()
    yield running
    running.stop()


@pytest.fixture(params=["directory", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Variables of a job, and what lists the objects that are left."""
    if request.param == "directory":
        folder = tmp_path / "objects"
        folder.mkdir()
        return {"CYLON_OBJECT_STORE": f"file://{folder}"}, lambda: sorted(path.name for path in folder.iterdir())
    store: ObjectStore = request.getfixturevalue("store")
    return {"CYLON_OBJECT_STORE": store.uri(), **store.credentials}, store.objects


def check(out: str) -> None:
    """The rows of all ranks together are those of the join."""
    counts = [tuple(map(int, line.split()[-2:])) for line in out.splitlines()]
    assert len(counts) == 3
    assert [sum(column) for column in zip(*counts, strict=True)] == [len(EXPECTED), sum(EXPECTED)]


def test_a_distributed_join_and_nothing_is_left(run: Run, cylon: str, tmp_path: Path, place: Place) -> None:
    variables, left = place
    program = tmp_path / "join.py"
    program.write_text(JOIN)
    job = run(cylon, "run", "-n", "3", program, CYLON_TRANSPORT="object", **variables)
    assert job.returncode == 0, job.stderr
    check(job.stdout)
    assert left() == []
    assert "FinalizeS3" not in job.stderr


def test_a_killed_rank_is_named_and_the_job_started_again_is_not_disturbed(
    run: Run, cylon: str, tmp_path: Path, place: Place
) -> None:
    variables, left = place
    if "s3://" in variables["CYLON_OBJECT_STORE"] and not LONG:
        pytest.skip("20 s of requests; a directory does in every run, CYLON_TEST_LONG=1 runs this one too")
    program = tmp_path / "join.py"
    program.write_text(JOIN)
    variables = {**variables, "CYLON_TRANSPORT": "object", "CYLON_JOB": "killed", "CYLON_EPOCH": "1"}
    job = run(cylon, "run", "-n", "3", program, KILL="1", CYLON_PEER_TIMEOUT="3", **variables)
    assert job.returncode != 0
    assert "RankFailedError" in job.stderr
    assert "rank 1" in job.stderr
    # The killed rank's heartbeat stays, and no more than that and what nobody has read.
    assert any(name.startswith("killed!") and name.endswith("!alive") for name in left())
    again = run(cylon, "run", "-n", "3", program, **variables)
    assert again.returncode == 0, again.stderr
    check(again.stdout)


def test_a_bucket_that_is_not_there_is_told_by_every_rank(
    run: Run, cylon: str, tmp_path: Path, store: ObjectStore
) -> None:
    program = tmp_path / "join.py"
    program.write_text(JOIN)
    job = run(
        *(cylon, "run", "-n", "2", "--keep-going", program),
        CYLON_TRANSPORT="object",
        CYLON_OBJECT_STORE=store.uri("nowhere"),
        **store.credentials,
    )
    assert job.returncode != 0
    assert job.stderr.count("the object store s3://nowhere refused") >= 2
    assert "create the bucket" in job.stderr
    assert "open sesame" not in job.stderr


def test_the_transport_does_over_a_bucket_what_every_transport_does(run: Run, store: ObjectStore) -> None:
    cases = "Bucket/*" if LONG else ":".join(f"Bucket/TransportTest.{case}/bucket" for case in SHORT)
    suite = run(
        *(BUILD / "cpp" / "cylon" / "cylon_net_test", f"--gtest_filter={cases}"),
        CYLON_TEST_OBJECT_STORE=store.uri(),
        timeout=1200,
        **store.credentials,
    )
    assert suite.returncode == 0, suite.stdout
    assert "[  PASSED  ]" in suite.stdout
    assert f"Running {len(SHORT)} tests" in suite.stdout or LONG, suite.stdout
    assert [name for name in store.objects() if name.startswith("conformance!") and not name.endswith("!alive")] == []


def test_keys_in_its_address_are_never_shown(run: Run, cylon: str) -> None:
    shown = run(cylon, "doctor", CYLON_OBJECT_STORE="s3://somebody:sesame@bucket/prefix?region=eu-west-1")
    assert "s3://bucket/prefix" in shown.stdout
    assert "sesame" not in shown.stdout
