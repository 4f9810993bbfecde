"""Whether a collection goes by a snapshot of Milvus 3.0 instead of its binlogs, and why not where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.capabilities import parse_version
from migrator.model.snapshot import SnapshotWay
from migrator.planning.indexes import plan_indexes
from migrator.planning.partitions import with_chosen_partitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.collection import Collection
    from migrator.model.observed import ObservedState
    from migrator.planning.selection import Selected
    from migrator.spec.loaded import LoadedPlan

SNAPSHOTS, BINLOGS = "snapshots", "binlogs"
"""Words of `options.transfer.format`; the third leaves it to the servers."""


@dataclass(frozen=True, slots=True)
class SnapshotChoice:
    """The way, None where binlogs are moved; then `reason` says why, empty where nobody would ask."""

    way: SnapshotWay | None = None
    reason: str = ""
    is_wish: bool = False
    """Whether the reason is the plan file's own word, of which nobody need be told."""

    @property
    def why_not(self) -> str:
        """The reason, after a sentence that says that snapshots are needed."""
        return f" (and none is possible: {self.reason})" if self.reason else ""

    def notices(self) -> Iterator[str]:
        """What a plan tells of it."""
        if self.way is SnapshotWay.WITHIN:
            yield "goes by a snapshot, which the server restores itself: no dump is made, and no index is built anew"
        elif self.way is SnapshotWay.REFERENCE:
            yield (
                "goes by a snapshot, which the target reads in the source's storage: no dump is made, and no index is "
                "built anew"
            )
        elif self.reason and not self.is_wish:
            yield f"goes by its binlogs, not by a snapshot: {self.reason}"


def choose_snapshot(
    loaded: LoadedPlan, observed: ObservedState, selected: Selected, collection: Collection
) -> SnapshotChoice:
    """By what both servers can, what the plan file asks for, and where files lie."""
    if loaded.options.transfer.format == BINLOGS:
        return SnapshotChoice(reason="options.transfer.format is binlogs", is_wish=True)
    if loaded.options.transfer.mode == "in_place":
        return SnapshotChoice(reason="options.transfer.mode is in_place", is_wish=True)
    found = observed.snapshots
    if found is None:
        return SnapshotChoice(reason=_why_none(loaded, observed) if _is_asked(loaded) else "")
    reasons = (*_of_servers(loaded, observed), *_of_mapping(selected, collection))
    if reasons:
        return SnapshotChoice(reason=reasons[0])
    return SnapshotChoice(SnapshotWay.WITHIN if observed.same_milvus else SnapshotWay.REFERENCE)


def _is_asked(loaded: LoadedPlan) -> bool:
    return loaded.options.transfer.format == SNAPSHOTS


def _why_none(loaded: LoadedPlan, observed: ObservedState) -> str:
    if loaded.target is None:
        return "a backup is made of binlogs"
    if loaded.source_backup is not None:
        return "the source is a backup"
    return f"both sides have to be Milvus 3.0, and they are {observed.source_version} and {observed.target_version}"


def _of_servers(loaded: LoadedPlan, observed: ObservedState) -> Iterator[str]:
    """What stands in the way of all collections."""
    found = observed.snapshots
    written, reads = parse_version(observed.source_version), parse_version(observed.target_version)
    if found is None or written is None or reads is None:
        return
    if not found.at_source:
        yield "the source answers that it has none (UNIMPLEMENTED)"
    if loaded.source_storage.provider == "local":
        yield "the servers keep their files on a disk, where nobody tried it"
    if observed.same_milvus:
        return
    if not found.at_target:
        yield "the target answers that it restores none of other clusters (UNIMPLEMENTED)"
    if not found.shares_store:
        yield "the target's storage is another than the source's, which takes a key of both that the target would keep"
    if reads < written:
        yield f"the target, {observed.target_version}, is older than the source, {observed.source_version}"


def _of_mapping(selected: Selected, collection: Collection) -> Iterator[str]:
    """What the plan file changes, and a restore keeps."""
    mapping = selected.mapping
    create = mapping.create
    if with_chosen_partitions(mapping.partitions, collection) != collection:
        yield "a snapshot is of all partitions"
    if create.properties or any(
        each is not None for each in (create.shards_num, create.consistency_level, create.description)
    ):
        yield "a restore keeps what `create` would change"
    if set(plan_indexes(mapping.indexes, collection).indexes) != set(collection.indexes):
        yield "a restore keeps the source's indexes"
    if collection.schema.asks_models:
        yield "whether a restore checks functions that ask a model is not known"
