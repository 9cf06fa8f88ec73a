"""Run the published workload and the exchange against the raw-socket ceiling; what `make bench` calls.

Prints a table for every setting and writes `build/bench/<scaling>-<ranks>.json` and `build/bench/ceiling-<ranks>.json`,
with each iteration, mean, deviation, rows per second and bytes moved.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parse() -> argparse.Namespace:
    """The arguments; the defaults take a few minutes on two cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="release", help="build to measure (default: release)")
    parser.add_argument("--ranks", default="1,2", help="numbers of ranks, by commas (default: 1,2)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each rank (default: 1)")
    parser.add_argument("--scaling", default="weak,strong", help="weak, strong or both (default: weak,strong)")
    parser.add_argument("--rows", type=int, default=9_100_000, help="weak: at each rank (default: 9100000)")
    parser.add_argument("--strong-rows", type=int, default=4_500_000, help="strong: in all (default: 4500000)")
    parser.add_argument("--heavy", type=float, default=0.0, help="share of rows that have one key (default: 0)")
    parser.add_argument("--iterations", type=int, default=10, help="of each operation (default: 10)")
    parser.add_argument("--operations", default="join,sort,groupby,unique", help="which (default: all four)")
    parser.add_argument(
        "--ceiling", type=int, default=128_000_000, help="bytes between two ranks against raw sockets; 0: none"
    )
    parser.add_argument("--pairs", type=int, default=20, help="of exchange and raw sockets (default: 20)")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench", help="folder of the JSON files")
    return parser.parse_args()


def run(arguments: argparse.Namespace, ranks: int, name: str, options: list[str]) -> Path:
    """One run of cylon-bench under `cylon run`; the path of its report."""
    programs = ROOT / "build" / arguments.preset / "bin"
    bench = programs / "cylon-bench"
    if not bench.exists():
        sys.exit(f"{bench} is not there; build it with: make build PRESET={arguments.preset}")
    report: Path = arguments.output / f"{name}-{ranks}.json"
    launcher = [str(programs / "cylon"), "run", "-n", str(ranks), "--threads", str(arguments.threads)]
    print(f"\n== {name}, {ranks} rank{'s' if ranks > 1 else ''}", flush=True)
    subprocess.run([*launcher, str(bench), *options, "--json", str(report)], check=True, cwd=ROOT)
    return report


def main() -> None:
    """Run every setting, then list the reports."""
    arguments = parse()
    arguments.output.mkdir(parents=True, exist_ok=True)
    reports = []
    for scaling in arguments.scaling.split(","):
        rows = arguments.rows if scaling == "weak" else arguments.strong_rows
        for ranks in map(int, arguments.ranks.split(",")):
            options = ["--scaling", scaling, "--rows", str(rows)]
            options += ["--iterations", str(arguments.iterations), "--operations", arguments.operations]
            options += ["--heavy", str(arguments.heavy)]
            reports.append(run(arguments, ranks, scaling, options))
    for ranks in map(int, arguments.ranks.split(",")):
        if arguments.ceiling > 0 and ranks > 1:
            options = ["--operations", "none", "--ceiling", str(arguments.ceiling), "--pairs", str(arguments.pairs)]
            report = run(arguments, ranks, "ceiling", options)
            median = json.loads(report.read_text())["exchange_to_raw_median"]
            print(f"exchange over raw sockets on {ranks} ranks: {100 * median:.0f} %")
            reports.append(report)
    print("\nreports:", *(str(report) for report in reports), sep="\n  ")


if __name__ == "__main__":
    main()
