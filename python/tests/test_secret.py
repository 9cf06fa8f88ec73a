"""A secret by reference: fetched from where it is, and shown nowhere."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

import pycylon as cy
from pycylon import secret as secrets
from pycylon.secret import SecretSource, fetch_secret, secret_source

SECRET = "5af0" * 16
PASSPHRASE = "correct horse battery staple"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """AWS on a free port of loopback; its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The client's way there, in an account without secrets."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    tell(moto, "reset")
    yield moto
    tell(moto, "reset-auth", b"inf")


def tell(moto: str, what: str, body: bytes = b"") -> None:
    """Use moto's own interface."""
    plain = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/{what}", body, plain, method="POST")).close()


def fetched(reference: str) -> str:
    return fetch_secret(secret_source(reference))


def refused(reference: str, *hidden: str) -> str:
    """What is said where the secret cannot be had; `hidden` is in nothing that the error carries along."""
    with pytest.raises(cy.AuthenticationError) as caught:
        fetched(reference)
    error: BaseException | None = caught.value
    kept = [str(caught.value), repr(caught.value)]
    while error is not None:
        kept += [str(error), str(vars(error))]
        trace = error.__traceback__
        while trace is not None:
            if "pycylon" in trace.tb_frame.f_code.co_filename and "tests" not in trace.tb_frame.f_code.co_filename:
                kept.append(repr(trace.tb_frame.f_locals))
            trace = trace.tb_next
        error = error.__context__
    for text in hidden:
        assert text not in "\n".join(kept)
    return str(caught.value)


def test_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_SECRET", SECRET + "\n")
    assert fetched("env:JOB_SECRET") == SECRET
    monkeypatch.delenv("JOB_SECRET")
    assert "env:JOB_SECRET, but the variable JOB_SECRET is not set; set it" in refused("env:JOB_SECRET")


def test_from_a_file_that_only_its_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(SECRET + "\n")
    assert fetched(f"file:{path}") == SECRET
    path.chmod(0o644)
    assert f"chmod 600 {path}" in refused(f"file:{path}", SECRET)
    path.unlink()
    assert str(path) in refused(f"file:{path}")


def test_from_secrets_manager_by_name_and_arn_and_key(aws: str) -> None:
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="jobs/flights", SecretString=SECRET)["ARN"]
    client.create_secret(Name="several", SecretString=f'{{"job": "{SECRET}", "size": 3}}')
    client.create_secret(Name="binary", SecretBinary=bytes.fromhex(SECRET))
    assert fetched("aws-secretsmanager:jobs/flights") == SECRET
    assert fetched("aws-secretsmanager:several#job") == SECRET
    assert fetched("aws-secretsmanager:binary") == SECRET
    for key in ("nothing", "size"):
        said = refused(f"aws-secretsmanager:several#{key}", SECRET)
        assert said.startswith(f"what aws-secretsmanager:several#{key} names is no JSON object with a text under that")
    assert "no JSON object" in refused("aws-secretsmanager:jobs/flights#job", SECRET)

    elsewhere = boto3.client("secretsmanager", region_name="us-east-2")
    arn = elsewhere.create_secret(Name="far", SecretString=SECRET)["ARN"]
    assert ":us-east-2:" in arn
    assert fetched(f"aws-secretsmanager:{arn}") == SECRET  # of the region that it names


def test_from_a_parameter_that_is_encrypted(aws: str) -> None:
    boto3.client("ssm").put_parameter(Name="/jobs/secret", Value=SECRET, Type="SecureString")
    assert fetched("aws-ssm:/jobs/secret") == SECRET


def test_what_is_not_there_is_named(aws: str) -> None:
    for reference in ("aws-secretsmanager:nothing", "aws-ssm:/nothing"):
        said = refused(reference)
        assert said.startswith(f"cannot get the secret from {reference}: it is not there (")
        assert "check name, region and account" in said


