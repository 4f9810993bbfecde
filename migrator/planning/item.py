"""A mapped collection on its way to a plan: what was selected, what was observed of it, what shall be done."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.model.collection import Collection, CollectionRef
from migrator.model.observed import ObservedCollection
from migrator.planning.plan import Action
from migrator.planning.replacing import Predecessor
from migrator.planning.selection import Selected


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedItem:
    """A selected collection with what was observed of it and what shall be done; `aliases` are those it will get."""

    selected: Selected
    observed: ObservedCollection
    action: Action
    aliases: tuple[str, ...]
    replaces: Predecessor | None = None

    @property
    def source(self) -> CollectionRef:
        """Where it is read."""
        return self.selected.source

    @property
    def target(self) -> CollectionRef:
        """Where it goes."""
        return self.selected.target

    @property
    def built_as(self) -> CollectionRef:
        """Under which name it is built."""
        return self.target if self.replaces is None else self.replaces.temporary

    @property
    def collection(self) -> Collection:
        """The source's description."""
        return self.observed.collection
