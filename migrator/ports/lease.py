"""The right to write to a target collection and to a dump, held against other machines and other plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from migrator.model.collection import CollectionRef


class Lease(Protocol):
    """What a step asks before it sends what must not be sent twice."""

    def require_held(self, target: CollectionRef) -> None:
        """Return while this process holds the target collection; raises `LockHeld` once it does not."""

    def require_dump_held(self) -> None:
        """Return while this process holds the run's dump; raises `LockHeld` once it does not."""
