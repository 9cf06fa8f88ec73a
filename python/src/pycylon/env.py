"""The environment: which ranks work together, and on what."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pycylon import _core
from pycylon.explanation import Explanation
from pycylon.secret import VARIABLE, SecretSource, fetch_secret, secret_source
from pycylon.serverless import ServerlessConfig

__all__ = ["CylonEnv"]

_local: _core.Context | None = None
_local_lock = threading.Lock()


def local_context() -> _core.Context:
    """Return this process's own context of one rank, made when first needed."""
    global _local
    with _local_lock:
        if _local is None:
            _local = _core.Context.local({})
        return _local


class CylonEnv:
    """The ranks of one program, and this process's place among them.

    Under ``cylon run`` (or another launcher) it joins the other ranks: collective, and it returns when all have come.
    In a plain ``python`` process it is a world of one rank, where nothing touches a network.

    Parameters
    ----------
    config : ServerlessConfig, optional
        For ranks that can only dial out, as cloud functions: where they meet, and how they reach each other.
    distributed : bool
        False makes a world of one rank even under a launcher.
    remaining_ms : float or callable, optional
        How many milliseconds this process has left, as a cloud function has:
        ``remaining_ms=context.get_remaining_time_in_millis`` in a handler on AWS Lambda. It leaves shortly before
        (option ``time_left_s``): its own calls raise `DeadlineError` then, and the other ranks learn at once that its
        time was up.
    **options : object
        Settings by their names in ``docs/options.md``, for example ``threads=4``, ``memory_bytes='2G'`` or
        ``deadline_s=3600``; they win over the environment variables. ``rejoin=True`` makes this process the replacement
        of a rank that failed: it waits until the ranks that are left call `rejoin`.

    Raises
    ------
    DeadlineError
        When a rank did not come in time; the message names it.
    AuthenticationError
        When the job's secret is wrong.
    ValueError
        For an unknown option, or a value that cannot be read.
    TypeError
        When `config` is no ServerlessConfig, or says what an option says too.

    Examples
    --------
    >>> import pycylon as cy
    >>> with cy.CylonEnv() as env:
    ...     env.rank, env.world_size
    (0, 1)
    """

    def __init__(
        self,
        config: ServerlessConfig | None = None,
        distributed: bool = True,
        *,
        remaining_ms: float | Callable[[], float] | None = None,
        **options: object,
    ) -> None:
        if config is not None and not isinstance(config, ServerlessConfig):
            raise TypeError(
                f"config is of type {type(config).__name__}; expected a ServerlessConfig, or distributed=False for a "
                "world of one rank"
            )
        if remaining_ms is not None:
            if "time_left_s" in options:
                raise TypeError("remaining_ms and time_left_s say the same; give one of them")
            left = remaining_ms() if callable(remaining_ms) else remaining_ms
            if left <= 0:
                raise ValueError(f"remaining_ms is {left}; a process without time left cannot join")
            options["time_left_s"] = left / 1000
        if not distributed:
            self._context: _core.Context | None = _core.Context.local(_option_texts(options))
        else:
            given = {} if config is None else config.options()
            twice = given.keys() & options.keys()
            if config is not None and config.secret is not None:
                twice |= {"secret", "secret_file"} & options.keys()
            if twice:
                raise TypeError(f"{sorted(twice)[0]} is given by config and as an option; give it once")
            options = {**given, **options}
            source = _source_of_secret(config, options)
            self._context = _core.Context.connect(_option_texts(options) | _secret_from(source))
        self._successor: CylonEnv | None = None

    @classmethod
    def _of(cls, context: _core.Context) -> CylonEnv:
        env = cls.__new__(cls)
        env._context = context
        env._successor = None
        return env

    @property
    def context(self) -> _core.Context:
        """The core's context; an error after `finalize`."""
        if self._context is None:
            raise ValueError("this environment is finalized; make a new CylonEnv, or work inside its with block")
        return self._context

    @property
    def rank(self) -> int:
        """The rank of this process, 0 to ``world_size - 1``."""
        return self.context.rank

    @property
    def world_size(self) -> int:
        """How many ranks there are."""
        return self.context.world_size

    def barrier(self) -> None:
        """Wait until every rank has come here. Collective."""
        self.context.barrier()

    def split(self, color: int, key: int = 0) -> CylonEnv | None:
        """Make environments of the ranks with equal `color`, ordered by (`key`, rank). Collective.

        Returns None for color -1.
        """
        context = self.context.split(color, key)
        return None if context is None else CylonEnv._of(context)

    def rejoin(self, window_s: float = 10.0, least_ranks: int = 1) -> CylonEnv:
        """Meet the ranks that are left after a failure, and return the environment of the world that they form.

        Collective among the ranks that live, and processes that were started with ``CylonEnv(rejoin=True)`` in the
        place of others. Survivors keep their order, replacements follow, and ranks go from 0 without gaps. The old
        environment is finalized by it. What the lost ranks held is gone: read the input again (``docs/failures.md``).

        Parameters
        ----------
        window_s : float
            How many seconds to wait for the others. It ends sooner when all that can come have come.
        least_ranks : int
            Until there are so many ranks, replacements are waited for, through the window.

        Raises
        ------
        DeadlineError
            When fewer than `least_ranks` came, at every rank, naming who is missing; and when the others went on
            without this rank.
        ValueError
            When nothing has failed, or there is no store to meet in.
        """
        context = self.context
        # Closed even where rejoining fails; what checks its arguments and refuses comes before that.
        self._successor = CylonEnv._of(context.rejoin(window_s, least_ranks))
        self._context = None
        return self._successor

    def finalize(self) -> None:
        """Leave in order: say goodbye to the other ranks and write the trace.

        Every rank calls it; a second call does nothing.
        """
        if self._context is not None:
            self._context.close()
            self._context = None

    @property
    def stats(self) -> dict[str, int]:
        """Bytes this rank has sent, received and spilled so far. Not collective."""
        context = self.context
        return {
            "bytes_sent": context.bytes_sent,
            "bytes_received": context.bytes_received,
            "spilled_bytes": context.spilled_bytes,
        }

    def explain(self) -> Explanation:
        """Tell what this rank's channels do, and what its operations took and cost beside what was foretold of them.

        With several transports (``CYLON_TRANSPORT=punch,redis``) each pair of ranks takes the one that ``CYLON_POLICY``
        prefers, by latencies and bandwidths that were measured when the world formed and by dated prices. With one
        there is nothing to choose, measured or foretold; what went over ``punch``, ``redis`` or ``object`` is told and
        priced all the same. ``print`` shows tables; the figures are in the dictionary. Not collective.
        """
        return Explanation(json.loads(self.context.explain()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.finalize()
        else:
            # Leaving without a goodbye tells the other ranks at once that this one has failed.
            self._context = None

    def __repr__(self) -> str:
        if self._context is None:
            return "CylonEnv(finalized)"
        return f"CylonEnv(rank={self.rank}, world_size={self.world_size})"


def _option_texts(options: dict[str, object]) -> dict[str, str]:
    return {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in options.items()}


def _source_of_secret(config: ServerlessConfig | None, options: dict[str, object]) -> SecretSource | None:
    """Return where the secret is to be fetched from; None where the core finds it, or none is needed."""
    if config is not None and config.secret is not None:
        return secret_source(config.secret) if isinstance(config.secret, str) else config.secret
    reference = os.environ.get(VARIABLE, "")
    if not reference or {"secret", "secret_file"} & options.keys():
        return None
    if os.environ.get("CYLON_SECRET") or os.environ.get("CYLON_SECRET_FILE"):
        return None  # a launcher's own
    # A world of one rank asks no service.
    meets = {"store", "rendezvous", "redis"} & options.keys() or any(
        os.environ.get(name) for name in ("CYLON_STORE", "CYLON_RENDEZVOUS", "CYLON_REDIS")
    )
    try:
        return secret_source(reference) if meets else None
    except ValueError as error:
        raise ValueError(f"{VARIABLE}: {error}") from None


def _secret_from(source: SecretSource | None) -> dict[str, str]:
    return {} if source is None else {"secret": fetch_secret(source)}
