"""Worlds to run a test in, tables to run it on, and rows that can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import pycylon as cy
from pycylon.testing import run_ranks


@dataclass(frozen=True)
class World:
    """Ranks as threads, over one transport, with or without every chunk on disk."""

    transport: str
    ranks: int
    spill: bool = False

    def __str__(self) -> str:
        return f"{self.transport}-{self.ranks}{'-spill' if self.spill else ''}"

    def run(self, body: Callable[[cy.CylonEnv], Any], seed: int = 1, **options: object) -> list[Any]:
        """What `body` returned, by rank."""
        return run_ranks(self.ranks, body, self.transport, seed, spill_always=self.spill, **options)  # type: ignore[arg-type]


WORLDS = [
    World(transport, ranks, spill)
    for transport in ("sim", "inproc", "tcp")
    for ranks in (1, 2, 3, 7)
    for spill in (False, True)
]

WORDS = ["", "a", "carrier", "ünïcödé", "a\0b", "long " * 20, "NA", "zz"]


def keys(name: str, rows: int, rng: np.random.Generator, nulls: bool = True) -> pa.Array:
    """Skewed keys, int64 or string; about a tenth null."""
    drawn = np.minimum(rng.geometric(0.15, rows), 30) - 1
    values: list[Any]
    values = [-int(v) for v in drawn] if name == "int64" else [WORDS[v % 8] + ("" if v < 8 else str(v)) for v in drawn]
    return pa.array([None if nulls and rng.random() < 0.1 else value for value in values])


def table(rows: int, seed: int, key: str = "int64", nulls: bool = True) -> pa.Table:
    """Columns k (of the key type), j (int), x (float), n (int), s (string)."""
    rng = np.random.default_rng(seed)
    gone = rng.random(rows) < 0.1
    return pa.table(
        {
            "k": keys(key, rows, rng, nulls),
            "j": pa.array(rng.integers(0, 4, rows)),
            "x": pa.array(np.where(rng.random(rows) < 0.05, -0.0, rng.normal(size=rows)), mask=gone),
            "n": pa.array(rng.integers(-1000, 1000, rows), mask=rng.random(rows) < 0.1),
            "s": pa.array([WORDS[i] for i in rng.integers(0, len(WORDS), rows)], mask=rng.random(rows) < 0.1),
        }
    )


def parts(whole: pa.Table, ranks: int, seed: int = 0) -> list[pa.Table]:
    """`whole` cut into a part for each rank: uneven, some of one row, some empty, some of several chunks."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, whole.num_rows + 1, ranks - 1))
    if ranks > 2:
        cuts[0] = cuts[1]  # an empty part
    bounds = [0, *cuts.tolist(), whole.num_rows]
    out = []
    for begin, end in pairwise(bounds):
        part = whole.slice(begin, end - begin)
        middle = part.num_rows // 3
        out.append(pa.concat_tables([part.slice(0, middle), part.slice(middle)]))
    return out


def pandas(whole: pa.Table) -> pd.DataFrame:
    """The table in pandas, types kept."""
    decoded = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in whole.columns
    ]
    plain = pa.table(dict(zip(whole.column_names, decoded, strict=True)))
    # Floats are numpy, where NaN is missing; the rest keeps its Arrow type.
    frame: pd.DataFrame = plain.to_pandas(types_mapper=lambda t: None if pa.types.is_floating(t) else pd.ArrowDtype(t))
    return frame


def canonical(value: Any) -> Any:
    """A value that equals and sorts with its like: missing is one thing, -0.0 is 0.0, floats have 12 digits."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    if isinstance(value, float | np.floating):
        return f"{float(value) + 0.0:.10e}"
    if isinstance(value, pd.Timestamp):
        return str(value.to_pydatetime())
    if isinstance(value, pd.Timedelta):
        return str(value.to_pytimedelta())
    if isinstance(value, np.generic):
        return str(value.item())
    return str(value)


def rows(data: pa.Table | pd.DataFrame | list[pa.Table]) -> list[tuple[Any, ...]]:
    """Rows in their order, canonical; of a list of parts, one part after another."""
    if isinstance(data, list):
        return [row for part in data for row in rows(part)]
    if isinstance(data, pd.DataFrame):
        columns = [data[name].tolist() for name in data.columns]
    else:
        columns = [column.to_pylist() for column in data.columns]
    return [tuple(canonical(value) for value in row) for row in zip(*columns, strict=True)]
