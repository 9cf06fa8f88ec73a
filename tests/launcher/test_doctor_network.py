"""What `cylon doctor --rendezvous` says on one machine: figures, and what is wrong."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from launching import CYLON, PATIENCE_S, Launcher, environment

SECRET = "5a" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a rendezvous server."""
    program = [str(CYLON.with_name("cylon-rendezvous"))]
    running = subprocess.Popen(program, env={"CYLON_SECRET": SECRET}, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    yield running.stdout.readline().strip()
    running.kill()
    running.communicate()


def doctor(launcher: Launcher, address: str, *more: str, **settings: str) -> tuple[int, Any]:
    """Its exit code, and what it prints as JSON."""
    arguments = ("doctor", "--rendezvous", address, "--json", "--seconds=0.05", *more)
    result = launcher.run(*arguments, env={"CYLON_SECRET": SECRET} | settings)
    assert result.stderr == ""
    assert SECRET not in result.stdout
    return result.returncode, json.loads(result.stdout)


def test_it_shows_what_the_server_sees_and_how_fast_it_is(launcher: Launcher, server: str) -> None:
    code, report = doctor(launcher, server)
    assert (code, report["problems"]) == (0, [])
    (family,) = report["families"]
    assert family["family"] == "IPv4"
    assert family["server"] == server
    assert family["seen"] == [f"127.0.0.1:{family['port']}"]
    assert family["kinds"] == ["PUBLIC", "RESTRICTED"]
    assert family["ways"]["FULL_CONE"] == ["direct"]
    assert family["ways"]["SYMMETRIC"] == ["direct", "relay"]
    assert 0 < report["round_trip"]["median_ms"] <= report["round_trip"]["p99_ms"]
    assert 1 <= report["round_trip"]["count"] <= 100
    assert report["relay_bytes_per_s"] > 0
    assert "127.0.0.1" in report["own"]

    printed = launcher.run("doctor", "--rendezvous", server, "--seconds=0.05", env={"CYLON_SECRET": SECRET}).stdout
    text = " ".join(printed.split())
    assert f"seen as 127.0.0.1:{text.split('local port ')[1].split()[0]}" in text
    assert "gateway PUBLIC or RESTRICTED; --peer tells which" in text
    assert "to SYMMETRIC direct or relay" in text
    assert "MB/s from here to here" in text
    assert text.endswith("No problems found")


def test_a_name_is_looked_up(launcher: Launcher, server: str) -> None:
    code, report = doctor(launcher, server.replace("127.0.0.1", "localhost"))
    # The server listens on IPv4 alone; localhost may stand for both.
    assert (code, report["problems"]) == (0, [])
    assert any(family["seen"] for family in report["families"])
    for family in report["families"]:
        assert family["seen"] or "nobody listens at" in family["trouble"]
    code, report = doctor(launcher, "no.such.name.invalid:7000")
    assert code == 1
    assert "cannot look up no.such.name.invalid" in report["problems"][0]


def test_two_with_one_name_measure_the_way_between_them(launcher: Launcher, server: str) -> None:
    command = [str(CYLON), "doctor", "--rendezvous", server, "--peer", "pair", "--json", "--seconds=0.05"]
    # Holes are looked for in a share of what a connection may take, in vain on one machine.
    settings = environment(CYLON_SECRET=SECRET, CYLON_CONNECT_DEADLINE="4")
    both = [subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = [json.loads(each.communicate(timeout=PATIENCE_S)[0]) for each in both]
    assert [each.returncode for each in both] == [0, 0], reports
    peers = sorted((report["peer"] for report in reports), key=lambda peer: peer["rank"])
    assert [peer["rank"] for peer in peers] == [0, 1]
    # Nobody dials loopback addresses; where this machine has a private one, both ends have it.
    private = any(has_private(report["own"]) for report in reports)
    for peer in peers:
        assert peer["name"] == "pair"
        assert peer["way"] == ("direct" if private else "relay")
        assert peer["setup_ms"] > 0
        assert peer["round_trip"]["count"] >= 1
        assert not peer["same_gateway"]
        assert peer["same_private_address"] == private
    assert peers[0]["round_trip"] == peers[1]["round_trip"]
    assert peers[0]["sent_bytes_per_s"] == peers[1]["received_bytes_per_s"] > 0
    assert peers[1]["sent_bytes_per_s"] == peers[0]["received_bytes_per_s"] > 0


def has_private(own: list[str]) -> bool:
    """Whether one of these addresses is of a private network."""
    networks = [
        ipaddress.ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
    ]
    return any(ipaddress.ip_address(host) in network for host in own for network in networks)


def test_a_peer_that_does_not_come_is_said_so(launcher: Launcher, server: str) -> None:
    code, report = doctor(launcher, server, "--peer", "nobody", CYLON_JOIN_DEADLINE="0.5")
    assert code == 1
    (problem,) = report["problems"]
    assert problem.startswith("nobody else came by the name 'nobody' in time (")
    assert problem.endswith("start cylon doctor --peer nobody at both ends at once")
    assert report["relay_bytes_per_s"] > 0  # what one can see alone is there


def test_nobody_at_the_address(launcher: Launcher) -> None:
    code, report = doctor(launcher, "127.0.0.1:1")
    assert code == 1
    (problem,) = report["problems"]
    assert problem.startswith("nobody listens at 127.0.0.1:1")
    assert "start cylon-rendezvous there" in problem


def test_a_wrong_secret_and_none(launcher: Launcher, server: str) -> None:
    code, report = doctor(launcher, server, CYLON_SECRET="6b" * 32)
    assert code == 1
    assert "secret" in report["problems"][0]
    assert "6b" * 32 not in json.dumps(report)
    code, report = doctor(launcher, server, CYLON_SECRET="")
    assert code == 1
    assert report["problems"][0].startswith("there is no secret to show the server; set CYLON_SECRET_FILE")
    code, report = doctor(launcher, server, CYLON_SECRET="correct horse battery staple")
    assert "is not 64 hexadecimal digits" in report["problems"][0]
    assert "staple" not in json.dumps(report)


def test_a_server_that_says_nothing_ends_in_bounded_time(launcher: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code, report = doctor(launcher, address, CYLON_CONNECT_DEADLINE="0.5")
    assert code == 1
    assert f"no rendezvous server answered at {address} before the deadline" in report["problems"][0]


@contextlib.contextmanager
def forwarded(server: str) -> Iterator[str]:
    """An address of another host of loopback that leads to the server, to its first port alone."""
    host, port = server.split(":")

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.2", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.2:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_probe_port_that_is_not_open_is_named(launcher: Launcher, server: str) -> None:
    with forwarded(server) as address:
        code, report = doctor(launcher, address)
    assert code == 1
    (problem,) = report["problems"]
    assert problem.startswith("what the server sees is not known: cannot probe 127.0.0.2:")
    assert "both of its ports have to be open to all" in problem
    assert report["families"][0]["kinds"] == []
    assert report["relay_bytes_per_s"] > 0


def test_its_options_need_each_other(launcher: Launcher) -> None:
    for arguments in (("--peer", "x"), ("--json",), ("--rendezvous", "127.0.0.1:1", "--seconds", "9")):
        result = launcher.run("doctor", *arguments)
        assert result.returncode == 2
        assert result.stderr.startswith("cylon: ")
    code, report = doctor(launcher, "nowhere")
    assert code == 1
    assert "nowhere" in report["problems"][0]
