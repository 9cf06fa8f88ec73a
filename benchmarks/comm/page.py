"""The figures as a Markdown page, and the all-to-alls as an SVG drawn by hand."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

from comm.figures import Cell, Verdict, cells

__all__ = ["markdown", "svg"]

_COLOURS = {"tcp": "#c0392b", "shm": "#8e44ad", "redis": "#d4ac0d", "sockets": "#2980b9", "memory": "#27ae60"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 330, 240, 60, 60, 90


def size_text(count: int) -> str:
    """8, 4 KiB, 2 MiB."""
    for power, unit in ((20, "MiB"), (10, "KiB")):
        if count >> power and count % (1 << power) == 0:
            return f"{count >> power} {unit}"
    return f"{count} B"


def _row(first: str, found: list[Cell], ways: list[str], bandwidth: bool) -> str:
    texts = []
    by_way = {cell.way: cell for cell in found}
    for way in ways:
        cell = by_way.get(way)
        if cell is None:
            texts.append("")
        elif bandwidth:
            texts.append(f"{cell.gigabytes(cell.median):.3g} ({cell.gigabytes(cell.least):.3g})")
        else:
            texts.append(f"{1e6 * cell.median:.1f} ({1e6 * cell.least:.1f})")
    return f"| {first} | " + " | ".join(texts) + " |"


def markdown(machine: dict[str, Any], reports: list[dict[str, Any]], found: list[Verdict]) -> str:
    """Targets first, then latencies, then bandwidths; every cell is the median, and the best turn in brackets."""
    everything = [cell for report in reports for cell in cells(report)]
    ways = list(dict.fromkeys(cell.way for cell in everything))
    lines = ["# Communication", ""]
    lines += [
        f"{machine['cpu']}, {machine['cores']} cores, commit {machine['commit'][:12]}. Every figure is the median"
    ]
    lines += [f"of {reports[0]['turns']} alternating turns, with the best in brackets.", ""]
    lines += ["| target | measured | |", "|---|---|---|"]
    words = {True: "met", False: "missed", None: "-"}
    lines += [f"| {verdict.target} | {verdict.found} | {words[verdict.met]} |" for verdict in found]
    head = " | ".join(ways)
    rule = "---|" * (len(ways) + 1)
    for what in ("barrier", "allreduce"):
        chosen = [cell for cell in everything if cell.what == what]
        if chosen:
            title = "Barrier" if what == "barrier" else "Allreduce of 8 bytes"
            lines += ["", f"## {title}, microseconds", "", f"| ranks | {head} |", f"|{rule}"]
            for ranks in dict.fromkeys(cell.ranks for cell in chosen):
                lines.append(_row(str(ranks), [cell for cell in chosen if cell.ranks == ranks], ways, False))
    for what, title in (("stream", "Point to point"), ("alltoall", "All-to-all")):
        for ranks in dict.fromkeys(cell.ranks for cell in everything if cell.what == what):
            chosen = [cell for cell in everything if cell.what == what and cell.ranks == ranks]
            lines += ["", f"## {title}, {ranks} ranks, GB/s over all", "", f"| message | {head} |", f"|{rule}"]
            for size in dict.fromkeys(cell.bytes for cell in chosen):
                lines.append(_row(size_text(size), [cell for cell in chosen if cell.bytes == size], ways, True))
    return "\n".join(lines) + "\n"


def svg(reports: list[dict[str, Any]]) -> str:
    """One panel for each number of ranks: bandwidth of all-to-all by size, both axes logarithmic."""
    panels = []
    for report in reports:
        chosen = [cell for cell in cells(report) if cell.what == "alltoall"]
        if chosen:
            panels.append((report["ranks"], chosen))
    body = []
    for index, (ranks, chosen) in enumerate(panels):
        body += _panel(_LEFT + index * (_WIDTH + _GAP), ranks, chosen)
    width = _LEFT + len(panels) * (_WIDTH + _GAP)
    frame = f'xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_TOP + _HEIGHT + 60}"'
    title = _text(20, 26, "All-to-all: GB/s over all ranks by size of a message, median of the turns", weight="bold")
    lines = [f'<svg {frame} font-family="sans-serif" font-size="11">']
    lines += ['<rect width="100%" height="100%" fill="white"/>', title, *body, "</svg>"]
    return "\n".join(lines) + "\n"


def _panel(left: float, ranks: int, chosen: list[Cell]) -> list[str]:
    sizes = sorted({cell.bytes for cell in chosen})
    speeds = [cell.gigabytes(cell.median) for cell in chosen]
    low, high = math.floor(math.log10(min(speeds))), math.ceil(math.log10(max(speeds)))
    span = max(1, high - low)

    def x(size: int) -> float:
        first, last = math.log2(sizes[0]), math.log2(sizes[-1])
        return left + _WIDTH * ((math.log2(size) - first) / (last - first) if last > first else 0.5)

    def y(speed: float) -> float:
        return _TOP + _HEIGHT * (1 - (math.log10(speed) - low) / span)

    out = [_text(left, _TOP - 10, f"{ranks} ranks", weight="bold")]
    for power in range(low, low + span + 1):
        at = y(10.0**power)
        out.append(f'<line x1="{left}" x2="{left + _WIDTH}" y1="{at:.1f}" y2="{at:.1f}" stroke="#dddddd"/>')
        out.append(_text(left - 5, at + 4, f"{10.0**power:g}", "end"))
    for size in sizes:
        out.append(_text(x(size), _TOP + _HEIGHT + 16, size_text(size).replace(" ", ""), "middle"))
    for position, way in enumerate(dict.fromkeys(cell.way for cell in chosen)):
        points = " ".join(
            f"{x(cell.bytes):.1f},{y(cell.gigabytes(cell.median)):.1f}" for cell in chosen if cell.way == way
        )
        colour = _COLOURS.get(way, "#7f8c8d")
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.append(_text(left + 60 * position, _TOP + _HEIGHT + 36, way, fill=colour, weight="bold"))
    return out


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal", fill: str = "black") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
