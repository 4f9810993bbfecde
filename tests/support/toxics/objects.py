"""An HTTP proxy in front of a real S3 server: forwards requests, and does to some what a test asks."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

HOST = "127.0.0.1"
COPY = "COPY"
"""Stands for a PUT that names the object to copy."""
LIST = "LIST"
"""Stands for a GET of a listing."""
_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the store; `promised_bytes` is the length its head tells, where that is not the body's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    promised_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request on its way; `method` is its verb, or `COPY`, or `LIST`."""

    method: str
    verb: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    _forward: Callable[[bytes], Reply]

    def forward(self, body: bytes | None = None) -> Reply:
        """Let the store do it, with another body where one is given, and return its answer."""
        return self._forward(self.body if body is None else body)


Effect = Callable[[Request], Reply | None]
"""What becomes of a request: an answer, or None for a connection that is closed without one."""


@dataclass(slots=True)
class Toxic:
    """What becomes of the next `times` requests whose target holds `part`; None is all of them."""

    method: str
    part: str
    effect: Effect
    times: int | None = 1
    hits: int = 0

    def takes(self, request: Request) -> bool:
        """Whether this request is one of them; then it is counted."""
        if request.method != self.method or (self.times is not None and self.hits >= self.times):
            return False
        if self.part not in request.target:
            return False
        self.hits += 1
        return True


class StoreProxy:
    """A real S3 server at another port, whose requests can be poisoned."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._toxics: list[Toxic] = []
        self._guard = threading.Lock()
        self._server = _Server((HOST, 0), _handler_of(self))
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def poison(self, method: str, part: str, effect: Effect, times: int | None = 1) -> Toxic:
        """Do `effect` to the next requests of a method; `part` is of the key, as it stands in the bucket."""
        toxic = Toxic(method, part, effect, times)
        with self._guard:
            self._toxics.append(toxic)
        return toxic

    def cure(self) -> None:
        """Forward everything from now on."""
        with self._guard:
            self._toxics.clear()

    def answer(self, request: Request) -> Reply | None:
        """What the client gets."""
        with self._guard:
            toxic = next((toxic for toxic in self._toxics if toxic.takes(request)), None)
        return toxic.effect(request) if toxic else request.forward()

    def send(self, verb: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Ask the store itself."""
        connection = http.client.HTTPConnection(HOST, self._to_port, timeout=60)
        try:
            connection.request(verb, path, body or None, dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        length = answer.getheader("Content-Length")
        promised = int(length) if verb == "HEAD" and length else None
        kept = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in _HOP)
        return Reply(answer.status, kept, content, promised)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def _handler_of(proxy: StoreProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Say nothing."""

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            request = Request(
                method=_method_of(self.command, self.path, headers),
                verb=self.command,
                target=unquote(self.path),
                headers=headers,
                body=body,
                _forward=lambda sent: proxy.send(self.command, self.path, headers, sent),
            )
            reply = proxy.answer(request)
            if reply is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self._reply(reply)

        def _reply(self, reply: Reply) -> None:
            promised = len(reply.body) if reply.promised_bytes is None else reply.promised_bytes
            self.send_response_only(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)
                self.close_connection = promised != len(reply.body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 - the base class looks for these names

    return Handler


def _method_of(verb: str, path: str, headers: Mapping[str, str]) -> str:
    names = {name.lower() for name in headers}
    if verb == "PUT" and "x-amz-copy-source" in names:
        return COPY
    if verb == "GET" and "list-type=" in path:
        return LIST
    return verb


# -- effects ----------------------------------------------------------------------------------------------------------


def _error(status: int, code: str, message: str) -> Reply:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, (("Content-Type", "application/xml"),), text.encode())


def slow_down(_: Request) -> Reply:
    """503, as S3 throttles."""
    return _error(503, "SlowDown", "Please reduce your request rate.")


def internal_error(_: Request) -> Reply:
    """500, as S3 fails."""
    return _error(500, "InternalError", "We encountered an internal error. Please try again.")


def denied(_: Request) -> Reply:
    """403."""
    return _error(403, "AccessDenied", "Access Denied")


def lost(_: Request) -> None:
    """The store never sees it, and the connection closes."""


def reply_lost(request: Request) -> None:
    """The store does it, and the connection closes before its answer."""
    request.forward()


def truncated(request: Request) -> Reply:
    """Half of the body, and the connection closes."""
    reply = request.forward()
    return replace(reply, body=reply.body[: len(reply.body) // 2], promised_bytes=len(reply.body))


def garbled(request: Request) -> Reply:
    """As long as it should be, with some bytes that are not the store's."""
    reply = request.forward()
    return replace(reply, body=_garbled(reply.body))


def garbled_on_the_way_in(request: Request) -> Reply:
    """The store gets other bytes than were sent, and says that it has them."""
    return request.forward(_garbled(request.body))


def _garbled(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes(byte ^ 0xFF for byte in body[middle : middle + 16]) + body[middle + 16 :]


def delayed(seconds: float) -> Effect:
    """It arrives so much later."""

    def effect(request: Request) -> Reply:
        time.sleep(seconds)
        return request.forward()

    return effect
