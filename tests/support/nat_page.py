"""What the page about ranks behind gateways (docs/nat.md) says which way two of them connect."""

from __future__ import annotations

from pathlib import Path

__all__ = ["page_rows", "page_table", "page_way"]

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "nat.md"
# Kinds that have no row of their own: they connect to any other one as this does.
_LIKE = "RESTRICTED"


def page_rows(first_cell: str) -> list[list[str]]:
    """The rows of the page's table whose header begins so, without its marks of code; the header is the first."""
    tables = [block.splitlines() for block in _PAGE.read_text().split("\n\n") if block.startswith(f"| {first_cell} |")]
    (rows,) = [[[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table] for table in tables]
    return [rows[0], *rows[2:]]


def page_table() -> list[tuple[str, str, str]]:
    """Two kinds, and the way that they connect."""
    (_, *names), *rows = page_rows("from, to")
    assert names == [row[0] for row in rows]
    return [(one, other, way) for one, *ways in rows for other, way in zip(names, ways, strict=True) if way]


def page_way(one: str, other: str) -> str:
    """The way that functions of two kinds connect, each behind a gateway of its own: direct, punched or relay."""
    table = {frozenset((here, there)): way for here, there, way in page_table()}
    rows = {name for name, _, _ in page_table()}
    return table[frozenset(kind if kind in rows else _LIKE for kind in (one, other))]
