"""The job's secret by reference: what names it may be shown to anybody, and only who may read it gets it."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pycylon import _core
from pycylon.errors import AuthenticationError

__all__ = ["SecretSource", "secret_source"]

VARIABLE = "CYLON_SECRET_FROM"

# A function has minutes to live: a service that has not answered twice by then is not going to.
_CONNECT_TIMEOUT_S = 2
_READ_TIMEOUT_S = 3
_ATTEMPTS = 2

_FORMS = (
    "'env:NAME', 'file:/path', 'aws-secretsmanager:NAME-or-ARN' (with '#key' for a value of a JSON object) or "
    "'aws-ssm:/parameter/name'"
)
_DIGITS = re.compile(r"[0-9a-fA-F]{64}")


@runtime_checkable
class SecretSource(Protocol):
    """Where a job's secret comes from. Its ``str`` is shown in messages; the secret itself never is."""

    def fetch(self) -> str | bytes:
        """Return the secret: 64 hexadecimal digits as text, or 32 bytes. It is called once for each environment."""
        ...


def secret_source(reference: str) -> SecretSource:
    """Return the source that a reference names.

    Parameters
    ----------
    reference : str
        ``env:NAME``, ``file:/path`` (of mode 0600), ``aws-secretsmanager:NAME-or-ARN`` (``#key`` behind it takes a
        value of a JSON object) or ``aws-ssm:/parameter/name``. The last two take the ``aws`` extra, which is boto3.

    Raises
    ------
    ValueError
        For anything else. It is not repeated: it may be the secret.

    Examples
    --------
    >>> from pycylon.secret import secret_source
    >>> str(secret_source('aws-ssm:/jobs/secret'))
    'aws-ssm:/jobs/secret'
    """
    scheme, _, rest = reference.partition(":")
    if rest:
        if scheme == "env":
            return _Environment(rest)
        if scheme == "file":
            return _File(rest)
        if scheme == "aws-secretsmanager":
            name, _, key = rest.partition("#")
            if name:
                return _SecretsManager(name, key)
        if scheme == "aws-ssm":
            return _Parameter(rest)
    raise ValueError(
        f"the secret has to be named by {_FORMS}; what was given is none of these (it has {len(reference)} characters, "
        "which are not shown, as a secret itself does not belong here)"
    )


def fetch_secret(source: SecretSource) -> str:
    """Return the 64 hexadecimal digits that `source` gives."""
    digits, size = _digits(source)
    if digits is None:
        # Not where the text is at hand: what is raised keeps the variables of the calls that it has gone through.
        raise AuthenticationError(
            f"what {source} holds is no secret of 32 bytes: it has {size}, and 64 hexadecimal digits are expected; "
            "make one with: openssl rand -hex 32"
        )
    return digits


def _digits(source: SecretSource) -> tuple[str | None, str]:
    """Return the digits, or None and how long what came instead is."""
    found = source.fetch()
    if isinstance(found, bytes):
        # Of 32 random bytes all are ASCII once in four billion times; of a passphrase they are.
        if len(found) == 32 and not found.isascii():
            return found.hex(), ""
        try:
            found = found.decode("ascii")
        except UnicodeDecodeError:
            return None, f"{len(found)} bytes"
    text = found.strip()
    return (text if _DIGITS.fullmatch(text) else None), f"{len(text)} characters"


@dataclass(frozen=True)
class _Environment:
    name: str

    def __str__(self) -> str:
        return f"env:{self.name}"

    def fetch(self) -> str:
        found = os.environ.get(self.name, "")
        if not found:
            raise AuthenticationError(
                f"the secret is to come from {self}, but the variable {self.name} is not set; set it to 64 hexadecimal "
                "digits (openssl rand -hex 32), the same at every rank"
            )
        return found


@dataclass(frozen=True)
class _File:
    path: str

    def __str__(self) -> str:
        return f"file:{self.path}"

    def fetch(self) -> str:
        return _core.read_secret_file(self.path).hex()


