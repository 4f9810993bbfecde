"""Many small requests side by side: the answers come in the order in which they were asked for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from migrator.errors import MilvusBusy
from migrator.steps.allowance import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from migrator.steps.allowance import Share

T = TypeVar("T")
R = TypeVar("R")

ABREAST = 16
"""So many at a time: a `count(*)` waits a fifth of a second for the server's clock, and costs it next to nothing."""
_TRIES = 8
_FIRST_PAUSE_S = 0.25
_WAIT_S = 1.0


def abreast(
    call: Callable[[T], R], items: Iterable[T], *, most: int = ABREAST, pause: Callable[[float], None] = time.sleep
) -> list[R]:
    """What `call` says of each of `items`, in their order; fewer at a time where a server says that it is too much.

    Raises:
        Exception: The first that a call raised; those that wait are not made any more.
    """
    listed = list(items)
    if len(listed) < 2:
        return [call(item) for item in listed]
    pool = ThreadPoolExecutor(min(most, len(listed)), thread_name_prefix="abreast")
    try:
        with Allowance(most).join() as share:
            asked = [pool.submit(_ask, partial(call, item), share, pause) for item in listed]
            return [future.result() for future in asked]
    finally:
        pool.shutdown(cancel_futures=True)


def _ask(call: Callable[[], R], share: Share, pause: Callable[[float], None]) -> R:
    """Ask, again and more slowly where the server's rate limit is reached."""
    for attempt in range(_TRIES):
        while (place := share.find_place()) is None:
            share.wait(_WAIT_S)
        try:
            answer = call()
        except MilvusBusy:
            share.refused(place)
            if attempt + 1 == _TRIES:
                raise
            pause(_FIRST_PAUSE_S * 2**attempt)
        except BaseException:
            share.left(place)
            raise
        else:
            share.passed(place)
            return answer
    raise AssertionError  # the last attempt returned or raised
