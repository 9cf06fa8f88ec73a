"""What was measured of jobs behind gateways, and whether the targets are met."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

__all__ = ["job_table", "markdown", "percentile", "ratios", "summary"]

_MESH_LIMIT_S = 2.0
_CAPPED_SHARE = 0.95
_JOBS = {"flights": "The main job", "join": "The published join benchmark"}


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so many are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratios(case: dict[str, Any]) -> list[float]:
    """How much of the rate of plain sockets each turn had that came right before them."""
    return [theirs / own for own, theirs in zip(case["seconds"]["own"], case["seconds"]["sockets"], strict=True)]


def summary(report: dict[str, Any]) -> list[tuple[str, str, bool | None]]:
    """Each target: what is asked for, what was found, and whether it is met (None where nothing is asked)."""
    found: list[tuple[str, str, bool | None]] = []
    for mesh in report["meshes"]:
        seconds = mesh["seconds"]
        share = 0.95 if mesh["delayed"] else 1.0
        figure = percentile(seconds, share)
        word = "p95" if mesh["delayed"] else "worst"
        text = f"{word} {figure:.2f} s, median {median(seconds):.2f} s, best {min(seconds):.2f} s of {len(seconds)}"
        name = f"full mesh of {mesh['functions']} functions, {mesh['path']}, after the last began to register"
        asked = mesh["functions"] == 32 and not mesh["delayed"]
        found.append((f"{name}{' <= 2 s' if asked else ''}", text, figure <= _MESH_LIMIT_S if asked else None))
        for case in mesh["measured"]:
            milliseconds = [1e3 * each for each in case["seconds"]["own"]]
            told = f"median {median(milliseconds):.1f} ms, best {min(milliseconds):.1f} ms"
            found.append((f"{case['what']} of {mesh['functions']} functions, {mesh['path']}", told, None))
    for rate in report["rates"]:
        for case in rate["measured"]:
            shares = ratios(case)
            moved = case["bytes"] * (rate["functions"] - 1) / 1e6
            each = f"{moved / min(case['seconds']['own']):.0f} MB/s out of each function"
            told = f"{100 * median(shares):.1f} % ({each}; best turn {100 * max(shares):.1f} %)"
            name = (
                f"all-to-all of {case['bytes'] >> 20} MiB, {rate['functions']} functions, {rate['path']}, of plain TCP"
            )
            capped = rate["capped"]
            found.append(
                (f"{name}{' >= 95 %' if capped else ''}", told, median(shares) >= _CAPPED_SHARE if capped else None)
            )
    return found


def job_table(jobs: list[dict[str, Any]]) -> list[str]:
    """A row for each way that a job was run."""
    lines = [
        "| way | seconds | of which stages | MB sent | functions, $ for 1000 runs | messages, $ | connected by |",
        "|---|---|---|---|---|---|---|",
    ]
    for job in jobs:
        channels = job["channels_usd"]
        cells = [job["way"], f"{job['seconds']:.1f}", f"{job['stages']:.2f}", f"{job['megabytes']:.1f}"]
        cells += [f"{1e3 * job['ranks_usd']:.3f}", "-" if channels is None else f"{1e3 * channels:.3f}", job["by"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def markdown(report: dict[str, Any]) -> str:
    """The page."""
    machine = report["machine"]
    lines = [
        "# Jobs behind gateways",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, commit {machine['commit'][:12]}.",
    ]
    words = {True: "met", False: "missed", None: "-"}
    rows = summary(report)
    if rows:
        lines += ["", "| what | measured | |", "|---|---|---|"]
        lines += [f"| {name} | {told} | {words[met]} |" for name, told, met in rows]
    for name, title in _JOBS.items():
        jobs = [job for job in report["jobs"] if job["job"] == name]
        if jobs:
            lines += ["", f"## {title}", "", *job_table(jobs)]
    return "\n".join(lines) + "\n"
