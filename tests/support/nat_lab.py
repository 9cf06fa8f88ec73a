"""Functions behind gateways on one machine: each in a namespace of its own, around one public network.

    lab = Lab(SYMMETRIC, SHARED)   # function 0; functions 1 and 2
    subprocess.run([*lab.inside(0), "program"])
    listener = lab.open_socket(None)    # at the public network's own host

Names of interfaces: ``eth0`` in a function; ``lan`` (a bridge with a port for each function) and ``wan`` in a gateway;
``hub`` (a bridge with a port for each gateway) in the public network. Over IPv4 its host stands between all others, so
that each has one neighbour: the table of neighbours is the machine's, and too small for all pairs of some dozens.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from namespaces import Namespaces, command
from nat_kinds import Kind

__all__ = ["BUILD", "Lab"]

BUILD = Path(os.environ.get("CYLON_BUILD", Path(__file__).resolve().parents[2] / "build" / "release"))
_WIRE = BUILD / "bin" / "lab-wire"
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_DEADLINE_S = 60
_Made = TypeVar("_Made")
# A link whose ends have the same number in their namespaces is taken by Linux for one without another end, which then
# lets a second pass before it carries anything. So gateways have one that no port of the public network gets.
_WAN_INDEX = 1000
_LENGTH = {socket.AF_INET: 24, socket.AF_INET6: 64}  # of every network's prefix
_PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")


@dataclasses.dataclass(frozen=True)
class _Gateway:
    """A gateway, and how it is tied to what lies further out."""

    kind: Kind
    namespace: str
    addresses: list[str]
    """Of its outer interface."""
    next_hops: list[str]
    networks: list[str]
    """Behind it; its own address in each ends in 1."""
    functions: list[str]
    """The namespaces at the ports of its bridge."""
    outside: tuple[str, str]
    """The namespace in which its link ends, and the name that the end has there."""


@dataclasses.dataclass(frozen=True)
class _Function:
    kind: Kind
    namespace: str
    gateways: list[_Gateway]
    """From the nearest one outwards."""
    port: tuple[str, str]
    """The namespace and the name of the port of a bridge at which its link ends."""
    addresses: dict[socket.AddressFamily, str]
    public: dict[socket.AddressFamily, str]
    next_hops: list[str]


class Lab(Namespaces):
    """A public network with a host of its own, and functions around it as the kinds say, numbered from 0."""

    ADDRESS = "203.0.113.1"
    """Where servers in the public network are reached."""
    ADDRESS6 = "2001:db8::1"
    MOST = 250
    """So many kinds have addresses in the public network."""

    def __init__(self, *kinds: Kind) -> None:
        if len(kinds) > self.MOST:
            raise ValueError(f"{len(kinds)} gateways asked for, and the public network has addresses for {self.MOST}")
        self.kinds = kinds
        self.functions: list[_Function] = []
        self._gateways: list[_Gateway] = []
        self._wires: list[subprocess.Popen[str]] = []
        super().__init__()

    # What a test asks.

    @property
    def kinds_of(self) -> list[Kind]:
        """Of each function."""
        return [function.kind for function in self.functions]

    def of(self, kind: Kind) -> list[int]:
        """The functions of a kind."""
        return [number for number, function in enumerate(self.functions) if function.kind == kind]

    def namespace(self, function: int | None) -> str:
        """The namespace of a function; None: of the public network."""
        return self._named("pub" if function is None else f"f{function}")

    def inside(self, function: int | None) -> list[str]:
        """What to write before a command that is to run at a function; None: in the public network."""
        return self._enter(self.namespace(function))

    def inside_gateway(self, function: int) -> list[str]:
        """What to write before a command that is to run in the gateway nearest to a function."""
        return self._enter(self._on_the_way(function)[0].namespace)

    def call(self, function: int | None, make: Callable[[], _Made]) -> _Made:
        """What `make` gives at a function, or in the public network: its sockets and its threads stay there."""
        path = f"/run/netns/{self.namespace(function)}"

        def there() -> _Made:
            with open(path) as namespace:
                if _LIBC.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    error = ctypes.get_errno()
                    raise OSError(error, f"setns to {path}: {os.strerror(error)}; entering a namespace needs root")
            return make()

        # A socket or a thread stays in the namespace in which it was born; the thread that went there is thrown away.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(there).result()

    def open_socket(
        self, function: int | None, family: socket.AddressFamily = socket.AF_INET, kind: int = socket.SOCK_STREAM
    ) -> socket.socket:
        """A socket that belongs to a function, or to the public network, and that this process holds."""
        return self.call(function, lambda: socket.socket(family, kind))

    def address(self, function: int, family: socket.AddressFamily = socket.AF_INET) -> str:
        """The address that a function itself knows of."""
        return self.functions[function].addresses[family]

    def public_address(self, function: int, family: socket.AddressFamily = socket.AF_INET) -> str:
        """The address at which the public network sees a function."""
        return self.functions[function].public[family]

    def isolate(self, function: int) -> None:
        """Nothing reaches the function any more and nothing that it sends arrives; nobody is told."""
        self._port_state(*self.functions[function].port, 0)

    def heal(self, function: int) -> None:
        """Packets pass again."""
        self._port_state(*self.functions[function].port, 3)

    def silence(self, one: int, other: int) -> None:
        """Nothing passes straight between the two any more; nobody is told, and what goes by a third passes."""
        for here, there in ((one, other), (other, one)):
            own = {*self.functions[here].addresses.values()}
            theirs = [self.functions[there].public, self.functions[there].addresses]
            lines = ""
            for family, word in ((socket.AF_INET, "ip"), (socket.AF_INET6, "ip6")):
                for address in sorted({each[family] for each in theirs if family in each} - own):
                    lines += f"add rule inet silence out {word} daddr {address} drop\n"
                    lines += f"add rule inet silence in {word} saddr {address} drop\n"
            hooks = "".join(
                f"add chain inet silence {chain} {{ type filter hook {chain}put priority 0; }}\n"
                for chain in ("in", "out")
            )
            command(*self.inside(here), "nft", "-f", "-", script=f"add table inet silence\n{hooks}{lines}")

    def forward(self, function: int, port: int) -> None:
        """Whoever dials that port of the public address reaches the function at the same port, over IPv4."""
        (gateway,) = self._on_the_way(function)
        rule = ["iifname", "wan", "tcp", "dport", str(port), "dnat", "ip", "to", self.address(function)]
        command(*self._enter(gateway.namespace), "nft", "add", "rule", "inet", "gateway", "arriving", *rule)

    def restart(self, function: int) -> None:
        """The gateways between a function and the public network forget all connections, as by a restart."""
        for gateway in self._on_the_way(function):
            command(*self._enter(gateway.namespace), "conntrack", "-F")
            command(*self._enter(gateway.namespace), "nft", "flush", "map", "inet", "gateway", "opened")

    def remembered(self, function: int) -> int:
        """How many connections the gateway nearest to a function knows of."""
        # The kernel's own count goes down only when it tidies up; listing them drops what has expired.
        return len(command(*self.inside_gateway(function), "conntrack", "-L").splitlines())

    def _on_the_way(self, function: int) -> list[_Gateway]:
        gateways = self.functions[function].gateways
        if not gateways:
            raise ValueError(
                f"function {function} is in the public network and has no gateway; ask one of another kind"
            )
        return gateways

    def close(self) -> None:
        """Remove it all."""
        for wire in self._wires:
            assert wire.stdin is not None
            wire.stdin.close()
        for wire in self._wires:
            try:
                wire.wait(_DEADLINE_S)
            except subprocess.TimeoutExpired:
                wire.kill()
                wire.wait()
            for stream in (wire.stdout, wire.stderr):
                assert stream is not None
                stream.close()
        self._wires.clear()
        super().close()

    # How it is made: one batch of links and one script of rules for each gateway, gateways at the same time.

    def _make(self) -> None:
        for number, kind in enumerate(self.kinds):
            self._plan(number, kind)
        pub = self.namespace(None)
        names = [pub, *(gateway.namespace for gateway in self._gateways), *(each.namespace for each in self.functions)]
        command("ip", "-batch", "-", script="".join(f"netns add {name}\n" for name in names))
        self._make_pub()
        outermost = [gateway for gateway in self._gateways if gateway.outside[0] == pub]
        nearer = [gateway for gateway in self._gateways if gateway.outside[0] != pub]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._make_gateway, outermost))
            list(pool.map(self._make_gateway, nearer))  # their links end at bridges of those
            list(pool.map(self._make_function, self.functions))
        lines = [f"link set {gateway.outside[1]} master hub up" for gateway in outermost]
        lines += [
            f"route add {network}0/{_LENGTH[_family(network)]} via {address}"
            for gateway in outermost
            for network in gateway.networks
            for address in gateway.addresses
            if _family(network) == _family(address) == socket.AF_INET6
        ]
        _batch(pub, lines)

    def _plan(self, number: int, kind: Kind) -> None:
        """Give names and addresses to what a kind asks for."""
        pub = self.namespace(None)
        public, public6 = f"203.0.113.{2 + number}", f"2001:db8::{2 + number:x}"
        if not kind.gateway:
            addresses = {socket.AF_INET: public, socket.AF_INET6: public6}
            hops = [self.ADDRESS, self.ADDRESS6]
            name = self.namespace(len(self.functions))
            self.functions.append(_Function(kind, name, [], (pub, f"p{number}"), addresses, addresses, hops))
            return

        own = [address for wanted, address in ((kind.ipv4, public), (kind.ipv6, public6)) if wanted]
        hops = [hop for wanted, hop in ((kind.ipv4, self.ADDRESS), (kind.ipv6, self.ADDRESS6)) if wanted]
        outside = (pub, f"p{number}")
        gateways: list[_Gateway] = []
        nearest = self._named(f"g{number}")
        if kind.outer is not None:
            outer, network = self._named(f"o{number}"), f"100.64.{number}."
            gateways.append(_Gateway(kind.outer, outer, own, hops, [network], [nearest], outside))
            own, hops, outside = [f"{network}2"], [f"{network}1"], (outer, "f0")

        networks = [f"{kind.private or f'10.{number}.0'}."] if kind.ipv4 else []
        networks += [f"2001:db8:0:{1 + number:x}::"] if kind.ipv6 else []
        names = [self.namespace(len(self.functions) + k) for k in range(kind.functions)]
        gateways.insert(0, _Gateway(kind, nearest, own, hops, networks, names, outside))
        self._gateways += gateways
        for k, name in enumerate(names):
            addresses = {_family(network): f"{network}{2 + k}" for network in networks}
            seen = {family: public if family == socket.AF_INET else own6 for family, own6 in addresses.items()}
            within = [f"{network}1" for network in networks]
            self.functions.append(_Function(kind, name, gateways, (nearest, f"f{k}"), addresses, seen, within))

    def _make_pub(self) -> None:
        lines = ["link set lo up", "link add hub type bridge mcast_snooping 0"]
        lines += _configure("hub", [self.ADDRESS, self.ADDRESS6], [])
        for each in self.functions:
            if not each.gateways:
                lines.append(f"link add {each.port[1]} type veth peer name eth0 netns {each.namespace}")
                lines.append(f"link set {each.port[1]} master hub up")
        lines += [f"route add blackhole {network}" for network in _PRIVATE]  # nobody is told, as out there
        settings = {"ipv4/ip_forward": 1, "ipv4/conf/all/send_redirects": 0, "ipv4/conf/default/send_redirects": 0}
        # IPv6: to the networks behind gateways.
        self._set(self.namespace(None), {**settings, "ipv6/conf/all/forwarding": 1})
        _batch(self.namespace(None), lines)

    def _make_gateway(self, gateway: _Gateway) -> None:
        kind, (outside, port) = gateway.kind, gateway.outside
        self._set(gateway.namespace, kind.settings, kind.rules)
        lines = ["link set lo up", "link add lan type bridge mcast_snooping 0"]
        lines += _configure("lan", [f"{network}1" for network in gateway.networks], [])
        for k, function in enumerate(gateway.functions):
            # At a nearer gateway the link's end is its outer interface.
            peer = "eth0" if function in (each.namespace for each in self.functions) else "wan"
            lines.append(f"link add f{k} type veth peer name {peer} netns {function}")
            lines.append(f"link set f{k} master lan up")
        if kind.wired:
            self._start_wire(gateway)
        elif outside == self.namespace(None):
            lines.append(f"link add wan index {_WAN_INDEX} type veth peer name {port} netns {outside}")
        lines += _configure("wan", gateway.addresses, gateway.next_hops)
        _batch(gateway.namespace, lines)
        if kind.megabytes_per_s is not None:
            for k, function in enumerate(gateway.functions):
                for namespace, device in ((gateway.namespace, f"f{k}"), (function, "eth0")):
                    rate = ("rate", f"{kind.megabytes_per_s * 8}mbit", "burst", "256kb", "latency", "50ms")
                    command("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", *rate)

    def _make_function(self, function: _Function) -> None:
        _batch(
            function.namespace,
            ["link set lo up", *_configure("eth0", list(function.addresses.values()), function.next_hops)],
        )

    def _set(self, namespace: str, settings: dict[str, int], rules: str = "") -> None:
        # No second of waiting whether somebody else claims an IPv6 address: a router asks for nobody meanwhile.
        settings = {**settings, "ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0}
        # Frames that a bridge passes on are none of the packet rules' business, unless the kernel is told so.
        bridge = "for each in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do\n"
        bridge += "if [ -e $each ]; then echo 0 > $each; fi\ndone\n"
        lines = "".join(f"echo {value} > /proc/sys/net/{name}\n" for name, value in settings.items())
        command(*self._enter(namespace), "sh", "-e", script=f"{bridge}{lines}nft -f - <<'END'\n{rules}\nEND\n")

    def _start_wire(self, gateway: _Gateway) -> None:
        kind, (outside, port) = gateway.kind, gateway.outside
        words = ["wan", port, f"--delay-ms={kind.round_trip_ms / 2}", f"--syn-loss={kind.syn_loss}"]
        # Each loses others, or one packet of every function would be lost at once.
        words.append(f"--seed={1 + self._gateways.index(gateway)}")
        wire = subprocess.Popen(
            [*self._enter(gateway.namespace), str(_WIRE), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._wires.append(wire)
        assert wire.stdout is not None
        assert wire.stderr is not None
        if wire.stdout.readline() != "ready\n":
            raise OSError(f"{_WIRE.name} {' '.join(words)}: {wire.stderr.read().strip()}")
        command("ip", "-n", gateway.namespace, "link", "set", "dev", port, "netns", outside)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _configure(device: str, addresses: list[str], next_hops: list[str]) -> list[str]:
    """Lines for ``ip -batch`` that bring a device up."""
    # nodad: an IPv6 address would else be of no use for a second, until nobody has claimed it.
    lines = [
        f"addr add {address}/{32 if Lab.ADDRESS in next_hops and family == socket.AF_INET else _LENGTH[family]}"
        + f" dev {device}{' nodad' if family == socket.AF_INET6 else ''}"
        for address in addresses
        for family in (_family(address),)
    ]
    lines.append(f"link set {device} up")
    for hop in next_hops:
        if hop == Lab.ADDRESS:
            lines.append(f"route add {hop} dev {device}")
        lines.append(f"route add default via {hop}")
    return lines


def _batch(namespace: str, lines: list[str]) -> None:
    command("ip", "-n", namespace, "-batch", "-", script="\n".join(lines) + "\n")
