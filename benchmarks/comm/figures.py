"""What was measured: medians, minima, ratios of alternating turns, and whether the targets are met."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["LARGE_BYTES", "Cell", "Verdict", "cells", "verdicts"]

# Bandwidth targets are for messages that are sent in pieces of a mebibyte; below, latency decides.
LARGE_BYTES = 1 << 20
_RIVALS = ("sockets", "memory")


@dataclass(frozen=True)
class Cell:
    """One way of moving bytes in one case: seconds of one call, by turn."""

    what: str
    ranks: int
    bytes: int
    way: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds of the middle turn."""
        return median(self.seconds)

    @property
    def least(self) -> float:
        """Seconds of the best turn."""
        return min(self.seconds)

    @property
    def moved(self) -> int:
        """Bytes that one call moves over all ranks."""
        return self.bytes * (self.ranks * (self.ranks - 1) if self.what == "alltoall" else 1)

    def gigabytes(self, seconds: float) -> float:
        """The bandwidth of a call that takes so long, over all ranks."""
        return self.moved / seconds / 1e9


@dataclass(frozen=True)
class Verdict:
    """One target, what was measured, and whether it is met; None where it was not measured."""

    target: str
    found: str
    met: bool | None


def cells(report: dict[str, Any]) -> list[Cell]:
    """All cells of one report of comm-bench: of a case, transports first, then what they are compared with."""
    return [
        Cell(case["what"], report["ranks"], case["bytes"], way, tuple(seconds))
        for case in report["cases"]
        for way, seconds in sorted(case["seconds"].items(), key=lambda item: (item[0] in _RIVALS, item[0]))
    ]


def _ratios(found: list[Cell], above: str, below: str) -> list[tuple[Cell, float]]:
    """How many times as fast as `below` `above` is in each large all-to-all: the median over the turns."""
    by_place = {(cell.ranks, cell.bytes, cell.way): cell for cell in found if cell.what == "alltoall"}
    out = []
    for (ranks, size, way), cell in by_place.items():
        other = by_place.get((ranks, size, below))
        if way == above and other is not None and size >= LARGE_BYTES:
            turns = zip(cell.seconds, other.seconds, strict=True)
            out.append((cell, median(theirs / own for own, theirs in turns)))
    return out


def _ratio_verdict(target: str, ratios: list[tuple[Cell, float]], least: float) -> Verdict:
    if not ratios:
        return Verdict(target, "not measured", None)
    parts = [f"{cell.ranks} x {cell.bytes >> 20} MiB: {ratio:.2f}" for cell, ratio in ratios]
    return Verdict(target, ", ".join(parts), all(ratio >= least for _, ratio in ratios))


def verdicts(reports: list[dict[str, Any]], starts: list[dict[str, Any]]) -> list[Verdict]:
    """Every target, over all numbers of ranks."""
    found = [cell for report in reports for cell in cells(report)]
    out = [
        _ratio_verdict("all-to-all on tcp >= 0.85 of plain sockets", _ratios(found, "tcp", "sockets"), 0.85),
        _ratio_verdict("all-to-all on shm >= 3 of tcp", _ratios(found, "shm", "tcp"), 3.0),
    ]
    pair = [cell for cell in found if (cell.what, cell.ranks, cell.way) == ("allreduce", 2, "shm")]
    target = "8-byte allreduce on shm, 2 ranks <= 5 us"
    if pair:
        microseconds = 1e6 * pair[0].median
        out.append(Verdict(target, f"{microseconds:.1f} us", microseconds <= 5))
    else:
        out.append(Verdict(target, "not measured", None))
    transports = list(dict.fromkeys(name for report in reports for name in report["connections"]))
    for transport in transports:
        seconds = [one for report in reports for one in report["connections"].get(transport, [])]
        target = f"connecting and authenticating on {transport} <= 2 ms"
        if seconds:
            middle = 1e3 * median(seconds)
            text = f"{middle:.2f} ms (median of {len(seconds)}, largest {1e3 * max(seconds):.2f})"
            out.append(Verdict(target, text, middle <= 2))
        else:
            out.append(Verdict(target, "not measured (takes 4 ranks or more)", None))
    for start in starts:
        for transport, times in start["start"].items():
            target = f"a first barrier of {start['ranks']} ranks on {transport} <= 3 s after the last began to join"
            out.append(Verdict(target, f"{times['barrier']:.2f} s", times["barrier"] <= 3))
    return out
