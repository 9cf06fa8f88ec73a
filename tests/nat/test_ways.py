"""Which way two ranks behind gateways connect, and that the page about it (docs/nat.md) says so."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from nat_kinds import KINDS, RESETTING, RESTRICTED, SAME_PRIVATE, SHARED, SYMMETRIC
from nat_lab import Lab
from nat_page import page_rows, page_table
from nat_sockets import DEADLINE_S, QUIET_S, Endpoint, dial_directly, open_port, outcome, punch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")

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
    resetting, dropping = (stack.enter_context(Endpoint.of(lab, kind)) for kind in (RESETTING, RESTRICTED))
    early = stack.enter_context(dropping.dial(resetting.seen[0]))
    assert outcome(early) == "refused"
    resetting, dropping = (stack.enter_context(Endpoint.of(lab, kind)) for kind in (RESETTING, RESTRICTED))
    early = stack.enter_context(resetting.dial(dropping.seen[0]))
    assert outcome(early, QUIET_S) == "silent"
    late = stack.enter_context(dropping.dial(resetting.seen[0]))
    assert outcome(late) == outcome(early) == "open"


def test_ipv6_beside_it_gets_round_a_symmetric_gateway(stack: contextlib.ExitStack) -> None:
    both = dataclasses.replace(SYMMETRIC, ipv6=True)
    lab = stack.enter_context(contextlib.closing(Lab(both, both)))
    one, other = (stack.enter_context(Endpoint(lab, function, socket.AF_INET6)) for function in range(2))
    assert one.seen[0] == (lab.address(0, socket.AF_INET6), one.port)
    assert dial_directly(one, other, QUIET_S) == "silent"
    made = punch(one, other)
    assert made is not None
    for each in made:
        each.close()
    one, other = (stack.enter_context(Endpoint(lab, function)) for function in range(2))
    assert punch(one, other, 2.5) is None


def test_two_behind_one_gateway_meet_by_private_address_and_not_by_the_seen_one(
    lab: Lab, stack: contextlib.ExitStack
) -> None:
    one, other = (stack.enter_context(Endpoint.of(lab, SHARED, nth)) for nth in range(2))
    assert {address for address, _ in one.seen + other.seen} == {lab.public_address(one.function)}
    assert dial_directly(one, other, QUIET_S) == "silent"
    assert punch(one, other, 2.5) is None
    other.seen.insert(0, (lab.address(other.function), other.port))
    assert dial_directly(one, other) == "open"


def test_the_same_private_address_behind_two_gateways(lab: Lab, stack: contextlib.ExitStack) -> None:
    one, other = (stack.enter_context(Endpoint.of(lab, SAME_PRIVATE, nth)) for nth in range(2))
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
