"""The network of functions behind gateways: each kind of gateway does what its sentence says."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from nat_kinds import (
    CAPPED,
    DISTANT,
    FORGETFUL,
    FULL_CONE,
    IDLE,
    IPV6_ONLY,
    KINDS,
    LOSSY,
    MOVED_PORTS,
    MOVING,
    PUBLIC,
    RESETTING,
    RESTRICTED,
    SHARED,
    SYMMETRIC,
    TWO_IN_A_ROW,
    Kind,
)
from nat_lab import Lab
from nat_sockets import DEADLINE_S, QUIET_S, Endpoint, open_port, outcome, punch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")


def forget(lab: Lab, function: int, *ends: socket.socket) -> None:
    """Restart the gateways of a function when all that the ends of its connection have sent is acknowledged.

    Else the function would speak by itself: a late acknowledgement makes the connection known again.
    """
    deadline = time.monotonic() + DEADLINE_S
    # unacked of struct tcp_info
    while any(struct.unpack_from("I", end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)[0] for end in ends):
        assert time.monotonic() < deadline, "what was sent is not acknowledged"
        time.sleep(0.001)
    lab.restart(function)


# What servers see of one local port.


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_servers_see_the_port_that_the_kind_says(lab: Lab, kind: Kind) -> None:
    with Endpoint.of(lab, kind) as made:
        assert {address for address, _ in made.seen} == {lab.public_address(made.function, made.family)}
        ports = [port for _, port in made.seen]
        if kind is SYMMETRIC:
            assert len(set(ports)) > 1  # three draws out of many thousands
        elif kind is MOVING:
            assert len(set(ports)) == 1
            assert MOVED_PORTS[0] <= ports[0] <= MOVED_PORTS[1] < made.port
        else:
            assert set(ports) == {made.port}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_only_a_function_without_translation_knows_its_public_address(lab: Lab, kind: Kind) -> None:
    function, family = lab.of(kind)[0], socket.AF_INET if kind.ipv4 else socket.AF_INET6
    own = lab.address(function, family)
    assert (own == lab.public_address(function, family)) == (kind in (PUBLIC, IPV6_ONLY))
    where = subprocess.run([*lab.inside(function), "ip", "addr"], capture_output=True, text=True, check=True)
    assert f" {own}/" in where.stdout


# A SYN that nobody asked for.


def knock(lab: Lab, target: tuple[str, int], family: socket.AddressFamily, wait_s: float = QUIET_S) -> str:
    """How it ends when the public network dials, from a port to which nobody has sent."""
    with open_port(lab, None, family) as dialled:
        dialled.setblocking(False)
        dialled.connect_ex(target)
        return outcome(dialled, wait_s)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_unsolicited_syn_is_let_in_dropped_or_reset_as_the_kind_says(lab: Lab, kind: Kind) -> None:
    expected = {PUBLIC: "open", FULL_CONE: "open", RESETTING: "refused"}.get(kind, "silent")
    with Endpoint.of(lab, kind) as made, made.listen():
        assert knock(lab, made.seen[0], made.family, QUIET_S if expected == "silent" else DEADLINE_S) == expected


def test_a_full_cone_is_closed_at_ports_that_the_function_has_not_sent_from(
    lab: Lab, stack: contextlib.ExitStack
) -> None:
    function = lab.of(FULL_CONE)[0]
    listener = stack.enter_context(open_port(lab, function, socket.AF_INET))
    listener.listen()
    target = (lab.public_address(function), listener.getsockname()[1])
    lab.restart(function)  # in case that another test had this port
    assert knock(lab, target, socket.AF_INET) == "silent"
    with Endpoint.of(lab, FULL_CONE) as made, made.listen():
        forget(lab, function, *made.connection)
        assert knock(lab, made.seen[0], made.family) == "silent"


# Gateways that forget.


def arrives(there: socket.socket, here: socket.socket, word: bytes, wait_s: float = DEADLINE_S) -> bool:
    """Whether what one end sends reaches the other within a time."""
    there.setblocking(True)
    there.sendall(word)
    here.settimeout(wait_s)
    try:
        return here.recv(len(word), socket.MSG_WAITALL) == word
    except TimeoutError:
        return False


def test_a_forgotten_connection_is_deaf_until_its_function_speaks(lab: Lab) -> None:
    with Endpoint.of(lab, RESTRICTED) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        forget(lab, made.function, server, own)
        assert not arrives(server, own, b"lost", QUIET_S)
        assert arrives(own, server, b"again")
        own.settimeout(DEADLINE_S)
        assert own.recv(4, socket.MSG_WAITALL) == b"lost"  # sent once more by then


def test_a_punched_connection_that_one_gateway_forgot_comes_back_when_both_speak(
    lab: Lab, stack: contextlib.ExitStack
) -> None:
    ends = [stack.enter_context(Endpoint.of(lab, kind)) for kind in (RESTRICTED, MOVING)]
    made = punch(ends[0], ends[1])
    assert made is not None
    one, other = (stack.enter_context(each) for each in made)
    forget(lab, ends[0].function, one, other)
    assert not arrives(other, one, b"lost", QUIET_S)
    assert arrives(one, other, b"again")
    one.settimeout(DEADLINE_S)
    assert one.recv(4, socket.MSG_WAITALL) == b"lost"


def test_a_forgotten_connection_of_a_symmetric_gateway_is_reset(lab: Lab) -> None:
    with Endpoint.of(lab, SYMMETRIC) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        forget(lab, made.function, server, own)
        own.settimeout(DEADLINE_S)
        own.sendall(b"from another port now, which the server does not know")
        with pytest.raises(ConnectionResetError):
            own.recv(1)


def test_a_forgotten_connection_of_a_resetting_gateway_is_reset(lab: Lab) -> None:
    with Endpoint.of(lab, RESETTING) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        forget(lab, made.function, server, own)
        server.settimeout(DEADLINE_S)
        server.sendall(b"lost")
        with pytest.raises(ConnectionResetError):
            server.recv(1)


def test_a_forgetful_gateway_drops_both_sides_of_what_it_forgot(lab: Lab) -> None:
    with Endpoint.of(lab, FORGETFUL) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        forget(lab, made.function, server, own)
        assert not arrives(server, own, b"lost", QUIET_S)
        assert not arrives(own, server, b"lost", QUIET_S)
    with Endpoint.of(lab, FORGETFUL) as made:  # and new ones pass
        assert arrives(*made.connection, b"after")


def test_a_restart_of_two_gateways_in_a_row_forgets_at_both(lab: Lab) -> None:
    with Endpoint.of(lab, TWO_IN_A_ROW) as made:
        server, own = made.connection
        assert lab.remembered(made.function) > 0
        forget(lab, made.function, server, own)
        assert lab.remembered(made.function) == 0
        assert not arrives(server, own, b"lost", QUIET_S)


def test_a_silent_connection_is_forgotten_and_one_that_speaks_is_not(lab: Lab) -> None:
    function = lab.of(IDLE)[0]
    lab.restart(function)  # what other tests have left
    with Endpoint.of(lab, IDLE) as silent, Endpoint.of(lab, IDLE) as speaking:
        deadline = time.monotonic() + DEADLINE_S
        while lab.remembered(function) > 1:
            assert arrives(*speaking.connection, b"ping")
            assert time.monotonic() < deadline, "silent connections are not forgotten"
        assert arrives(*speaking.connection, b"still here")
        server, own = silent.connection
        assert not arrives(own, server, b"lost", QUIET_S)
        assert not arrives(server, own, b"lost", QUIET_S)


# Links.


def test_a_link_that_is_cut_is_silent_and_passes_again_when_healed(lab: Lab) -> None:
    for kind in (SHARED, PUBLIC):
        with Endpoint.of(lab, kind) as made, Endpoint(lab, lab.of(SHARED)[1]) as other:
            server, own = made.connection
            lab.isolate(made.function)
            assert not arrives(server, own, b"late", QUIET_S)
            assert arrives(*other.connection, b"of the neighbour")
            lab.heal(made.function)
            own.settimeout(DEADLINE_S)
            assert own.recv(4, socket.MSG_WAITALL) == b"late"


def test_two_that_are_silenced_hear_others_and_not_each_other(stack: contextlib.ExitStack) -> None:
    lab = stack.enter_context(contextlib.closing(Lab(RESTRICTED, MOVING)))
    ends = [stack.enter_context(Endpoint(lab, function)) for function in range(2)]
    made = punch(*ends)
    assert made is not None
    one, other = (stack.enter_context(each) for each in made)
    lab.silence(0, 1)
    assert not arrives(one, other, b"lost", QUIET_S)
    assert not arrives(other, one, b"lost", QUIET_S)
    for end in ends:
        assert arrives(*end.connection, b"of the server")


def test_a_port_that_is_forwarded_is_reached_by_all(lab: Lab, stack: contextlib.ExitStack) -> None:
    function = lab.of(CAPPED)[0]
    listener = stack.enter_context(open_port(lab, function, socket.AF_INET))
    listener.listen()
    port = listener.getsockname()[1]
    assert knock(lab, (lab.public_address(function), port), socket.AF_INET) == "silent"
    lab.forward(function, port)
    assert knock(lab, (lab.public_address(function), port), socket.AF_INET, DEADLINE_S) == "open"


def test_a_capped_link_carries_no_more_than_its_rate(lab: Lab) -> None:
    amount, burst = 24_000_000, 256_000
    with Endpoint.of(lab, CAPPED) as made:
        for there, here in (made.connection, made.connection[::-1]):
            here.settimeout(DEADLINE_S)
            there.settimeout(DEADLINE_S)
            with ThreadPoolExecutor(1) as sender:
                start = time.monotonic()
                sent = sender.submit(there.sendall, bytes(amount))
                left = amount
                while left:
                    left -= len(here.recv(min(left, 1 << 20)))
                took = time.monotonic() - start
                sent.result()
            # At least so long: how much faster it would be without the cap depends on the machine.
            assert took > (amount - burst) / 75e6


def test_a_round_trip_takes_as_much_longer_as_the_kind_says(lab: Lab) -> None:
    check_round_trip(lab, lab.of(DISTANT)[0])


def test_kinds_combine() -> None:
    far_outer = dataclasses.replace(SYMMETRIC, outer=DISTANT)
    far_capped = dataclasses.replace(CAPPED, round_trip_ms=20, functions=2)
    with contextlib.closing(Lab(far_outer, far_capped)) as lab:
        for function in range(3):
            check_round_trip(lab, function)


def check_round_trip(lab: Lab, function: int) -> None:
    with Endpoint(lab, function) as made:
        server, own = made.connection
        took = []
        for _ in range(5):
            start = time.monotonic()
            assert arrives(own, server, b"ping")
            assert arrives(server, own, b"pong")
            took.append(time.monotonic() - start)
        assert 0.020 <= min(took) < 2  # a loaded machine adds to it, and nothing takes from it


def test_a_share_of_syns_is_lost(lab: Lab, stack: contextlib.ExitStack) -> None:
    # Nobody listens: a SYN that arrives is refused, one that is lost is not. The wire keeps the order, so that when a
    # datagram sent behind them has come back, all answers have.
    function, count = lab.of(LOSSY)[0], 300
    echo = stack.enter_context(lab.open_socket(None, kind=socket.SOCK_DGRAM))
    echo.bind((lab.ADDRESS, 0))
    echo.settimeout(DEADLINE_S)
    closed = stack.enter_context(open_port(lab, None, socket.AF_INET))
    probe = stack.enter_context(lab.open_socket(function, kind=socket.SOCK_DGRAM))
    probe.settimeout(DEADLINE_S)
    dialled = [stack.enter_context(lab.open_socket(function)) for _ in range(count)]
    for each in dialled:
        each.setblocking(False)
        each.connect_ex((lab.ADDRESS, closed.getsockname()[1]))
    probe.sendto(b"behind", echo.getsockname())
    _, back = echo.recvfrom(100)
    echo.sendto(b"answers", back)
    assert probe.recv(100) == b"answers"
    lost = sum(outcome(each, 0) == "silent" for each in dialled) / count
    assert 0.1 < lost < 0.5  # 0.3 of 300: eight standard deviations


# The network as a whole.


def test_many_functions_at_once(stack: contextlib.ExitStack) -> None:
    with contextlib.closing(Lab(*[RESTRICTED] * 32)) as lab:
        made = [stack.enter_context(Endpoint(lab, function)) for function in range(32)]
        assert len({each.seen[0][0] for each in made}) == 32


def ours() -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"cylon-{os.getpid()}-*")]


def test_nothing_is_left_and_programs_end(lab: Lab) -> None:
    before = set(ours())
    made = Lab(LOSSY, TWO_IN_A_ROW, PUBLIC)
    wires = list(made._wires)
    assert len(set(ours()) - before) == 7
    made.close()
    assert [wire.returncode for wire in wires] == [0]
    assert set(ours()) == before


def test_nothing_is_left_where_making_it_fails_half_way(lab: Lab) -> None:
    before = set(ours())
    broken = dataclasses.replace(CAPPED, megabytes_per_s=0)
    with pytest.raises(OSError, match=r"(?s)tc .* tbf rate 0mbit.*scripts/setup\.sh"):
        Lab(LOSSY, broken)
    assert set(ours()) == before


def test_nothing_of_the_network_around_is_touched() -> None:
    # In a namespace of its own, so that what others do on the machine is not taken for it.
    program = """
