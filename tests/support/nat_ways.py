"""The ways that there are between functions behind gateways, and what a job takes to go each of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from nat_kinds import RESTRICTED, SYMMETRIC, Kind
from nat_lab import Lab
from object_store import ObjectStore
from redis_server import RedisServer

__all__ = ["OF_MANY", "WAYS", "Way"]

Way = tuple[Kind, Callable[[Lab, Path], AbstractContextManager[dict[str, str]]]]


def _nothing(_lab: Lab, _folder: Path) -> AbstractContextManager[dict[str, str]]:
    return contextlib.nullcontext({})


@contextlib.contextmanager
def _redis(lab: Lab, folder: Path) -> Iterator[dict[str, str]]:
    password = os.urandom(16).hex()
    server = RedisServer(folder, f"requirepass {password}", lab.ADDRESS, lab.inside(None))
    try:
        yield {"CYLON_TRANSPORT": "redis", "CYLON_REDIS": f"redis://:{password}@{lab.ADDRESS}:{server.port}"}
    finally:
        server.kill()


@contextlib.contextmanager
def _directory(_lab: Lab, folder: Path) -> Iterator[dict[str, str]]:
    objects = folder / "objects"
    objects.mkdir()
    yield {"CYLON_TRANSPORT": "object", "CYLON_OBJECT_STORE": f"file://{objects}"}
    left = [path.name for path in objects.iterdir()]
    assert left == [], left


@contextlib.contextmanager
def _s3(lab: Lab, _folder: Path) -> Iterator[dict[str, str]]:
    store = lab.call(None, lambda: ObjectStore(lab.ADDRESS))
    try:
        yield {"CYLON_TRANSPORT": "object", "CYLON_OBJECT_STORE": store.uri(), **store.credentials}
    finally:
        store.stop()


WAYS: dict[str, Way] = {
    "punch": (RESTRICTED, _nothing),
    "relay": (SYMMETRIC, _nothing),
    "redis": (RESTRICTED, _redis),
    "object": (RESTRICTED, _directory),
    "s3": (RESTRICTED, _s3),
}
"""The kind of gateway that leaves a job this way, and what it takes: a server, and settings that name it.

``object`` and ``s3`` are both object storage: a directory that all functions share, and an S3 that moto plays. Moto
takes 5 to 8 ms of CPU for a request, one at a time, and four requests for a message: enough for two functions. Of
eight, requests ran into the client's own limit of three seconds, on two cores that had other things to do as well.
"""
OF_MANY = tuple(way for way in WAYS if way != "s3")
"""The ways that are fast enough for eight functions on two cores."""
