"""Google's storage as its XML interface speaks, emulated: its own dialect is translated for moto's S3.

That interface is S3's with other headers: `x-goog-…`, generations instead of `If-None-Match`, and a bearer token for a
signature. What passes here shows that we speak that dialect; of Google's service it shows nothing.

As a program: `python -m tests.support.services.google PORT PUBLIC_KEY_FILE`.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.services.depot import HOST, REPOSITORY, Depot, serving
from tests.support.services.moto_front import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.support.services.moto_front import Application, Environ, StartResponse

_EMAIL = "mover@parcels.iam.gserviceaccount.com"
_SIGNED = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Google:
    """A running emulation, and the file of its one service account."""

    port: int
    key_file: Path

    def depot(self, bucket: str) -> Depot:
        """A bucket of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("PUT", f"/{bucket}")
            assert connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()
        return Depot(
            name="google",
            port=self.port,
            storage={
                "provider": "gcp",
                "endpoint": f"http://{HOST}:{self.port}",
                "bucket": bucket,
                "credentials": {"type": "service_account", "credentials_file": str(self.key_file)},
            },
            secrets=(_EMAIL, json.loads(self.key_file.read_bytes())["private_key"]),
        )


@contextmanager
def google(folder: Path) -> Iterator[Google]:
    """The emulation, with a service account of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "public.pem").write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    key_file = folder / "service_account.json"
    key_file.write_text(json.dumps(_account(private)), encoding="utf-8")
    key_file.chmod(0o600)
    command = [sys.executable, "-m", __name__]
    with serving(
        lambda port: [*command, str(port), str(folder / "public.pem")],
        folder=folder,
        environment={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
    ) as port:
        yield Google(port=port, key_file=key_file)


def _account(private: rsa.RSAPrivateKey) -> dict[str, str]:
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": _EMAIL,
        "private_key_id": "one",
        "private_key": text.decode(),
    }


# -- the program ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Dialect:
    """Google's dialect in front of an application that speaks S3."""

    s3: Application
    is_ours: Callable[[str], bool]
    """Whether an `Authorization` is by the service account."""
    generations: dict[str, int] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """One request."""
        is_for_bucket = environ["REQUEST_METHOD"] == "PUT" and "/" not in environ["PATH_INFO"].strip("/")
        if not is_for_bucket and not self.is_ours(environ.get("HTTP_AUTHORIZATION", "")):  # a test makes buckets
            return _refuse(start, "401 Unauthorized")
        _translate(environ)
        wanted = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        path, query = environ["PATH_INFO"], parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        verb = environ["REQUEST_METHOD"]
        if not (verb == "PUT" and "partNumber" not in query) and not (verb == "POST" and "uploadId" in query):
            if verb == "DELETE" and "uploadId" not in query:
                self.generations.pop(path, None)
            return self.s3(environ, start)
        with self.guard:  # one at a time: looking at the generation and writing are one
            if wanted is not None and int(wanted) != self.generations.get(path, 0):
                return _refuse(start, "412 Precondition Failed")
            return list(self.s3(environ, self._counting(path, start)))

    def _counting(self, path: str, start: StartResponse) -> StartResponse:
        def counted(status: str, headers: list[tuple[str, str]], *more: object) -> object:
            if status.startswith("2"):
                self.generations[path] = time.time_ns()
                headers = [*headers, ("x-goog-generation", str(self.generations[path]))]
            return start(status, headers, *more)

        return counted


def _translate(environ: Environ) -> None:
    environ["HTTP_AUTHORIZATION"] = _SIGNED  # moto tells S3 from other services by it
    if "HTTP_X_GOOG_COPY_SOURCE" in environ:
        environ["HTTP_X_AMZ_COPY_SOURCE"] = environ.pop("HTTP_X_GOOG_COPY_SOURCE")
    if environ["REQUEST_METHOD"] == "PUT":
        environ.setdefault("CONTENT_LENGTH", "0")
    path, mark, query = str(environ["RAW_URI"]).partition("?")
    # The client encodes every sign of a name, the bucket's too, and moto reads a bucket's as it stands.
    environ["RAW_URI"] = environ["REQUEST_URI"] = quote(unquote(path), safe="/-_.~") + mark + query


def _refuse(start: StartResponse, status: str) -> list[bytes]:
    start(status, [("Content-Length", "0")])
    return [b""]


def signed_by(public: rsa.RSAPublicKey) -> Callable[[str], bool]:
    """Whether an `Authorization` carries a token that the key's owner signed, and that is still good."""

    def is_signed(authorization: str) -> bool:
        try:
            head, claims, signature = authorization.removeprefix("Bearer ").split(".")
            public.verify(_decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            return False
        told = json.loads(_decoded(claims))
        return bool(told["iss"] == _EMAIL and told["exp"] > time.time())

    return is_signed


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


if __name__ == "__main__":
    port, public_file = sys.argv[1:]
    key = serialization.load_pem_public_key(Path(public_file).read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    is_ours = signed_by(key)
    serve(int(port), lambda s3: Dialect(s3, is_ours))
