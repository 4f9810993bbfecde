"""Azurite, Microsoft's own emulator of Azure's blobs, with an account and a key that nobody else has."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import secrets
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.services.depot import HOST, Depot, serving, skip_unless_here

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.prefix) / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
"""Where `make setup` puts it."""
_ACCOUNT = "parcels"
_VERSION = "2021-12-02"


@dataclass(frozen=True, slots=True, kw_only=True)
class Azurite:
    """A running one."""

    port: int
    account_key: str

    def depot(self, container: str) -> Depot:
        """A container of its account, made anew."""
        self._make_container(container)
        return Depot(
            name="azure",
            port=self.port,
            storage={
                "provider": "azure",
                "endpoint": f"http://{HOST}:{self.port}",
                "account": _ACCOUNT,
                "bucket": container,
                "credentials": {"type": "shared_key", "account_key": {"env": "AZURE_KEY"}},
            },
            environment={"AZURE_KEY": self.account_key},
            secrets=(self.account_key,),
        )

    def _make_container(self, container: str) -> None:
        path = f"/{_ACCOUNT}/{container}"
        named = f"x-ms-date:{formatdate(usegmt=True)}\nx-ms-version:{_VERSION}"
        # Verb, eleven headers that are not sent, ours, and the resource: its account stands in it twice, as in the URL.
        text = f"PUT{12 * chr(10)}{named}\n/{_ACCOUNT}{path}\nrestype:container"
        digest = hmac.new(base64.b64decode(self.account_key), text.encode(), hashlib.sha256).digest()
        headers = dict(line.split(":", maxsplit=1) for line in named.splitlines())
        headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("PUT", f"{path}?restype=container", b"", headers)
            answer = connection.getresponse()
            assert answer.status == http.HTTPStatus.CREATED, answer.read()
        finally:
            connection.close()


@contextmanager
def azurite(folder: Path) -> Iterator[Azurite]:
    """Azure's blobs in memory; a named skip where node or the package is missing."""
    node = shutil.which("node")
    skip_unless_here("Azurite needs node, which is not installed", node is not None)
    skip_unless_here("Azurite is not installed: run make setup again", PROGRAM.is_file())
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    environment = {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}", "PATH": "/usr/bin:/bin", "HOME": str(folder)}

    def command(port: int) -> list[str]:
        return [
            *(str(node), str(PROGRAM), "--blobHost", HOST, "--blobPort", str(port), "--silent"),
            *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
        ]

    with serving(command, folder=folder, environment=environment) as port:
        yield Azurite(port=port, account_key=key)
