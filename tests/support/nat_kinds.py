"""The kinds of gateway that a network of functions (`nat_lab.Lab`) can have, and the packet rules that make them so."""

from __future__ import annotations

import dataclasses
import enum

__all__ = [
    "CAPPED",
    "DISTANT",
    "FORGETFUL",
    "FULL_CONE",
    "IDLE",
    "IPV6_ONLY",
    "KINDS",
    "LOSSY",
    "MOVING",
    "PUBLIC",
    "RESETTING",
    "RESTRICTED",
    "SAME_PRIVATE",
    "SHARED",
    "SYMMETRIC",
    "TWO_IN_A_ROW",
    "Kind",
    "Ports",
]

MOVED_PORTS = (20000, 29999)  # below what Linux hands out by itself (32768-60999), so a port of those always moves


class Ports(enum.Enum):
    """What a gateway makes of the local port of a connection."""

    KEPT = "masquerade"
    # Linux looks first for a port that the same private address and port has already: one port, whatever the target.
    MOVED = f"meta l4proto {{ tcp, udp }} masquerade to :{MOVED_PORTS[0]}-{MOVED_PORTS[1]}"
    DRAWN = "masquerade fully-random"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """What stands between functions and the public network; ``dataclasses.replace`` makes other kinds of it."""

    says: str
    """What it does, in a sentence."""
    gateway: bool = True
    """False: the function stands in the public network itself."""
    ports: Ports = Ports.KEPT
    cone: bool = False
    """Whoever sends to a port that a function has sent from is let in."""
    resets: bool = False
    """A TCP packet that belongs to no connection is answered with RST, and else it is dropped."""
    strict: bool = False
    """A packet from the middle of an unknown connection does not make the connection known (Linux does that)."""
    idle_s: int | None = None
    """After so much silence an open connection is forgotten; None: after days."""
    megabytes_per_s: float | None = None
    """What each function's link carries, each way."""
    round_trip_ms: float = 0
    """How much longer a packet to the public network and its answer take."""
    syn_loss: float = 0
    """The share of packets that open a connection which is lost, each way."""
    functions: int = 1
    """How many stand behind the one gateway."""
    private: str | None = None
    """The first three bytes of the private addresses; None: others for each gateway of the network."""
    outer: Kind | None = None
    """The gateway behind which this one stands."""
    ipv4: bool = True
    ipv6: bool = False
    """Each function has a public IPv6 address; the gateway lets in only what belongs to a connection from inside."""

    def __post_init__(self) -> None:
        if not (self.ipv4 or self.ipv6):
            raise ValueError("a function needs an address; leave it ipv4, ipv6 or both")
        alone = self.functions == 1 and self.outer is None
        if not self.gateway and not (alone and self.ipv4 and self.megabytes_per_s is None and not self.wired):
            raise ValueError("a function without a gateway has a plain link of its own; give it a gateway for the rest")
        if self.outer is not None and (self.ipv6 or self.wired or self.outer.outer is not None):
            raise ValueError("two gateways in a row carry IPv4, and delay and loss are the outer one's; set them there")
        if self.cone and (self.functions > 1 or self.ports is not Ports.KEPT):
            raise ValueError("a full cone has one function and keeps its ports; leave functions and ports as they are")

    @property
    def wired(self) -> bool:
        """Whether a program carries the packets between the gateway and the public network."""
        return self.round_trip_ms > 0 or self.syn_loss > 0

    @property
    def rules(self) -> str:
        """The gateway's packet rules, as nft reads them; ``wan`` is its outer interface and ``lan`` its inner one."""
        unknown = "meta l4proto tcp reject with tcp reset\n" if self.resets else ""
        let_in = 'iifname "wan" dnat ip to tcp dport map @opened' if self.cone else ""
        note = 'iifname "lan" ct state new update @opened { tcp sport : ip saddr }' if self.cone else ""
        # The last line matters as much as the others: without it the gateway itself answers a peer's early SYN with
        # RST, since nothing listens there.
        return f"""
            table inet gateway {{
              map opened {{ type inet_service : ipv4_addr; flags dynamic; size 65535; }}
              chain arriving {{
                type nat hook prerouting priority dstnat;
                {let_in}
              }}
              chain leaving {{
                type nat hook postrouting priority srcnat;
                oifname "wan" meta nfproto ipv4 {self.ports.value}
              }}
              chain passing {{
                type filter hook forward priority filter;
                ct state invalid drop
                {note}
                iifname "lan" accept
                ct state established,related accept
                ct status dnat accept
                {unknown}
                drop
              }}
              chain own {{
                type filter hook input priority filter;
                {unknown}
                meta l4proto {{ tcp, udp }} drop
              }}
            }}
        """

    @property
    def settings(self) -> dict[str, int]:
        """What is written below ``/proc/sys/net`` in the gateway."""
        out = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": int(self.ipv6)}
        out["netfilter/nf_conntrack_tcp_loose"] = int(not self.strict)
        if self.idle_s is not None:
            out["netfilter/nf_conntrack_tcp_timeout_established"] = self.idle_s
        return out


PUBLIC = Kind(says="The function has a public address of its own, and every packet reaches it.", gateway=False)
FULL_CONE = Kind(
    says="The local port is kept, and whoever sends to a port that the function has sent from is let in.", cone=True
)
RESTRICTED = Kind(says="The local port is kept, and only answers from where the function has sent to are let in.")
MOVING = Kind(
    says="Another port is seen than the local one, the same for all targets; only answers are let in.",
    ports=Ports.MOVED,
)
SYMMETRIC = Kind(
    says="Each target sees another port, which nobody can foretell; only answers are let in.", ports=Ports.DRAWN
)
SHARED = Kind(
    says="Two functions behind one gateway that keeps ports and lets answers in: they reach each other by their private"
    " addresses, and not by the gateway's.",
    functions=2,
)
SAME_PRIVATE = Kind(
    says="Keeps ports and lets answers in, and the private address is the same behind each gateway of this kind.",
    private="192.168.1",
)
TWO_IN_A_ROW = Kind(says="Two gateways that keep ports and let answers in, one behind the other.", outer=RESTRICTED)
IPV6_ONLY = Kind(
    says="The function has a public IPv6 address and no other; nothing is translated, and only answers are let in.",
    ipv4=False,
    ipv6=True,
)
RESETTING = Kind(
    says="Keeps ports and lets answers in; a TCP packet that belongs to no connection is answered with RST.",
    resets=True,
)
FORGETFUL = Kind(
    says="Keeps ports and lets answers in; of connections that its restart has made it forget it drops every packet.",
    strict=True,
)
IDLE = Kind(
    says="Keeps ports and lets answers in; a connection that was silent for 3 s is forgotten, its packets are dropped.",
    strict=True,
    idle_s=3,
)
CAPPED = Kind(
    says="Keeps ports and lets answers in; 75 MB/s pass in each direction, about what a cloud function has.",
    megabytes_per_s=75,
)
DISTANT = Kind(says="Keeps ports and lets answers in; a round trip takes 20 ms longer.", round_trip_ms=20)
LOSSY = Kind(
    says="Keeps ports and lets answers in; of packets that open a connection three in ten are lost, each way.",
    syn_loss=0.3,
)

KINDS: dict[str, Kind] = {name: kind for name, kind in globals().items() if isinstance(kind, Kind)}
"""All of these, by their names."""
