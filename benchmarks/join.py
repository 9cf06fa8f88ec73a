"""The published join benchmark, with an answer that can be compared.

As published: each part's two tables have two columns of random integers, all of ``default_rng(part).integers(0,
int(rows * parts * 0.9), (rows, 2))``, one table after the other. Timed are a barrier, the inner join on the first
column, and a barrier, ten times and without a warm-up. On AWS Lambda a rank had one part of 9.1 million rows (weak
scaling), or all parts together had 4.5 million (strong). Every number of ranks joins the same ``--parts``. Run it with
``cylon run -n 4 benchmarks/join.py``, or with plain ``python``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pycylon as cy

PUBLISHED_ROWS = 9_100_000
UNIQUE_SHARE = 0.9
_WORD = 1 << 64
# Odd, with bits all over; the one that SplitMix64 counts with, and the two that it mixes by.
_STEP, _FIRST, _SECOND = (np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def part_tables(part: int, parts: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The left and the right table of a part."""
    random = np.random.default_rng(part)
    bound = int(rows * parts * UNIQUE_SHARE)
    left = random.integers(0, bound, (rows, 2))
    return left, random.integers(0, bound, (rows, 2))


def checksum(*columns: NDArray[np.int64]) -> int:
    """Of rows, whatever their order: the sum of a hash of each, as a word of 64 bits."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed + column.astype(np.uint64)) * _STEP
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        mixed ^= mixed >> np.uint64(31)
    return int(mixed.sum(dtype=np.uint64))


def own_tables(env: cy.CylonEnv, parts: int, rows: int) -> list[cy.DataFrame]:
    """The parts of one rank, as two frames."""
    own = [part_tables(part, parts, rows) for part in range(env.rank, parts, env.world_size)]
    sides = ([part[side] for part in own] + [np.empty((0, 2), np.int64)] for side in range(2))
    return [cy.DataFrame(np.concatenate(side), env=env) for side in sides]


def run(env: cy.CylonEnv, parts: int, rows: int, iterations: int) -> cy.DataFrame:
    """Join so often, and print rows, time and bytes of each on rank 0; the result, spread over the ranks."""
    left, right = own_tables(env, parts, rows)
    if env.rank == 0:
        print(f"join of {parts} x {rows:,} rows on {env.world_size} rank{'s' if env.world_size > 1 else ''}")
        print(f"  {'iteration':<15}{'rows':>10}{'seconds':>10}{'MB sent':>10}", flush=True)
    for number in range(iterations):
        env.barrier()
        sent = env.stats["bytes_sent"]
        begin = time.perf_counter()
        joined = left.merge(right, on=[0], env=env)
        env.barrier()
        seconds = time.perf_counter() - begin
        sent = env.stats["bytes_sent"] - sent
        mine = cy.DataFrame({"rows": [len(joined)], "seconds": [seconds], "sent": [sent]}, env=env)
        total = mine.agg({"rows": "sum", "seconds": "max", "sent": "sum"})
        if env.rank == 0:
            name, megabytes = f"join {number + 1}", total["sent"] / 1e6
            print(f"  {name:<15}{total['rows']:>10,}{total['seconds']:>10.3f}{megabytes:>10.2f}", flush=True)
    return joined


def answer(env: cy.CylonEnv, joined: cy.DataFrame) -> dict[str, int]:
    """How many rows there are on all ranks, and their checksum. Collective."""
    own = checksum(*(column.to_numpy() for column in joined.to_arrow().columns))
    words = {"rows": [len(joined)], "high": [own >> 32], "low": [own & 0xFFFFFFFF]}
    total = cy.DataFrame(words, env=env).agg(dict.fromkeys(words, "sum"))
    return {"rows": total["rows"], "checksum": ((total["high"] << 32) + total["low"]) % _WORD}


def main() -> None:
    """Read the arguments, join, and write the answer at rank 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=PUBLISHED_ROWS, help="of each part (default: 9100000)")
    parser.add_argument("--parts", type=int, help="of the tables (default: one for each rank)")
    parser.add_argument("--iterations", type=int, default=10, help="how often to join (default: 10)")
    parser.add_argument("--result", type=Path, default=Path("build/join"), help="folder for answer.json")
    parser.add_argument("--explain", type=Path, help="folder for what each rank's channels did and cost, as JSON")
    arguments = parser.parse_args()
    with cy.CylonEnv() as env:
        joined = run(env, arguments.parts or env.world_size, arguments.rows, arguments.iterations)
        found = answer(env, joined)
        if env.rank == 0:
            arguments.result.mkdir(parents=True, exist_ok=True)
            (arguments.result / "answer.json").write_text(json.dumps(found))
            print(f"{found['rows']:,} rows, checksum {found['checksum']:016x}")
        if arguments.explain:
            (arguments.explain / f"{env.rank}.json").write_text(json.dumps(env.explain()))


if __name__ == "__main__":
    main()
