"""A job that is to be broken: its processes, and what they write in their diaries."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from cases import Case
from nat_lab import Lab
from network import Network

__all__ = ["ROOT", "Programs", "Server", "StoreServer", "Timeout", "World"]

ROOT = Path(__file__).resolve().parents[2]
_LOOK_S = 0.002  # between two looks at the diaries
_ANSWER_S = 1.5  # a rank whose tasks do not run says so after a second


class Timeout(Exception):
    """Something that has to happen did not."""


class Programs:
    """The built programs."""

    def __init__(self, build: Path) -> None:
        self.cylon = build / "bin" / "cylon"
        self.rank = build / "bin" / "chaos-rank"
        self.rendezvous = build / "bin" / "cylon-rendezvous"
        for program in (self.cylon, self.rank, self.rendezvous):
            if not program.exists():
                raise FileNotFoundError(f"{program} is not there; run make build, or name another --build")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CYLON_")}


class Server(Protocol):
    """What a job leans on, and what can be taken away from it."""

    def kill(self) -> None:
        """End it at once."""

    def start(self) -> None:
        """Start it where it was before, with nothing in it."""


class StoreServer:
    """A running cylon-rendezvous."""

    def __init__(self, programs: Programs, folder: Path, network: Network | Lab | None = None) -> None:
        self.secret = folder / "secret"
        self.secret.touch(mode=0o600)
        self.secret.write_text(os.urandom(32).hex())
        self._command = [str(programs.rendezvous), "--secret-file", str(self.secret)]
        self.address = "127.0.0.1:0"
        if network is not None:
            self._command = [*network.inside(None), *self._command]
            self.address = f"{network.ADDRESS}:0"
        self.start()

    def start(self) -> None:
        """Start it where it was before, with nothing in it."""
        command = [*self._command, "--listen", self.address]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment())
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise Timeout("the store server did not start")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


class World:
    """The ranks of one case, from their start until none is left."""

    def __init__(
        self, programs: Programs, case: Case, folder: Path, settings: dict[str, str], network: Network | Lab | None
    ) -> None:
        self.case = case
        self.folder = folder
        self.network = network
        self._stderr = (folder / "stderr").open("wb")
        command = [str(programs.rank), "--folder", str(folder), "--operations", ",".join(case.operations)]
        command += ["--bytes", str(case.bytes), "--pause", str(case.pause_us)]
        if case.phase == "closing":
            command += ["--rounds", str(case.round + 1)]
        if case.fault in ("disk", "memory"):
            command += ["--rounds", "2", "--go-on"]
        environment = _environment() | settings | {"CYLON_TRANSPORT": case.transport, "CYLON_THREADS": "1"}
        if case.launcher:
            start = [str(programs.cylon), "run", "-n", str(case.ranks), "--keep-going"]
            self.processes = [self._start([*start, *command], environment)]
        else:
            environment |= {"CYLON_WORLD_SIZE": str(case.ranks), "CYLON_LOCAL_SIZE": str(case.ranks)}
            self.processes = []
            for rank in range(case.ranks):
                own = {"CYLON_RANK": str(rank), "CYLON_LOCAL_RANK": str(rank)}
                if isinstance(network, Network):
                    own["CYLON_BIND"] = network.address(rank)
                start = [] if network is None else network.inside(rank)
                self.processes.append(self._start([*start, *command], environment | own))

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": self._stderr}
        return subprocess.Popen(command, env=environment, **quiet)  # type: ignore[call-overload,no-any-return]

    def diary(self, rank: int) -> list[dict[str, Any]]:
        """What the rank has written so far; a line that is being written does not count."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / str(rank)).read_text().split("\n")[:-1]
            return [json.loads(line) for line in lines]
        return []

    def noted(self, rank: int, event: str, least: int = 0) -> dict[str, Any] | None:
        """The rank's line about that event with at least that number, if there is one."""
        for line in self.diary(rank):
            if line["event"] == event and line.get("number", 0) >= least:
                return line
        return None

    def ended(self, rank: int) -> dict[str, Any] | None:
        """The last line of a rank that has come to an end by itself."""
        return self.noted(rank, "end")

    def pid(self, rank: int) -> int:
        """The rank's process."""
        line = self.noted(rank, "joining")
        if line is None:
            raise Timeout(f"rank {rank} has not begun")
        return int(line["number"])

    def wait_for(self, what: str, condition: Callable[[], bool], deadline: float) -> None:
        """Return when the condition holds. Timeout after the deadline, or once every process has ended without it."""
        while not condition():
            gone = all(process.poll() is not None for process in self.processes)
            if (gone and not condition()) or time.monotonic() > deadline:
                raise Timeout(f"{what}: {'the job has ended' if gone else 'the time is over'}")
            time.sleep(_LOOK_S)

    def ask(self) -> None:
        """Let every rank that is left write to stderr what it waits for."""
        for rank in range(self.case.ranks):
            if self.ended(rank) is None:
                with contextlib.suppress(Timeout, ProcessLookupError):
                    os.kill(self.pid(rank), signal.SIGUSR1)
        time.sleep(_ANSWER_S)

    def stop_work(self) -> None:
        """Let all ranks end after the round that they are in."""
        (self.folder / "stop").touch()

    def finish(self) -> None:
        """End whatever is left."""
        for rank in range(self.case.ranks):
            if self.ended(rank) is None:
                with contextlib.suppress(Timeout, ProcessLookupError, FileNotFoundError):
                    pid = self.pid(rank)
                    if str(self.folder) in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                        os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._stderr.close()

    def errors(self) -> str:
        """What was written to stderr: for the report of a case that went wrong."""
        return (self.folder / "stderr").read_text(errors="replace")
