"""What can be broken, and cases drawn from a seed: each is replayed by its number."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["FAULTS", "NETWORK_FAULTS", "OPERATIONS", "PHASES", "Case", "Choice", "draw"]

OPERATIONS = (
    *("barrier", "allreduce", "broadcast", "allgather", "alltoall", "passalong"),
    *("shuffle", "join", "sort", "groupby"),
)
# When the fault strikes: while ranks join, within an operation, while they compute and nobody waits, while they leave.
PHASES = ("joining", "running", "idle", "closing")
_WEIGHTS = {"joining": 1, "running": 5, "idle": 2, "closing": 1}
_LONGEST_DELAY_S = {"joining": 0.02, "running": 0.02, "idle": 0.15, "closing": 0.003}
FAULTS = {
    "kill": "SIGKILL of one rank, now and then of two at once",
    "stop": "SIGSTOP for good",
    "slow": "SIGSTOP for half of the time after which a rank counts as lost, then SIGCONT",
    "cut": "the connections of one pair of ranks are shut down",
    "blackhole": "nothing reaches one rank any more, nor comes from it, and nobody is told",
    "silence": "the same between one pair of ranks only",
    "disk": "the spill directory is a file system that is full",
    "memory": "a budget that what arrives does not fit",
    "store": "the store server is killed",
    "restart": "the store server, or the Redis server of the messages, is killed and started anew, empty",
    "gateway": "the gateway before one rank forgets all connections, as by a restart; elsewhere: cut",
}
# Faults for which only some moments are of interest.
_PHASES_OF = {
    "stop": ("running", "idle"),
    "slow": ("running", "idle"),
    "cut": ("running", "idle"),
    "blackhole": ("running", "idle"),
    "silence": ("running", "idle"),
    "disk": ("running",),
    "memory": ("running",),
    "store": ("running", "idle"),
    "restart": ("joining", "running", "idle"),
    "gateway": ("running", "idle"),
}
# Faults that take a network of its own for each rank.
NETWORK_FAULTS = ("blackhole", "silence")
_SPILLING = ("shuffle", "join", "sort")
# What may stand before a rank on the transport punch, each in a network of its own around a public one; and what keeps
# its ports, so that the ends of a connection are known by them.
_GATEWAYS = ("RESTRICTED", "MOVING", "SYMMETRIC", "FORGETFUL", "FULL_CONE", "RESETTING", "TWO_IN_A_ROW", "SAME_PRIVATE")
_KEEPING_PORTS = ("RESTRICTED", "TWO_IN_A_ROW", "SAME_PRIVATE")


@dataclass(frozen=True)
class Choice:
    """What is drawn from."""

    seed: int
    transports: tuple[str, ...]
    faults: tuple[str, ...]
    peer_timeout: float


@dataclass(frozen=True)
class Case:
    """One run of a job, and what befalls it."""

    number: int
    transport: str
    fault: str
    phase: str
    launcher: bool  # ranks are started by `cylon run`; else alone, with a store server
    ranks: int
    victims: tuple[int, ...]
    operations: tuple[str, ...]
    bytes: int
    pause_us: int
    round: int  # the fault strikes once every rank has begun it
    delay: float  # and then so many seconds later
    gateways: tuple[
        str, ...
    ] = ()  # the kinds of those before the ranks (tests/support/nat_kinds.py); (): there are none

    def __str__(self) -> str:
        where = "cylon run" if self.launcher else "alone"
        whom = f" of rank {' and '.join(map(str, self.victims))}" if self.victims else ""
        what = f"{self.fault}{whom} {1e3 * self.delay:.1f} ms into {self.phase}, round {self.round}"
        behind = f" behind {', '.join(self.gateways)}" if self.gateways else ""
        return (
            f"case {self.number}: {what}; {self.ranks} ranks on {self.transport} ({where}){behind}, "
            f"{','.join(self.operations)} of {self.bytes} bytes"
        )


def draw(choice: Choice, number: int) -> Case:
    """Draw the case with that number: transports and faults take turns, all else is left to chance."""
    chance = random.Random(f"{choice.seed}/{number}")
    transport = choice.transports[number % len(choice.transports)]
    fault = choice.faults[number // len(choice.transports) % len(choice.faults)]
    if transport == "redis" and fault in ("cut", *NETWORK_FAULTS):
        fault = "kill"  # there are no links between ranks
    if fault in NETWORK_FAULTS and transport == "shm":
        transport = "tcp"  # ranks with networks of their own do not reach each other's sockets
    if transport == "punch" and fault == "store":
        fault = "restart"  # who is relayed cannot do without
    elif transport != "punch" and fault == "gateway":
        fault = "kill" if transport == "redis" else "cut"
    phases = _PHASES_OF.get(fault, PHASES)
    phase = chance.choices(phases, [_WEIGHTS[phase] for phase in phases])[0]
    ranks = chance.randint(2, 8)
    count = {"disk": 0, "memory": 0, "store": 0, "restart": 0, "gateway": 1, "cut": 2, "silence": 2}.get(fault, 1)
    if fault == "kill" and ranks > 2 and chance.random() < 0.1:
        count = 2
    operations = tuple(chance.sample(OPERATIONS, chance.randint(1, 3)))
    size = int(10 ** chance.uniform(2, 5.7))
    if fault == "disk":
        operations, size = (chance.choice(_SPILLING),), 4_000_000
    elif fault == "memory":
        operations, size = (chance.choice(("broadcast", "allgather", "alltoall")),), 64_000_000
        ranks = min(ranks, 4)
    gateways: tuple[str, ...] = ()
    if transport == "punch":
        gateways = tuple(chance.choices(_KEEPING_PORTS if fault == "cut" else _GATEWAYS, k=ranks))
    return Case(
        number=number,
        transport=transport,
        fault=fault,
        phase=phase,
        launcher=not gateways and fault not in ("stop", "store", "restart", *NETWORK_FAULTS) and chance.random() < 0.5,
        ranks=ranks,
        victims=tuple(sorted(chance.sample(range(ranks), count))),
        operations=operations,
        bytes=size,
        pause_us=200_000 if phase == "idle" else 0,
        round=chance.randint(1, 4),
        delay=chance.uniform(0, _LONGEST_DELAY_S[phase]),
        gateways=gateways,
    )
