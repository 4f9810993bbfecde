"""The limit on bytes per second, and on what streams hold in memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from migrator.errors import Interrupted
from migrator.steps.throttle import Throttle
from tests.support.builders import FakeClock

MIB = 1024**2


def never(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


def test_without_a_limit_nothing_waits() -> None:
    throttle = Throttle()
    throttle.take(10**12, now=0.0, pause=never)
    throttle.take(10**12, now=0.0, pause=never)
    assert throttle.piece_bytes == MIB // 4


def test_what_is_taken_lasts_as_long_as_the_limit_says() -> None:
    clock, throttle = FakeClock(), Throttle(1000)
    for _ in range(10):
        throttle.take(500, now=clock.monotonic(), pause=clock.sleep)
    assert clock.monotonic() == pytest.approx(4.5)  # the last one has begun
    clock.sleep(100)
    throttle.take(500, now=clock.monotonic(), pause=never)


def test_all_workers_share_the_limit() -> None:
    throttle = Throttle(1000)
    waits: list[float] = []
    guard = threading.Lock()

    def note(seconds: float) -> None:
        with guard:
            waits.append(seconds)

    with ThreadPoolExecutor(16) as workers:
        list(workers.map(lambda _: throttle.take(100, now=0.0, pause=note), range(64)))
    assert sorted(waits) == pytest.approx([0.1 * number for number in range(1, 64)])


def test_who_stops_to_wait_leaves_its_turn_to_the_others() -> None:
    clock, throttle = FakeClock(), Throttle(1)
    throttle.take(10, now=0.0, pause=never)

    def stop(_: float) -> None:
        raise Interrupted("stopped")

    for _ in range(50):
        with pytest.raises(Interrupted):
            throttle.take(1000, now=0.0, pause=stop)
    throttle.take(10, now=0.0, pause=clock.sleep)
    assert clock.monotonic() == pytest.approx(10)


@pytest.mark.parametrize("limit", [1, 1000, 20_000, MIB, 1024 * MIB])
def test_no_stream_is_silent_for_long(limit: int) -> None:
    """So that a server does not hang up; of tiny limits there is one stream at a time, in small pieces."""
    throttle = Throttle(limit)
    assert throttle.piece_bytes <= MIB
    assert throttle.most_streams is not None
    assert throttle.most_streams == 1 or throttle.most_streams * throttle.piece_bytes <= 5 * limit


def test_streams_hold_no_more_than_there_is_room_for() -> None:
    throttle, room, most = Throttle(buffered_bytes=100), threading.Lock(), 0
    held: list[int] = []

    def stream(size_bytes: int) -> None:
        nonlocal most
        with throttle.stream(size_bytes, pause=lambda _: None):
            with room:
                held.append(min(size_bytes, 100))
                most = max(most, sum(held))
            with room:
                held.remove(min(size_bytes, 100))

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(stream, [30, 60, 100, 500, 10] * 20))
    assert most <= 100


def test_waiting_for_room_can_be_stopped() -> None:
    throttle = Throttle(buffered_bytes=100)

    def stop(_: float) -> None:
        raise Interrupted("stopped")

    with throttle.stream(60, pause=never), pytest.raises(Interrupted), throttle.stream(60, pause=stop):
        pass
    with throttle.stream(100, pause=never):
        pass
