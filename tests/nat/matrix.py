"""Real ranks behind every kind of gateway at once, and which way each pair of them went.

A world has functions of every kind, and so all pairs of kinds. `.venv/bin/python tests/nat/matrix.py` runs twenty of
them, as root, with two functions of each kind, and prints what became of each pair of kinds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "support"))

from nat_job import NatJob, ways_of  # noqa: E402
from nat_kinds import IPV6_ONLY, KINDS, PUBLIC, RESETTING, SHARED, Kind  # noqa: E402
from nat_lab import Lab  # noqa: E402
from nat_page import page_way  # noqa: E402

__all__ = ["Matrix", "expected", "run_worlds"]

_NAMES = {id(kind): name for name, kind in KINDS.items()}
_LATEST_S = 2.0  # after the first rank
# IDLE gateways forget after three seconds; and a machine that is busy with other things is no reason for a miss.
_SETTINGS = {"CYLON_KEEP_ALIVE": "1", "CYLON_CONNECT_DEADLINE": "30"}
_DEADLINE_S = 120
# Ports are drawn out of some ten thousands, and one of two is dialled: in twenty worlds of a thousand tries it is once
# at most, or twice.
_GUESSED_MOST = 2
# Where three in ten of the packets that open a connection are lost, each way, those of a pair may all be: once in some
# thousand pairs of two such gateways.
_UNLUCKY_MOST = 1
# A rank does not tell one that was dialled and listened from one that dialled as well: both go straight to the other.
_WAYS = {"direct": {"punch"}, "punched": {"punch"}, "relay": {"relay"}}


def expected(lab: Lab, one: int, other: int) -> set[str]:
    """The ways, in a rank's words, that the page gives to two functions; two where it is left to luck."""
    here, there = lab.kinds_of[one], lab.kinds_of[other]
    if here is SHARED and there is SHARED and lab.public_address(one) == lab.public_address(other):
        return {"punch"}  # by the private address
    if {here, there} == {PUBLIC, IPV6_ONLY}:
        return {"relay"}  # the first is dialled where the server has seen it, which is at its IPv4 address
    ways = _WAYS[page_way(_NAMES[id(here)], _NAMES[id(there)])]
    return ways | {"punch"} if here is there is RESETTING else ways  # that packets cross on their way is luck


@dataclass
class Matrix:
    """What became of pairs, by the kinds of their gateways."""

    tries: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    """Where a symmetric gateway happened to draw the port that the other end had dialled."""
    unlucky: list[str] = field(default_factory=list)
    """Relayed, as too much of what opens a connection was lost."""
    seconds: list[float] = field(default_factory=list)
    """From the last rank's start to join until all pairs are connected, for each world."""

    def add(self, lab: Lab, world: int, answers: list[dict[str, object]]) -> None:
        """Take in what the ranks of a world have said."""
        ways = [ways_of(str(answer["report"])) for answer in answers]
        for one, other in combinations(range(len(answers)), 2):
            names = [_NAMES[id(lab.kinds_of[rank])] for rank in (one, other)]
            kinds = sorted(names)
            way = ways[one].get(other, "none")
            self.tries.setdefault((kinds[0], kinds[1]), Counter())[way] += 1
            ways_there = expected(lab, one, other)
            if way in ways_there and ways[other].get(one) == way:
                continue
            told = (
                f"world {world}: {names[0]} (rank {one}) and {names[1]} (rank {other}) are connected by {way} and "
                f"by {ways[other].get(one, 'none')}; expected {' or '.join(ways_there)}"
            )
            same = way == ways[other].get(one)
            guessed = "SYMMETRIC" in kinds and same and way == "punch"
            unlucky = "LOSSY" in kinds and same and way == "relay"
            (self.guessed if guessed else self.unlucky if unlucky else self.wrong).append(told)
        last = max(float(str(answer["began"])) for answer in answers)
        self.seconds.append(max(float(str(answer["meshed"])) for answer in answers) - last)

    @property
    def failures(self) -> list[str]:
        """What was not as the page says, and is no luck."""
        guessed = self.guessed if len(self.guessed) > _GUESSED_MOST else []
        unlucky = self.unlucky if len(self.unlucky) > _UNLUCKY_MOST else []
        return self.wrong + guessed + unlucky

    def __str__(self) -> str:
        lines = [f"{'kinds':29} {'tries':>5}  ways"]
        for (one, other), ways in sorted(self.tries.items()):
            told = ", ".join(f"{count} {way}" for way, count in ways.most_common())
            lines.append(f"{one + ' - ' + other:29} {ways.total():5}  {told}")
        lines += [
            *self.guessed,
            *self.unlucky,
            *self.wrong,
            f"{len(self.seconds)} worlds; {len(self.wrong)} times it was not as the page says, "
            f"{len(self.guessed) + len(self.unlucky)} times by luck",
        ]
        lines.append("all pairs connected so many seconds after the last rank began to join: ")
        return "\n".join(lines) + " ".join(f"{each:.2f}" for each in self.seconds)


def run_worlds(build: Path, kinds: list[Kind], worlds: int, seed: int) -> Matrix:
    """Form worlds of a rank behind each of those gateways, whose ranks begin at moments that the seed draws."""
    chance = random.Random(seed)
    matrix = Matrix()
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Lab(*kinds)) as lab:
        secret = Path(folder) / "secret"
        secret.touch(mode=0o600)
        secret.write_text(os.urandom(32).hex())
        for world in range(worlds):
            starts = [chance.uniform(0, _LATEST_S) for _ in lab.functions]
            job = NatJob(lab, build, secret, [str(build / "bin" / "nat-bench")], _SETTINGS, starts)
            with contextlib.closing(job):
                try:
                    answers = job.answers(_DEADLINE_S)
                except RuntimeError as error:
                    matrix.wrong.append(f"world {world} did not form: {error}")
                    continue
                matrix.add(lab, world, [json.loads(answer) for answer in answers])
    return matrix


def main() -> int:
    """Run the worlds; 1 where a pair went another way than the page says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=20, help="default: 20")
    parser.add_argument("--seed", type=int, default=1, help="decides when each rank begins (default: 1)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="by commas; each twice (default: all)")
    parser.add_argument("--build", type=Path, default=Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")))
    chosen = parser.parse_args()
    began = time.monotonic()
    kinds = [KINDS[name] for name in chosen.kinds.split(",")]
    matrix = run_worlds(chosen.build, kinds * 2, chosen.worlds, chosen.seed)
    print(f"{matrix}\n({time.monotonic() - began:.0f} s)")
    return 1 if matrix.failures else 0


if __name__ == "__main__":
    sys.exit(main())
