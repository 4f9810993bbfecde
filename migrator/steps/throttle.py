"""What all streams and copies of a run share: a limit on bytes per second, and one on the bytes held in memory."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE_BYTES = 256 * 1024
_SMALLEST_PIECE_BYTES = 16 * 1024
_BUFFERED_BYTES = 64 * 1024**2
_LONGEST_SILENCE_S = 5.0
"""A stream that waits for its turn any longer might be given up by the server that sends it."""
_LOOK_S = 0.1


class Throttle:
    """A token bucket over all workers of a run, and a bound on what their streams hold in memory.

    What is taken is put in a row: each piece begins when those before it are over at the limit's rate. So at most one
    piece is ahead of its time, and the bytes of a run never exceed that plus rate times time.
    """

    def __init__(self, limit_bytes_per_s: int | None = None, *, buffered_bytes: int = _BUFFERED_BYTES) -> None:
        self._limit = limit_bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._buffered_bytes = buffered_bytes
        self._held_bytes = 0
        self._streams = 0

    @property
    def limit_bytes_per_s(self) -> int | None:
        """Over all workers together; None is unbounded."""
        return self._limit

    @property
    def piece_bytes(self) -> int:
        """How much of a stream is read at once: small enough for an even flow."""
        if self._limit is None:
            return _PIECE_BYTES
        return min(_PIECE_BYTES, max(_SMALLEST_PIECE_BYTES, self._limit // 4))

    @property
    def most_streams(self) -> int | None:
        """So many at a time that none is silent for long; None is any number."""
        if self._limit is None:
            return None
        return max(1, int(_LONGEST_SILENCE_S * self._limit / self.piece_bytes))

    def take(self, size_bytes: int, *, now: float, pause: Callable[[float], None]) -> None:
        """Wait for the turn of so many bytes; `now` is of a steady clock, in seconds."""
        if self._limit is None:
            return
        lasts_s = size_bytes / self._limit
        with self._lock:
            begins_at = max(now, self._free_at)
            self._free_at = begins_at + lasts_s
        try:
            if begins_at > now:
                pause(begins_at - now)
        except BaseException:
            with self._lock:
                self._free_at -= lasts_s  # those behind it need not wait for what does not come
            raise

    @contextmanager
    def stream(self, buffered_bytes: int, *, pause: Callable[[float], None]) -> Iterator[None]:
        """Wait until a stream that holds so many bytes fits beside the others, and count it while it lasts."""
        weight = min(buffered_bytes, self._buffered_bytes)
        while not self._enter(weight):
            pause(_LOOK_S)
        try:
            yield
        finally:
            with self._lock:
                self._held_bytes -= weight
                self._streams -= 1

    def _enter(self, weight: int) -> bool:
        with self._lock:
            fits = self._held_bytes + weight <= self._buffered_bytes
            if not fits or (self.most_streams is not None and self._streams >= self.most_streams):
                return False
            self._held_bytes += weight
            self._streams += 1
            return True
