"""Jobs that a `cylon-rendezvous` lets in by tickets of its operator."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from conftest import BUILD, Launch, Run, check_job, start_job

PROGRAM = BUILD / "bin" / "cylon-rendezvous"


@pytest.fixture
def operator_key(tmp_path: Path) -> Path:
    """The operator's key, which only its owner may read."""
    path = tmp_path / "operator.key"
    path.touch(mode=0o600)
    path.write_text("a7" * 32)
    return path


def issue(run: Run, key: Path, job: str, out: Path, *more: str) -> str:
    """A ticket for a job of two, in a file as well."""
    done = run(
        PROGRAM, "ticket", "--operator-key-file", key, "--job", job, "--ranks", "2", "--hours", "1", "--out", out, *more
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return out.read_text().strip()


def serve(launch: Launch, key: Path, *more: str) -> tuple[subprocess.Popen[str], list[str]]:
    """A running server, and the lines that it begins with."""
    process = launch(PROGRAM, "--operator-key-file", key, *more)
    assert process.stdout is not None
    return process, [process.stdout.readline().strip() for _ in range(3 if "--metrics-port" in more else 2)]


def end(server: subprocess.Popen[str]) -> list[dict[str, str]]:
    """The lines of JSON that it wrote."""
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=20)
    assert server.returncode == 0, err
    return [json.loads(line) for line in err.splitlines()]


def test_a_job_meets_with_a_ticket_and_the_server_says_so(
    launch: Launch, run: Run, operator_key: Path, secret: Path, tmp_path: Path
) -> None:
    ticket = issue(run, operator_key, "flights", tmp_path / "ticket")
    server, lines = serve(launch, operator_key, "--log-json", "--metrics-port", "0")
    check_job(start_job(launch, lines[0], secret, "flights", CYLON_TICKET_FILE=str(tmp_path / "ticket")))
    refused = start_job(launch, lines[0], secret, "flights")
    for process in refused:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "this server lets in by tickets" in err
    with urllib.request.urlopen(lines[2].removeprefix("metrics at "), timeout=20) as answer:
        metrics = answer.read().decode()
    assert "\ncylon_rendezvous_worlds_total 1\n" in metrics
    assert '\ncylon_rendezvous_strangers_refused_total{reason="settings"} 2\n' in metrics
    events = end(server)
    admitted = [event for event in events if event["event"] == "admitted"]
    assert {(event["purpose"], event["job"]) for event in admitted} == {("store", "flights")}
    assert [event["level"] for event in events if event["event"] == "refused"] == ["warning"] * 2
    written = json.dumps(events)
    assert ticket not in written
    assert ticket[-64:] not in written
    assert "a7" * 32 not in written


def test_a_ticket_is_written_once_and_for_its_owner_alone(run: Run, operator_key: Path, tmp_path: Path) -> None:
    path = tmp_path / "ticket"
    assert issue(run, operator_key, "job", path).startswith("cylon-ticket:")
    assert path.stat().st_mode & 0o777 == 0o600
    again = run(
        PROGRAM,
        "ticket",
        "--operator-key-file",
        operator_key,
        "--job",
        "job",
        "--ranks",
        "2",
        "--hours",
        "1",
        "--out",
        path,
    )
    assert again.returncode == 1
    assert "name a file that is not there yet" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--job", "job", "--ranks", "0", "--hours", "1"], "1 to 65536"),
        (["--job", "", "--ranks", "1", "--hours", "1"], "1 to 256"),
        (["--job", "job", "--ranks", "1", "--hours", "0"], "--hours is 0"),
        (["--job", "job", "--ranks", "1", "--hours", "1", "--relay-rate", "1KiB"], "at least 65536"),
    ],
)
def test_a_ticket_that_cannot_be_is_not_issued(run: Run, operator_key: Path, arguments: list[str], said: str) -> None:
    done = run(PROGRAM, "ticket", "--operator-key-file", operator_key, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_an_operators_key_that_others_may_read_is_refused(run: Run, operator_key: Path) -> None:
    operator_key.chmod(0o644)
    for command in (["ticket", "--job", "job", "--ranks", "1", "--hours", "1"], []):
        done = run(PROGRAM, *command, "--operator-key-file", operator_key, timeout=20)
        assert done.returncode == 1
        assert f"the operator's key file {operator_key} has mode 0644" in done.stderr


def test_a_ticket_for_another_job_ends_a_rank_at_once(
    launch: Launch, run: Run, operator_key: Path, secret: Path, tmp_path: Path
) -> None:
    issue(run, operator_key, "theirs", tmp_path / "ticket")
    _, lines = serve(launch, operator_key)
    for process in start_job(launch, lines[0], secret, "ours", CYLON_TICKET_FILE=str(tmp_path / "ticket")):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "is for job 'theirs', this process is of job 'ours'" in err
