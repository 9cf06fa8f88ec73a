"""Two ranks that try to reach each other through their gateways, with sockets that the test itself holds."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time

from nat_kinds import Kind
from nat_lab import Lab

__all__ = ["DEADLINE_S", "QUIET_S", "Endpoint", "dial_directly", "open_port", "outcome", "punch"]

DEADLINE_S = 60  # for what has to happen
QUIET_S = 0.5  # after so long nothing will come any more, since all of it is one machine


def open_port(lab: Lab, function: int | None, family: socket.AddressFamily, port: int = 0) -> socket.socket:
    """A socket with a local port that others of the function may use as well."""
    made = lab.open_socket(function, family)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    made.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    return made


def outcome(dialled: socket.socket, wait_s: float = DEADLINE_S) -> str:
    """How a connection that is being opened fares: "open", "refused", or "silent" after so long."""
    poll = select.poll()
    poll.register(dialled, select.POLLOUT)
    if not poll.poll(wait_s * 1000):
        return "silent"
    error = dialled.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error == 0:
        return "open"
    if error == errno.ECONNREFUSED:
        return "refused"
    raise OSError(error, f"dialling from {dialled.getsockname()}")


class Endpoint:
    """A local port of a function, and what servers in the public network see of it."""

    def __init__(self, lab: Lab, function: int, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.lab, self.function, self.family = lab, function, family
        with contextlib.ExitStack() as stack:
            self._holder = stack.enter_context(open_port(lab, function, family))
            self.port: int = self._holder.getsockname()[1]
            # Kept open, as a rank keeps its connection to the server: the gateway remembers the port by it.
            self._servers = [stack.enter_context(contextlib.closing(each)) for each in self._register(3)]
            self._stack = stack.pop_all()
        self.seen: list[tuple[str, int]] = [server.getpeername()[:2] for server in self._servers[::2]]
        """The address and port that each of three servers sees."""

    @classmethod
    def of(cls, lab: Lab, kind: Kind, nth: int = 0) -> Endpoint:
        """A port of a function of a kind: of the first, or of another that there is."""
        return cls(lab, lab.of(kind)[nth], socket.AF_INET if kind.ipv4 else socket.AF_INET6)

    def _register(self, servers: int) -> list[socket.socket]:
        made: list[socket.socket] = []
        address = self.lab.ADDRESS6 if self.family == socket.AF_INET6 else self.lab.ADDRESS
        for _ in range(servers):
            with self.lab.open_socket(None, self.family) as listener:
                listener.bind((address, 0))
                listener.listen()
                listener.settimeout(DEADLINE_S)
                own = self.dial(listener.getsockname()[:2])
                assert outcome(own) == "open"
                made += [listener.accept()[0], own]
        return made

    @property
    def connection(self) -> tuple[socket.socket, socket.socket]:
        """One of its connections to a server: the server's end, and the function's own."""
        return self._servers[0], self._servers[1]

    def dial(self, target: tuple[str, int]) -> socket.socket:
        """Begin to connect to an address, from the local port."""
        dialled = open_port(self.lab, self.function, self.family, self.port)
        dialled.setblocking(False)
        error = dialled.connect_ex(target)
        if error not in (0, errno.EINPROGRESS):
            dialled.close()
            raise OSError(error, f"function {self.function} dials {target} from port {self.port}: {os.strerror(error)}")
        return dialled

    def listen(self) -> socket.socket:
        """Listen at the local port."""
        listener = open_port(self.lab, self.function, self.family, self.port)
        listener.listen()
        return listener

    def close(self) -> None:
        """Close what it holds."""
        self._stack.close()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _greet(one: socket.socket, other: socket.socket) -> None:
    """See that two sockets are the ends of one connection."""
    for here, there, word in ((one, other, b"from one"), (other, one, b"from other")):
        here.settimeout(DEADLINE_S)
        there.settimeout(DEADLINE_S)
        here.sendall(word)
        assert there.recv(len(word), socket.MSG_WAITALL) == word


def dial_directly(caller: Endpoint, callee: Endpoint, wait_s: float = DEADLINE_S) -> str:
    """How it ends when only one of two dials, where the other is seen and listens."""
    with callee.listen() as listener, caller.dial(callee.seen[0]) as dialled:
        how = outcome(dialled, wait_s)
        if how == "open":
            listener.settimeout(DEADLINE_S)
            accepted, _ = listener.accept()
            with accepted:
                _greet(dialled, accepted)
        return how


def punch(one: Endpoint, other: Endpoint, wait_s: float = DEADLINE_S) -> tuple[socket.socket, socket.socket] | None:
    """The ends of the connection that two make who dial each other where they are seen; None: they make none.

    Each keeps one socket that goes on connecting; where one is refused, it dials again from the same port. They dial in
    turn, the one first, and never at the same moment: so no outcome is a matter of luck.
    """
    dialled: dict[Endpoint, socket.socket] = {}
    deadline = time.monotonic() + wait_s
    try:
        while time.monotonic() < deadline:
            for me, peer in ((one, other), (other, one)):
                if me not in dialled:
                    dialled[me] = me.dial(peer.seen[0])
                if outcome(dialled[me], 0.1) == "refused":
                    dialled.pop(me).close()
            if len(dialled) == 2 and all(outcome(each, 0) == "open" for each in dialled.values()):
                _greet(dialled[one], dialled[other])
                return dialled.pop(one), dialled.pop(other)
        return None
    finally:
        for each in dialled.values():
            each.close()
