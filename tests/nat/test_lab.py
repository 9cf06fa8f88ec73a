"""The network of functions behind gateways: each kind of gateway does what its sentence says."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nat_kinds
import pytest
from nat_kinds import (
    CAPPED,
    DISTANT,
    FORGETFUL,
    FULL_CONE,
    IDLE,
    IPV6_ONLY,
    LOSSY,
    MOVED_PORTS,
    MOVING,
    PUBLIC,
    RESETTING,
    RESTRICTED,
    SAME_PRIVATE,
    SHARED,
    SYMMETRIC,
    TWO_IN_A_ROW,
    Kind,
)
from nat_lab import Lab
from nat_sockets import DEADLINE_S, Endpoint, dial_directly, open_port, outcome, punch
from wire import opens_connection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "nat.md"
KINDS = {name: kind for name, kind in vars(nat_kinds).items() if isinstance(kind, Kind)}
NAMES = {kind: name for name, kind in KINDS.items()}
QUIET_S = 0.5  # after so long nothing will come any more, since all of it is one machine


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A gateway of each kind, and a second one of the kind that needs two to be told."""
    with contextlib.closing(Lab(*KINDS.values(), SAME_PRIVATE)) as made:
        yield made


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Closes what a test opens."""
    with contextlib.ExitStack() as made:
        yield made


def endpoint(lab: Lab, kind: Kind, nth: int = 0) -> Endpoint:
    return Endpoint(lab, lab.of(kind)[nth], socket.AF_INET if kind.ipv4 else socket.AF_INET6)


# What servers see of one local port.


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_servers_see_the_port_that_the_kind_says(lab: Lab, kind: Kind) -> None:
    with endpoint(lab, kind) as made:
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
    with endpoint(lab, kind) as made, made.listen():
        assert knock(lab, made.seen[0], made.family, QUIET_S if expected == "silent" else DEADLINE_S) == expected


def test_a_full_cone_is_closed_at_ports_that_the_function_has_not_sent_from(
    lab: Lab, stack: contextlib.ExitStack
) -> None:
    function = lab.of(FULL_CONE)[0]
    listener = stack.enter_context(open_port(lab, function, socket.AF_INET))
    listener.listen()
    target = (lab.public_address(function), listener.getsockname()[1])
    assert knock(lab, target, socket.AF_INET) == "silent"
    lab.restart(function)
    with endpoint(lab, FULL_CONE) as made, made.listen():
        assert knock(lab, made.seen[0], made.family, DEADLINE_S) == "open"
        lab.restart(function)
        assert knock(lab, made.seen[0], made.family) == "silent"


# Which way two ranks connect.


def page_rows(first_cell: str) -> list[list[str]]:
    """The rows of the page's table whose header begins so, without its marks of code; the header is the first."""
    tables = [block.splitlines() for block in PAGE.read_text().split("\n\n") if block.startswith(f"| {first_cell} |")]
    (rows,) = [[[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table] for table in tables]
    return [rows[0], *rows[2:]]


def page_table() -> list[tuple[str, str, str]]:
    """Two kinds, and the way that they connect."""
    (_, *names), *rows = page_rows("from, to")
    assert names == [row[0] for row in rows]
    return [(one, other, way) for one, *ways in rows for other, way in zip(names, ways, strict=True) if way]


TABLE = page_table()


def way(lab: Lab, names: tuple[str, str], expected: str) -> str:
    """How functions of two gateways connect: the first of direct, punched and relay that does.

    What is expected says only for how long to try: what cannot be has less time to show that it can.
    """
    one, other = (KINDS[name] for name in names)
    first, second = lab.of(one)[0], lab.of(other)[1]
    family = next((each for each in lab.functions[first].public if each in lab.functions[second].public), None)
    if family is None:
        for source, target in ((first, second), (second, first)):
            theirs, address = next(iter(lab.functions[target].public.items()))
            with open_port(lab, source, theirs) as dialled:
                assert dialled.connect_ex((address, 1)) == errno.ENETUNREACH
        return "relay"

    def ends() -> tuple[Endpoint, Endpoint]:
        return Endpoint(lab, first, family), Endpoint(lab, second, family)

    deadline = time.monotonic() + (DEADLINE_S if expected == "direct" else 0)
    while True:
        for turn in (1, -1):
            caller, callee = ends()[::turn]
            with caller, callee:
                if dial_directly(caller, callee, QUIET_S) == "open":
                    return "direct"
        if time.monotonic() >= deadline:
            break
    connected: set[bool] = set()
    for turn in (1, -1):  # whichever of them dials first
        here, there = ends()[::turn]
        with here, there:
            made = punch(here, there, DEADLINE_S if expected == "punched" else 2.5)
            connected.add(made is not None)
            for each in made or ():
                each.close()
    if len(connected) == 2:
        return "it depends on who dials first"
    return "punched" if True in connected else "relay"


@pytest.fixture(scope="module")
def ways() -> dict[tuple[str, str], str]:
    """What becomes of each pair of kinds in the page's table, all tried at the same time."""
    kinds = [KINDS[name] for name in dict.fromkeys(name for name, _, _ in TABLE)]
    pairs = [(one, other) for one, other, _ in TABLE]
    with contextlib.closing(Lab(*kinds, *kinds)) as lab, ThreadPoolExecutor(len(pairs)) as pool:
        found = pool.map(way, [lab] * len(pairs), pairs, [expected for _, _, expected in TABLE])
        return dict(zip(pairs, found, strict=True))


@pytest.mark.parametrize(("one", "other", "expected"), TABLE, ids=[f"{one}-{other}" for one, other, _ in TABLE])
def test_two_ranks_connect_as_the_page_says(
    ways: dict[tuple[str, str], str], one: str, other: str, expected: str
) -> None:
    assert ways[one, other] == expected


def test_the_page_says_of_each_kind_what_its_sentence_says() -> None:
    assert {row[0]: row[1] for row in page_rows("kind")[1:]} == {name: kind.says for name, kind in KINDS.items()}


def test_the_page_has_every_pair_once() -> None:
    names = list(dict.fromkeys(name for name, _, _ in TABLE))
    pairs = [frozenset((one, other)) for one, other, _ in TABLE]
    assert len(pairs) == len(set(pairs)) == len(names) * (len(names) + 1) // 2


def test_where_a_gateway_resets_the_one_behind_it_dials_first(lab: Lab, stack: contextlib.ExitStack) -> None:
    resetting, dropping = (stack.enter_context(endpoint(lab, kind)) for kind in (RESETTING, RESTRICTED))
    early = stack.enter_context(dropping.dial(resetting.seen[0]))
    assert outcome(early) == "refused"
    resetting, dropping = (stack.enter_context(endpoint(lab, kind)) for kind in (RESETTING, RESTRICTED))
    early = stack.enter_context(resetting.dial(dropping.seen[0]))
    assert outcome(early, QUIET_S) == "silent"
    late = stack.enter_context(dropping.dial(resetting.seen[0]))
    assert outcome(late) == outcome(early) == "open"


def test_two_behind_one_gateway_meet_by_private_address_and_not_by_the_seen_one(
    lab: Lab, stack: contextlib.ExitStack
) -> None:
    one, other = (stack.enter_context(endpoint(lab, SHARED, nth)) for nth in range(2))
    assert {address for address, _ in one.seen + other.seen} == {lab.public_address(one.function)}
    assert dial_directly(one, other, QUIET_S) == "silent"
    assert punch(one, other, 2.5) is None
    other.seen.insert(0, (lab.address(other.function), other.port))
    assert dial_directly(one, other) == "open"


def test_the_same_private_address_behind_two_gateways(lab: Lab, stack: contextlib.ExitStack) -> None:
    one, other = (stack.enter_context(endpoint(lab, SAME_PRIVATE, nth)) for nth in range(2))
    assert lab.address(one.function) == lab.address(other.function)
    assert one.seen[0][0] != other.seen[0][0]
    made = punch(one, other)
    assert made is not None
    for each in made:
        each.close()
    # Whoever dials the other's private address reaches a neighbour, or nobody, or, from the same port, himself.
    mirror = stack.enter_context(one.dial((lab.address(other.function), one.port)))
    assert outcome(mirror) == "open"
    mirror.sendall(b"myself")
    mirror.settimeout(DEADLINE_S)
    assert mirror.recv(6, socket.MSG_WAITALL) == b"myself"


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
    with endpoint(lab, RESTRICTED) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        lab.restart(made.function)
        assert not arrives(server, own, b"lost", QUIET_S)
        assert arrives(own, server, b"again")
        own.settimeout(DEADLINE_S)
        assert own.recv(4, socket.MSG_WAITALL) == b"lost"  # sent once more by then


def test_a_punched_connection_that_one_gateway_forgot_comes_back_when_both_speak(
    lab: Lab, stack: contextlib.ExitStack
) -> None:
    ends = [stack.enter_context(endpoint(lab, kind)) for kind in (RESTRICTED, MOVING)]
    made = punch(ends[0], ends[1])
    assert made is not None
    one, other = (stack.enter_context(each) for each in made)
    lab.restart(ends[0].function)
    assert not arrives(other, one, b"lost", QUIET_S)
    assert arrives(one, other, b"again")
    one.settimeout(DEADLINE_S)
    assert one.recv(4, socket.MSG_WAITALL) == b"lost"


def test_a_forgotten_connection_of_a_symmetric_gateway_is_reset(lab: Lab) -> None:
    with endpoint(lab, SYMMETRIC) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        lab.restart(made.function)
        own.settimeout(DEADLINE_S)
        own.sendall(b"from another port now, which the server does not know")
        with pytest.raises(ConnectionResetError):
            own.recv(1)


def test_a_forgotten_connection_of_a_resetting_gateway_is_reset(lab: Lab) -> None:
    with endpoint(lab, RESETTING) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        lab.restart(made.function)
        server.settimeout(DEADLINE_S)
        server.sendall(b"lost")
        with pytest.raises(ConnectionResetError):
            server.recv(1)


def test_a_forgetful_gateway_drops_both_sides_of_what_it_forgot(lab: Lab) -> None:
    with endpoint(lab, FORGETFUL) as made:
        server, own = made.connection
        assert arrives(server, own, b"before")
        lab.restart(made.function)
        assert not arrives(server, own, b"lost", QUIET_S)
        assert not arrives(own, server, b"lost", QUIET_S)
    with endpoint(lab, FORGETFUL) as made:  # and new ones pass
        assert arrives(*made.connection, b"after")


def test_a_restart_of_two_gateways_in_a_row_forgets_at_both(lab: Lab) -> None:
    with endpoint(lab, TWO_IN_A_ROW) as made:
        server, own = made.connection
        assert lab.remembered(made.function) > 0
        lab.restart(made.function)
        assert lab.remembered(made.function) == 0
        assert not arrives(server, own, b"lost", QUIET_S)


def test_a_silent_connection_is_forgotten_and_one_that_speaks_is_not(lab: Lab) -> None:
    function = lab.of(IDLE)[0]
    lab.restart(function)  # what other tests have left
    with endpoint(lab, IDLE) as silent, endpoint(lab, IDLE) as speaking:
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
    for kind, neighbour in ((SHARED, 1), (PUBLIC, 0)):
        with endpoint(lab, kind) as made, Endpoint(lab, lab.of(SHARED)[1]) as other:
            server, own = made.connection
            lab.cut(made.function)
            assert not arrives(server, own, b"late", QUIET_S)
            assert arrives(*other.connection, b"of the neighbour"), neighbour
            lab.heal(made.function)
            own.settimeout(DEADLINE_S)
            assert own.recv(4, socket.MSG_WAITALL) == b"late"


def test_a_capped_link_carries_no_more_than_its_rate(lab: Lab) -> None:
    amount, burst = 24_000_000, 256_000
    with endpoint(lab, CAPPED) as made:
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
    with endpoint(lab, DISTANT) as made:
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


@pytest.mark.parametrize("kind", ["4", "6"])
def test_the_wire_knows_a_packet_that_opens_a_connection(kind: str) -> None:
    ethernet = bytes(12) + (b"\x08\x00" if kind == "4" else b"\x86\xdd")
    to_tcp, to_udp = (
        bytes([0x46]) + bytes(8) + bytes([number]) + bytes(14)
        if kind == "4"
        else bytes(6) + bytes([number]) + bytes(33)
        for number in (6, 17)
    )
    syn, answer, data = (bytes(13) + bytes([flags]) + bytes(6) for flags in (0x02, 0x12, 0x10))
    assert opens_connection(ethernet + to_tcp + syn)
    for other in (to_tcp + answer, to_tcp + data, to_udp + syn, to_tcp + syn[:10], b""):
        assert not opens_connection(ethernet + other)


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
