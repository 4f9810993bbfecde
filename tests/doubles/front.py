"""The public port: HTTP/2 goes to gRPC and HTTP/1.1 to REST by their first bytes, as on a real proxy (E.3)."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress


class Front:
    """Listens in a thread of its own; `restart` drops every connection, and comes back on the same port."""

    def __init__(self, *, grpc_port: int, http_port: int, port: int = 0) -> None:
        """Pass on to those ports."""
        self.port = port
        self._grpc_port, self._http_port = grpc_port, http_port
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def start(self) -> None:
        """Listen."""
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def restart(self, down_s: float) -> None:
        """Refuse connections for a while."""
        asyncio.run_coroutine_threadsafe(self._go_down(), self._loop).result()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(down_s), self._loop).result()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _go_down(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readexactly(3)
            port = self._grpc_port if first == b"PRI" else self._http_port
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
            behind_writer.write(first)
            both = {writer, behind_writer}
            self._open |= both
            await asyncio.gather(_pump(reader, behind_writer), _pump(behind_reader, writer))
            self._open -= both
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
