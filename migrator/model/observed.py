"""What a read-only look at both sides found, as plain values a plan can be made from."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.errors import Complaint
from migrator.model.collection import Collection, CollectionRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How much a collection holds, as far as it is flushed; shown, and never part of a digest.

    `counted_rows` is `count(*)` where the collection is loaded, else None.
    """

    segments: int
    rows: int
    objects: int
    size_bytes: int
    largest_partition_bytes: int
    import_requests: int
    counted_rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedCollection:
    """A collection of the source that a mapping selects."""

    collection: Collection
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTarget:
    """A name that is taken at the target."""

    ref: CollectionRef
    collection_id: int
    created_ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigratedRecord:
    """What an earlier run of this plan brought to its end, verified as asked."""

    source: CollectionRef
    target: CollectionRef
    source_collection_id: int
    target_collection_id: int
    raw_rows: int
    """Rows of the frozen segments as inserted, deletes not subtracted."""
    rows_at_cut: tuple[tuple[str, int], ...]
    """The source's `count(*)` by partition right after the cut; empty where it was not loaded."""
    held_still: bool
    """Whether those are surely the rows at the cut."""
    verified: bool
    """Whether its verification was asked for, and passed."""
    dump: str
    """`<bucket>/<root_path>/<backup_name>` of that run."""
    rows: int
    """What the import jobs brought."""
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedState:
    """Both sides at one moment.

    `target_names` are the collections some mapping aims at that exist; `target_aliases` are the aliases of the
    databases that mappings aim at. `findings` are faults that only show online, each with its field of the plan file.
    """

    source_version: str
    target_version: str
    source_names: tuple[CollectionRef, ...]
    source: tuple[ObservedCollection, ...]
    target_databases: tuple[str, ...]
    target_names: tuple[ObservedTarget, ...]
    target_aliases: tuple[CollectionRef, ...]
    target_taken: tuple[CollectionRef, ...]
    """All collections of the databases that some mapping aims at: names no alias can have."""
    same_milvus: bool
    dump_collections: tuple[tuple[int, str], ...]
    """What a finished dump of this plan's earlier runs lists under `backup_name`: collection ids and names."""
    migrated: tuple[MigratedRecord, ...] = ()
    findings: tuple[Complaint, ...] = ()
    reads_dumps: bool = True
    """Whether the rows of a dump can be read here: that takes pyarrow."""
