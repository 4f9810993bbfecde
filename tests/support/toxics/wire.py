"""A TCP proxy: connections that are refused, cut, slow, silent, cut after some bytes, or garbled."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Wire:
    """Forwards connections at `port` to `to_port`; what is set on it holds from the next bytes on."""

    to_port: int
    delay_s: float = 0.0
    cut_after_bytes: int | None = None
    """Each connection is reset once so many bytes came back over it."""
    garble_after_bytes: int | None = None
    """From this byte of an answer on, every bit is flipped."""
    is_silent: bool = False
    """Nothing comes through, and nobody is told; a connection that lost bytes stays silent for ever."""
    port: int = 0
    connections: int = 0
    heard: bytearray | None = None
    """All that came from the clients, where it is to be kept."""
    _reserved: socket.socket = field(init=False)
    _listener: socket.socket | None = None
    _open: set[socket.socket] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Reserve a port: bound and not listening, it refuses, and nobody else gets it."""
        self._reserved = _bound(0)
        self.port = self._reserved.getsockname()[1]

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self.cut()
        self._reserved.close()

    def accept(self) -> None:
        """Listen, again."""
        listener = self._listener = _bound(self.port)
        listener.listen(64)
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse new connections; those that are open go on."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
            listener.close()

    def cut(self) -> None:
        """Reset every open connection."""
        with self._guard:
            doomed = list(self._open)
        for end in doomed:
            _reset(end)

    def down(self) -> None:
        """Refuse new connections and reset the open ones, as a server that died."""
        self.refuse()
        self.cut()

    def down_for(self, seconds: float) -> None:
        """Be down for so long, and return once it is over."""
        self.down()
        time.sleep(seconds)
        self.accept()

    def silent_for(self, seconds: float) -> None:
        """Be silent for so long, as a network that drops packets, and return once it is over."""
        self.is_silent = True
        time.sleep(seconds)
        self.is_silent = False

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection((HOST, self.to_port), timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                self._open |= {client, server}
            for source, sink, is_answer in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, is_answer), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:  # noqa: FBT001 - a thread's
        passed = 0
        is_lost = False
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if self.heard is not None and not is_answer:
                    self.heard += chunk
                is_lost = is_lost or self.is_silent
                if is_lost:
                    continue
                if self.delay_s:
                    time.sleep(self.delay_s)
                if is_answer and self.cut_after_bytes is not None and passed + len(chunk) > self.cut_after_bytes:
                    sink.sendall(chunk[: max(0, self.cut_after_bytes - passed)])
                    _reset(sink)
                    break
                sink.sendall(self._garbled(chunk, passed) if is_answer else chunk)
                passed += len(chunk)
        for end in (sink, source):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        with self._guard:
            self._open -= {source, sink}

    def _garbled(self, chunk: bytes, passed: int) -> bytes:
        if self.garble_after_bytes is None or passed + len(chunk) <= self.garble_after_bytes:
            return chunk
        first = max(0, self.garble_after_bytes - passed)
        return chunk[:first] + bytes(byte ^ 0xFF for byte in chunk[first:])


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound


def _reset(end: socket.socket) -> None:
    """Let the other side see a reset, also where a thread of ours still reads from it."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        end.close()
