"""A server of HTTP on loopback that answers as it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from tests.support.listeners import HOST

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

PAUSE = "/management/datacoord/garbage_collection/pause"
RESUME = "/management/datacoord/garbage_collection/resume"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    content: bytes = b""

    @property
    def body(self) -> Any:  # noqa: ANN401 - JSON
        """What came as JSON."""
        return json.loads(self.content)


@dataclass(slots=True)
class Web:
    """Answers by path: a status, a JSON body, headers; anything else is 404, as Milvus's own servers put it."""

    answers: dict[str, tuple[int, Any, dict[str, str]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    @property
    def asked(self) -> list[str]:
        """The paths in their order."""
        return [f"{each.path}?{each.query}" if each.query else each.path for each in self.requests]

    def tell(self, path: str, content: object, *, status: int = 200, **headers: str) -> None:
        """Answer requests to `path` like this from now on."""
        self.answers[path] = (status, content, headers)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """One that runs."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.requests.append(Request(self.command, path, query, headers, content))
            status, content, more = web.answers.get(path, (404, None, {}))
            body = b"404 page not found" if content is None else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 - as http.server calls them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        web.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield web
        server.shutdown()
        thread.join()
