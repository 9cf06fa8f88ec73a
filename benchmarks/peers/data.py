"""The input tables, drawn from fixed seeds and written once as Arrow files that every engine loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["read", "write"]

_SEED = 20260101


def _pairs(rows: int, keys: int) -> dict[str, pa.Table]:
    """Two int64 columns each, the key below `keys`, the value below 0.9 * rows, both uniform."""
    rng = np.random.default_rng(_SEED)
    values = max(1, rows * 9 // 10)

    def draw(value: str) -> pa.Table:
        return pa.table({"k": rng.integers(0, keys, rows), value: rng.integers(0, values, rows)})

    return {"x": draw("v"), "y": draw("w")}


def _words(numbers: npt.NDArray[Any], form: str) -> pa.Array:
    """The strings `form` makes of small numbers."""
    words = pa.array([form % number for number in range(int(numbers.max(initial=0)) + 1)])
    return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32)), words).cast(pa.string())


def _g1(rows: int) -> dict[str, pa.Table]:
    """The group-by table of the public db-benchmark, with 100 values in a large key: no nulls, in random order.

    id1, id2: 100 strings; id3: rows / 100 strings; id4, id5: 1 to 100; id6: 1 to rows / 100; v1, v2: 1 to 5; v3: 0 to
    100 with four decimals. Integers have 32 bits.
    """
    rng = np.random.default_rng(_SEED)
    many = max(1, rows // 100)

    def draw(last: int) -> npt.NDArray[np.int32]:
        return rng.integers(1, last + 1, rows, dtype=np.int32)

    columns = {"id1": _words(draw(100), "id%03d"), "id2": _words(draw(100), "id%03d")}
    columns |= {"id3": _words(draw(many), "id%010d"), "id4": pa.array(draw(100)), "id5": pa.array(draw(100))}
    columns |= {"id6": pa.array(draw(many)), "v1": pa.array(draw(5)), "v2": pa.array(draw(5))}
    return {"x": pa.table(columns | {"v3": pa.array(rng.uniform(0, 100, rows).round(4))})}


def _j1(rows: int) -> dict[str, pa.Table]:
    """The join tables of the public db-benchmark: no nulls, in random order.

    x and big have as many rows as asked for, medium a thousandth and small a millionth (but at least 100 and 10). For
    each of the three sizes n there is a key, id1 to id3, of 1.1 n numbers: 0.9 n are on both sides, 0.1 n on each side
    alone. Every key of a side is in its table at least once, and in that of its own size once. id4 to id6 are the same
    keys as strings; v1 and v2 are 0 to 100 with six decimals.
    """
    rng = np.random.default_rng(_SEED)
    sizes = {"id1": max(10, rows // 1_000_000), "id2": max(100, rows // 1000), "id3": rows}
    sides: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
    for name, size in sizes.items():
        keys = rng.permutation(size + size // 10).astype(np.int32) + 1
        common = keys[: size - size // 10]
        sides[name] = (keys[:size], np.concatenate([common, keys[size:]]))

    def make(count: int, names: list[str], side: int, value: str) -> pa.Table:
        columns = {}
        for name in names:
            keys = sides[name][side][:count]
            more = rng.choice(keys, count - len(keys)) if count > len(keys) else keys[:0]
            columns[name] = rng.permutation(np.concatenate([keys, more]))
        strings = {f"id{int(name[2]) + 3}": _prefixed(keys) for name, keys in columns.items()}
        ids = {name: pa.array(keys) for name, keys in columns.items()}
        return pa.table({**ids, **strings, value: pa.array(rng.uniform(0, 100, count).round(6))})

    return {
        "x": make(rows, ["id1", "id2", "id3"], 0, "v1"),
        "small": make(sizes["id1"], ["id1"], 1, "v2"),
        "medium": make(sizes["id2"], ["id1", "id2"], 1, "v2"),
        "big": make(rows, ["id1", "id2", "id3"], 1, "v2"),
    }


def _prefixed(numbers: npt.NDArray[Any]) -> pa.Array:
    return pc.binary_join_element_wise("id", pa.array(numbers).cast(pa.string()), "")


_DATASETS: dict[str, Callable[[int], dict[str, pa.Table]]] = {
    "pairs": lambda rows: _pairs(rows, max(1, rows * 9 // 10)),
    "pairs-100": lambda rows: {"x": _pairs(rows, 100)["x"]},
    "pairs-100000": lambda rows: {"x": _pairs(rows, 100_000)["x"]},
    "g1": _g1,
    "j1": _j1,
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
