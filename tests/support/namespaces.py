"""Namespaces of a test's own network: their names, what runs inside, and how they go.

Nothing of the machine's own network is touched: every interface is born in a namespace of ours. Making one takes root.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
import os
import subprocess
from pathlib import Path

__all__ = ["Namespaces", "command"]

_FOLDER = Path("/run/netns")
_numbers = itertools.count()


def command(*words: str, script: str | None = None) -> str:
    """Run a command, with a script as its input, and return what it printed."""
    try:
        done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise OSError(f"{words[0]} is not there: {error}; scripts/setup.sh installs it") from error
    if done.returncode != 0:
        needed = "a network of namespaces needs root and what scripts/setup.sh installs"
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}; {needed}")
    return done.stdout


class Namespaces(abc.ABC):
    """Some namespaces whose names begin alike, with the process and a number, so that no two networks meet."""

    def __init__(self) -> None:
        self._prefix = f"cylon-{os.getpid()}-{next(_numbers)}-"
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._make()
            undo.pop_all()

    @abc.abstractmethod
    def _make(self) -> None:
        """Make the network; what is there when this fails is removed again."""

    def _named(self, part: str) -> str:
        return self._prefix + part

    def _enter(self, namespace: str) -> list[str]:
        return ["nsenter", f"--net={_FOLDER / namespace}"]

    def _port_state(self, namespace: str, port: str, state: int) -> None:
        """Let a port of a bridge pass frames (3) or swallow them (0): the link stays up, nobody is told."""
        command("bridge", "-n", namespace, "link", "set", "dev", port, "state", str(state))

    def close(self) -> None:
        """Remove it all."""
        # Asked of the system, not remembered: it may have been made in part only.
        names = [path.name for path in _FOLDER.glob(self._prefix + "*")]
        if names:
            command("ip", "-force", "-batch", "-", script="".join(f"netns del {name}\n" for name in names))
