"""Break jobs in many ways, and count hangs, wrong answers and wrongly named ranks.

Each case is drawn from the seed: operation, moment, fault, transport and ranks. `--only N` replays case N of the same
seed and choices. Ends with 1 where a case failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from cases import FAULTS, NETWORK_FAULTS, Case, Choice, draw
from faults import strike, wait_for_phase
from judge import Outcome, judge
from nat_kinds import KINDS
from nat_lab import Lab
from network import Network
from redis_server import RedisServer
from world import ROOT, Programs, Server, StoreServer, Timeout, World

_PATIENCE_S = 30  # beyond the silence that is asked for; then a job hangs
_DISK_BYTES = 1 << 20
_MEMORY = "24MiB"
# Where a gateway drops in silence what it has forgotten, half of the time passes until connections between ranks are
# given up, and some seconds until that to the server is.
_GATEWAY_PATIENCE = 3


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="how many cases (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="decides everything that is drawn (default: 1)")
    parser.add_argument("--transport", default="tcp", help="by commas (default: tcp)")
    parser.add_argument(
        "--faults",
        default=",".join(FAULTS),
        help="by commas: " + "; ".join(f"{name} ({what})" for name, what in FAULTS.items()),
    )
    parser.add_argument("--peer-timeout", type=float, default=3.0, help="seconds of silence allowed (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time (default: 1)")
    parser.add_argument("--only", type=int, help="this case alone")
    parser.add_argument("--build", type=Path, default=Path(os.environ.get("CYLON_BUILD", ROOT / "build" / "release")))
    parser.add_argument("--json", type=Path, help="file for the outcomes")
    parser.add_argument("--verbose", action="store_true", help="a line for each case, and what failing ranks wrote")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of little space; needs the right to mount one."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=0777", "tmpfs", str(disk)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def settings_for(case: Case, peer_timeout: float, folder: Path, store: StoreServer | None) -> dict[str, str]:
    """CYLON_* of every rank of the case."""
    settings = {"CYLON_PEER_TIMEOUT": str(peer_timeout), "CYLON_MEMORY": "256MiB", "CYLON_JOIN_DEADLINE": "2"}
    settings["CYLON_CONNECT_DEADLINE"] = str(peer_timeout)  # of a pair that has not talked before the fault
    if case.phase != "joining":
        settings["CYLON_JOIN_DEADLINE"] = "20"
    if store is not None:
        settings |= {"CYLON_STORE": store.address, "CYLON_SECRET_FILE": str(store.secret)}
        settings["CYLON_JOB"] = f"chaos-{case.number}-{os.getpid()}"
    if case.fault == "disk":
        settings |= {"CYLON_SPILL_DIR": str(folder / "disk"), "CYLON_SPILL_ALWAYS": "1"}
    if case.fault == "memory":
        settings["CYLON_MEMORY"] = _MEMORY
    return settings


class Bench:
    """What cases share: the programs, a store server, and a network of namespaces once a case asks for one."""

    def __init__(self, programs: Programs, folder: Path, peer_timeout: float) -> None:
        self.programs = programs
        self.peer_timeout = peer_timeout
        self.store = StoreServer(programs, folder)
        self._folder = folder
        self._lock = threading.Lock()
        self._redis: RedisServer | None = None
        self._network: Network | None = None
        self._network_store: StoreServer | None = None

    def redis(self) -> RedisServer:
        """A Redis server of these cases' own."""
        with self._lock:
            if self._redis is None:
                self._redis = RedisServer(self._folder)
            return self._redis

    @contextlib.contextmanager
    def network(self) -> Iterator[tuple[Network, StoreServer]]:
        """The network and its own store server, for one case at a time."""
        with self._lock:
            if self._network is None or self._network_store is None:
                self._network = Network(8)
                inside = self._folder / "network"
                inside.mkdir()
                self._network_store = StoreServer(self.programs, inside, self._network)
            try:
                yield self._network, self._network_store
            finally:
                self._network.heal()

    def close(self) -> None:
        """End what was started."""
        self.store.kill()
        if self._redis is not None:
            self._redis.kill()
        if self._network_store is not None:
            self._network_store.kill()
        if self._network is not None:
            self._network.close()


def start_own_server(programs: Programs, case: Case, folder: Path, lab: Lab | None) -> StoreServer | RedisServer | None:
    """The server that this case takes away, or the one of its network; None where there is none of its own."""
    if case.fault == "restart" and case.transport == "redis":
        return RedisServer(folder)
    return StoreServer(programs, folder, lab) if lab is not None or case.fault in ("store", "restart") else None


