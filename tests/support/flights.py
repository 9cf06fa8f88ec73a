"""The results of the main job (examples/flights), and whether two are the same."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["same", "same_results", "tables"]


def tables(result: Path) -> dict[str, pa.Table]:
    """The three results in a folder."""
    return {name: pq.read_table(result / name) for name in ("carriers", "manufacturers", "routes")}


def same(left: pa.Table, right: pa.Table) -> bool:
    """Equal rows in equal order; floats to 1e-9, as sums are added up in another order."""
    if left.column_names != right.column_names or left.num_rows != right.num_rows:
        return False
    for a, b in zip(left.columns, right.columns, strict=True):
        for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True):
            if isinstance(x, float) and isinstance(y, float):
                if abs(x - y) > 1e-9 * max(1.0, abs(x)):
                    return False
            elif x != y:
                return False
    return True


def same_results(one: Path, other: Path) -> bool:
    """Whether two folders have the same three results."""
    expected = tables(other)
    return all(same(table, expected[name]) for name, table in tables(one).items())
