"""Worlds whose ranks are threads of this process: to test a distributed program without a launcher."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Literal, TypeVar

from pycylon import _core
from pycylon.env import CylonEnv

__all__ = ["run_ranks"]

T = TypeVar("T")


def _clear_frames(error: BaseException) -> None:
    """Drop the variables of the calls that `error`, and those that it came from, have gone through."""
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        one = errors.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            errors += [one.__cause__, one.__context__]


def run_ranks(
    ranks: int,
    body: Callable[[CylonEnv], T],
    transport: Literal["sim", "inproc", "tcp", "shm"] = "inproc",
    seed: int = 0,
    **options: object,
) -> list[T]:
    """Call ``body(env)`` on one thread a rank and return what each returned, by rank.

    Parameters
    ----------
    ranks : int
    body : callable
        Gets the rank's environment; do not keep it.
    transport : {'inproc', 'tcp', 'shm', 'sim'}
        ``sim`` runs one rank at a time under a virtual clock, in an order that `seed` decides.
    seed : int
    **options : object
        As for `CylonEnv`.

    Raises
    ------
    BaseException
        What the lowest rank whose body raised has raised.

    Examples
    --------
    >>> from pycylon.testing import run_ranks
    >>> run_ranks(3, lambda env: env.rank * 10)
    [0, 10, 20]
    """
    if ranks < 1:
        raise ValueError(f"ranks={ranks}: a world has at least one rank")
    results: dict[int, T] = {}
    errors: dict[int, BaseException] = {}

    def run(context: _core.Context) -> bool:
        rank = context.rank
        env = CylonEnv._of(context)
        # The context ends with this call. Python's object for it has to go before: one that stays, in a variable of a
        # traceback, would be taken for another context that comes to lie at the same address.
        del context
        try:
            results[rank] = body(env)
        except BaseException as error:  # handed to the caller below
            _clear_frames(error)
            errors[rank] = error
        finally:
            # Debuggers print environments. So does what it has rejoined as.
            gone: CylonEnv | None = env
            while gone is not None:
                gone._context = None
                gone = gone._successor
        return rank not in errors

    texts = {name: str(int(v)) if isinstance(v, bool) else str(v) for name, v in options.items()}
    failures = _core.run_ranks(transport, ranks, seed, texts, run)
    if errors:
        raise errors[min(errors)]
    for rank, failure in enumerate(failures):
        if failure:
            raise RuntimeError(f"rank {rank} did not start or close in order: {failure}")
    return [results[rank] for rank in range(ranks)]
