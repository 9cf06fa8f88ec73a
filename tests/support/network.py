"""A small network of its own for each rank: namespaces on one bridge, whose ports fall silent when told to."""

from __future__ import annotations

from namespaces import Namespaces, command

__all__ = ["Network"]


class Network(Namespaces):
    """A hub with a bridge, and hosts on it: 10.77.0.1 is the hub, 10.77.0.(2 + n) is host n."""

    ADDRESS = "10.77.0.1"
    """Where servers at the hub are reached."""

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self._silent: list[tuple[int, int]] = []
        super().__init__()

    def _make(self) -> None:
        hub = self.namespace(None)
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "set", "lo", "up")
        _ip("-n", hub, "link", "add", "hub", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{self.ADDRESS}/24", "dev", "hub")
        _ip("-n", hub, "link", "set", "hub", "up")
        for host in range(self.hosts):
            inside = self.namespace(host)
            _ip("netns", "add", inside)
            _ip("-n", hub, "link", "add", f"host{host}", "type", "veth", "peer", "name", "eth0", "netns", inside)
            _ip("-n", hub, "link", "set", f"host{host}", "master", "hub", "up")
            _ip("-n", inside, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", inside, "link", "set", "lo", "up")
            _ip("-n", inside, "link", "set", "eth0", "up")

    def namespace(self, host: int | None) -> str:
        """The namespace of a host; None: of the hub."""
        return self._named("hub" if host is None else str(host))

    def address(self, host: int) -> str:
        """Where a host is reached."""
        return f"10.77.0.{2 + host}"

    def inside(self, host: int | None) -> list[str]:
        """What to write before a command that is to run at a host."""
        return self._enter(self.namespace(host))

    def isolate(self, host: int) -> None:
        """Nothing reaches the host any more and nothing that it sends arrives; nobody is told."""
        self._port_state(self.namespace(None), f"host{host}", 0)

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
            self._port_state(self.namespace(None), f"host{host}", 3)
        for pair in self._silent:
            for here, there in (pair, pair[::-1]):
                _ip("-n", self.namespace(here), "neigh", "del", self.address(there), "dev", "eth0")
        self._silent.clear()


def _ip(*words: str) -> None:
    command("ip", *words)
