"""How many requests may be under way at a time: one more while all goes well, half as many where it was too much."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Allowance:
    """A number of places that all threads share, and that adapts: additive increase, multiplicative decrease.

    A window of requests that all went well adds a place, up to `most`; a refusal halves their number, down to one. What
    left before the last halving halves nothing: many requests that are refused together are one refusal.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._window = float(most)
        self._inside = 0
        self._joined = 0
        self._tickets = 0
        self._halved_at = 0
        self._lock = threading.Condition()

    @property
    def limit(self) -> int:
        """Places there are now."""
        return max(1, int(self._window))

    @property
    def inside(self) -> int:
        """Places that are taken."""
        return self._inside

    @contextmanager
    def join(self) -> Iterator[Share]:
        """A part of the places for as long as the block lasts; what it still holds at the end is given back."""
        with self._lock:
            self._joined += 1
        share = Share(self)
        try:
            yield share
        finally:
            with self._lock:
                self._joined -= 1
                self._inside -= len(share.tickets)
                self._lock.notify_all()

    def _enter(self, share: Share, *, is_forced: bool) -> int | None:
        with self._lock:
            mine = ceil(self.limit / max(1, self._joined))
            if not is_forced and (self._inside >= self.limit or len(share.tickets) >= mine):
                return None
            self._inside += 1
            self._tickets += 1
            share.tickets.add(self._tickets)
            return self._tickets

    def _leave(self, share: Share, ticket: int, *, is_refused: bool | None) -> None:
        with self._lock:
            share.tickets.discard(ticket)
            self._inside -= 1
            if is_refused and ticket > self._halved_at:
                self._window = max(1.0, self.limit / 2)
                self._halved_at = self._tickets
            elif is_refused is False:
                self._window = min(float(self._most), self._window + 1 / self._window)
            self._lock.notify_all()

    def wait(self, seconds: float) -> None:
        """Until somebody gives a place back, or so long."""
        with self._lock:
            self._lock.wait(seconds)


class Share:
    """What one of many takes of an allowance: never more than an equal part of it, so that nobody starves."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self.tickets: set[int] = set()
        """Of the places that it holds."""

    @property
    def limit(self) -> int:
        """Places that all have together now."""
        return self._allowance.limit

    def find_place(self) -> int | None:
        """A place, or None where none is free; given back by `passed`, `refused` or `left`."""
        return self._allowance._enter(self, is_forced=False)  # noqa: SLF001 - one thing in two classes

    def take_place(self) -> int:
        """A place even where none is free: for what is under way already, or must not stand still."""
        ticket = self._allowance._enter(self, is_forced=True)  # noqa: SLF001 - as above
        assert ticket is not None  # noqa: S101 - a forced one is always there
        return ticket

    def wait(self, seconds: float) -> None:
        """Until a place may be free, or so long."""
        self._allowance.wait(seconds)

    def passed(self, ticket: int) -> None:
        """It went well."""
        self._allowance._leave(self, ticket, is_refused=False)  # noqa: SLF001 - as above

    def refused(self, ticket: int) -> None:
        """It was too much: 503, 429, no answer in time, no room for another job."""
        self._allowance._leave(self, ticket, is_refused=True)  # noqa: SLF001 - as above

    def left(self, ticket: int) -> None:
        """It ended in a way that says nothing about what can be borne."""
        self._allowance._leave(self, ticket, is_refused=None)  # noqa: SLF001 - as above
