"""Whether engines gave the same rows: digests that do not depend on the order of the rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["differences", "digest", "is_sorted"]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_RELATIVE = 1e-9  # of the sum of magnitudes: engines add floats in orders of their own


def _as_plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Identifiers such as ``id0017`` as the number in them, other integers as int64, floats as float64."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.utf8_slice_codeunits(column.cast(pa.large_string()), 2).cast(pa.int64())
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        return column.cast(pa.int64())
    return column.cast(pa.float64())


def _numbers(column: pa.ChunkedArray) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The values, and which of them are missing (null or NaN)."""
    missing = column.is_null(nan_is_null=True).to_numpy().astype(bool)
    values = pc.fill_null(column, 0).to_numpy()
    return np.where(missing, 0, values), missing


def digest(table: pa.Table) -> dict[str, Any]:
    """Row count; a sum of a hash of each row's integers; for floats, sums plain and weighted by that hash."""
    names = sorted(table.column_names)
    plain = {name: _as_plain(table.column(name)) for name in names}
    rows = np.zeros(table.num_rows, np.uint64)
    missing: dict[str, int] = {}
    floats: dict[str, npt.NDArray[Any]] = {}
    for name in names:
        values, gone = _numbers(plain[name])
        missing[name] = int(gone.sum())
        if pa.types.is_floating(plain[name].type):
            floats[name] = values
        else:
            rows = (rows ^ values.view(np.uint64) ^ gone.astype(np.uint64)) * _MIX
            rows ^= rows >> np.uint64(29)
    weights = (rows >> np.uint64(40)).astype(np.float64) / 2**24
    sums = {
        name: [float(values.sum()), float((values * weights).sum()), float(np.abs(values).sum())]
        for name, values in floats.items()
    }
    return {
        "rows": table.num_rows,
        "columns": names,
        "missing": missing,
        "integers": str(int(rows.sum(dtype=np.uint64))),
        "floats": sums,
    }


def is_sorted(column: pa.ChunkedArray) -> bool:
    """Whether an integer column never falls."""
    values = column.to_numpy()
    return bool(np.all(values[1:] >= values[:-1]))


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What two digests disagree on; empty where the tables have the same rows."""
    found = [name for name in ("rows", "columns", "missing", "integers") if first[name] != second[name]]
    if not found:
        for name, sums in first["floats"].items():
            scale = max(sums[2], second["floats"][name][2], 1e-300)
            others = second["floats"][name]
            if any(
                not math.isclose(a, b, rel_tol=0, abs_tol=_RELATIVE * scale) for a, b in zip(sums, others, strict=True)
            ):
                found.append(f"values of {name}")
    return found