def test_whoever_may_not_read_it_is_told_what_to_allow(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("secretsmanager").create_secret(Name="secret", SecretString=SECRET)
    boto3.client("ssm").put_parameter(Name="/secret", Value=SECRET, Type="SecureString")
    iam = boto3.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    tell(aws, "reset-auth", b"0")
    said = refused("aws-secretsmanager:secret", SECRET, key["SecretAccessKey"])
    assert "access is denied" in said
    assert "allow secretsmanager:GetSecretValue" in said
    said = refused("aws-ssm:/secret", SECRET, key["SecretAccessKey"])
    assert "allow ssm:GetParameter" in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDeniedException", "access is denied (AccessDeniedException); allow ssm:GetParameter on it"),
        ("UnrecognizedClientException", "check the credentials of this function"),
        ("ExpiredTokenException", "have expired"),
        ("ValidationException", "its name has a wrong form (ValidationException); correct the reference"),
        ("SomethingNew", "AWS answers with an error (SomethingNew); look that code up"),
    ],
)
def test_each_refusal_says_what_to_do(aws: str, monkeypatch: pytest.MonkeyPatch, code: str, said: str) -> None:
    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"__type": code, "message": "no"}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            assert said in refused("aws-ssm:/secret")
        finally:
            server.shutdown()


def test_a_service_that_is_silent_or_away_ends_in_bounded_time(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_READ_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        said = refused("aws-ssm:/secret")
        assert "imeout" in said
        assert "can reach ssm" in said
    said = refused("aws-secretsmanager:secret")
    assert said.startswith("cannot get the secret from aws-secretsmanager:secret: Could not connect")


def test_without_credentials_or_region_it_says_so(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "credentials" in refused("aws-ssm:/secret")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "region" in refused("aws-ssm:/secret")


def test_boto3_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ImportError, match="aws-ssm:/secret, which takes boto3.*pip install boto3"):
        fetched("aws-ssm:/secret")
    monkeypatch.setenv("JOB_SECRET", SECRET)
    assert fetched("env:JOB_SECRET") == SECRET


@pytest.mark.parametrize("held", [PASSPHRASE, SECRET[:-1], SECRET + "00", "z" * 64], ids=len)
def test_what_is_no_secret_is_refused_without_being_repeated(monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    monkeypatch.setenv("JOB_SECRET", held)
    said = refused("env:JOB_SECRET", held)
    assert said.startswith("what env:JOB_SECRET holds is no secret of 32 bytes")
    assert f"{len(held)} characters" in said


def test_what_is_no_secret_there_is_refused_without_being_repeated(aws: str) -> None:
    boto3.client("ssm").put_parameter(Name="/secret", Value=PASSPHRASE, Type="SecureString")
    assert "openssl rand -hex 32" in refused("aws-ssm:/secret", PASSPHRASE)
    boto3.client("secretsmanager").create_secret(Name="binary", SecretBinary=b"\xff\xfe" + PASSPHRASE.encode())
    assert f"{len(PASSPHRASE) + 2} bytes" in refused("aws-secretsmanager:binary", PASSPHRASE)


@pytest.mark.parametrize("given", [PASSPHRASE, SECRET, "", "env:", "aws-secretsmanager:#key", "s3://bucket/key"])
def test_what_is_no_reference_is_refused_without_being_repeated(given: str) -> None:
    for take in (secret_source, lambda text: cy.ServerlessConfig("127.0.0.1:1", secret=text)):
        with pytest.raises(ValueError, match="has to be named by 'env:NAME', 'file:/path'") as caught:
            take(given)
        assert PASSPHRASE not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_no_log_has_it_however_much_is_logged(aws: str, caplog: pytest.LogCaptureFixture) -> None:
    boto3.client("secretsmanager").create_secret(Name="secret", SecretString=SECRET)
    boto3.client("ssm").put_parameter(Name="/secret", Value=SECRET, Type="SecureString")
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    assert fetched("aws-secretsmanager:secret") == SECRET
    assert fetched("aws-ssm:/secret") == SECRET
    assert "GetSecretValue" in caplog.text
    assert SECRET not in caplog.text
    boto3.client("secretsmanager").get_secret_value(SecretId="secret")
    assert SECRET in caplog.text, "the client logs answers no more; nothing has to be kept from it"


def test_a_source_of_ones_own() -> None:
    class Vault:
        def __init__(self, held: str | bytes) -> None:
            self.held = held

        def __str__(self) -> str:
            return "the vault"

        def fetch(self) -> str | bytes:
            return self.held

    assert isinstance(Vault(SECRET), SecretSource)
    assert fetch_secret(Vault(SECRET)) == fetch_secret(Vault(bytes.fromhex(SECRET))) == SECRET
    for held in (PASSPHRASE, b"a passphrase of 32 characters ..."[:32]):
        with pytest.raises(cy.AuthenticationError, match="what the vault holds is no secret of 32 bytes"):
            fetch_secret(Vault(held))
