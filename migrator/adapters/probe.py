"""What answers at a host and a port: asked when a connection failed, to say in words what is there instead.

Nothing secret is ever sent, and nothing that is said there is believed: a certificate is read, and not trusted.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DEADLINE_S = 3.0
_CONNECT_S = 1.5
_ANSWER_S = 1.2
"""How long one question waits; what is behind a slow line at all has answered the connection before."""
_FIRST_WORD_S = 0.3
"""How long a TLS server gets to refuse us before we speak: a refusal that crosses our words may be lost."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What every client of HTTP/2 says first, and an empty SETTINGS frame."""
_MOST_BYTES = 4096
_MOST_NAMES = 4
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for."""
_REQUESTS = (("GET", "/healthz"), ("GET", "/v1/vector/collections"), ("POST", "/v2/vectordb/collections/list"))
"""Harmless; a store of objects refuses the first already, in its own manner."""
_S3_SERVERS = ("minio", "amazons3", "aliyunoss", "tencent-cos")
_S3_HEADERS = ("x-amz-", "x-minio-", "x-oss-", "x-cos-", "x-rgw-")
_S3_BODIES = (b"<ListAllMyBucketsResult", b"<Error><Code>", b"<Error>\n")


class Answer(StrEnum):
    """What came back from a port."""

    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    HTTP2 = "http2"
    HTTP1 = "http1"
    UNKNOWN = "unknown"


class Service(StrEnum):
    """What it seems to be, by what it says over HTTP/1.1."""

    S3 = "an S3 service"
    AZURE = "an Azure blob service"
    GCS = "a Google Cloud storage service"
    MILVUS_REST = "the REST interface of a Milvus"
    MILVUS_MANAGEMENT = "the management port of a Milvus"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTls:
    """The TLS of a port; names and issuer as its certificate says, empty where it could not be read."""

    wants_client_cert: bool = False
    names: tuple[str, ...] = ()
    issuer: str = ""
    is_expired: bool = False

    def __str__(self) -> str:
        rest = f" and {len(self.names) - _MOST_NAMES} more" if len(self.names) > _MOST_NAMES else ""
        parts = [f"a certificate for {', '.join(self.names[:_MOST_NAMES])}{rest}"] if self.names else ["a certificate"]
        parts += [f"issued by {self.issuer}"] if self.issuer else []
        parts += ["that has expired"] if self.is_expired else []
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What answers at a port; `tls` is None where it speaks in the clear, `product` is its `Server` header."""

    host: str
    port: int
    answer: Answer
    service: Service | None = None
    product: str = ""
    tls: PeerTls | None = None

    @property
    def is_grpc(self) -> bool:
        """Whether it speaks HTTP/2, as gRPC does and stores do not."""
        return self.answer is Answer.HTTP2

    def __str__(self) -> str:
        """A sentence without its end: `an S3 service (MinIO) answers at h:9000, without TLS`."""
        address = f"{self.host}:{self.port}"
        if self.answer in _NOBODY:
            return _NOBODY[self.answer].format(host=self.host, address=address)
        if self.answer is Answer.UNKNOWN and self.tls is None:
            return f"something listens at {address}, and speaks neither HTTP nor TLS"
        if self.tls is None:
            return f"{self._what()} answers at {address}, without TLS"
        wish = ", and wants a client certificate" if self.tls.wants_client_cert else ""
        return f"{self._what()} answers at {address} over TLS, shows {self.tls}{wish}"

    def _what(self) -> str:
        if self.answer is Answer.HTTP1:
            what = self.service or "a web server"
            return f"{what} ({self.product})" if self.product else str(what)
        return "a gRPC server" if self.is_grpc else "a server"


_NOBODY = {
    Answer.UNRESOLVED: "the name {host} is not known here",
    Answer.REFUSED: "nothing listens at {address}",
    Answer.UNREACHABLE: "no way leads to {address}",
    Answer.SILENT: "nothing answers at {address} (a firewall, or a machine that is down)",
}


