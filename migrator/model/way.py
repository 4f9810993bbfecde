"""Who carries bytes from one store to another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """Who carries the bytes."""

    INSIDE = "inside"
    """The service, within one bucket."""
    ACROSS = "across"
    """The service, from another of its buckets."""
    STREAM = "stream"
    """This machine."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way, and why it is no better one."""

    way: Way
    reason: str = ""
