"""A mapped collection on its way to a plan: what was selected, what was observed of it, what shall be done."""

from __future__ import annotations

from dataclasses import dataclass, field

from migrator.model.collection import Collection, CollectionRef, Index
from migrator.model.observed import ObservedCollection
from migrator.model.snapshot import SnapshotWay
from migrator.planning.loading import Loading
from migrator.planning.partitions import with_chosen_partitions
from migrator.planning.plan import Action
from migrator.planning.replacing import Predecessor
from migrator.planning.selection import Selected
from migrator.steps.switch_alias import AliasMove


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedItem:
    """A selected collection with what was observed of it and what shall be done.

    `aliases` are those the target gets, and `moves` those among them that others have; `changed` and `lost` tell how
    its indexes and aliases depart from the source's.
    """

    selected: Selected
    observed: ObservedCollection
    action: Action
    aliases: tuple[str, ...] = ()
    moves: tuple[AliasMove, ...] = ()
    indexes: tuple[Index, ...] = ()
    loading: Loading = field(default_factory=lambda: Loading(is_wanted=False))
    changed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    replaces: Predecessor | None = None
    snapshot: SnapshotWay | None = None
    """None where its binlogs are moved."""

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

    @property
    def chosen(self) -> Collection:
        """The same with the partitions that come along, and no others."""
        return with_chosen_partitions(self.selected.mapping.partitions, self.collection)
