"""pandas: numpy columns, one thread whatever it is given."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from peers.engine import Aggregate, Engine


class Pandas(Engine):
    """Its operations use one core, so its figures for one and for two threads differ by chance only."""

    name = "pandas"

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """What numpy and numexpr would read."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_MAX_THREADS", "MKL_NUM_THREADS")
        return dict.fromkeys(names, str(threads))

    def __init__(self, threads: int) -> None:
        self.tables: dict[str, Any] = {}

    @property
    def version(self) -> str:
        return pd.__version__

    def load(self, name: str, table: pa.Table) -> None:
        self.tables[name] = table.to_pandas()

    def rows(self, result: Any) -> int:
        return len(result)

    def to_arrow(self, result: Any) -> pa.Table:
        frame = result.to_frame() if isinstance(result, pd.Series) else result
        table = pa.Table.from_pandas(frame, preserve_index=False)
        for i, column in enumerate(table.columns):
            # Integers that an outer join has turned into floats, NaN where there was no match.
            if pa.types.is_floating(column.type) and column.null_count:
                present = column.drop_null()
                if pc.all(pc.equal(present, pc.floor(present))).as_py():
                    table = table.set_column(i, table.field(i).name, column.cast(pa.int64()))
        return table

    def join(self, left: str, right: str, on: str, how: str) -> Any:
        return self.tables[left].merge(self.tables[right], how=how, on=on, suffixes=("", "_r"), sort=False)

    def sort(self, table: str, by: str) -> Any:
        return self.tables[table].sort_values(by, ignore_index=True)

    def distinct(self, table: str, column: str) -> Any:
        return self.tables[table][column].drop_duplicates()

    def one_row_each(self, table: str, key: str) -> Any:
        return self.tables[table].drop_duplicates(key)

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        wanted = {name: (column, function) for name, function, column in aggregates}
        return self.tables[table].groupby(keys, sort=False, as_index=False, observed=True).agg(**wanted)

    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        out = self.group_by(table, [key], [("high", "max", high), ("low", "min", low)])
        return out.assign(range=out["high"] - out["low"])[[key, "range"]]

    def largest_two(self, table: str, key: str, value: str) -> Any:
        ordered = self.tables[table][[key, value]].sort_values(value, ascending=False)
        return ordered.groupby(key, sort=False, observed=True).head(2)

    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        # Its own corr() by group calls back into Python for each of them; sums take a fiftieth of the time.
        whole = self.tables[table]
        x, y = whole[first].astype("int64"), whole[second].astype("int64")
        columns = {key: whole[key] for key in keys} | {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}
        grouped = pd.DataFrame(columns).groupby(keys, sort=False, as_index=False, observed=True)
        s = grouped.agg(
            n=("x", "size"), x=("x", "sum"), y=("y", "sum"), xx=("xx", "sum"), yy=("yy", "sum"), xy=("xy", "sum")
        )
        above = (s["n"] * s["xy"] - s["x"] * s["y"]).astype("float64") ** 2
        below = (s["n"] * s["xx"] - s["x"] ** 2).astype("float64") * (s["n"] * s["yy"] - s["y"] ** 2)
        return s[keys].assign(r2=above / below)
