"""Jobs whose ranks are behind gateways: a rendezvous server in the public network, and a rank at every function."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nat_lab import BUILD, Lab

__all__ = ["BUILD", "DEADLINE_S", "PORT", "NatJob", "ways_of"]

DEADLINE_S = 120  # of whatever a test waits for
PORT = 7000  # of the server
_TOLD = 3  # errors: mostly they say the same


class NatJob:
    """A rendezvous server, and a rank at every function of a network; each rank has pipes for what it says."""

    def __init__(
        self,
        lab: Lab,
        build: Path,
        secret: Path,
        commands: Sequence[str] | Sequence[Sequence[str]],
        settings: Mapping[str, str] | None = None,
        starts: Sequence[float] | None = None,
    ) -> None:
        """`commands`: one for all ranks, or one for each; `starts`: seconds after which each rank is started."""
        self.lab = lab
        base = {name: value for name, value in os.environ.items() if not name.startswith("CYLON_")}
        base |= {"PYTHONPATH": str(build / "python"), "CYLON_SECRET_FILE": str(secret), "CYLON_THREADS": "1"}
        listen = ["--listen", f"[::]:{PORT}", "--secret-file", str(secret)]  # both families
        program = str(build / "bin" / "cylon-rendezvous")
        self._serve = [*lab.inside(None), program, *listen]
        self.start_server()
        size = len(lab.functions)
        base |= {"CYLON_TRANSPORT": "punch", "CYLON_WORLD_SIZE": str(size), "CYLON_LOCAL_SIZE": str(size)}
        alike = isinstance(commands[0], str)
        begun: dict[int, subprocess.Popen[str]] = {}
        self.began = time.monotonic()
        for rank in sorted(range(size), key=lambda each: (starts or [0.0] * size)[each]):
            if starts is not None:
                time.sleep(max(0, self.began + starts[rank] - time.monotonic()))  # that is what is asked for
            own = {"CYLON_RANK": str(rank), "CYLON_STORE": self.address(rank), **(settings or {})}
            begun[rank] = subprocess.Popen(
                [*lab.inside(rank), *(commands if alike else commands[rank])],  # type: ignore[list-item]
                env={**base, **own},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.ranks = [begun[rank] for rank in range(size)]

    def address(self, function: int) -> str:
        """Where a function reaches the server."""
        return f"{self.lab.ADDRESS if self.lab.kinds_of[function].ipv4 else f'[{self.lab.ADDRESS6}]'}:{PORT}"

    def start_server(self) -> None:
        """Start it, or another one in its place."""
        self.server = subprocess.Popen(self._serve, stdout=subprocess.PIPE)
        assert self.server.stdout is not None
        assert self.server.stdout.readline()

    def kill_server(self) -> None:
        """End it at once."""
        self.server.kill()
        self.server.wait()

    def answers(self, timeout: float) -> list[str]:
        """What each rank has written to stdout, when all have ended well; RuntimeError where one has not."""
        return [out for out, _ in self._end(timeout)]

    def wait(self, timeout: float) -> tuple[float, list[str]]:
        """When all ranks have ended well: seconds since they were started, and what each has written to stderr."""
        said = self._end(timeout)
        return time.monotonic() - self.began, [err for _, err in said]

    def _end(self, timeout: float) -> list[tuple[str, str]]:
        deadline = time.monotonic() + timeout
        found: list[tuple[str, str]] = []
        errors: list[str] = []
        for rank, process in enumerate(self.ranks):
            try:
                out, err = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                err += f"it had not ended after {timeout:.0f} s"
            found.append((out, err))
            if process.returncode != 0:
                errors.append(f"rank {rank} ({self.lab.kinds_of[rank].says}): {err.strip()}")
        if errors:
            more = f"\nand {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
            raise RuntimeError("\n".join(errors[:_TOLD]) + more)
        return found

    def close(self) -> None:
        """End what is left."""
        processes: list[subprocess.Popen[Any]] = [self.server, *self.ranks]
        for process in processes:
            process.kill()
            process.communicate()


def ways_of(report: str) -> dict[int, str]:
    """The way to each rank that is connected, out of a rank's report of what it does."""
    found: dict[int, str] = {}
    for line in report.splitlines():
        if line.startswith("  connected to "):
            for ranks, way in re.findall(r"to ranks? ([0-9, and]+) by (\w+)", line):
                found |= {int(rank): way for rank in re.findall(r"\d+", ranks)}
    return found