import subprocess
from nat_kinds import DISTANT, SHARED
from nat_lab import Lab
def around():
    words = ("ip", "-o", "addr"), ("ip", "route"), ("nft", "list", "ruleset"), ("conntrack", "-L")
    return [subprocess.run(each, capture_output=True, text=True, check=True).stdout for each in words]
before = around()
lab = Lab(SHARED, DISTANT)
during = around()
lab.close()
assert before == during == around(), (before, during, around())
print("the same")
"""
    support = Path(__file__).resolve().parents[1] / "support"
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(support)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("the same\n", "")


def test_what_cannot_be_made_is_told(lab: Lab) -> None:
    with pytest.raises(ValueError, match="251 gateways asked for, .* for 250"):
        Lab(*[RESTRICTED] * 251)
    with pytest.raises(ValueError, match="leave it ipv4, ipv6 or both"):
        dataclasses.replace(RESTRICTED, ipv4=False)
    with pytest.raises(ValueError, match="give it a gateway"):
        dataclasses.replace(PUBLIC, megabytes_per_s=75)
    with pytest.raises(ValueError, match="the outer one's; set them there"):
        dataclasses.replace(TWO_IN_A_ROW, syn_loss=0.1)
    with pytest.raises(ValueError, match="a full cone has one function"):
        dataclasses.replace(FULL_CONE, functions=2)
    with pytest.raises(ValueError, match="has no gateway; ask one of another kind"):
        lab.restart(lab.of(PUBLIC)[0])
