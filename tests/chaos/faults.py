"""What is done to a job, and when."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from nat_lab import Lab
from world import Server, Timeout, World

__all__ = ["strike", "wait_for_phase"]

_PIDFD_GETFD = 438  # the number of the system call, on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


def wait_for_phase(world: World, deadline: float) -> None:
    """Return at the moment that the case asks for."""
    case = world.case
    everybody = range(case.ranks)
    if case.phase == "joining":
        begun = case.victims or everybody
        world.wait_for("joining", lambda: all(world.noted(rank, "joining") for rank in begun), deadline)
    else:
        world.wait_for(
            f"round {case.round}", lambda: all(world.noted(rank, "round", case.round) for rank in everybody), deadline
        )
    time.sleep(case.delay)  # the moment is what is drawn


def strike(world: World, server: Server | None, peer_timeout: float) -> float:
    """Do it, to `server` where it is a server's; the moment at which it was done, on the clock of the diaries."""
    case = world.case
    pids = [world.pid(rank) for rank in case.victims]
    if case.fault == "cut":
        return _cut(*pids, by_ports=bool(case.gateways))
    if case.fault in ("blackhole", "silence", "gateway"):
        assert world.network is not None
        moment = time.monotonic()
        if case.fault == "blackhole":
            world.network.isolate(case.victims[0])
        elif case.fault == "silence":
            world.network.silence(*case.victims)
        else:
            assert isinstance(world.network, Lab)
            world.network.restart(case.victims[0])
        return moment
    if case.fault in ("store", "restart"):
        assert server is not None
        server.kill()
        if case.fault == "restart":
            server.start()
        return time.monotonic()
    number = signal.SIGKILL if case.fault == "kill" else signal.SIGSTOP
    moment = time.monotonic()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it had come to its end before
            os.kill(pid, number)
    if case.fault == "slow":
        time.sleep(peer_timeout / 2)  # that is the fault
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    return moment


def _sockets(pid: int) -> dict[int, int]:
    """Descriptors of a process that are sockets: inode to descriptor."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(entry)
            if target.startswith("socket:["):
                found[int(target[8:-1])] = int(entry.name)
    return found


def _tcp_connections(pid: int) -> dict[tuple[str, str], int]:
    """Established TCP connections of a process: (local, remote) address as the kernel writes it, to descriptor."""
    sockets = _sockets(pid)
    found = {}
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and int(fields[9]) in sockets:
            found[(fields[1], fields[2])] = sockets[int(fields[9])]
    return found


def _unix_peers() -> dict[int, int]:
    """Inode to inode of the other end, of every connected Unix socket."""
    lines = subprocess.run(["ss", "-xH"], capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split() for line in lines]  # kind, state, two queues, address, inode, address of the peer, inode
    return {int(words[5]): int(words[7]) for words in fields if len(words) >= 8 and words[5].isdigit()}


def _between(one: int, other: int, by_ports: bool) -> list[int]:
    """Descriptors of process `one` whose other end process `other` has; through gateways, that keep their ports."""

    def key(address: str) -> str:
        return address.rpartition(":")[2] if by_ports else address

    theirs = {(key(local), key(remote)) for local, remote in _tcp_connections(other)}
    found = [fd for (local, remote), fd in _tcp_connections(one).items() if (key(remote), key(local)) in theirs]
    ends = _sockets(other)
    peers = _unix_peers()
    return found + [fd for inode, fd in _sockets(one).items() if peers.get(inode) in ends]


def _shut_down(pid: int, descriptor: int) -> None:
    """End a connection of another process, as a network that resets it would."""
    process = os.pidfd_open(pid)
    try:
        own = _libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
        if own < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd: cutting connections needs the rights of a debugger")
    finally:
        os.close(process)
    with socket.socket(fileno=own) as connection, contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _cut(one: int, other: int, by_ports: bool) -> float:
    descriptors = _between(one, other, by_ports)
    if not descriptors:
        raise Timeout("no connection between the two to cut")
    moment = time.monotonic()
    for descriptor in descriptors:
        _shut_down(one, descriptor)
    return moment
