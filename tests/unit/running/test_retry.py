"""Backing off: how long, for what, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.errors import Interrupted, MigratorError, MilvusRefused, MilvusUnavailable, StoreUnavailable
from migrator.running.retry import Patience, RetryPolicy
from tests.support.builders import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = RetryPolicy(max_elapsed_s=120, max_backoff_s=10)


class Attempts:
    """Fails so many times, taking `lasts_s` each time."""

    def __init__(self, clock: FakeClock, error: BaseException, *, failures: int = 10_000, lasts_s: float = 0) -> None:
        self._clock = clock
        self._error = error
        self._failures = failures
        self._lasts_s = lasts_s
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        self._clock.sleep(self._lasts_s)
        if self.count <= self._failures:
            raise self._error
        return "done"


def say_nothing(_: MigratorError, __: float) -> None:
    """Nobody listens."""


def call(clock: FakeClock, attempt: Callable[[], str], policy: RetryPolicy = POLICY) -> str:
    return Patience(policy, clock).call(attempt, on_wait=say_nothing)


@pytest.mark.parametrize("error", [MilvusUnavailable("x"), StoreUnavailable("x")])
def test_an_outage_is_borne_with(error: MigratorError) -> None:
    clock = FakeClock()
    attempts = Attempts(clock, error, failures=5)
    assert call(clock, attempts) == "done"
    assert attempts.count == 6


@pytest.mark.parametrize("error", [MilvusRefused("x"), Interrupted("x"), ValueError("x"), KeyboardInterrupt()])
def test_everything_else_comes_through_at_once(error: BaseException) -> None:
    clock = FakeClock()
    attempts = Attempts(clock, error)
    with pytest.raises(type(error)) as caught:
        call(clock, attempts)
    assert caught.value is error
    assert attempts.count == 1


def test_an_outage_longer_than_the_budget_comes_through_as_itself() -> None:
    clock, error = FakeClock(), MilvusUnavailable("x")
    with pytest.raises(MilvusUnavailable) as caught:
        call(clock, Attempts(clock, error))
    assert caught.value is error
    assert POLICY.max_elapsed_s < clock.monotonic() <= POLICY.max_elapsed_s + POLICY.max_backoff_s


def test_pauses_grow_vary_and_stay_below_the_longest() -> None:
    clock = FakeClock()
    said: list[float] = []
    patience = Patience(RetryPolicy(max_elapsed_s=100_000, max_backoff_s=10), clock)
    patience.call(Attempts(clock, MilvusUnavailable("x"), failures=200), on_wait=lambda _, s: said.append(s))
    pauses = [pause for pause in clock.sleeps if pause]
    assert pauses == [pause for pause in said if pause]
    assert max(pauses) <= 10
    assert len(set(pauses)) > len(pauses) / 2
    assert sum(pauses[20:]) / len(pauses[20:]) > sum(pauses[:3]) / 3


def test_an_attempt_that_went_well_for_a_while_renews_the_budget() -> None:
    """A step of hours bears with as many outages as come, if none is too long."""
    clock = FakeClock()
    assert call(clock, Attempts(clock, StoreUnavailable("x"), failures=20, lasts_s=100)) == "done"
    assert clock.monotonic() > 10 * POLICY.max_elapsed_s


def test_attempts_have_an_end_even_if_the_clock_stands_still() -> None:
    class Standing(FakeClock):
        def monotonic(self) -> float:
            return 0.0

    clock = Standing()
    attempts = Attempts(clock, StoreUnavailable("x"))
    with pytest.raises(StoreUnavailable):
        call(clock, attempts)
    assert attempts.count <= 500


def test_a_stop_ends_the_waiting() -> None:
    clock = FakeClock()

    def attempt() -> str:
        clock.error = Interrupted("stop")
        raise MilvusUnavailable("x")

    with pytest.raises(Interrupted):
        call(clock, attempt)