def run_case(bench: Bench, case: Case) -> tuple[Outcome, str]:
    """Run one case to its end; what became of it, and what its ranks wrote to stderr."""
    programs = bench.programs
    peer_timeout = bench.peer_timeout * (_GATEWAY_PATIENCE if case.fault == "gateway" else 1)
    folder = Path(tempfile.mkdtemp(prefix="cylon-chaos-"))
    network: Network | Lab | None = None
    errors = ""
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if case.gateways:
            network = stack.enter_context(contextlib.closing(Lab(*(KINDS[kind] for kind in case.gateways))))
        own = start_own_server(programs, case, folder, network)
        store = None if case.launcher else own if isinstance(own, StoreServer) else bench.store
        deadline = time.monotonic() + _PATIENCE_S + 2 * peer_timeout
        if own is not None:
            stack.callback(own.kill)
        if case.fault == "disk":
            stack.enter_context(small_disk(folder))
        if case.fault in NETWORK_FAULTS and network is None:
            network, store = stack.enter_context(bench.network())
        settings = settings_for(case, peer_timeout, folder, store)
        if case.transport == "redis":
            settings["CYLON_REDIS"] = own.url if isinstance(own, RedisServer) else bench.redis().url
        world = World(programs, case, folder, settings, network)
        try:
            outcome = _take(world, own, peer_timeout, deadline)
        finally:
            world.finish()
        errors = world.errors()
    return outcome, errors


def _take(world: World, server: Server | None, peer_timeout: float, deadline: float) -> Outcome:
    case = world.case
    moment = time.monotonic()
    if case.fault not in ("disk", "memory"):
        try:
            wait_for_phase(world, deadline)
            moment = strike(world, server, peer_timeout)
        except Timeout as timeout:
            return Outcome(case, "void" if case.fault == "cut" else "hang", f"before the fault: {timeout}")
    if case.fault in ("slow", "cut", "silence", "store", "restart", "gateway"):
        reached = max((line["number"] for line in world.diary(0) if line["event"] == "round"), default=0)
        with contextlib.suppress(Timeout):  # what is wrong then is in the diaries
            world.wait_for(
                "work after the fault",
                lambda: (
                    any(world.ended(rank) for rank in range(case.ranks))
                    or all(world.noted(rank, "round", reached + 2) for rank in range(case.ranks))
                ),
                deadline,
            )
        world.stop_work()
    dead = case.victims if case.fault in ("kill", "stop") else ()
    waited = [rank for rank in range(case.ranks) if rank not in dead]
    with contextlib.suppress(Timeout):
        world.wait_for("the end", lambda: all(world.ended(rank) for rank in waited), deadline)
    if not all(world.ended(rank) for rank in waited):
        world.ask()
    return judge(case, {rank: world.ended(rank) for rank in range(case.ranks)}, moment, peer_timeout)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def table(outcomes: list[Outcome]) -> str:
    """A line for each fault and transport."""
    heads = "".join(f" {head:>5}" for head in ("runs", "hangs", "wrong", "named", "late", "void"))
    lines = [f"{'fault':9} {'transport':9}{heads} {'p50':>7} {'p99':>7} {'max':>7}"]
    for fault, transport in sorted({(outcome.case.fault, outcome.case.transport) for outcome in outcomes}):
        chosen = [one for one in outcomes if (one.case.fault, one.case.transport) == (fault, transport)]
        counts = [
            sum(one.verdict == verdict for one in chosen)
            for verdict in ("hang", "wrong answer", "wrong name", "late", "void")
        ]
        line = f"{fault:9} {transport:9} {len(chosen):5} " + " ".join(f"{count:5}" for count in counts)
        seconds = [one.seconds for one in chosen if one.seconds is not None and one.case.phase != "joining"]
        if seconds:
            figures = [percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)]
            line += " " + " ".join(f"{1e3 * figure:5.0f}ms" for figure in figures)
        lines.append(line)
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the cases; 1 where one failed."""
    chosen = parse(arguments)
    faults = tuple(chosen.faults.split(","))
    unknown = [fault for fault in faults if fault not in FAULTS]
    if unknown:
        sys.exit(f"there is no fault '{unknown[0]}'; the faults are {', '.join(FAULTS)}")
    choice = Choice(chosen.seed, tuple(chosen.transport.split(",")), faults, chosen.peer_timeout)
    numbers = range(chosen.runs) if chosen.only is None else [chosen.only]
    outcomes: list[Outcome] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Programs(chosen.build), Path(folder), choice.peer_timeout)

        def one(number: int) -> None:
            case = draw(choice, number)
            outcome, errors = run_case(bench, case)
            outcomes.append(outcome)
            if chosen.verbose or outcome.failed:
                seconds = "" if outcome.seconds is None else f" after {outcome.seconds:.3f} s"
                print(f"{outcome.verdict}{seconds}: {case} {outcome.why}", flush=True)
            if outcome.failed:
                again = f"--seed {choice.seed} --only {number} --transport {chosen.transport} --faults {chosen.faults}"
                print(f"  replay: tests/chaos/run.py {again} --peer-timeout {choice.peer_timeout:g}", flush=True)
                print("".join(f"  | {line}\n" for line in errors.splitlines()), end="", flush=True)

        try:
            with ThreadPoolExecutor(chosen.jobs) as pool:
                list(pool.map(one, numbers))
        finally:
            bench.close()
    print(table(outcomes))
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{len(outcomes)} cases, {failed} failed ({time.monotonic() - began:.0f} s)")
    if chosen.json is not None:
        found = [asdict(outcome) for outcome in outcomes]
        chosen.json.write_text(json.dumps({"choice": asdict(choice), "outcomes": found}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