@dataclass(frozen=True)
class _SecretsManager:
    name: str
    key: str

    def __str__(self) -> str:
        return f"aws-secretsmanager:{self.name}" + (f"#{self.key}" if self.key else "")

    def _found(self) -> str | bytes | None:
        answer = _ask_aws(self, "secretsmanager", _region(self.name), "get_secret_value", {"SecretId": self.name})
        if self.key:
            return _value_of(answer.get("SecretString", ""), self.key)
        return answer["SecretString"] if "SecretString" in answer else bytes(answer["SecretBinary"])

    def fetch(self) -> str | bytes:
        found = self._found()
        if found is None:
            raise AuthenticationError(
                f"what {self} names is no JSON object with a text under that key; correct the key behind '#', or what "
                "is stored"
            )
        return found


@dataclass(frozen=True)
class _Parameter:
    name: str

    def __str__(self) -> str:
        return f"aws-ssm:{self.name}"

    def fetch(self) -> str:
        arguments = {"Name": self.name, "WithDecryption": True}
        answer = _ask_aws(self, "ssm", _region(self.name), "get_parameter", arguments)
        return str(answer["Parameter"]["Value"])


def _region(name: str) -> str | None:
    """Return what an ARN (arn:aws:service:REGION:account:resource) says; None for a plain name."""
    parts = name.split(":")
    return parts[3] or None if parts[0] == "arn" and len(parts) >= 6 else None


def _value_of(text: str, key: str) -> str | None:
    """Return the text under `key` of a JSON object, or None."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


class _NothingOfThisThread(logging.Filter):
    """Lets pass what other threads log."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


@contextmanager
def _answers_unlogged() -> Iterator[None]:
    """Keep botocore from logging the body of answers, which it does at level DEBUG."""
    quiet = _NothingOfThisThread()
    loggers = [logging.getLogger(name) for name in ("botocore.parsers", "botocore.endpoint", "botocore.hooks")]
    for logger in loggers:
        logger.addFilter(quiet)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(quiet)


# What AWS calls it, what that is, and what to do about it.
_DENIED = ("access is denied", "allow {action} on it, and the use of its KMS key, to the role of this function")
_REFUSALS = {
    "AccessDeniedException": _DENIED,
    "UnrecognizedClientException": ("access is denied", "check the credentials of this function"),
    "ExpiredTokenException": ("access is denied", "the credentials of this function have expired; get others"),
    "ResourceNotFoundException": ("it is not there", "check name, region and account"),
    "ParameterNotFound": ("it is not there", "check name, region and account"),
    "InvalidRequestException": ("it cannot be read", "check that it is not about to be deleted"),
    "ValidationException": ("its name has a wrong form", "correct the reference"),
}


def _refusal(error: dict[str, Any]) -> tuple[str, str, str]:
    """Return AWS's name for an error, what it is, and what to do."""
    code = str(error.get("Error", {}).get("Code", "no code"))
    if code in _REFUSALS:
        return code, *_REFUSALS[code]
    if error.get("ResponseMetadata", {}).get("HTTPStatusCode") == 403:
        return code, *_DENIED
    return code, "AWS answers with an error", "look that code up in AWS's documentation"


def _ask_aws(source: object, service: str, region: str | None, call: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make one call, in bounded time; what goes wrong is told with the reference."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ImportError(
            f"the secret is to come from {source}, which takes boto3, and that is not installed; run: pip install boto3"
        ) from None
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
    )
    action = f"{service}:{''.join(word.capitalize() for word in call.split('_'))}"
    try:
        with _answers_unlogged():
            client = boto3.session.Session().client(service, region_name=region, config=config)
            answer: dict[str, Any] = getattr(client, call)(**arguments)
    except ClientError as error:
        code, what, todo = _refusal(error.response)
        raise AuthenticationError(
            f"cannot get the secret from {source}: {what} ({code}); {todo.format(action=action)}"
        ) from None
    except BotoCoreError as error:
        raise AuthenticationError(
            f"cannot get the secret from {source}: {error}; check region, credentials, and that this function can "
            f"reach {service} (from inside a VPC by an endpoint of its own)"
        ) from None
    return answer
