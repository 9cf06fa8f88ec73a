"""Connections to a server part of whose packets, or one of whose addresses, leads nowhere."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BUILD, Launch
from namespaces import command
from network import Network

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")

DEADLINE_S = 60
SILENT = "10.77.0.3"
"""Nobody has it. It looks nearer to 10.77.0.2 than the server does, so that the resolver has it first."""


@pytest.fixture
def network(launch: Launch, secret: Path) -> Iterator[Network]:
    """A host, and a server at the hub."""
    with contextlib.closing(Network(1)) as made:
        words = ["--listen", f"{made.ADDRESS}:7000", "--secret-file", secret]
        server = launch(*made.inside(None), BUILD / "bin" / "cylon-rendezvous", *words)
        assert server.stdout is not None
        server.stdout.readline()
        yield made


def rules(network: Network, text: str) -> None:
    """Rules for what the host sends, and a counter for what they drop."""
    script = f"""table inet test {{
        counter dropped {{ }}
        set unheard {{ type inet_service; }}
        chain sent {{ type filter hook output priority 0;
            {text}
        }}
    }}"""
    command(*network.inside(0), "nft", "-f", "-", script=script)


def dropped(network: Network) -> int:
    found = re.search(
        r"packets (\d+)", command(*network.inside(0), "nft", "list", "counter", "inet", "test", "dropped")
    )
    assert found is not None
    return int(found.group(1))


def connect(launch: Launch, network: Network, secret: Path, server: str, hosts: Path | None = None) -> None:
    """Open a session with the server."""
    words: list[str | Path] = [BUILD / "bin" / "rendezvous-crowd", server, "1"]
    if hosts is not None:  # of this process and its children only
        words = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh", *words]
    client = launch(*network.inside(0), *words, CYLON_SECRET_FILE=str(secret), CYLON_JOB="dialling")
    assert client.stdout is not None
    assert client.stdout.readline() == "open 1\n", client.communicate(timeout=DEADLINE_S)[1]


def test_a_first_packet_that_is_lost_is_not_waited_for(launch: Launch, network: Network, secret: Path) -> None:
    # What the port sends that was dialled from first is lost, so that only a second dial gets anywhere.
    syn = "tcp dport 7000 tcp flags & (syn | ack) == syn"
    rules(
        network,
        f"{syn} tcp sport @unheard counter name dropped drop\n"
        f"{syn} limit rate 1/hour burst 1 packets add @unheard {{ tcp sport }} counter name dropped drop",
    )
    connect(launch, network, secret, f"{network.ADDRESS}:7000")
    # The kernel would have sent it at 0, 1, 3 and 7 s before the whole dial is given up and begun anew.
    assert 1 <= dropped(network) < 4


def test_an_address_that_leads_nowhere_does_not_keep_from_the_others(
    launch: Launch, network: Network, secret: Path, tmp_path: Path
) -> None:
    rules(network, f"ip daddr {SILENT} counter name dropped drop")
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{SILENT} server.test\n{network.ADDRESS} server.test\n")
    connect(launch, network, secret, "server.test:7000", hosts)
    assert dropped(network) >= 1  # it was the first to be dialled
