"""Tables and worlds that hypothesis draws.

A column is drawn as one string of bytes, a byte a row, which picks a null or a value out of a small pool of its type:
that is quick to draw, shrinks towards few rows and plain values, and makes equal keys likely.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from worlds import World

__all__ = ["NUMBERS", "TYPES", "Cut", "column", "parts", "table", "worlds"]


def _integers(bits: int, signed: bool) -> list[int]:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return [0, 1, 2, high, low, high - 1, low + 1, 3, 100, 64, 65, 66]


def _floats(kind: Any) -> list[Any]:
    info = np.finfo(kind)
    other_nan = np.copysign(np.array(np.nan, kind), -1)  # a NaN of other bits is the same key
    values = [0.0, 1.0, -0.0, np.nan, np.inf, -np.inf, -1.5, info.max, info.min, info.smallest_subnormal, 2.5]
    return [*np.array(values, kind), other_nan]


_STRINGS = [
    "",
    "a",
    "b",
    "a\0",
    "a\0b",
    "ab",
    "ü",
    "\U0001f600",
    "exactly12byt",
    "thirteen byte",
    "x" * 300,
    "y" * 70_000,
]
_DAYS = [datetime.date(1970, 1, 1) + datetime.timedelta(days=d) for d in (0, 1, -1, 20_000, -20_000, 15_706)]
_TICKS = [0, 1, -1, 1_356_998_400_000, -(2**53), 2**53 + 1]
_CENTS = [decimal.Decimal(n) / 100 for n in (0, 1, -1, 250, 9_999_999_999, -9_999_999_999)]

# What keys and payloads are made of. The values of a pool are all different keys, but for the zeros and the NaNs.
TYPES: dict[str, tuple[pa.DataType, Sequence[Any]]] = {
    **{f"int{b}": (pa.type_for_alias(f"int{b}"), _integers(b, True)) for b in (8, 16, 32, 64)},
    **{f"uint{b}": (pa.type_for_alias(f"uint{b}"), _integers(b, False)) for b in (8, 16, 32, 64)},
    "float16": (pa.float16(), _floats(np.float16)),
    "float32": (pa.float32(), _floats(np.float32)),
    "float64": (pa.float64(), _floats(np.float64)),
    "bool": (pa.bool_(), [False, True]),
    "date32": (pa.date32(), _DAYS),
    "date64": (pa.date64(), _DAYS),
    "time32": (pa.time32("ms"), [0, 1, 86_399_999, 1000]),
    "timestamp_s": (pa.timestamp("s"), _TICKS[:4]),
    "timestamp_ns": (pa.timestamp("ns"), _TICKS),
    "timestamp_utc": (pa.timestamp("us", "UTC"), _TICKS),
    "duration": (pa.duration("us"), _TICKS),
    "decimal64": (pa.decimal64(12, 2), _CENTS),
    "decimal128": (pa.decimal128(38, 10), [*_CENTS, decimal.Decimal(10) ** 27, -(decimal.Decimal(10) ** 27)]),
    "decimal256": (pa.decimal256(50, 3), _CENTS),
    "string": (pa.string(), _STRINGS),
    "large_string": (pa.large_string(), _STRINGS),
    "string_view": (pa.string_view(), _STRINGS),
    "binary": (pa.binary(), [s.encode() for s in _STRINGS] + [b"\xff", b"\x00"]),
    "fixed_binary": (pa.binary(3), [b"abc", b"\0\0\0", b"\xff\xff\xff", b"abd"]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), _STRINGS[:11]),
    "dictionary_int": (pa.dictionary(pa.int32(), pa.int64()), _integers(64, True)),
    "null": (pa.null(), [None]),
}

# Numbers that can be added up: sums of floats stay where an answer to ten digits makes sense.
NUMBERS: dict[str, tuple[pa.DataType, Sequence[Any]]] = {
    **{name: TYPES[name] for name in TYPES if name.startswith(("int", "uint"))},
    "bool": TYPES["bool"],
    "float32": (pa.float32(), np.array([0, 1.5, -2.25, -0.0, np.nan, 1000, 0.1], np.float32)),
    "float64": (pa.float64(), [0.0, 1.5, -2.25, -0.0, np.nan, 1e9, 1e9 + 1, 1e9 + 2, 0.1]),
    "infinite": (pa.float64(), [0.0, np.inf, 1.5, -np.inf, np.nan]),
    "decimal128": (pa.decimal128(20, 4), _CENTS),
}


def _array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    if pa.types.is_temporal(kind) and not pa.types.is_date(kind):
        storage = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(values, storage).cast(kind)
    return pa.array(values, kind, from_pandas=False)


@st.composite
def column(draw: st.DrawFn, rows: int, name: str, pools: Any = TYPES) -> pa.Array:
    """Values of type `name`: many nulls, few or none; any distinct values or almost all the same."""
    kind, pool = pools[name]
    nulls = draw(st.sampled_from([0, 25, 0, 200]))
    heavy = draw(st.sampled_from([0, 0, 190]))  # bytes from 255 - heavy on are the first value of the pool
    distinct = draw(st.integers(1, len(pool)))
    picks = draw(st.binary(min_size=rows, max_size=rows))
    values: list[Any] = []
    for byte in picks:
        if byte < nulls:
            values.append(None)
        elif byte >= 256 - heavy:
            values.append(pool[0])
        else:
            values.append(pool[byte % distinct])
    return _array(kind, values)


@st.composite
def table(draw: st.DrawFn, key: str, most_rows: int = 50, payload: str | None = None) -> pa.Table:
    """Columns k (of type `key`), j (of a drawn type), v (payload), and i, the number of the row."""
    rows = draw(st.one_of(st.integers(0, 2), st.integers(0, most_rows)))
    second = draw(st.sampled_from(["int8", "string", "float64", "bool", key]))
    third = payload or draw(st.sampled_from(list(TYPES)))
    columns = {"k": draw(column(rows, key)), "j": draw(column(rows, second)), "v": draw(column(rows, third))}
    return pa.table({**columns, "i": pa.array(np.arange(rows))})


@dataclass(frozen=True)
class Cut:
    """Where a table is cut: into ranks, each at a place into two chunks, which may have dictionaries of their own."""

    ranks: tuple[int, ...]
    chunk: int
    other_dictionaries: bool


@st.composite
def cuts(draw: st.DrawFn, ranks: int) -> Cut:
    """Cuts for any table: places are in 255ths of its length, so empty and one-row parts are common in short ones."""
    places = draw(st.lists(st.integers(0, 255), min_size=ranks - 1, max_size=ranks - 1))
    return Cut(tuple(sorted(places)), draw(st.integers(0, 255)), draw(st.booleans()))


def _with_own_dictionaries(chunk: pa.Table) -> pa.Table:
    for at, field in enumerate(chunk.schema):
        if pa.types.is_dictionary(field.type):
            values = chunk.column(at).cast(field.type.value_type)
            chunk = chunk.set_column(at, field, values.combine_chunks().dictionary_encode().cast(field.type))
    return chunk


def parts(whole: pa.Table, cut: Cut) -> list[pa.Table]:
    """The part of each rank: slices of `whole`, so that arrays begin anywhere in their buffers."""
    bounds = [0, *(place * whole.num_rows // 255 for place in cut.ranks), whole.num_rows]
    out = []
    for begin, end in pairwise(bounds):
        middle = (end - begin) * cut.chunk // 255
        chunks = [whole.slice(begin, middle), whole.slice(begin + middle, end - begin - middle)]
        out.append(pa.concat_tables(map(_with_own_dictionaries, chunks) if cut.other_dictionaries else chunks))
    return out


@dataclass(frozen=True)
class Setting:
    """A world, with the seed of its schedule and the cuts of up to two tables."""

    world: World
    seed: int
    options: tuple[tuple[str, int], ...]
    cuts: tuple[Cut, Cut]

    def run(self, body: Any) -> list[Any]:
        """What `body` gave, by rank."""
        return self.world.run(body, self.seed, **dict(self.options))


@st.composite
def worlds(
    draw: st.DrawFn,
    ranks: Sequence[int] = (1, 2, 3, 7),
    transports: Sequence[str] = ("inproc", "sim", "tcp"),
) -> Setting:
    """Ranks, transport, spilling or not; small morsels and chunks, so that short tables take many."""
    size = draw(st.sampled_from(ranks))
    transport = draw(st.sampled_from(transports))
    world = World(transport, size, draw(st.booleans()))
    options = draw(st.sampled_from([{}, {"morsel_rows": 8}, {"morsel_rows": 3, "chunk_bytes": 1024, "threads": 2}]))
    seed = draw(st.integers(0, 1000)) if transport == "sim" else 0
    return Setting(world, seed, tuple(options.items()), (draw(cuts(size)), draw(cuts(size))))
