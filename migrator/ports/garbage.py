"""The garbage collection of a source, which a run asks to wait."""

from __future__ import annotations

from typing import Protocol


class GarbageCollection(Protocol):
    """Pauses are wishes: one ends by itself, or with a restart of the server."""

    def pause(self, seconds: int) -> None:
        """Let nothing be collected from now on for so long; raises a `MilvusError` where that is not to be had."""

    def resume(self) -> None:
        """End the pause."""
