"""The results as a Markdown page and as JSON."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from peers.cases import Case
from peers.runner import Result

__all__ = ["Verdict", "machine", "markdown", "verdicts"]


class Verdict:
    """pycylon against the fastest peer, on one case with one number of threads."""

    def __init__(self, case: Case, threads: int, results: list[Result]) -> None:
        self.case = case
        self.threads = threads
        self.results = {result.engine: result for result in results}
        self.own = self.results.get("pycylon")
        self.peers = [r for r in results if r.engine != "pycylon" and r.best is not None and not r.disagrees]
        self.fastest = min(self.peers, key=lambda r: r.best or 0.0, default=None)

    def ratio(self, figure: str = "best") -> float | None:
        """How many times as fast as the fastest peer by that figure (best, median, cpu); None without figures."""
        others = [getattr(peer, figure) for peer in self.peers]
        if self.own is None or self.own.best is None or self.own.disagrees or not others:
            return None
        own: float = getattr(self.own, figure)
        return float(min(others)) / own

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is no target or no ratio."""
        ratio = self.ratio()
        return None if ratio is None or self.case.target is None else ratio >= self.case.target


def verdicts(cases: list[Case], results: list[Result]) -> list[Verdict]:
    """One for each case and number of threads, in the order of the cases."""
    threads = sorted({result.threads for result in results})
    return [
        Verdict(case, count, [r for r in results if r.case == case.name and r.threads == count])
        for case in cases
        for count in threads
    ]


def machine() -> dict[str, Any]:
    """Where and on what the run took place, for people who read the file later."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    root = Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1_5_15": list(os.getloadavg()),
        "commit": commit.stdout.strip(),
    }


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    if result.disagrees:
        return "disagrees"
    if result.best is None or result.median is None:
        return "not yet" if result.engine == "pycylon" else "-"
    return f"{result.best:.3f} ({result.median:.3f})"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def markdown(found: list[Verdict], engines: list[str], header: dict[str, Any]) -> str:
    """The page: a table for each number of threads, then what did not work and why."""
    where = header["machine"]
    lines = [
        "# pycylon and its peers",
        "",
        f"{where['cpu']}, {where['cores']} cores, load {where['load_1_5_15'][0]:.1f} at the start and "
        f"{header['load_at_end']:.1f} at the end; {header['iterations']} iterations in turn after one of warm-up. "
        "Seconds: best (median). Ratio: the fastest peer's time over pycylon's, of best times (of medians).",
        "CPU: the same of CPU seconds, over all threads, with the peer that needs least.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in header["versions"].items()) + ".",
    ]
    for threads in sorted({verdict.threads for verdict in found}):
        lines += ["", f"## {threads} thread{'s' if threads > 1 else ''}", ""]
        lines.append("| case | " + " | ".join(engines) + " | fastest peer | ratio | CPU | target |")
        lines.append("|---" * (len(engines) + 5) + "|")
        for verdict in (v for v in found if v.threads == threads):
            cells = [f"{verdict.case.name}: {verdict.case.title}"]
            cells += [_cell(verdict.results.get(engine)) for engine in engines]
            cells.append(verdict.fastest.engine if verdict.fastest else "-")
            cells.append(f"{_times(verdict.ratio())} ({_times(verdict.ratio('median'))})")
            cells.append(_times(verdict.ratio("cpu")))
            target = verdict.case.target
            reached = {True: "met", False: "missed", None: ""}[verdict.met]
            cells.append("" if target is None else f"{target:g}x {reached}".strip())
            lines.append("| " + " | ".join(cells) + " |")
    remarks = []
    for verdict in found:
        for result in verdict.results.values():
            about = f"{result.case}, {result.engine}, {result.threads} thread{'s' if result.threads > 1 else ''}"
            if result.error is not None:
                remarks.append(f"- {about}: {result.error.splitlines()[0]}")
            if result.disagrees:
                remarks.append(
                    f"- {about}: differs from {next(iter(verdict.results))} in {', '.join(result.disagrees)}"
                )
    if remarks:
        lines += ["", "## What did not work", "", *remarks]
    return "\n".join(lines) + "\n"
