"""moto's S3 behind a gate that checks every request's signature: `python -m tests.support.services.keyed_s3 PORT KEYS`.

moto can check signatures itself, and refuses right ones for names with a space or a tilde in them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from tests.support.services.moto_front import serve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.services.moto_front import Application, Environ, StartResponse

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>[^,]+),\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>\w+)"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets requests through that one of `pairs` signed: its secret and its session token by the key's id."""

    s3: Application
    pairs: Mapping[str, tuple[str, str]]

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """One request."""
        code = self._fault(environ)
        if code is None:
            return self.s3(environ, start)
        # Unread, the body would be taken for the next request.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = (
            f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
        )
        start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _fault(self, environ: Environ) -> str | None:
        """S3's own code for what is wrong with a request's signature."""
        told = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
        if told is None:
            return "AccessDenied"
        if told["id"] not in self.pairs:
            return "InvalidAccessKeyId"
        secret, token = self.pairs[told["id"]]
        if environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "") != token:
            return "InvalidToken"
        signed = _signature(environ, told["scope"], told["headers"], secret)
        return None if hmac.compare_digest(signed, told["signature"]) else "SignatureDoesNotMatch"


def _signature(environ: Environ, scope: str, headers: str, secret: str) -> str:
    """AWS's version 4, for a header's signature."""
    path, _, query = str(environ["RAW_URI"]).partition("?")
    pairs = sorted(
        f"{_plain(name)}={_plain(value)}" for name, _, value in (p.partition("=") for p in query.split("&") if p)
    )
    named = "".join(f"{name}:{_header(environ, name)}\n" for name in headers.split(";"))
    payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
    request = "\n".join(
        (environ["REQUEST_METHOD"], quote(unquote(path), safe="/-_.~"), "&".join(pairs), named, headers, payload)
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", environ["HTTP_X_AMZ_DATE"], scope, digest))
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _plain(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def _header(environ: Environ, name: str) -> str:
    own = name.upper().replace("-", "_")
    value = environ.get(own if own in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{own}", "")
    return re.sub(r" +", " ", str(value).strip())


if __name__ == "__main__":
    port, key_file = sys.argv[1:]
    known = {key_id: (secret, token) for key_id, secret, token in json.loads(Path(key_file).read_bytes())}
    serve(int(port), lambda s3: Gate(s3, known))
