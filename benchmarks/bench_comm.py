"""Time communication beside plain sockets and copies in shared memory; what `make bench-comm` calls.

Barriers, 8-byte reductions, point-to-point streams and all-to-alls, by size and ranks, on every transport that is asked
for, each in turn with the same over plain TCP sockets on loopback and over memory that the ranks share. Then what a
connection costs, and how long 64 ranks take to their first barrier. Writes `comm.md`, `comm.json` and `comm.svg`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from comm.figures import verdicts
from comm.page import markdown, svg
from peers.report import machine

ROOT = Path(__file__).resolve().parent.parent


def parse() -> argparse.Namespace:
    """The arguments; without any it takes less than nine minutes on two cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="release", help="build to measure (default: release)")
    parser.add_argument("--transport", default="tcp,shm", help="transports, by commas (default: tcp,shm)")
    parser.add_argument("--redis", help="redis://host:port of the server for the transport redis")
    parser.add_argument("--ranks", default="2,4,8,16", help="numbers of ranks, by commas (default: 2,4,8,16)")
    parser.add_argument("--sizes", help="bytes of a message, by commas (default: 8 to 64 MiB)")
    parser.add_argument("--turns", type=int, default=20, help="of each way (default: 20)")
    parser.add_argument("--most", type=int, default=512 << 20, help="bytes that one call may move over all ranks")
    parser.add_argument("--start", type=int, default=64, help="ranks of the start that is timed; 0: none (default: 64)")
    parser.add_argument("--quick", action="store_true", help="2, 4 and 8 ranks, fewer sizes: about a minute")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench", help="folder of what is written")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.ranks = "2,4,8"
        arguments.sizes = arguments.sizes or "8,4096,262144,2097152"
        arguments.most = min(arguments.most, 128 << 20)
    return arguments


def bench(arguments: argparse.Namespace, ranks: int, name: str, options: list[str]) -> dict[str, Any]:
    """One run of comm-bench under `cylon run`, and its report."""
    programs = Path(os.environ.get("CYLON_BUILD", ROOT / "build" / arguments.preset)) / "bin"
    program = programs / "comm-bench"
    if not program.exists():
        sys.exit(f"{program} is not there; build it with: make build PRESET={arguments.preset}")
    path = arguments.output / f"comm-{name}-{ranks}.json"
    launcher = [str(programs / "cylon"), "run", "-n", str(ranks), "--threads", "1", str(program)]
    began = time.monotonic()
    environment = os.environ | ({"CYLON_REDIS": arguments.redis} if arguments.redis else {})
    command = [*launcher, "--transport", arguments.transport, *options, "--json", str(path)]
    subprocess.run(command, check=True, env=environment)
    print(f"{name}, {ranks} ranks: {time.monotonic() - began:.0f} s", flush=True)
    report: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return report


def main() -> None:
    """Run every number of ranks, then write the page, the figures and the chart."""
    arguments = parse()
    arguments.output.mkdir(parents=True, exist_ok=True)
    options = ["--turns", str(arguments.turns), "--most", str(arguments.most)]
    if arguments.sizes:
        options += ["--sizes", arguments.sizes]
    reports = []
    for ranks in map(int, arguments.ranks.split(",")):
        operations = "barrier,allreduce,alltoall" + (",stream" if ranks == 2 else "")
        reports.append(bench(arguments, ranks, "turns", [*options, "--operations", operations]))
    starts = [bench(arguments, arguments.start, "start", ["--start"])] if arguments.start else []
    found = verdicts(reports, starts)
    about = machine()
    page = markdown(about, reports, found)
    everything = {"machine": about, "reports": reports, "starts": starts, "targets": [vars(one) for one in found]}
    (arguments.output / "comm.json").write_text(json.dumps(everything, indent=1))
    (arguments.output / "comm.md").write_text(page)
    (arguments.output / "comm.svg").write_text(svg(reports))
    print("\n" + page)
    print("written:", *(str(arguments.output / f"comm.{kind}") for kind in ("md", "json", "svg")), sep="\n  ")


if __name__ == "__main__":
    main()
