"""pycylon in one process: a local context, `threads` threads."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pyarrow as pa

import pycylon as cy
from peers.engine import Aggregate, Engine


class Pycylon(Engine):
    """Tables are frames over one Arrow chunk a column."""

    name = "pycylon"

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """Read when the local context is made."""
        return {"CYLON_THREADS": str(threads)}

    def __init__(self, threads: int) -> None:
        self.tables: dict[str, cy.DataFrame] = {}

    @property
    def version(self) -> str:
        """Of the package, where it is installed; a build tree has none."""
        try:
            return importlib.metadata.version("pycylon")
        except importlib.metadata.PackageNotFoundError:
            return "build"

    def load(self, name: str, table: pa.Table) -> None:
        self.tables[name] = cy.DataFrame(table)

    def rows(self, result: cy.DataFrame) -> int:
        return len(result)

    def to_arrow(self, result: cy.DataFrame) -> pa.Table:
        return result.to_arrow()

    def join(self, left: str, right: str, on: str, how: str) -> Any:
        return self.tables[left].merge(self.tables[right], how=how, on=on, suffixes=("", "_r"))  # type: ignore[arg-type]

    def sort(self, table: str, by: str) -> Any:
        return self.tables[table].sort_values(by)

    def distinct(self, table: str, column: str) -> Any:
        return self.tables[table][[column]].drop_duplicates()

    def one_row_each(self, table: str, key: str) -> Any:
        return self.tables[table].drop_duplicates(key)

    def group_by(self, table: str, keys: list[str], aggregates: list[Aggregate]) -> Any:
        wanted = {name: (column, function) for name, function, column in aggregates}
        return self.tables[table].groupby(keys, sort=False).agg(**wanted)

    def group_range(self, table: str, key: str, high: str, low: str) -> Any:
        out = self.group_by(table, [key], [("high", "max", high), ("low", "min", low)])
        return out.assign(range=out["high"] - out["low"])[[key, "range"]]

    def largest_two(self, table: str, key: str, value: str) -> Any:
        return self.tables[table].groupby(key)[value].nlargest(2)

    def squared_correlation(self, table: str, keys: list[str], first: str, second: str) -> Any:
        x, y = self.tables[table][first].astype("int64"), self.tables[table][second].astype("int64")
        whole = self.tables[table][keys].assign(x=x, y=y, xx=x * x, yy=y * y, xy=x * y)
        s = whole.groupby(keys, sort=False).agg(
            n=("x", "size"), x=("x", "sum"), y=("y", "sum"), xx=("xx", "sum"), yy=("yy", "sum"), xy=("xy", "sum")
        )
        covariance = (s["n"] * s["xy"] - s["x"] * s["y"]).astype("float64")
        variances = [(s["n"] * s[f"{v}{v}"] - s[v] * s[v]).astype("float64") for v in "xy"]
        return s[keys].assign(r2=covariance * covariance / (variances[0] * variances[1]))
