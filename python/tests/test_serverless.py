"""Jobs of ranks that can only dial out: what says where they meet, by arguments and by the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pycylon as cy
from pycylon import _program

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release"))
SECRET = "5a" * 32
DEADLINE_S = 120
NOWHERE = "127.0.0.1:1"

BODY = """
    total = cy.DataFrame({'a': [env.rank]}, env=env)['a'].sum()
    print(env.rank, env.world_size, total)
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CYLON_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def rendezvous() -> Iterator[str]:
    """The address of a server."""
    program = str(BUILD / "bin" / "cylon-rendezvous")
    server = subprocess.Popen([program], env={"CYLON_SECRET": SECRET}, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.kill()
    server.communicate()


def job(config: str, settings: list[dict[str, str]]) -> list[str]:
    """What each rank of a program prints, whose ranks have these settings."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("CYLON_")}
    base |= {"PYTHONPATH": str(BUILD / "python"), "CYLON_THREADS": "1"}
    program = f"import pycylon as cy\nwith cy.CylonEnv({config}) as env:{BODY}"
    ranks = [
        subprocess.Popen([sys.executable, "-c", program], env=base | each, stdout=subprocess.PIPE, text=True)
        for each in settings
    ]
    try:
        return sorted(rank.communicate(timeout=DEADLINE_S)[0].strip() for rank in ranks)
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def test_arguments_alone_make_a_job(rendezvous: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(SECRET)
    config = f"cy.ServerlessConfig({rendezvous!r}, job='j', world_size=2, secret='file:{path}')"
    assert job(config, [{}, {}]) == ["0 2 1", "1 2 1"]


def test_the_environment_alone_makes_a_job(rendezvous: str) -> None:
    common = {
        "CYLON_TRANSPORT": "punch",
        "CYLON_RENDEZVOUS": rendezvous,
        "CYLON_JOB": "j",
        "CYLON_WORLD_SIZE": "2",
        "CYLON_SECRET_FROM": "env:THE_SECRET",
        "THE_SECRET": SECRET,
    }
    settings = [common | {"CYLON_RANK": str(rank)} for rank in range(2)]
    assert job("", settings) == ["0 2 1", "1 2 1"]
    del common["CYLON_TRANSPORT"]
    assert job("cy.ServerlessConfig()", [common, common]) == ["0 2 1", "1 2 1"]


def test_what_is_given_wins_over_the_environment(rendezvous: str) -> None:
    config = f"cy.ServerlessConfig({rendezvous!r}, job='right', world_size=2, secret='env:RIGHT')"
    wrong = {
        "CYLON_RENDEZVOUS": NOWHERE,
        "CYLON_JOB": "wrong",
        "CYLON_WORLD_SIZE": "7",
        "CYLON_SECRET": "00" * 32,
        "RIGHT": SECRET,
    }
    assert job(config, [wrong, wrong | {"CYLON_JOB": "another"}]) == ["0 2 1", "1 2 1"]


def test_the_published_arguments_make_a_job(rendezvous: str) -> None:
    host, port = rendezvous.split(":")
    config = f"config=cy.FMIConfig(int(__import__('os').environ['R']), 2, {host!r}, {port}, 60000, True, 'p', True)"
    common = {"CYLON_SECRET": SECRET}
    assert job(f"{config}, distributed=True", [common | {"R": "1"}, common | {"R": "0"}]) == ["0 2 1", "1 2 1"]


def test_published_arguments_become_settings() -> None:
    config = cy.FMIConfig(3, 8, "2001:db8::1", 7000, 90000, resolveip=True, comm_name="pairs", secret="env:S")
    assert config == cy.FMIConfig(3, 8, "2001:db8::1", 7000, 90000, False, "pairs", True, secret="env:S")
    assert config.options() == {
        "transport": "punch",
        "rendezvous": "[2001:db8::1]:7000",
        "job": "pairs",
        "world_size": 8,
        "rank": 3,
        "join_deadline_s": 90.0,
    }
    assert isinstance(config, cy.ServerlessConfig)


@pytest.mark.parametrize(
    ("arguments", "raised", "said"),
    [
        ({"rendezvous": 7000}, TypeError, "rendezvous is of type int; expected text"),
        ({"rendezvous": "server"}, ValueError, "rendezvous is 'server'; expected host:port of a cylon-rendezvous"),
        ({"rendezvous": "server:0"}, ValueError, "expected host:port"),
        ({"rendezvous": "server:99999"}, ValueError, "expected host:port"),
        ({"rendezvous": "http://server:80"}, ValueError, "expected host:port"),
        ({"rendezvous": " "}, ValueError, "rendezvous is empty"),
        ({"job": ""}, ValueError, "job is empty; expected a name that all ranks"),
        ({"job": 3}, TypeError, "job is of type int"),
        ({"world_size": 0}, ValueError, "world_size is 0; expected a whole number from 1 up"),
        ({"world_size": "8"}, TypeError, "world_size is of type str"),
        ({"world_size": True}, TypeError, "world_size is of type bool"),
        ({"rank": -1}, ValueError, "rank is -1; .* or None for one that is drawn"),
        ({"rank": 2.0}, TypeError, "rank is of type float"),
        ({"channel": "carrier pigeon"}, ValueError, "channel is 'carrier pigeon'; expected 'punch', 'redis'"),
        ({"channel": "punch,punch"}, ValueError, "channel is 'punch,punch'"),
        ({"channel": ["punch"]}, ValueError, "or some of them with commas"),
        ({"policy": "quick"}, ValueError, "policy is 'quick'; expected 'fastest', 'cheapest', or a number"),
        ({"policy": 1.5}, ValueError, "policy is 1.5; .* from 0 to 1"),
        ({"policy": True}, TypeError, "policy is of type bool"),
        ({"object_store": ""}, ValueError, "object_store is empty"),
        ({"redis": "user:hunter2@server"}, ValueError, "expected redis://host:port"),
        ({"secret": 5}, TypeError, "secret is of type int; expected a reference such as 'env:NAME'"),
        ({"join_deadline_s": "60"}, TypeError, "join_deadline_s is of type str"),
        ({"join_deadline_s": 0}, ValueError, "join_deadline_s is 0; expected a number of seconds above 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], raised: type[Exception], said: str) -> None:
    with pytest.raises(raised, match=said) as caught:
        cy.ServerlessConfig(**arguments)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "raised", "said"),
    [
        ({}, ValueError, "host is missing; pass the name or address of a cylon-rendezvous"),
        ({"host": "s", "port": "80"}, TypeError, "port is of type str"),
        ({"host": "s", "port": 99999}, ValueError, "rendezvous is 's:99999'; expected host:port"),
        ({"host": "s", "rank": -1}, ValueError, "rank is -1"),
        ({"host": "s", "maxtimeout": 0}, ValueError, "maxtimeout is 0"),
        ({"host": "s", "nonblocking": "yes"}, TypeError, "nonblocking is of type str"),
        ({"host": "s", "redis_host": "r"}, ValueError, r"redis_host is given.*ServerlessConfig\(channel='redis'"),
        ({"host": "s", "redis_namespace": "r"}, ValueError, "redis_namespace is given"),
    ],
)
def test_wrong_published_arguments_are_refused(arguments: dict[str, Any], raised: type[Exception], said: str) -> None:
    with pytest.raises(raised, match=said):
        cy.FMIConfig(**arguments)


@pytest.mark.parametrize(
    ("config", "settings", "said"),
    [
        (cy.ServerlessConfig(world_size=2), {}, "no rendezvous server is named; start cylon-rendezvous"),
        (cy.ServerlessConfig(NOWHERE), {}, "the number of ranks is not known; pass world_size"),
        (cy.ServerlessConfig(NOWHERE, world_size=2, rank=2), {}, "rank is 2 and world_size is 2"),
        (cy.ServerlessConfig(NOWHERE, rank=4), {"CYLON_WORLD_SIZE": "4"}, "rank is 4 and world_size is 4"),
        (cy.ServerlessConfig(NOWHERE, world_size=2), {"CYLON_TRANSPORT": "tcp"}, "CYLON_TRANSPORT is 'tcp'"),
        (cy.ServerlessConfig(world_size=2, channel="redis"), {}, "channel is 'redis', but no server is named"),
        (
            cy.ServerlessConfig(NOWHERE, world_size=2, channel="punch,redis"),
            {},
            "'punch,redis', but no server is named",
        ),
        (cy.ServerlessConfig(NOWHERE, world_size=2, channel="punch,object"), {}, "but no object store is named"),
        (cy.ServerlessConfig(world_size=2, channel="object", object_store="file:///x"), {}, "have to meet as well"),
        (cy.ServerlessConfig(NOWHERE), {"CYLON_WORLD_SIZE": "many"}, r"\(CYLON_WORLD_SIZE\) is 'many'"),
        (cy.ServerlessConfig(world_size=2), {"CYLON_RENDEZVOUS": "nowhere"}, "CYLON_RENDEZVOUS is 'nowhere'"),
        (cy.ServerlessConfig(NOWHERE, world_size=2), {"CYLON_SECRET_FROM": "hunter2"}, "CYLON_SECRET_FROM: the secret"),
        (
            cy.ServerlessConfig(NOWHERE, world_size=2),
            {"CYLON_RANK": "1"},
            "CYLON_RANK is 1, but CYLON_WORLD_SIZE is missing; set it",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_dialled(
    monkeypatch: pytest.MonkeyPatch, config: cy.ServerlessConfig, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said) as caught:
        cy.CylonEnv(config)
    assert "hunter2" not in str(caught.value)


def test_an_environment_takes_a_config_and_nothing_else() -> None:
    with pytest.raises(TypeError, match="config is of type bool; expected a ServerlessConfig, or distributed=False"):
        cy.CylonEnv(False)  # type: ignore[arg-type]
    config = cy.ServerlessConfig(NOWHERE, world_size=2, secret="env:S")
    with pytest.raises(TypeError, match="world_size is given by config and as an option; give it once"):
        cy.CylonEnv(config, world_size=3)
    with pytest.raises(TypeError, match="secret is given by config and as an option"):
        cy.CylonEnv(config, secret=SECRET)
    with cy.CylonEnv(config, distributed=False) as env:
        assert env.world_size == 1


def test_the_secret_is_fetched_only_where_ranks_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYLON_SECRET_FROM", "env:NOWHERE")
    with cy.CylonEnv() as env:
        assert env.world_size == 1
    with pytest.raises(cy.AuthenticationError, match="the variable NOWHERE is not set"):
        cy.CylonEnv(store=NOWHERE, world_size=2, rank=0)
    monkeypatch.setenv("CYLON_SECRET", SECRET)  # as of a launcher
    with pytest.raises(cy.DeadlineError):
        cy.CylonEnv(store=NOWHERE, world_size=2, rank=0, join_deadline_s=0.2)


def test_nobody_at_the_address_is_told_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYLON_SECRET", SECRET)
    with pytest.raises(cy.DeadlineError, match=NOWHERE):
        cy.CylonEnv(cy.ServerlessConfig(NOWHERE, world_size=2, join_deadline_s=0.2))


def test_no_secret_and_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_SECRET", SECRET)
    config = cy.ServerlessConfig(
        world_size=2, channel="redis", redis="redis://u:hunter2@server:1", secret="env:JOB_SECRET"
    )
    assert repr(config) == "ServerlessConfig(world_size=2, channel='redis', secret='env:JOB_SECRET')"


def test_the_doctor_gets_a_secret_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cylon").touch()
    monkeypatch.setattr(_program, "__file__", str(tmp_path / "_program.py"))
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda path, arguments, environment: started.append(environment))
    monkeypatch.setenv("CYLON_SECRET_FROM", "env:JOB_SECRET")
    monkeypatch.setattr(sys, "argv", ["cylon", "doctor", f"--rendezvous={NOWHERE}"])
    with pytest.raises(SystemExit, match="cylon: CYLON_SECRET_FROM: .*the variable JOB_SECRET is not set"):
        _program.main()
    monkeypatch.setenv("JOB_SECRET", SECRET)
    _program.main()
    assert started[-1]["CYLON_SECRET"] == SECRET
    monkeypatch.setattr(sys, "argv", ["cylon", "run", "-n", "2", "program.py"])
    _program.main()
    assert "CYLON_SECRET" not in started[-1]
