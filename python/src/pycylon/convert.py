"""What users pass in, as tables of the core."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pycylon import _core

__all__ = ["ArrowView", "array_capsules", "arrow_type", "import_data", "type_capsule"]


def import_data(context: _core.Context, data: Any) -> _core.Table:
    """Make a table of pandas, polars, pyarrow or numpy data, of dicts or rows, or of any ``__arrow_c_stream__``.

    Arrow memory is taken as it lies; what is not Arrow is converted by pyarrow.
    """
    pandas = sys.modules.get("pandas")  # importing it costs half a second: only who uses it has it
    if pandas is not None and isinstance(data, pandas.DataFrame):
        data = pa.Table.from_pandas(data, preserve_index=False)
    elif pandas is not None and isinstance(data, pandas.Series):
        data = pa.table({str(data.name or 0): pa.Array.from_pandas(data)})
    elif hasattr(data, "__arrow_c_stream__"):
        pass
    elif hasattr(data, "__arrow_c_array__"):
        batch = pa.record_batch(data)
        data = pa.Table.from_batches([batch])
    else:
        data = _from_python(data)
    return _core.Table.from_stream(context, data.__arrow_c_stream__())


def _from_python(data: Any) -> pa.Table:
    if data is None:
        return pa.table({})
    if isinstance(data, Mapping):
        return pa.table({str(name): _column(values) for name, values in data.items()})
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(data, numpy.ndarray):
        matrix = data.reshape(-1, 1) if data.ndim == 1 else data
        if matrix.ndim != 2:
            raise ValueError(f"an array of {data.ndim} dimensions is no table; pass one of 1 or 2 dimensions")
        return pa.table({str(i): pa.array(matrix[:, i]) for i in range(matrix.shape[1])})
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        if len(data) == 0:
            return pa.table({})
        if all(isinstance(row, Mapping) for row in data):
            return pa.Table.from_pylist([dict(row) for row in data])
        if all(isinstance(row, Sequence) and not isinstance(row, str | bytes) for row in data):
            widths = {len(row) for row in data}
            if len(widths) != 1:
                raise ValueError(f"rows have {sorted(widths)} values; every row needs as many as there are columns")
            return pa.table({str(i): _column([row[i] for row in data]) for i in range(widths.pop())})
        return pa.table({"0": _column(data)})
    raise TypeError(
        f"cannot make a DataFrame of {type(data).__name__}; pass a dict of columns, rows, a numpy array, or a pandas, "
        "polars or pyarrow table"
    )


def _column(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ValueError(f"a column has to be a sequence of values, not {values!r}")
    return pa.array(values if hasattr(values, "__array__") else list(values))


def array_capsules(values: Any, type: pa.DataType | None = None) -> tuple[object, object]:
    """Return the capsules of an Arrow array of `values` (a list), of `type` where given."""
    array = pa.array(values, type=type)
    schema, content = array.__arrow_c_array__()
    return schema, content


def arrow_type(type: Any) -> pa.DataType:
    """Return the Arrow type that `type` names: an Arrow type, a numpy or pandas dtype, or a name like ``'int64'``."""
    if isinstance(type, pa.DataType):
        return type
    name = getattr(type, "name", None) or getattr(type, "__name__", None) or str(type)
    aliases = {"int": "int64", "float": "float64", "str": "string", "object": "string"}
    aliases["datetime64[ns]"] = "timestamp[ns]"
    try:
        return pa.type_for_alias(aliases.get(name, name))
    except ValueError:
        hint = "use a name such as 'int64', 'float64', 'string', or a pyarrow type"
        raise TypeError(f"'{name}' is not a type; {hint}") from None


def type_capsule(type: Any) -> object:
    """Return the schema capsule of `type`."""
    return pa.field("", arrow_type(type)).__arrow_c_schema__()


class ArrowView:
    """A core table as pyarrow wants to see it."""

    def __init__(self, table: _core.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.to_stream()
