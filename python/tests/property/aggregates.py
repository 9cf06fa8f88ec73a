"""What aggregates of groups of rows have to be: exact in Python where they can be, else what pandas computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from oracle import plain_values

__all__ = ["MOMENTS", "ORDERED", "QUANTILES", "assert_aggregate", "assert_near_quantile", "fits"]

# Of anything that has an order, and of numbers.
ORDERED = ["min", "max", "count", "nunique", "first", "last"]
MOMENTS = ["sum", "mean", "var", "std", "median", "prod", "any", "all", *ORDERED]
QUANTILES = [0.0, 0.1, 0.5, 0.75, 1.0]

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
    "prod": math.prod,
}
# Of floats these are rounded on the way.
_ROUNDED = ("sum", "prod")


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
    of_nothing = {"sum": 0.0, "prod": 1.0}.get(function, math.nan)
    found: list[float] = answers.reindex(range(len(present)), fill_value=of_nothing).tolist()
    return found


def _quantile(values: list[Any], q: float) -> float | None:
    """As pandas' ``linear``: on the line between the two values next to place (n - 1) * q.

    But between -inf and a number lies -inf, as in pandas' median and in numpy, where pandas' quantile has NaN.
    """
    if not values:
        return None
    ordered = sorted(float(value) for value in values)
    place = (len(ordered) - 1) * q
    below = min(int(place), len(ordered) - 1)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    part = place - below
    return low if low == high or part == 0 else low * (1 - part) + high * part


def fits(function: str, column: pa.ChunkedArray, groups: Groups) -> bool:
    """Whether the sums, or products, of all groups fit the type that those of integers have."""
    kind = column.type
    if not pa.types.is_integer(kind):
        return True
    low, high = (-(2**63), 2**63 - 1) if pa.types.is_signed_integer(kind) else (0, 2**64 - 1)
    return all(low <= _EXACT[function](values) <= high for values in _present(plain_values(column), groups))


def _depends_on_order(values: list[Any]) -> bool:
    """Whether a product may be beyond all numbers before it meets a zero, so that it is 0 or NaN."""
    sizes = [abs(float(value)) for value in values]
    return 0.0 in sizes and sum(math.log(size) for size in sizes if size > 1) > 700


def _assert_close(value: Any, right: float | None, slack: float, what: object) -> None:
    if right is None or not math.isfinite(right):
        missing = right is None or math.isnan(right)
        assert _is_missing(value) if missing else value == right, (what, value, right)
        return
    assert value is not None, (what, right)
    assert abs(value - right) <= slack, (what, value, right)


def assert_aggregate(
    function: str, got: pa.ChunkedArray, column: pa.ChunkedArray, groups: Groups, q: float = 0.5
) -> None:
    """`got` has the aggregate of each group of rows; floats within what a careful computation in any order is off."""
    present = _present(plain_values(column), groups)
    if function in _EXACT and not (function in _ROUNDED and pa.types.is_floating(column.type)):
        wanted = [_EXACT[function](values) for values in present]
        assert plain_values(got) == wanted, function
        return
    if function == "quantile":
        answers: list[float | None] = [_quantile(values, q) for values in present]
    else:
        answers = list(_of_pandas(function, present))
    for value, right, values in zip(plain_values(got), answers, present, strict=True):
        scale = max((abs(float(v)) for v in values if math.isfinite(v)), default=0.0)
        slack = 100 * _EPSILON * scale * (len(values) if function == "sum" else 1)
        if right is not None and function == "var":
            slack = 1e-12 * right + slack * (math.sqrt(right) + slack) if math.isfinite(right) else 0.0
        elif right is not None and function == "prod":
            if _depends_on_order(values):
                continue
            slack = 2 * _EPSILON * abs(right) * len(values)
        _assert_close(value, right, slack, (function, q))


def assert_near_quantile(
    got: pa.ChunkedArray, column: pa.ChunkedArray, groups: Groups, q: float, compression: int
) -> None:
    """`got` has for each group a value whose rank is off by what a t-digest's two nearest centroids hold at most."""
    step = 2 * math.pi / compression
    for value, values in zip(plain_values(got), _present(plain_values(column), groups), strict=True):
        if not values:
            assert value is None
            continue
        ordered = np.sort(np.array(values, dtype=float))
        below, up_to = np.searchsorted(ordered, value, "left"), np.searchsorted(ordered, value, "right")
        place = (len(ordered) - 1) * q
        slack = 2 * len(ordered) * (step * math.sqrt(q * (1 - q)) + step * step / 4)
        assert below - 1 - slack <= place <= up_to + slack, (q, value, below, up_to, place, slack)
