"""Waiting for the target: polls, tells how far it is, and gives up only when nothing moves any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.steps.base import StepContext

_POLL_S = 0.5
_FIRST_POLL_S = 0.1
_POLL_SHARE = 0.1
"""Of what was waited already, the pause until the next look: what is over is noticed late by no more than that."""
STALL_S = 1800.0
"""Without any change for so long the step fails; what it asked for goes on, and resume waits again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at how far the server is."""

    is_over: bool
    done: int
    total: int
    unit: str


def next_look_s(still_s: float) -> float:
    """Seconds until the next look at what has not moved for so many: half a second is enough for what takes minutes."""
    return min(_POLL_S, max(_FIRST_POLL_S, still_s * _POLL_SHARE))


def wait_until_over(ctx: StepContext, look: Callable[[float], Look], *, doing: str) -> None:
    """Look again and again; `look` is told for how many seconds nothing has changed.

    Raises:
        RunError: Nothing changed for half an hour.
    """
    last, moved_at = None, ctx.clock.monotonic()
    while True:
        still_s = ctx.clock.monotonic() - moved_at
        seen = look(still_s)
        if seen.is_over:
            return
        if seen != last:
            last, moved_at = seen, ctx.clock.monotonic()
        elif still_s > STALL_S:
            raise RunError(
                f"{doing} has not moved for {STALL_S / 60:.0f} minutes ({seen.done:,} of {seen.total:,} {seen.unit})",
                hint="look at the target's nodes and their memory; migrator apply --resume goes on waiting",
            )
        ctx.progress(doing, done=seen.done, total=seen.total, unit=seen.unit)
        ctx.clock.sleep(next_look_s(still_s))
