"""Jobs whose ranks are cloud functions, or anything else that can only dial out."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from urllib.parse import urlsplit

from pycylon.secret import SecretSource, secret_source

__all__ = ["FMIConfig", "ServerlessConfig"]

CHANNELS = ("punch", "redis", "object")


@dataclass(frozen=True)
class ServerlessConfig:
    """How the ranks of a job find and reach each other when none of them can be dialled.

    Given to `CylonEnv` as ``config``. Everything may come from the environment as well: what is None here is taken from
    there, what is given here wins.

    Parameters
    ----------
    rendezvous : str, optional
        ``host:port`` of ``cylon-rendezvous``, which every rank can dial (``CYLON_RENDEZVOUS``).
    job : str, optional
        The job's name; jobs of different names at one server do not see each other (``CYLON_JOB``).
    world_size : int, optional
        The number of ranks (``CYLON_WORLD_SIZE``).
    rank : int, optional
        This process's rank (``CYLON_RANK``). Without one, ranks are drawn.
    channel : str, optional
        ``punch``, the default: each pair by the first way that it has, which is memory within a host, a hole in their
        gateways, or the server's relay. ``redis``: through a Redis server. ``object``: through an object store. With
        commas (``punch,redis``) for each pair the one that `policy` prefers (``CYLON_TRANSPORT``).
    policy : {'fastest', 'cheapest'} or float, optional
        Between several channels: by time, by money, or how much money counts beside time, from 0 to 1
        (``CYLON_POLICY``); see ``docs/channels.md`` and `CylonEnv.explain`.
    redis : str, optional
        ``redis://...`` of the Redis server (``CYLON_REDIS``). Ranks meet there too where no other place is named.
    object_store : str, optional
        ``s3://bucket...`` or ``file:///shared/directory`` (``CYLON_OBJECT_STORE``).
    secret : str or SecretSource, optional
        What names the job's secret, never the secret itself: see `pycylon.secret.secret_source`
        (``CYLON_SECRET_FROM``; ``CYLON_SECRET`` and ``CYLON_SECRET_FILE`` hold or name it without a service).
    join_deadline_s : float, optional
        Until when every rank has to have come (``CYLON_JOIN_DEADLINE``).

    Raises
    ------
    TypeError, ValueError
        For arguments that cannot be right, before anything is dialled.

    Examples
    --------
    >>> import pycylon as cy
    >>> cy.ServerlessConfig('rendezvous.example:7000', job='flights', world_size=8, secret='aws-ssm:/jobs/secret')
    ServerlessConfig(rendezvous='rendezvous.example:7000', job='flights', world_size=8, secret='aws-ssm:/jobs/secret')
    """

    rendezvous: str | None = None
    job: str | None = None
    world_size: int | None = None
    rank: int | None = None
    _: KW_ONLY
    channel: str | None = None
    policy: str | float | None = None
    redis: str | None = None
    object_store: str | None = None
    secret: str | SecretSource | None = None
    join_deadline_s: float | None = None

    def __post_init__(self) -> None:
        _check_text("rendezvous", self.rendezvous, "such as 'rendezvous.example:7000'")
        if self.rendezvous is not None and not _is_host_port(self.rendezvous):
            raise ValueError(
                f"rendezvous is {self.rendezvous!r}; expected host:port of a cylon-rendezvous that every rank can dial"
            )
        _check_text("job", self.job, "a name that all ranks of the job have in common")
        _check_count("world_size", self.world_size, 1, "the number of ranks")
        _check_count("rank", self.rank, 0, "this process's rank, or None for one that is drawn")
        if self.channel is not None and not _are_channels(self.channel):
            raise ValueError(
                f"channel is {self.channel!r}; expected 'punch', 'redis' or 'object', or some of them with commas"
            )
        _check_policy(self.policy)
        _check_text("object_store", self.object_store, "such as 's3://bucket' or 'file:///shared/directory'")
        if self.redis is not None and not _is_redis(self.redis):
            # It may hold a password.
            raise ValueError("redis is no address of a Redis server; expected redis://host:port or rediss://host:port")
        if isinstance(self.secret, str):
            secret_source(self.secret)
        elif self.secret is not None and not isinstance(self.secret, SecretSource):
            raise TypeError(
                f"secret is of type {type(self.secret).__name__}; expected a reference such as 'env:NAME', or an "
                "object with fetch()"
            )
        seconds = self.join_deadline_s
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
            raise TypeError(f"join_deadline_s is of type {type(seconds).__name__}; expected a number of seconds")
        if seconds is not None and not 0 < seconds <= 1e9:
            raise ValueError(f"join_deadline_s is {seconds}; expected a number of seconds above 0")

    def options(self) -> dict[str, object]:
        """Return the options (``docs/options.md``) that say this, checked together with the environment.

        Raises
        ------
        ValueError
            When something is missing, or does not go with what the environment says.
        """
        channel = self.channel or os.environ.get("CYLON_TRANSPORT") or "punch"
        if not _are_channels(channel):
            raise ValueError(
                f"CYLON_TRANSPORT is {channel!r}, which takes ranks that can be dialled; unset it, or pass "
                "channel='punch', 'redis' or 'object'"
            )
        channels = channel.split(",")
        if "punch" in channels and not (self.rendezvous or _any_set("CYLON_RENDEZVOUS", "CYLON_STORE")):
            raise ValueError(
                "no rendezvous server is named; start cylon-rendezvous where every rank can dial it, and pass "
                "rendezvous='host:port' or set CYLON_RENDEZVOUS"
            )
        if "object" in channels and not (self.object_store or _any_set("CYLON_OBJECT_STORE")):
            raise ValueError(
                f"channel is {channel!r}, but no object store is named; pass object_store='s3://bucket', or set "
                "CYLON_OBJECT_STORE"
            )
        if channels == ["object"] and not _any_set("CYLON_STORE"):
            raise ValueError(
                "channel is 'object', but ranks have to meet as well, and an object store is no place for that; set "
                "CYLON_STORE"
            )
        if "redis" in channels and not (self.redis or _any_set("CYLON_REDIS", "CYLON_STORE")):
            raise ValueError(
                f"channel is {channel!r}, but no server is named; pass redis='redis://host:port', or set CYLON_REDIS"
            )
        if self.world_size is None and not _any_set("CYLON_WORLD_SIZE"):
            raise ValueError("the number of ranks is not known; pass world_size, or set CYLON_WORLD_SIZE")
        world_size = self.world_size if self.world_size is not None else _number("CYLON_WORLD_SIZE")
        rank = self.rank if self.rank is not None else _number("CYLON_RANK")
        if rank is not None and world_size is not None and rank >= world_size:
            raise ValueError(f"rank is {rank} and world_size is {world_size}; a rank is less than the number of ranks")
        given = {
            "rendezvous": self.rendezvous,
            "job": self.job,
            "world_size": self.world_size,
            "rank": self.rank,
            "policy": self.policy,
            "redis": self.redis,
            "object_store": self.object_store,
            "join_deadline_s": self.join_deadline_s,
        }
        return {"transport": channel, **{name: value for name, value in given.items() if value is not None}}

    def __repr__(self) -> str:
        shown = ("rendezvous", "job", "world_size", "rank", "channel", "policy", "secret", "join_deadline_s")
        given = [f"{name}={getattr(self, name)!r}" for name in shown if getattr(self, name) is not None]
        return f"{type(self).__name__}({', '.join(given)})"


class FMIConfig(ServerlessConfig):
    """A `ServerlessConfig` by the arguments of the published system's configuration of that name.

    Parameters
    ----------
    rank, world_size : int
    host : str
        Of ``cylon-rendezvous``. There is no default: a server of somebody else's is not asked.
    port : int
    maxtimeout : int
        Milliseconds until all ranks have to have come.
    resolveip : bool
        Of no effect: a name is always resolved where it is dialled.
    comm_name : str
        The job's name.
    nonblocking : bool
        Of no effect: every communicator has blocking and non-blocking calls.
    redis_host, redis_port, redis_namespace : optional
        Refused: ranks are counted at the rendezvous server. See ``channel`` of `ServerlessConfig`.
    secret : str or SecretSource, optional
        As of `ServerlessConfig`; the published system has none.

    Examples
    --------
    >>> import pycylon as cy
    >>> cy.FMIConfig(3, 8, 'rendezvous.example', 7000)
    FMIConfig(rendezvous='rendezvous.example:7000', job='fmi_pair', world_size=8, rank=3, join_deadline_s=600.0)
    """

    def __init__(
        self,
        rank: int = 0,
        world_size: int = 1,
        host: str | None = None,
        port: int = 10000,
        maxtimeout: int = 600000,
        resolveip: bool = False,
        comm_name: str = "fmi_pair",
        nonblocking: bool = False,
        redis_host: str | None = None,
        redis_port: int | None = None,
        redis_namespace: str | None = None,
        *,
        secret: str | SecretSource | None = None,
    ) -> None:
        _check_text("host", host, "the name or address of a cylon-rendezvous")
        if host is None:
            raise ValueError("host is missing; pass the name or address of a cylon-rendezvous that every rank can dial")
        _check_count("port", port, 1, "the port of cylon-rendezvous")
        _check_count("maxtimeout", maxtimeout, 1, "milliseconds until every rank has to have come")
        for name, value in (("resolveip", resolveip), ("nonblocking", nonblocking)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} is of type {type(value).__name__}; expected True or False")
        for name, given in (
            ("redis_host", redis_host),
            ("redis_port", redis_port),
            ("redis_namespace", redis_namespace),
        ):
            if given is not None:
                raise ValueError(
                    f"{name} is given, but ranks are counted at the rendezvous server, without Redis; leave it out, or "
                    "for messages through Redis pass ServerlessConfig(channel='redis', redis='redis://host:port')"
                )
        super().__init__(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            comm_name,
            world_size,
            rank,
            secret=secret,
            join_deadline_s=maxtimeout / 1000,
        )


def _check_text(name: str, value: object, expected: str) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} is of type {type(value).__name__}; expected text: {expected}")
    if not value.strip():
        raise ValueError(f"{name} is empty; expected {expected}")


def _check_count(name: str, value: object, least: int, meaning: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is of type {type(value).__name__}; expected a whole number: {meaning}")
    if value < least:
        raise ValueError(f"{name} is {value}; expected a whole number from {least} up: {meaning}")


def _is_host_port(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname and parts.port) and parts.netloc == text and "@" not in text
    except ValueError:
        return False


def _are_channels(text: object) -> bool:
    names = text.split(",") if isinstance(text, str) else []
    return bool(names) and all(name in CHANNELS for name in names) and len(set(names)) == len(names)


def _check_policy(policy: object) -> None:
    if policy is None or policy in ("fastest", "cheapest"):
        return
    if isinstance(policy, bool) or not isinstance(policy, str | int | float):
        raise TypeError(f"policy is of type {type(policy).__name__}; expected 'fastest', 'cheapest' or a number")
    if isinstance(policy, str) or not 0 <= policy <= 1:
        raise ValueError(f"policy is {policy!r}; expected 'fastest', 'cheapest', or a number from 0 to 1")


def _is_redis(address: object) -> bool:
    return isinstance(address, str) and address.startswith(("redis://", "rediss://"))


def _any_set(*names: str) -> bool:
    return any(os.environ.get(name) for name in names)


def _number(variable: str) -> int | None:
    """What a variable says; None where it is not set. What is no number is for the core to refuse."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else None
