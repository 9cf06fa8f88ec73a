"""Time jobs whose ranks are behind gateways: the full mesh, small collectives, all-to-alls beside plain TCP.

Every function is a namespace of its own behind a gateway of its own, all on this machine; run it as root, on a quiet
one. `--job flights` runs the main job on eight functions instead, by each way, and `--job join` the published join
benchmark; answers that are not those of one process end it. Writes `nat.md` and `nat.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "support"))

from nat.figures import markdown  # noqa: E402
from nat_job import NatJob, ways_of  # noqa: E402
from nat_kinds import CAPPED, RESTRICTED, Kind  # noqa: E402
from nat_lab import Lab  # noqa: E402
from nat_runs import FUNCTIONS, flights_program, join_program, run_alone, run_behind_gateways  # noqa: E402
from nat_ways import OF_MANY  # noqa: E402
from peers.report import machine  # noqa: E402

_DEADLINE_S = 300
_PLAIN_PORT = 9000
# The published strong join, of 4.5 million rows: those of each rank may be 9.1 million where there is a core for each.
_JOIN_ROWS = 4_500_000 // FUNCTIONS
# A machine that cannot keep up shows in the figures, and does not end the run.
_SETTINGS = {"CYLON_CONNECT_DEADLINE": "60", "CYLON_PEER_TIMEOUT": "60"}


def parse() -> argparse.Namespace:
    """The arguments; without any it takes some minutes on two cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="release", help="build to measure (default: release)")
    parser.add_argument("--functions", default="32,64", help="of full meshes, by commas (default: 32,64)")
    parser.add_argument("--runs", type=int, default=20, help="of each full mesh (default: 20)")
    parser.add_argument(
        "--delayed", type=int, default=32, help="functions of the mesh whose packets take long and get lost; 0: none"
    )
    parser.add_argument("--round-trip-ms", type=float, default=20, help="between two functions there (default: 20)")
    parser.add_argument("--syn-loss", type=float, default=0.01, help="there, at each gateway (default: 0.01)")
    parser.add_argument(
        "--rates", default="2,4", help="functions of the all-to-alls, by commas; 0: none (default: 2,4)"
    )
    parser.add_argument("--sizes", default="16777216", help="bytes of their messages, by commas (default: 16 MiB)")
    parser.add_argument("--turns", type=int, default=10, help="of each way (default: 10)")
    parser.add_argument(
        "--job", action="append", choices=["flights", "join"], help="run this job, and nothing else; may be repeated"
    )
    parser.add_argument(
        "--ways", default=",".join(OF_MANY), help=f"of the jobs, by commas (default: {','.join(OF_MANY)})"
    )
    parser.add_argument(
        "--rows", type=int, default=_JOIN_ROWS, help=f"of each function's tables in the join (default: {_JOIN_ROWS})"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench", help="folder of what is written")
    return parser.parse_args()


@contextlib.contextmanager
def secret_file() -> Iterator[Path]:
    """A file with a secret."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "secret"
        path.touch(mode=0o600)
        path.write_text(os.urandom(32).hex())
        yield path


def run(lab: Lab, build: Path, options: list[str], plain: bool = False) -> list[dict[str, Any]]:
    """One job of nat-bench; what its ranks say."""
    commands = []
    for function in range(len(lab.functions)):
        command = [str(build / "bin" / "nat-bench"), *options]
        if plain:
            command += ["--sockets-port", str(_PLAIN_PORT), "--sockets-host", lab.public_address(function)]
        commands.append(command)
    with secret_file() as secret, contextlib.closing(NatJob(lab, build, secret, commands, _SETTINGS)) as job:
        return [json.loads(answer) for answer in job.answers(_DEADLINE_S)]


def mesh(build: Path, kind: Kind, functions: int, runs: int, path: str) -> dict[str, Any]:
    """How long it takes until all pairs are connected; in the last run, small collectives."""
    found: dict[str, Any] = {"functions": functions, "path": path, "delayed": kind.wired, "seconds": [], "joined": []}
    with contextlib.closing(Lab(*[kind] * functions)) as lab:
        for number in range(runs):
            options = ["--operations", "barrier,allreduce"] if number == runs - 1 else []
            answers = run(lab, build, options)
            last = max(answer["began"] for answer in answers)
            found["seconds"].append(max(answer["meshed"] for answer in answers) - last)
            found["joined"].append(max(answer["joined"] for answer in answers) - last)
            found["ways"] = Counter(way for answer in answers for way in ways_of(answer["report"]).values())
            found["measured"] = answers[0]["measured"]
            print(f"{functions} functions, {path}: {found['seconds'][-1]:.2f} s", flush=True)
    return found


def rates(build: Path, kind: Kind, functions: int, arguments: argparse.Namespace, path: str) -> dict[str, Any]:
    """All-to-alls in turn with those over plain TCP, by way of a port that each gateway forwards."""
    with contextlib.closing(Lab(*[kind] * functions)) as lab:
        for function in range(functions):
            lab.forward(function, _PLAIN_PORT)
        options = ["--operations", "alltoall", "--sizes", arguments.sizes, "--turns", str(arguments.turns)]
        answers = run(lab, build, options, plain=True)
    capped = kind.megabytes_per_s is not None
    print(f"all-to-all of {functions} functions, {path}: done", flush=True)
    return {"functions": functions, "path": path, "capped": capped, "measured": answers[0]["measured"]}


def jobs(build: Path, name: str, rows: int, ways: list[str]) -> list[dict[str, Any]]:
    """What a job takes by each way; its answers are compared with that of one process."""
    program = flights_program(ROOT) if name == "flights" else join_program(ROOT, rows)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        run_alone(program, build, alone)
        for way in ways:
            own = Path(folder) / way
            own.mkdir()
            took = run_behind_gateways(program, build, own, way)
            print(f"{name} by {way}: {took.seconds:.1f} s", flush=True)
            if not program.same(own / "result", alone / "result"):
                sys.exit(f"{name} by {way} has another answer than one process")
            found.append({"job": name, "way": way, **dataclasses.asdict(took)})
    return found


def main() -> None:
    """Measure, then write the page and the figures."""
    arguments = parse()
    build = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / arguments.preset))
    if os.geteuid() != 0:
        sys.exit("a network of namespaces needs root; run this as root, for example by sudo")
    if not (build / "bin" / "nat-bench").exists():
        sys.exit(f"{build / 'bin' / 'nat-bench'} is not there; build it with: make build PRESET={arguments.preset}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    report: dict[str, Any] = {"machine": machine(), "meshes": [], "rates": [], "jobs": []}
    if arguments.job:
        for name in arguments.job:
            report["jobs"] += jobs(build, name, arguments.rows, arguments.ways.split(","))
    else:
        for functions in map(int, filter(None, arguments.functions.split(","))):
            report["meshes"].append(mesh(build, RESTRICTED, functions, arguments.runs, "no delay"))
        if arguments.delayed:
            # A packet between two functions passes two gateways.
            distant = dataclasses.replace(
                RESTRICTED, round_trip_ms=arguments.round_trip_ms / 2, syn_loss=arguments.syn_loss
            )
            path = f"{arguments.round_trip_ms:g} ms, {100 * arguments.syn_loss:g} % of SYNs lost"
            report["meshes"].append(mesh(build, distant, arguments.delayed, arguments.runs, path))
        for functions in map(int, filter(None, arguments.rates.split(","))):
            for kind, path in ((CAPPED, "75 MB/s"), (RESTRICTED, "no cap")) if functions else ():
                report["rates"].append(rates(build, kind, functions, arguments, path))
    page = markdown(report)
    (arguments.output / "nat.json").write_text(json.dumps(report, indent=1))
    (arguments.output / "nat.md").write_text(page)
    print(f"\n{page}\n({time.monotonic() - began:.0f} s)")
    print("written:", *(str(arguments.output / f"nat.{kind}") for kind in ("md", "json")), sep="\n  ")


if __name__ == "__main__":
    main()
