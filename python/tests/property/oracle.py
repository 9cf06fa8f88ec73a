"""What the right answer is, as numbers of rows, asked of DuckDB; and whether rows that came back are those rows.

Every table has a column i that numbers its rows. An operator moves whole rows, so its answer is a list of such numbers,
and every other column has to hold, bit by bit, what the input holds in those rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Condition", "assert_rows", "decoded", "groups", "kept", "order", "pairs", "plain_values"]

_connection = duckdb.connect(config={"threads": 1})


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionaries as their values."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same keys in types that leave no question to DuckDB: moments as integers, one NaN, one zero."""
    column = decoded(column)
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.int32())
    if pa.types.is_temporal(kind):
        return column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    if pa.types.is_decimal(kind):
        return column.cast(pa.decimal128(38, kind.scale))
    if pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary())
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        values = pc.fill_null(column, 0.0).to_numpy() + 0.0
        values = np.where(np.isnan(values), np.nan, values)
        return pa.chunked_array([pa.array(values, mask=column.is_null().to_numpy().astype(bool))])
    return column


def plain_values(column: pa.ChunkedArray) -> list[Any]:
    """The values as Python's, equal and ordered as keys are; None for null."""
    values: list[Any] = _plain(column).to_pylist()
    return values


def _ask(query: str, **tables: pa.Table) -> list[tuple[Any, ...]]:
    for name, whole in tables.items():
        plain = {column: _plain(whole.column(column)) for column in whole.column_names}
        _connection.register(name, pa.table(plain))
    return [tuple(row) for row in _connection.execute(query).fetchall()]


def _key(whole: pa.Table, keys: Sequence[str]) -> pa.Table:
    return whole.select(list(dict.fromkeys([*keys, "i"])))


Condition = tuple[str, str, str]


def _compared(left: pa.Table, condition: Condition) -> str:
    """A comparison as SQL: with a null it does not hold, and with NaN, which DuckDB puts above all, only != does."""
    one, other = f"l.{condition[0]}", f"r.{condition[2]}"
    holds = f"{one} {condition[1]} {other}"
    if not pa.types.is_floating(decoded(left.column(condition[0])).type):
        return holds
    some_nan = f"(isnan({one}) OR isnan({other}))"
    meets = f"({some_nan} OR {holds})" if condition[1] == "!=" else f"(NOT {some_nan} AND {holds})"
    return f"{one} IS NOT NULL AND {other} IS NOT NULL AND {meets}"


def pairs(
    left: pa.Table,
    right: pa.Table,
    keys: Sequence[str],
    how: str,
    null_match: bool,
    condition: Sequence[Condition] = (),
) -> list[tuple[int | None, int | None]]:
    """Numbers of the rows that a join brings together, sorted; None where a side has no match."""
    terms = [f"l.{key} {'IS NOT DISTINCT FROM' if null_match else '='} r.{key}" for key in keys]
    terms += [_compared(left, comparison) for comparison in condition]
    lefts, rights = _key(left, [*keys, *(c[0] for c in condition)]), _key(right, [*keys, *(c[2] for c in condition)])
    matched = _ask(f"SELECT l.i, r.i FROM l JOIN r ON {' AND '.join(terms) or 'true'}", l=lefts, r=rights)
    with_left, with_right = {pair[0] for pair in matched}, {pair[1] for pair in matched}
    only_left = [(i, None) for i in range(left.num_rows) if i not in with_left]
    only_right = [(None, i) for i in range(right.num_rows) if i not in with_right]
    found: dict[str, list[Any]] = {
        "inner": matched,
        "cross": matched,
        "left": matched + only_left,
        "right": matched + only_right,
        "outer": matched + only_left + only_right,
        "semi": [(i, None) for i in with_left],
        "anti": only_left,
    }
    return sorted(found[how], key=str)


def order(whole: pa.Table, by: Sequence[str], ascending: Sequence[bool], nulls_first: bool) -> list[int]:
    """Numbers of the rows in sorted order: missing ones at one end, NaN between them and the numbers; ties stay."""
    terms = []
    for key, up in zip(by, ascending, strict=True):
        floating = pa.types.is_floating(decoded(whole.column(key)).type)
        missing = f"CASE WHEN {key} IS NULL THEN 2 {f'WHEN isnan({key}) THEN 1 ' if floating else ''}ELSE 0 END"
        terms += [f"{missing} {'DESC' if nulls_first else 'ASC'}", f"{key} {'ASC' if up else 'DESC'}"]
    return [row[0] for row in _ask(f"SELECT i FROM t ORDER BY {', '.join([*terms, 'i'])}", t=_key(whole, by))]


def kept(whole: pa.Table, subset: Sequence[str], keep: str | bool) -> list[int]:
    """Numbers of the rows that stay when duplicates go, in their order."""
    which = {"first": "min(i)", "last": "max(i)", False: "min(i)"}[keep]
    having = " HAVING count(*) = 1" if keep is False else ""
    query = f"SELECT {which} AS row FROM t GROUP BY {', '.join(subset)}{having} ORDER BY row"
    return [row[0] for row in _ask(query, t=_key(whole, subset))]


def groups(whole: pa.Table, keys: Sequence[str], dropna: bool) -> list[list[int]]:
    """The numbers of each group's rows, groups in the order of their keys: values, then NaN, then null."""
    floating = [key for key in keys if pa.types.is_floating(decoded(whole.column(key)).type)]
    missing = [f"{key} IS NULL" for key in keys] + [f"isnan({key})" for key in floating]
    where = f" WHERE NOT coalesce({' OR '.join(missing)}, false)" if dropna else ""
    terms = []
    for key in keys:
        terms.append(
            f"CASE WHEN {key} IS NULL THEN 2 {f'WHEN isnan({key}) THEN 1 ' if key in floating else ''}ELSE 0 END"
        )
        terms.append(key)
    query = f"SELECT list(i ORDER BY i) FROM t{where} GROUP BY {', '.join(keys)} ORDER BY {', '.join(terms)}"
    return [row[0] for row in _ask(query, t=_key(whole, keys))]


def _bits(column: pa.ChunkedArray) -> Any:
    """Values that equal only their like, so that -0.0 is not 0.0 and one NaN is not another."""
    column = decoded(column)
    kind = column.type
    if pa.types.is_floating(kind):
        integers = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width]
        return [value for chunk in column.chunks for value in chunk.view(integers).to_pylist()]
    if pa.types.is_temporal(kind):
        return plain_values(column)  # nanoseconds are more than Python's own types hold
    return column.to_pylist()


def assert_rows(
    got: pa.ChunkedArray, source: pa.ChunkedArray, numbers: Sequence[int | None], exact: bool = True
) -> None:
    """`got` is `source` in the rows `numbers`, null where there is none; not `exact`: as keys are equal."""
    assert got.type == source.type
    look = _bits if exact else lambda column: [str(value) for value in plain_values(column)]
    values = look(source)
    nothing = None if exact else "None"
    assert look(got) == [nothing if number is None else values[number] for number in numbers]
