"""Time pycylon against the engines that people would use instead, in one run; what `make bench-peers` calls.

Every engine gets the same tables in its own form before the clock starts, and has its result complete in memory, in its
own form, when the clock stops. Engines take turns, iteration by iteration; each runs in a process of its own that is
limited to the threads asked for; the first iteration is warm-up, and there the answers are compared. pandas uses one
thread whatever it is given.

Writes `peers.md`, `peers.json` (every iteration, versions, machine) and `peers.svg` into --out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from peers import chart, report, runner
from peers.cases import CASES, choose
from peers.worker import ENGINES, engine_class

ROOT = Path(__file__).resolve().parent.parent


def parse() -> argparse.Namespace:
    """The arguments; the defaults take about half an hour on two cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="rows of the tables (default: 9.1 million, 10 million for g1 and j1)")
    parser.add_argument(
        "--iterations", type=int, default=5, help="that count; one of warm-up comes before (default: 5)"
    )
    parser.add_argument("--only", default="", help="cases or data sets, by commas (default: all)")
    parser.add_argument("--engines", default=",".join(ENGINES), help="by commas (default: all that are installed)")
    parser.add_argument("--threads", default="1,2", help="by commas (default: 1,2)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds until an engine is given up (default: 300)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "peers", help="folder of the reports")
    parser.add_argument("--list", action="store_true", help="list the cases")
    return parser.parse_args()


def installed(names: list[str]) -> list[str]:
    """The engines that can be imported; a line for each that cannot."""
    found = []
    for name in names:
        if name not in ENGINES:
            sys.exit(f"--engines: {name!r} is not one of {', '.join(ENGINES)}")
        try:
            engine_class(name)
        except ImportError as error:
            print(f"{name} is left out: {error}")
        else:
            found.append(name)
    return found


def main() -> int:
    """Run, print the page, write the files; the exit code is 1 where engines disagree."""
    arguments = parse()
    if arguments.list:
        print(*(f"{case.name:14} {case.dataset:14} {case.title}" for case in CASES), sep="\n")
        return 0
    cases = choose(arguments.only)
    engines = installed(arguments.engines.split(","))
    threads = [int(count) for count in arguments.threads.split(",")]
    rows = {case.dataset: arguments.rows or case.rows for case in cases}
    began = time.time()
    where = report.machine()
    results, versions = runner.run(cases, engines, threads, rows, arguments.iterations, arguments.timeout)
    header = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began)),
        "seconds": time.time() - began,
        "machine": where,
        "load_at_end": os.getloadavg()[0],
        "versions": versions,
        "rows": rows,
        "iterations": arguments.iterations,
    }
    found = report.verdicts(cases, results)
    page = report.markdown(found, engines, header)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "peers.md").write_text(page, encoding="utf-8")
    whole = header | {"results": [result.record() for result in results]}
    (arguments.out / "peers.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "peers.svg").write_text(chart.svg(found, engines), encoding="utf-8")
    print(f"\n{page}\nreports: {arguments.out}/peers.md, peers.json, peers.svg")
    return 1 if any(result.disagrees for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
