"""A mapped collection on its way to a plan: what was selected, what was observed of it, what shall be done."""

from __future__ import annotations

from dataclasses import dataclass, field

from migrator.model.collection import Collection, CollectionRef, Index
from migrator.model.observed import ObservedCollection
from migrator.planning.aliases import AliasPlan
from migrator.planning.loading import Loading
from migrator.planning.partitions import with_chosen_partitions
from migrator.planning.plan import Action
from migrator.planning.selection import Selected


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedItem:
    """A selected collection with what was observed of it and what shall be done.

    `indexes`, `loading` and `aliases` are what the target gets; `changed` tells how the plan departs from the source.
    """

    selected: Selected
    observed: ObservedCollection
    action: Action
    indexes: tuple[Index, ...] = ()
    loading: Loading = field(default_factory=lambda: Loading(is_wanted=False))
    aliases: AliasPlan = field(default_factory=AliasPlan)
    changed: tuple[str, ...] = ()

    @property
    def source(self) -> CollectionRef:
        """Where it is read."""
        return self.selected.source

    @property
    def target(self) -> CollectionRef:
        """Where it goes."""
        return self.selected.target

    @property
    def collection(self) -> Collection:
        """The source's description."""
        return self.observed.collection

    @property
    def chosen(self) -> Collection:
        """The same with the partitions that come along, and no others."""
        return with_chosen_partitions(self.selected.mapping.partitions, self.collection)
