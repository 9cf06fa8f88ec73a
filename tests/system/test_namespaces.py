"""Ranks that have a network of their own each, as containers and machines have."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BUILD, HELLO, Launch, check_job
from network import Network

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of namespaces needs root")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Two hosts and what is between them."""
    made = Network(2)
    try:
        yield made
    finally:
        made.close()


def start(launch: Launch, network: Network, secret: Path, *settings: dict[str, str]) -> list[subprocess.Popen[str]]:
    """A store at the hub, with the first settings, and a rank at each host, with the others."""
    of_store, *of_ranks = settings
    listen = ["--listen", f"{network.ADDRESS}:0", "--secret-file", secret]
    server = launch(*network.inside(None), BUILD / "bin" / "cylon-rendezvous", *listen, **of_store)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    assert address, server.communicate()
    common = {"CYLON_STORE": address, "CYLON_SECRET_FILE": str(secret), "CYLON_WORLD_SIZE": "2"}
    common |= {"CYLON_LOCAL_SIZE": "2", "CYLON_JOIN_DEADLINE": "10", "CYLON_CONNECT_DEADLINE": "10"}
    return [
        launch(
            *network.inside(rank),
            *(sys.executable, "-c", HELLO),
            **{**common, "CYLON_RANK": str(rank), "CYLON_BIND": network.address(rank), **own},
        )
        for rank, own in enumerate(of_ranks)
    ]


def test_memory_out_of_reach_leaves_tcp(launch: Launch, network: Network, secret: Path) -> None:
    # Both ranks are on one host, by its name; the socket by which memory is handed over belongs to a namespace.
    check_job(start(launch, network, secret, {}, {"CYLON_TRANSPORT": "auto"}, {"CYLON_TRANSPORT": "auto"}))


def test_memory_alone_out_of_reach_is_told(launch: Launch, network: Network, secret: Path) -> None:
    for process in start(launch, network, secret, {}, {"CYLON_TRANSPORT": "shm"}, {"CYLON_TRANSPORT": "shm"}):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "shm" in err


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Authority:
    """Signs certificates for hosts; openssl's own program does the work."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.ca, self.key = folder / "ca.pem", folder / "ca.key"
        _openssl(
            "req", "-x509", *_NEW_KEY, "-days", "2", "-subj", "/CN=authority", "-keyout", self.key, "-out", self.ca
        )

    def sign(self, name: str, host: str) -> dict[str, str]:
        """What a process is told that has a certificate for that host."""
        key, wanted, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self.folder / f"{name}.txt"
        extensions.write_text(f"subjectAltName={host}\n")
        _openssl("req", "-new", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", wanted)
        by = ["-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days", "2", "-extfile", extensions]
        _openssl("x509", "-req", *by, "-in", wanted, "-out", certificate)
        return {
            "CYLON_TLS_CA": str(self.ca),
            "CYLON_TLS_CERTIFICATE": str(certificate),
            "CYLON_TLS_KEY": str(key),
        }


def test_certificates_secure_a_job_and_another_authority_is_refused(
    launch: Launch, network: Network, secret: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "one")
    store = authority.sign("store", f"IP:{network.ADDRESS}")
    ranks = [authority.sign(f"rank{rank}", f"DNS:{socket.gethostname()}") for rank in range(2)]
    check_job(start(launch, network, secret, store, *ranks))

    # The store's certificate is one that rank 1 trusts; its own is signed by somebody whom nobody knows.
    stranger = Authority(tmp_path / "other").sign("rank1", f"DNS:{socket.gethostname()}")
    _, refused = start(launch, network, secret, store, ranks[0], {**stranger, "CYLON_TLS_CA": ranks[1]["CYLON_TLS_CA"]})
    _, err = refused.communicate(timeout=60)
    assert refused.returncode == 1
    assert "certificate" in err, err
    assert "hello" not in err


def test_the_doctor_proves_itself_by_certificates_too(
    launch: Launch, network: Network, secret: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    own = authority.sign("function", f"IP:{network.address(0)}")
    stranger = Authority(tmp_path / "stranger").sign("function", f"IP:{network.address(0)}")
    listen = ["--listen", f"{network.ADDRESS}:0", "--secret-file", secret]
    of_server = authority.sign("server", f"IP:{network.ADDRESS}")
    server = launch(*network.inside(None), BUILD / "bin" / "cylon-rendezvous", *listen, **of_server)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    command = [BUILD / "bin" / "cylon", "doctor", "--rendezvous", address, "--json", "--seconds=0.05"]
    reports = []
    for settings in (own, {**stranger, "CYLON_TLS_CA": own["CYLON_TLS_CA"]}):
        process = launch(*network.inside(0), *command, CYLON_SECRET_FILE=str(secret), **settings)
        out, err = process.communicate(timeout=60)
        assert err == ""
        reports.append((process.returncode, json.loads(out)))
    (code, report), (refused_code, refused) = reports
    assert (code, report["problems"]) == (0, [])
    assert report["families"][0]["seen"] == [f"{network.address(0)}:{report['families'][0]['port']}"]
    assert refused_code == 1
    assert any("certificate" in problem for problem in refused["problems"])
