"""The main job (examples/flights) on functions behind gateways, by each way that there is between them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from nat_job import NatJob, ways_of
from nat_kinds import RESTRICTED, SYMMETRIC, Kind
from nat_lab import Lab
from redis_server import RedisServer

__all__ = ["WAYS", "Flights", "run_flights"]

_FUNCTIONS = 8
_DEADLINE_S = 300
_ASK_AT = "manufacturers"  # the stage after which ranks are asked what they are connected by


@dataclass
class Flights:
    """What one run of the job took, over all ranks."""

    seconds: float
    """From the start of the first process until the last has ended."""
    stages: float
    """Of that, reading, joining, grouping and writing."""
    megabytes: float
    """That ranks have sent to each other."""
    by: str
    """How many pairs are connected which way, as the ranks say."""


def _nothing(_lab: Lab, _folder: Path) -> AbstractContextManager[dict[str, str]]:
    return contextlib.nullcontext({})


@contextlib.contextmanager
def _redis(lab: Lab, folder: Path) -> Iterator[dict[str, str]]:
    password = os.urandom(16).hex()
    server = RedisServer(folder, f"requirepass {password}", lab.ADDRESS, lab.inside(None))
    try:
        yield {"CYLON_TRANSPORT": "redis", "CYLON_REDIS": f"redis://:{password}@{lab.ADDRESS}:{server.port}"}
    finally:
        server.kill()


WAYS: dict[str, tuple[Kind, Callable[[Lab, Path], AbstractContextManager[dict[str, str]]]]] = {
    "punch": (RESTRICTED, _nothing),
    "relay": (SYMMETRIC, _nothing),
    "redis": (RESTRICTED, _redis),
}
"""The kind of gateway that leaves a job this way, and what it takes: a server, and settings that name it."""


def run_flights(build: Path, root: Path, folder: Path, way: str) -> Flights:
    """Run it; its results are in `folder`/result."""
    kind, takes = WAYS[way]
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(os.urandom(32).hex())
    data = root / "build" / "data" / "nycflights13"
    program = [sys.executable, str(root / "examples" / "flights" / "flights.py"), "--data", str(data)]
    program += ["--result", str(folder / "result")]
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(contextlib.closing(Lab(*[kind] * _FUNCTIONS)))
        settings = stack.enter_context(takes(lab, folder))
        job = stack.enter_context(contextlib.closing(NatJob(lab, build, secret, program, settings)))
        late = threading.Timer(_DEADLINE_S, job.close)
        late.start()
        stack.callback(late.cancel)
        shown = job.ranks[0].stdout
        assert shown is not None
        stages: list[tuple[float, float]] = []
        for line in shown:
            found = re.fullmatch(r"  ([a-z ]+?) +([\d,]+) +([\d.]+) +([\d.]+)", line.rstrip())
            if found is not None and len(stages) < 8:
                stages.append((float(found[3]), float(found[4])))
                if found[1] == _ASK_AT:
                    for rank in job.ranks:
                        rank.send_signal(signal.SIGUSR1)
        seconds, errors = job.wait(_DEADLINE_S)
    ways = Counter(each for error in errors for each in ways_of(error).values())
    told = ", ".join(f"{each}: {count // 2} pairs" for each, count in sorted(ways.items()))
    return Flights(seconds, sum(each for each, _ in stages), sum(sent for _, sent in stages), told or way)
