"""Backing off: retryable errors within a budget, everything else at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from migrator.errors import MigratorError

if TYPE_CHECKING:
    from collections.abc import Callable

    import tenacity

    from migrator.ports.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to bear with an outage, and the longest pause between two attempts; seconds."""

    max_elapsed_s: float = 1800.0
    max_backoff_s: float = 30.0


_FRESH_AFTER_S = 60.0
_MAX_ATTEMPTS = 500


class Patience:
    """The budget of one step.

    It is counted from the first of a row of failures; an attempt that went well for a minute ends the row, so that a
    step of hours bears with an outage as long as a step of seconds does.
    """

    def __init__(self, policy: RetryPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._began = self._row_began = clock.monotonic()

    def _is_spent(self, state: tenacity.RetryCallState) -> bool:
        now = self._clock.monotonic()
        if now - self._began > _FRESH_AFTER_S:
            self._row_began = now
        return now - self._row_began > self._policy.max_elapsed_s or state.attempt_number >= _MAX_ATTEMPTS

    def call(self, attempt: Callable[[], T], *, on_wait: Callable[[MigratorError, float], None]) -> T:
        """Call `attempt` until it succeeds, fails for good, or the budget is spent; the last error comes through."""
        failed: list[MigratorError] = []

        def once() -> T:
            if failed:
                raise failed.pop()
            self._began = self._clock.monotonic()
            return attempt()

        try:
            return once()
        except MigratorError as error:
            if not error.retryable:
                raise
            failed.append(error)
        return self._again(once, on_wait)

    def _again(self, once: Callable[[], T], on_wait: Callable[[MigratorError, float], None]) -> T:
        """Of which the first try has failed, and fails once more as it did, so that it counts as one."""
        import tenacity  # noqa: PLC0415 - slow to import, and seldom used

        def announce(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, MigratorError):
                on_wait(error, state.upcoming_sleep)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, MigratorError) and error.retryable),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=self._policy.max_backoff_s),
            stop=self._is_spent,
            sleep=self._clock.sleep,
            before_sleep=announce,
            reraise=True,
        )
        return retrying(once)
