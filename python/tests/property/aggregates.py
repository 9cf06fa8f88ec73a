"""What aggregates of groups of rows have to be: exact in Python where they can be, else what pandas computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from oracle import plain_values

__all__ = ["MOMENTS", "ORDERED", "assert_aggregate", "sums_fit"]

# Of anything that has an order, and of numbers.
ORDERED = ["min", "max", "count", "nunique", "first", "last"]
MOMENTS = ["sum", "mean", "var", "std", "median", "any", "all", *ORDERED]

Groups = Sequence[Sequence[int]]

_EPSILON = float(np.finfo(float).eps)
_EXACT: dict[str, Callable[[list[Any]], Any]] = {
    "sum": sum,
    "count": len,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "nunique": lambda values: len(set(values)),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "any": any,
    "all": all,
}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _present(values: list[Any], groups: Groups) -> list[list[Any]]:
    return [[values[row] for row in rows if not _is_missing(values[row])] for rows in groups]


def _of_pandas(function: str, present: list[list[Any]]) -> list[float]:
    """NaN where there is no answer."""
    number = np.repeat(np.arange(len(present)), [len(values) for values in present])
    series = pd.Series([float(value) for values in present for value in values], dtype="float64")
    with np.errstate(all="ignore"):
        answers = getattr(series.groupby(number), function)()
    found: list[float] = answers.reindex(
        range(len(present)), fill_value=0.0 if function == "sum" else math.nan
    ).tolist()
    return found


def sums_fit(column: pa.ChunkedArray, groups: Groups) -> bool:
    """Whether the sums of all groups fit the type that sums of integers have."""
    kind = column.type
    if not pa.types.is_integer(kind):
        return True
    low, high = (-(2**63), 2**63 - 1) if pa.types.is_signed_integer(kind) else (0, 2**64 - 1)
    return all(low <= sum(values) <= high for values in _present(plain_values(column), groups))


def assert_aggregate(function: str, got: pa.ChunkedArray, column: pa.ChunkedArray, groups: Groups) -> None:
    """`got` has the aggregate of each group of rows; floats within what a careful computation in any order is off."""
    present = _present(plain_values(column), groups)
    if function in _EXACT and not (function == "sum" and pa.types.is_floating(column.type)):
        wanted = [_EXACT[function](values) for values in present]
        assert plain_values(got) == wanted, function
        return
    for value, right, values in zip(plain_values(got), _of_pandas(function, present), present, strict=True):
        if function == "median" and any(math.isinf(v) for v in values if isinstance(v, float)):
            continue  # on the line between an infinity and its neighbour lies NaN, which pandas does not say
        if not math.isfinite(right):
            assert _is_missing(value) if math.isnan(right) else value == right, (function, value, right)
            continue
        scale = max((abs(float(v)) for v in values), default=0.0)
        slack = 100 * _EPSILON * scale * (len(values) if function == "sum" else 1)
        if function == "var":
            slack = 1e-12 * right + slack * (math.sqrt(right) + slack)
        assert value is not None, (function, right)
        assert abs(value - right) <= slack, (function, value, right)
