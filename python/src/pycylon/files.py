"""Reading files into distributed frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

from pycylon import _core
from pycylon.convert import type_capsule
from pycylon.env import CylonEnv, local_context
from pycylon.frame import DataFrame

__all__ = ["read_csv", "read_parquet"]

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


def _list(paths: Paths) -> list[str]:
    return [fspath(paths)] if isinstance(paths, str | PathLike) else [fspath(path) for path in paths]


def read_parquet(path: Paths, columns: Sequence[str] | None = None, env: CylonEnv | None = None) -> DataFrame:
    """Read Parquet files, their row groups dealt to the ranks in order. Collective with `env`.

    Parameters
    ----------
    path : str, path, or list of them
        Files, folders and globs.
    columns : list of str, optional
        Only these.
    env : CylonEnv, optional
        The ranks that share the work.

    Raises
    ------
    OSError
        For a missing or corrupt file; at every rank, naming the file.
    ValueError
        For a folder or glob without files, and for files with different schemas.
    KeyError
        For an unknown column.
    MemoryError
        For a row group that alone takes more than its rank's memory budget; at every rank, naming file and group.
    """
    context = env.context if env is not None else local_context()
    return DataFrame._of(_core.read_parquet(context, _list(path), list(columns or [])), env)


def read_csv(
    path: Paths,
    sep: str = ",",
    header: int | None = 0,
    names: Sequence[str] | None = None,
    usecols: Sequence[str] | None = None,
    dtype: Mapping[str, Any] | None = None,
    na_values: Sequence[str] | None = None,
    keep_default_na: bool = True,
    quotechar: str = '"',
    newlines_in_quotes: bool = False,
    env: CylonEnv | None = None,
) -> DataFrame:
    """Read CSV files, their bytes split among the ranks. Collective with `env`.

    Parameters
    ----------
    path : str, path, or list of them
        Files, folders and globs.
    sep, quotechar : str
        One character each.
    header : 0 or None
        None: there is no line of names.
    names : list of str, optional
        Names of the columns; with ``header=0`` they take the place of the file's.
    usecols : list of str, optional
        Only these columns.
    dtype : dict of column to type, optional
        Types that are not to be inferred.
    na_values : list of str, optional
        More words for null; with ``keep_default_na=False`` the only ones. They apply to strings too.
    newlines_in_quotes : bool
        A quoted value may hold line ends; costs a pass over the bytes.
    env : CylonEnv, optional
        The ranks that share the work.

    Raises
    ------
    OSError
        For a missing file; at every rank, naming it.
    ValueError
        For lines with another number of values, and values that a given type does not hold; naming file and place.
    """
    if header not in (0, None):
        raise NotImplementedError(f"header={header!r}: the names are in the first line (0) or nowhere (None)")
    context = env.context if env is not None else local_context()
    words: list[str] | None = None
    if na_values is not None or not keep_default_na:
        words = [*(_core.default_null_words() if keep_default_na else []), *(na_values or [])]
    table = _core.read_csv(
        context,
        _list(path),
        sep,
        quotechar,
        header == 0,
        list(names or []),
        list(usecols or []),
        words,
        [(name, type_capsule(type)) for name, type in (dtype or {}).items()],
        newlines_in_quotes,
    )
    return DataFrame._of(table, env)
