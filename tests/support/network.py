"""A small network of its own for each rank: namespaces on one bridge, whose ports fall silent when told to.

Nothing of the machine's own network is touched. Making one takes root.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess

__all__ = ["Network"]

_numbers = itertools.count()


def _ip(*words: str, tool: str = "ip") -> None:
    done = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{tool} {' '.join(words)}: {done.stderr.strip()}; a network of namespaces needs root")


class Network:
    """A hub with a bridge, and hosts on it: 10.77.0.1 is the hub, 10.77.0.(2 + n) is host n."""

    HUB_ADDRESS = "10.77.0.1"

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self._name = f"cylon-{os.getpid()}-{next(_numbers)}"
        self._silent: list[tuple[int, int]] = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._make()
            undo.pop_all()

    def _make(self) -> None:
        _ip("netns", "add", self.namespace(None))
        _ip("-n", self.namespace(None), "link", "set", "lo", "up")
        _ip("-n", self.namespace(None), "link", "add", "hub", "type", "bridge")
        _ip("-n", self.namespace(None), "addr", "add", f"{self.HUB_ADDRESS}/24", "dev", "hub")
        _ip("-n", self.namespace(None), "link", "set", "hub", "up")
        for host in range(self.hosts):
            inside, outside = self.namespace(host), self.namespace(None)
            _ip("netns", "add", inside)
            _ip("-n", outside, "link", "add", f"host{host}", "type", "veth", "peer", "name", "eth0", "netns", inside)
            _ip("-n", outside, "link", "set", f"host{host}", "master", "hub", "up")
            _ip("-n", inside, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", inside, "link", "set", "lo", "up")
            _ip("-n", inside, "link", "set", "eth0", "up")

    def namespace(self, host: int | None) -> str:
        """The namespace of a host; None: of the hub."""
        return f"{self._name}-{'hub' if host is None else host}"

    def address(self, host: int) -> str:
        """Where a host is reached."""
        return f"10.77.0.{2 + host}"

    def inside(self, host: int | None) -> list[str]:
        """What to write before a command that is to run at a host."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(host)}"]

    def isolate(self, host: int) -> None:
        """Nothing reaches the host any more and nothing that it sends arrives; nobody is told."""
        self._port_state(host, 0)

    def silence(self, one: int, other: int) -> None:
        """Nothing passes between the two any more; nobody is told, and with others both go on."""
        self._silent.append((one, other))
        for here, there in ((one, other), (other, one)):
            address = self.address(there)
            place = ("-n", self.namespace(here), "neigh", "replace", address)
            _ip(*place, "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "eth0")  # a machine that is not there

    def heal(self) -> None:
        """Everything passes again."""
        for host in range(self.hosts):
            self._port_state(host, 3)
        for pair in self._silent:
            for here, there in (pair, pair[::-1]):
                _ip("-n", self.namespace(here), "neigh", "del", self.address(there), "dev", "eth0")
        self._silent.clear()

    def _port_state(self, host: int, state: int) -> None:
        _ip("-n", self.namespace(None), "link", "set", "dev", f"host{host}", "state", str(state), tool="bridge")

    def close(self) -> None:
        """Remove it all."""
        for host in (*range(self.hosts), None):
            with contextlib.suppress(OSError):
                _ip("netns", "del", self.namespace(host))
