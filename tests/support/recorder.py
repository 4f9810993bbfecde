"""A loopback HTTP server that notes what it is asked, and answers as it is told.

As a proxy (`HTTP_PROXY`, `HTTPS_PROXY`) it also shows which hosts would be asked, without asking them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one request held; names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def host(self) -> str:
        return self.headers["host"]

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered; by default that all is well and empty."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """The server's address, its rules, and what it was asked so far."""

    port: int
    scheme: str
    answer: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def asked(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    def everything(self) -> str:
        """All that was ever sent here, for a search in it."""
        return "\n".join(f"{one.method} {one.path} {one.headers} {one.body!r}" for one in self.requests)


@contextmanager
def recording(
    answer: Callable[[Request], Reply] = lambda _: Reply(), *, tls: ssl.SSLContext | None = None
) -> Iterator[Recorder]:
    """Run such a server on a free port; with `tls` it speaks nothing else."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(method=self.command, path=self.path, headers=headers, body=body)
            recorder.requests.append(request)
            reply = recorder.answer(request)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), "ETag": '"e"', **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_CONNECT = handle_any  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    recorder = Recorder(port=server.server_port, scheme="http" if tls is None else "https", answer=answer)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
