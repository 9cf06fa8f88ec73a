"""Worlds to run a test in, tables to run it on, and rows that can be compared."""

from __future__ import annotations

import datetime
import decimal
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

KEY_TYPES: dict[str, pa.DataType] = {
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "large_string": pa.large_string(),
    "binary": pa.binary(),
    "date32": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "duration": pa.duration("ms"),
    "decimal": pa.decimal128(12, 2),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}


def keys(name: str, rows: int, rng: np.random.Generator, nulls: bool = True) -> pa.Array:
    """Skewed key values of a type; about a tenth null. Floats hold -0.0, and NaN in place of null."""
    drawn = np.minimum(rng.geometric(0.15, rows), 30) - 1
    kind = KEY_TYPES[name]
    values: list[Any]
    if pa.types.is_boolean(kind):
        values = [bool(v % 2) for v in drawn]
    elif pa.types.is_integer(kind):
        sign = 1 if name.startswith("u") else -1
        values = [int(v) * sign for v in drawn]
    elif pa.types.is_floating(kind):
        values = [(-0.0 if v == 0 and i % 2 else v / 2) if v != 5 else math.nan for i, v in enumerate(drawn.tolist())]
        return pa.array(values, kind, from_pandas=False)
    elif pa.types.is_date(kind):
        values = [datetime.date(2013, 1, 1) + datetime.timedelta(days=int(v)) for v in drawn]
    elif pa.types.is_timestamp(kind):
        values = [datetime.datetime(1969, 12, 31, 23) + datetime.timedelta(hours=int(v)) for v in drawn]
    elif pa.types.is_duration(kind):
        values = [datetime.timedelta(seconds=int(v)) for v in drawn]
    elif pa.types.is_decimal(kind):
        values = [decimal.Decimal(int(v)) / 4 for v in drawn]
    else:
        words = [WORDS[v % len(WORDS)] + ("" if v < 8 else str(v)) for v in drawn]
        if pa.types.is_dictionary(kind):
            listed = [None if nulls and rng.random() < 0.1 else word for word in words]
            return pa.array(listed, pa.string()).dictionary_encode()
        values = [word.encode() for word in words] if pa.types.is_binary(kind) else list(words)
    if nulls:
        values = [None if rng.random() < 0.1 else value for value in values]
    return pa.array(values, kind)


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
