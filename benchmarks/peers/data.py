"""The input tables, drawn from fixed seeds and written once as Arrow files that every engine loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

__all__ = ["read", "write"]

_SEED = 20260101


def _pairs(rows: int, keys: int) -> dict[str, pa.Table]:
    """Two int64 columns each, the key below `keys`, the value below 0.9 * rows, both uniform."""
    rng = np.random.default_rng(_SEED)
    values = max(1, rows * 9 // 10)

    def draw(value: str) -> pa.Table:
        return pa.table({"k": rng.integers(0, keys, rows), value: rng.integers(0, values, rows)})

    return {"x": draw("v"), "y": draw("w")}


_DATASETS: dict[str, Callable[[int], dict[str, pa.Table]]] = {
    "pairs": lambda rows: _pairs(rows, max(1, rows * 9 // 10)),
    "pairs-100": lambda rows: {"x": _pairs(rows, 100)["x"]},
    "pairs-100000": lambda rows: {"x": _pairs(rows, 100_000)["x"]},
}


def write(dataset: str, rows: int, folder: Path) -> dict[str, str]:
    """Draw the tables of `dataset` and write them; the path of each."""
    paths = {}
    for name, table in _DATASETS[dataset](rows).items():
        path = folder / f"{dataset}-{name}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        paths[name] = str(path)
    return paths


def read(path: str) -> pa.Table:
    """The table in memory, each column in one piece."""
    with pa.OSFile(path, "rb") as file:
        table: pa.Table = pa.ipc.open_file(file).read_all()
    return table.combine_chunks()
