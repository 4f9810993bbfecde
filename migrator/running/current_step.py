"""Which step a thread is at, for the run log."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_key: ContextVar[str] = ContextVar("_key", default="")


@contextmanager
def at_step(key: str) -> Iterator[None]:
    """What this thread logs meanwhile belongs to a step."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


def current_step() -> str:
    """Its key; empty in threads that are at none."""
    return _key.get()