def look_at(uri: str, *, default_port: int | None = None, deadline_s: float = DEADLINE_S) -> Sighting:
    """What answers at the host and port of `uri`, whatever its scheme; without a port `default_port`, or 443 or 80."""
    address = urlsplit(uri)
    port = address.port or default_port or (443 if address.scheme == "https" else 80)
    return look_at_port(address.hostname or "", port, deadline_s=deadline_s)


def look_at_port(host: str, port: int, *, deadline_s: float = DEADLINE_S) -> Sighting:
    """What answers there, within `deadline_s` whatever happens; raises nothing."""
    deadline = time.monotonic() + deadline_s
    first = next(iter(_gather([lambda: _reached(host, port)], deadline)), Answer.SILENT)
    nothing = Sighting(host=host, port=port, answer=first)
    if first is not Answer.UNKNOWN:
        return nothing
    door = _Door(host, port)
    return _most_telling([nothing, *_gather([door.as_grpc, door.as_http, door.as_tls], deadline)])


def _most_telling(seen: Iterable[Sighting]) -> Sighting:
    order = {Answer.HTTP2: 0, Answer.HTTP1: 1}
    return min(seen, key=lambda each: (order.get(each.answer, 2), each.tls is None))


def _gather(jobs: list[Callable[[], Any]], deadline: float) -> list[Any]:
    """What the jobs found until the deadline; a slow one is left to itself, for a name's look-up cannot be stopped."""
    results: SimpleQueue[Any] = SimpleQueue()

    def put(job: Callable[[], Any]) -> None:
        try:
            results.put(job())
        except (OSError, ValueError, http.client.HTTPException):  # it does not speak that language
            results.put(None)

    for job in jobs:
        threading.Thread(target=put, args=(job,), name="probe", daemon=True).start()
    found = []
    try:
        for _ in jobs:
            found.append(results.get(timeout=max(0.0, deadline - time.monotonic())))  # noqa: PERF401 - may end early
    except Empty:
        pass
    return [each for each in found if each is not None]


def _reached(host: str, port: int) -> Answer:
    """`UNKNOWN` where a connection comes about."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except (socket.gaierror, UnicodeError):
        return Answer.UNRESOLVED
    except ConnectionRefusedError:
        return Answer.REFUSED
    except OSError as error:
        return Answer.UNREACHABLE if error.errno in _UNREACHABLE else Answer.SILENT
    return Answer.UNKNOWN


@dataclass(frozen=True, slots=True)
class _Door:
    """A port that takes connections: each question comes over one of its own."""

    host: str
    port: int

    def as_grpc(self) -> Sighting | None:
        """Whether it answers HTTP/2's preface in the clear."""
        with closing(self._connect()) as line:
            line.sendall(_PREFACE)
            return self._saw(Answer.HTTP2) if _is_settings(line.recv(_MOST_BYTES)) else None

    def as_http(self) -> Sighting | None:
        """What it says over HTTP/1.1 in the clear."""
        return self._ask(self._connect)

    def as_tls(self) -> Sighting | None:
        """What it says over TLS, and who it says it is."""
        try:
            line = self._connect_tls(_trusting_nobody())
        except ssl.SSLError as error:
            reason = error.reason or ""
            if "ALERT" not in reason:  # an alert is TLS; anything else is another language
                return None
            return self._saw(Answer.UNKNOWN, tls=PeerTls(wants_client_cert=_is_about_our_cert(reason)))
        with closing(line):
            peer = self._read_certificate(line.getpeercert(binary_form=True) or b"")
            heard_first = first_words(line, _FIRST_WORD_S)
            if heard_first is None:
                return self._saw(Answer.UNKNOWN, tls=replace(peer, wants_client_cert=True))
            answer = Answer.HTTP2 if _is_settings(heard_first) or _answers_http2(line) else Answer.UNKNOWN
        heard = None if answer is Answer.HTTP2 else self._ask(lambda: self._connect_tls(_trusting_nobody("http/1.1")))
        return replace(heard, tls=peer) if heard is not None else self._saw(answer, tls=peer)

    def _connect(self) -> socket.socket:
        line = socket.create_connection((self.host, self.port), timeout=_CONNECT_S)
        line.settimeout(_ANSWER_S)
        return line

    def _connect_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        line = self._connect()
        try:
            return context.wrap_socket(line, server_hostname=self.host)
        except BaseException:
            line.close()
            raise

    def _read_certificate(self, der: bytes) -> PeerTls:
        """Its names and issuer: Python reads a certificate only for who trusts it, so this connection trusts itself."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        try:
            context.load_verify_locations(cadata=der)
            with closing(self._connect_tls(context)) as line:
                return _peer_from(line.getpeercert() or {})
        except (OSError, ValueError):
            return PeerTls()

    def _ask(self, connect: Callable[[], socket.socket]) -> Sighting | None:
        seen = None
        for method, path in _REQUESTS:
            connection = http.client.HTTPConnection(self.host, self.port)
            with closing(connection):
                connection.sock = connect()
                connection.request(method, path, headers={"Connection": "close"})
                reply = connection.getresponse()
                body = reply.read(_MOST_BYTES)
            if reply.status == http.client.BAD_REQUEST and b"HTTPS" in body:
                return None  # as Go and nginx answer in the clear where they expect TLS
            headers = {name.lower(): value for name, value in reply.getheaders()}
            seen = self._saw(Answer.HTTP1, service=_service(headers, body), product=headers.get("server", "")[:60])
            if seen.service is not None:
                break
        return seen

    def _saw(self, answer: Answer, **more: Any) -> Sighting:  # noqa: ANN401 - fields of `Sighting`
        return Sighting(host=self.host, port=self.port, answer=answer, **more)


def _trusting_nobody(*protocols: str) -> ssl.SSLContext:
    """For looking alone: nothing is asked for over it that would need trust, and nothing is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols or ("h2", "http/1.1")))
    return context


