"""Small servers on loopback that say one thing, or nothing at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

HOST = "127.0.0.1"
Behaviour = Callable[[socket.socket], None]
"""What becomes of one connection."""


@contextmanager
def listening(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port where each connection meets `behaviour`, behind `tls` if it is given."""
    with socket.create_server((HOST, 0)) as server:
        ended = threading.Event()

        def serve(line: socket.socket) -> None:
            with suppress(OSError), line:  # clients go as they like
                if tls is None:
                    behaviour(line)
                else:
                    with tls.wrap_socket(line, server_side=True) as safe:
                        behaviour(safe)

        def accept() -> None:
            with suppress(OSError):
                while not ended.is_set():
                    line, _ = server.accept()
                    line.settimeout(20)
                    threading.Thread(target=serve, args=(line,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        ended.set()
        server.shutdown(socket.SHUT_RDWR)


def silent(line: socket.socket) -> None:
    """Take everything, and say nothing."""
    while line.recv(4096):
        pass


def speaking_http2(line: socket.socket) -> None:
    """Greet as a server of HTTP/2 does, with SETTINGS, and say no more."""
    line.sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    silent(line)


def answering(reply: bytes) -> Behaviour:
    """Whatever is asked, this is the answer, bytes and all."""

    def answer(line: socket.socket) -> None:
        line.recv(4096)
        line.sendall(reply)

    return answer


def over_http(status: str, headers: dict[str, str], body: bytes = b"") -> Behaviour:
    """Every request gets this answer of HTTP/1.1."""
    given = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return answering(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body)
