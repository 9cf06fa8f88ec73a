"""The bar chart: for each case, every engine's best time, as an SVG drawn by hand."""

from __future__ import annotations

from xml.sax.saxutils import escape

from peers.report import Verdict

__all__ = ["svg"]

_COLOURS = {
    "pycylon": "#c0392b",
    "pandas": "#7f8c8d",
    "polars": "#2980b9",
    "duckdb": "#d4ac0d",
    "datafusion": "#27ae60",
    "pyarrow": "#8e44ad",
}
_BAR, _GAP, _LEFT, _WIDTH, _TOP = 13, 16, 190, 560, 62


def svg(found: list[Verdict], engines: list[str]) -> str:
    """Bars are as long as times relative to the slowest engine of their group, which are written at their ends."""
    body: list[str] = []
    y = _TOP
    for verdict in found:
        times = {engine: result.best for engine in engines if (result := verdict.results.get(engine)) is not None}
        longest = max((time for time in times.values() if time is not None), default=1.0)
        title = f"{verdict.case.name}, {verdict.threads} thread{'s' if verdict.threads > 1 else ''}"
        ratio = verdict.ratio()
        middle = y + _BAR * len(times) / 2
        body.append(_text(_LEFT - 10, middle, title, "end", "bold"))
        if ratio is not None:
            body.append(_text(_LEFT - 10, middle + 14, f"{ratio:.2f}x the fastest peer", "end"))
        for engine, time in times.items():
            if time is not None:
                length = max(1.0, _WIDTH * time / longest)
                colour = _COLOURS[engine]
                body.append(f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR - 2}" fill="{colour}"/>')
                body.append(_text(_LEFT + length + 5, y + _BAR - 4, f"{engine} {time:.3f} s"))
            else:
                body.append(_text(_LEFT + 5, y + _BAR - 4, f"{engine}: none"))
            y += _BAR
        y += _GAP
    head = _text(20, 28, "Best time of each engine; shorter is better", weight="bold")
    frame = f'xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 140}" height="{y}"'
    style = 'font-family="sans-serif" font-size="11"'
    return (
        f'<svg {frame} {style}>\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join([head, *body])
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
