"""What Cylon raises beyond Python's own exceptions."""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "CollectiveMismatchError",
    "CylonError",
    "DeadlineError",
    "InputOutputError",
    "IsolatedError",
    "LinkLostError",
    "OutOfMemoryError",
    "ProtocolError",
    "RankFailedError",
    "RankTakenError",
]


class CylonError(Exception):
    """Base of all errors that are not the caller's bad argument.

    Attributes
    ----------
    rank : int or None
        The rank that failed, the peer, or the rank on which the error arose.
    other : int or None
        The other end of a link that was lost.
    host : str
        Where that rank runs, if it is known.
    operation : str
        The operation that this rank was in.
    sequence : int
        Its number among the communicator's operations.
    cause : str
        What was seen of the failure.
    agreed : bool
        False where the ranks could not settle whose finding counts.
    """

    rank: int | None = None
    other: int | None = None
    host: str = ""
    operation: str = ""
    sequence: int = 0
    cause: str = ""
    agreed: bool = True


class RankFailedError(CylonError):
    """A rank is gone. The environment cannot be used any more; what was not written is lost."""


class LinkLostError(CylonError):
    """Two ranks live, and nothing passes between them any more. The environment cannot be used any more."""


class IsolatedError(CylonError):
    """No other rank is reached from here. The environment cannot be used any more."""


class RankTakenError(CylonError, ValueError):
    """Another process has the rank that this one was given. Trying again is in vain: end this process."""


class CollectiveMismatchError(CylonError, ValueError):
    """Ranks made different calls, or the same call with other types or schemas."""


class ProtocolError(CylonError):
    """A peer sent bytes that do not follow the protocol."""


class DeadlineError(CylonError, TimeoutError):
    """Something did not happen in the time it was given."""


class AuthenticationError(CylonError):
    """The job's secret is missing, malformed, or not the one the other side has."""


class OutOfMemoryError(CylonError, MemoryError):
    """Over the rank's memory budget, with nothing left to spill."""


class InputOutputError(CylonError, OSError):
    """A file or a connection could not be read or written."""


# By the number of the kind in the C++ core (cylon/base/error.h).
_KINDS: dict[int, type[CylonError]] = {
    1: RankFailedError,
    2: CollectiveMismatchError,
    3: ProtocolError,
    4: DeadlineError,
    5: AuthenticationError,
    6: OutOfMemoryError,
    8: LinkLostError,
    9: IsolatedError,
    10: RankTakenError,
}

_CODES: dict[str, type[BaseException]] = {
    "Invalid": ValueError,
    "Key error": KeyError,
    "Type error": TypeError,
    "Index error": IndexError,
    "NotImplemented": NotImplementedError,
    "Out of memory": OutOfMemoryError,
    "IOError": InputOutputError,
    "Cancelled": KeyboardInterrupt,
}


class _ReadableKeyError(KeyError):
    """A KeyError whose text is shown as it is, not as a quoted representation."""

    def __str__(self) -> str:
        return str(self.args[0])


_ReadableKeyError.__name__ = _ReadableKeyError.__qualname__ = "KeyError"
_ReadableKeyError.__module__ = "builtins"


def from_status(
    code: str,
    message: str,
    kind: int,
    rank: int,
    other: int,
    host: str,
    operation: str,
    sequence: int,
    cause: str,
    agreed: bool,
) -> BaseException:
    """Make the exception for a status of the core."""
    chosen: type[BaseException] = _KINDS.get(kind) or _CODES.get(code, CylonError)
    if chosen is KeyError:
        chosen = _ReadableKeyError
    error = chosen(message)
    if isinstance(error, CylonError):
        error.rank = rank if rank >= 0 else None
        error.other = other if other >= 0 else None
        error.host = host
        error.operation = operation
        error.sequence = sequence
        error.cause = cause
        error.agreed = agreed
    return error
