"""What the channels of a world do and cost."""

from __future__ import annotations

from typing import Any

__all__ = ["Explanation"]


class Explanation(dict[str, Any]):
    """What `CylonEnv.explain` found: a dictionary that prints as tables.

    Its keys are ``rank``, ``world_size``, ``transport``, ``policy``, ``seconds`` (age of the world), ``prices``
    (``as_of``, ``region``, ``rank_usd_per_second``), ``channels``, ``operations`` and ``usd`` (``rank``, ``channels``).
    Figures are in seconds, bytes and US dollars, and of this rank.
    """

    def __str__(self) -> str:
        prices = self["prices"]
        lines = [
            f"rank {self['rank']} of {self['world_size']}, {self['transport']}, {self['policy']}, "
            f"{self['seconds']:.1f} s: ${self['usd']['rank']:.2g} for the rank, "
            f"${self['usd']['channels']:.2g} for channels (prices of {prices['as_of']}, {prices['region']})"
        ]
        if self["channels"]:
            rows = [["channel", "one way", "bandwidth", "pairs, calls", "pairs, tables", "messages", "bytes", "cost"]]
            for channel in self["channels"]:
                calls, tables = channel["calls"], channel["tables"]
                rows.append(
                    [
                        channel["name"],
                        _seconds(channel["latency_s"]),
                        "-" if channel["bytes_per_s"] is None else f"{_bytes(channel['bytes_per_s'])}/s",
                        str(calls["pairs"]),
                        str(tables["pairs"]),
                        str(calls["messages"] + tables["messages"]),
                        _bytes(calls["bytes"] + tables["bytes"]),
                        f"${channel['usd']:.2g}",
                    ]
                )
            lines += ["", *_table(rows)]
        if self["operations"]:
            rows = [["operation", "calls", "bytes", "each took", "foretold", "cost", "foretold"]]
            for row in self["operations"]:
                calls = row["calls"]
                foretold = row["predicted_seconds"]
                rows.append(
                    [
                        row["name"],
                        str(calls),
                        _bytes(row["bytes"]),
                        _seconds(row["seconds"] / calls),
                        _seconds(None if foretold is None else foretold / calls),
                        f"${row['usd']:.2g}",
                        "-" if foretold is None else f"${row['predicted_usd']:.2g}",
                    ]
                )
            lines += ["", *_table(rows)]
        return "\n".join(lines)

    __repr__ = __str__


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
