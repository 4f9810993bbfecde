"""Many objects in flight, fewer where a store says that it is too much, and again what did not get through."""

from __future__ import annotations

import logging
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from migrator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from migrator.steps.allowance import Share
    from migrator.steps.base import StepContext

T = TypeVar("T")

_TRIES = 3
"""Of one object within an attempt at the step."""
_SILENCE_S = 10.0
"""A store that lets nothing through for so long, or from the start, is down: the step waits that out, by its budget."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_LOOK_S = 0.5
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Flight(Generic[T]):
    """Carries things side by side, `most` of them at most; the places for it are those of `share`."""

    ctx: StepContext
    share: Share
    carry: Callable[[T], None]
    most: int
    _flying: dict[Future[None], tuple[T, int]] = field(default_factory=dict)
    _landed: SimpleQueue[Future[None]] = field(default_factory=SimpleQueue)
    """To wait on all that fly, each time one lands, would cost more than carrying a small object."""
    _again: deque[T] = field(default_factory=deque)
    _tries: Counter[T] = field(default_factory=Counter)
    _passed_at: float | None = None
    _row: int = 0
    """Refusals since something got through."""
    _resume_at: float = 0.0

    def arrivals(self, todo: Iterator[T]) -> Iterator[list[T]]:
        """What has arrived, in groups, until all of `todo` has.

        Raises:
            StoreUnavailable: Nothing gets through, or one thing does not.
        """
        while self._fill(todo) or self._flying or self._again:
            if self._flying:
                yield [thing for future in self._next_landed() if (thing := self._arrived(future)) is not None]
            else:
                self.ctx.clock.sleep(max(0.0, self._resume_at - self.ctx.clock.monotonic()))

    def _next_landed(self) -> Iterator[Future[None]]:
        """All that have landed meanwhile; a short wait for the first."""
        with suppress(Empty):
            yield self._landed.get(timeout=_LOOK_S)
            while True:
                yield self._landed.get_nowait()

    def land(self) -> Iterator[T]:
        """Wait for what is in flight; what gets through, for the others are carried again next time."""
        for future, (thing, _) in self._flying.items():
            if not future.cancel() and future.exception() is None:
                yield thing

    def _fill(self, todo: Iterator[T]) -> bool:
        """Whether something was begun."""
        has_begun = False
        while len(self._flying) < self.most and self.ctx.clock.monotonic() >= self._resume_at:
            place = self.share.find_place() if self._flying else self.share.take_place()
            if place is None:
                break
            thing = self._again.popleft() if self._again else next(todo, None)
            if thing is None:
                self.share.left(place)
                break
            future = self.ctx.workers.submit(self.carry, thing)
            self._flying[future] = thing, place
            future.add_done_callback(self._landed.put)
            has_begun = True
        return has_begun

    def _arrived(self, future: Future[None]) -> T | None:
        thing, place = self._flying.pop(future)
        try:
            future.result()
        except StoreUnavailable as error:
            self.share.refused(place)
            self._refuse(thing, error)
            return None
        except BaseException:
            self.share.left(place)
            raise
        self.share.passed(place)
        self._passed_at, self._row = self.ctx.clock.monotonic(), 0
        return thing

    def _refuse(self, thing: T, error: StoreUnavailable) -> None:
        now = self.ctx.clock.monotonic()
        self._tries[thing] += 1
        is_down = self._passed_at is None or now - self._passed_at > _SILENCE_S
        if is_down or self._tries[thing] >= _TRIES:
            raise error
        self._row += 1
        self._resume_at = now + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self._row - 1))
        self._again.append(thing)
        _log.info("%d copies at a time from here on: %s", self.share.limit, error.message)