def _answers_http2(line: ssl.SSLSocket) -> bool:
    line.settimeout(_ANSWER_S)
    try:
        line.sendall(_PREFACE)
        return _is_settings(line.recv(_MOST_BYTES))
    except OSError:
        return False


def first_words(line: ssl.SSLSocket, within_s: float) -> bytes | None:
    """What the server says after the handshake, before we do; None where it turns us away for want of a certificate.

    From TLS 1.3 on it says so only then, by an alert, or, as gRPC's own server does, by nothing but the end.
    """
    line.settimeout(within_s)
    try:
        return line.recv(_MOST_BYTES) or None
    except TimeoutError:
        return b""
    except OSError:
        return None


def _is_settings(heard: bytes) -> bool:
    """Whether it begins with a SETTINGS frame of stream 0: length, type 4, flags, stream."""
    return len(heard) >= 9 and heard[3] == 4 and not int.from_bytes(heard[5:9])


def _is_about_our_cert(reason: str) -> bool:
    return any(word in reason for word in ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE"))


def _peer_from(certificate: Mapping[str, Any]) -> PeerTls:
    subject, issuer = _attributes(certificate.get("subject", ())), _attributes(certificate.get("issuer", ()))
    names = tuple(name for _, name in certificate.get("subjectAltName", ())) or (subject.get("commonName", ""),)
    signer = " ".join(filter(None, (issuer.get("organizationName"), issuer.get("commonName"))))
    return PeerTls(
        names=tuple(filter(None, names)),
        issuer="itself" if subject == issuer else signer,
        is_expired=ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time(),
    )


def _attributes(name: Iterable[Iterable[tuple[str, str]]]) -> dict[str, str]:
    return {key: value for part in name for key, value in part}


def _service(headers: Mapping[str, str], body: bytes) -> Service | None:
    server = headers.get("server", "").lower()
    if "x-ms-request-id" in headers or "x-ms-version" in headers or "azur" in server:
        return Service.AZURE
    if "x-guploader-uploadid" in headers:
        return Service.GCS
    if server.startswith(_S3_SERVERS) or any(name.startswith(_S3_HEADERS) for name in headers):
        return Service.S3
    if any(text in body for text in _S3_BODIES):
        return Service.S3
    if body.strip() == b"OK" or body.startswith(b'{"state":'):
        return Service.MILVUS_MANAGEMENT
    return Service.MILVUS_REST if body.startswith(b'{"code":') else None
