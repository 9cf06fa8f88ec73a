"""What `cylon doctor --rendezvous` says from behind gateways, and that it is what docs/nat.md says of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nat_kinds import FULL_CONE, IPV6_ONLY, MOVING, PUBLIC, RESETTING, RESTRICTED, SAME_PRIVATE, SHARED, SYMMETRIC, Kind
from nat_lab import Lab

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")) / "bin"
LONG = os.environ.get("CYLON_TEST_LONG", "0") not in ("", "0")
SECRET = "5a" * 32
DEADLINE_S = 120
V4, V6 = f"{Lab.ADDRESS}:7000", f"[{Lab.ADDRESS6}]:7000"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")

# Two kinds; the way; what the doctor says of the gateway of each when the other has tried to get in.
PAIRS: list[tuple[Kind, Kind, str, list[str], list[str]]] = [
    (RESTRICTED, MOVING, "punched", ["RESTRICTED", "TWO_IN_A_ROW"], ["MOVING"]),
    (PUBLIC, SYMMETRIC, "direct", ["PUBLIC"], ["SYMMETRIC"]),
    (RESTRICTED, SYMMETRIC, "relay", ["RESTRICTED", "TWO_IN_A_ROW"], ["SYMMETRIC"]),
    (IPV6_ONLY, IPV6_ONLY, "punched", ["IPV6_ONLY"], ["IPV6_ONLY"]),
]
if LONG:
    PAIRS += [
        (FULL_CONE, SYMMETRIC, "direct", ["FULL_CONE"], ["SYMMETRIC"]),
        (SAME_PRIVATE, SAME_PRIVATE, "punched", ["RESTRICTED", "TWO_IN_A_ROW"], ["RESTRICTED", "TWO_IN_A_ROW"]),
        (RESETTING, PUBLIC, "direct", ["RESETTING"], ["PUBLIC"]),
        (SYMMETRIC, SYMMETRIC, "relay", ["SYMMETRIC"], ["SYMMETRIC"]),
    ]


def start(lab: Lab, function: int, *more: str, server: str = V4) -> subprocess.Popen[str]:
    """The doctor at a function."""
    command = [str(BUILD / "cylon"), "doctor", "--rendezvous", server, "--json", "--seconds=0.1", *more]
    environment = {"PATH": os.environ["PATH"], "CYLON_SECRET": SECRET}
    return subprocess.Popen([*lab.inside(function), *command], env=environment, stdout=subprocess.PIPE, text=True)


def report(process: subprocess.Popen[str]) -> Any:
    """What it says, without problems."""
    found = json.loads(process.communicate(timeout=DEADLINE_S)[0])
    assert (process.returncode, found["problems"]) == (0, [])
    return found


@contextlib.contextmanager
def network(*kinds: Kind) -> Iterator[Lab]:
    """Functions, and a server in the public network that is reached by IPv4 and IPv6."""
    with contextlib.closing(Lab(*kinds)) as lab:
        program = [str(BUILD / "cylon-rendezvous"), "--listen", "[::]:7000", "--probe-port", "7001"]
        server = subprocess.Popen(
            [*lab.inside(None), *program], env={"CYLON_SECRET": SECRET}, stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield lab
        finally:
            server.kill()
            server.communicate()


def test_alone_it_names_the_rows_that_fit_what_the_server_sees() -> None:
    kinds = (PUBLIC, RESTRICTED, SYMMETRIC, MOVING, IPV6_ONLY)
    with network(*kinds) as lab:
        servers = [V4, V4, V4, V4, V6]
        found = [report(each) for each in [start(lab, i, server=server) for i, server in enumerate(servers)]]
        public_by_6 = report(start(lab, 0, server=V6))
        both = report(start(lab, 0, "--rendezvous", V6))
        four_of_both = report(start(lab, 1, "--rendezvous", V6))
        own = [lab.address(function, next(iter(lab.functions[function].addresses))) for function in range(len(kinds))]
    told = [each["families"][0]["kinds"] for each in found]
    assert told == [
        ["PUBLIC", "RESTRICTED"],
        ["FULL_CONE", "RESTRICTED", "TWO_IN_A_ROW", "RESETTING"],
        ["SYMMETRIC"],
        ["MOVING"],
        ["PUBLIC", "IPV6_ONLY"],
    ]
    for each, address in zip(found, own, strict=True):
        assert address in each["own"]
        assert each["round_trip"]["count"] >= 1
        assert each["relay_bytes_per_s"] > 0
    assert len(found[2]["families"][0]["seen"]) == 2
    assert found[1]["families"][0]["ways"]["MOVING"] == ["direct", "punched"]
    assert found[2]["families"][0]["ways"] == {
        "PUBLIC": ["direct"],
        "FULL_CONE": ["direct"],
        **{kind: ["relay"] for kind in ("RESTRICTED", "TWO_IN_A_ROW", "MOVING", "RESETTING", "SYMMETRIC", "IPV6_ONLY")},
    }
    assert public_by_6["families"][0]["kinds"] == ["PUBLIC", "IPV6_ONLY"]
    assert [family["family"] for family in both["families"]] == ["IPv4", "IPv6"]
    assert all(family["seen"] for family in both["families"])
    # What one kind of address lacks is no problem where the other is there.
    assert "is not reached" in four_of_both["families"][1]["trouble"]


def test_two_at_once_tell_the_rows_apart_and_connect_as_the_page_says() -> None:
    kinds = [kind for one, other, *_ in PAIRS for kind in (one, other)]
    with network(*kinds) as lab:
        running = [
            start(lab, 2 * i + side, "--peer", f"pair{i}", server=V6 if one.ipv6 else V4)
            for i, (one, *_) in enumerate(PAIRS)
            for side in range(2)
        ]
        found = [report(each) for each in running]
    for i, (one, other, way, of_one, of_other) in enumerate(PAIRS):
        sides = found[2 * i : 2 * i + 2]
        assert [side["peer"]["way"] for side in sides] == [way, way], (one.says, other.says)
        assert [side["families"][0]["kinds"] for side in sides] == [of_one, of_other]
        assert not any(side["peer"]["same_gateway"] for side in sides)
        assert [side["peer"]["same_private_address"] for side in sides] == [one is other is SAME_PRIVATE] * 2
        for side in sides:
            assert side["peer"]["setup_ms"] > 0
            assert side["peer"]["round_trip"]["median_ms"] > 0
            assert side["peer"]["sent_bytes_per_s"] > 0


def test_two_behind_one_gateway_are_told_so() -> None:
    with network(SHARED) as lab:
        sides = [report(each) for each in [start(lab, i, "--peer", "x") for i in range(2)]]
        addresses = [lab.address(i) for i in range(2)]
    for here, side in enumerate(sides):
        assert side["peer"]["same_gateway"]
        assert side["peer"]["way"] == "direct"
        assert side["peer"]["address"].split(":")[0] == addresses[1 - here]
