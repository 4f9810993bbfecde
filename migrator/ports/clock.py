"""Time, as a thing that can be handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """Wall time for people, monotonic time for waiting."""

    @property
    def boot_id(self) -> str:
        """Which steady clock this is: processes with the same one may compare their `monotonic`; empty if unknown."""

    def now(self) -> datetime:
        """UTC."""

    def monotonic(self) -> float:
        """Seconds; only differences mean anything."""

    def sleep(self, seconds: float) -> None:
        """Wait; raises `Interrupted` as soon as a person asks the run to stop."""
