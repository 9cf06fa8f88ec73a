"""An S3 of the tests' own: moto, in this process."""

from __future__ import annotations

import logging
import re
import urllib.request
from typing import Any

import pytest


class ObjectStore:
    """Serves one bucket on a free port of the loopback or another address, in threads of this process."""

    bucket = "messages"

    def __init__(self, host: str = "127.0.0.1") -> None:
        server: Any = pytest.importorskip(
            "moto.server", reason="no moto was found, which is the S3 of these tests; pip install 'moto[s3,server]'"
        )
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self.server = server.ThreadedMotoServer(ip_address=host, port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.address = f"{host}:{port}"
        self.request("PUT", self.bucket)

    def request(self, method: str, path: str) -> str:
        """Ask it directly."""
        with urllib.request.urlopen(urllib.request.Request(f"http://{self.address}/{path}", method=method)) as answer:
            body: bytes = answer.read()
            return body.decode()

    def uri(self, bucket: str = bucket) -> str:
        """What ``CYLON_OBJECT_STORE`` is set to."""
        return f"s3://{bucket}?endpoint_override={self.address}&scheme=http&region=us-east-1"

    @property
    def credentials(self) -> dict[str, str]:
        """As AWS' own tools take them."""
        return {
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "open sesame",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def objects(self) -> list[str]:
        """Names of the bucket's objects, the first thousand of them."""
        return re.findall("<Key>(.*?)</Key>", self.request("GET", f"{self.bucket}?list-type=2"))

    def stop(self) -> None:
        """End it."""
        self.server.stop()
