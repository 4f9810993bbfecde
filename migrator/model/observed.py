"""What a read-only look at both sides found, as plain values a plan can be made from."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.errors import Complaint
from migrator.model.collection import Collection, CollectionRef, ResourceGroup
from migrator.model.rbac import Rbac
from migrator.model.snapshot import ObservedSnapshots
from migrator.model.way import Choice


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
    in_place_objects: int = 0
    """Those of `objects` that the target would read where they lie, and so the next; nothing of them is copied."""
    in_place_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedCollection:
    """A collection of the source that a mapping selects."""

    collection: Collection
    estimate: Estimate
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTarget:
    """A name that is taken at the target; `rows` are told where it may be replaced and is loaded, else None."""

    ref: CollectionRef
    collection_id: int
    created_ts: int
    rows: int | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MigratedRecord:
    """What an earlier run of this plan brought to its end, verified as asked."""

    source: CollectionRef
    target: CollectionRef | None
    """None where the run made a backup and nothing else."""
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
    """`<bucket>/<root_path>/<backup_name>` of that run; empty where it deleted its dump."""
    rows: int
    """What the import jobs brought."""
    run_id: str
    rows_are_told: bool = True
    """Whether those are all it has: how many deletes of L0 segments took afterwards, nobody tells."""
    partitions: tuple[str, ...] = ()
    """The source's partitions that came along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedInPlace:
    """What can be read where it lies: nothing with `why_not`, else all but the `copied`, by collection and reason."""

    why_not: str = ""
    copied: tuple[tuple[CollectionRef, str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedAccess:
    """Users, roles and grants of both sides; `target_names` are all collections and aliases of the target."""

    source: Rbac
    target: Rbac
    target_names: tuple[CollectionRef, ...]


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
    alias_owners: tuple[tuple[CollectionRef, str], ...] = ()
    """Of aliases at the target that a mapping would move, the collection each points at."""
    resource_groups: tuple[ResourceGroup, ...] = ()
    """Those of the target, where a source has need of them and the target tells."""
    backed_up_ts: int | None = None
    """Where the source is a backup: its moment (hybrid), 0 where that is not recorded."""
    migrated: tuple[MigratedRecord, ...] = ()
    findings: tuple[Complaint, ...] = ()
    reads_dumps: bool = True
    """Whether the rows of a dump can be read here: that takes pyarrow."""
    access: ObservedAccess | None = None
    """None unless the plan asks for it (`rbac: true`)."""
    notices: tuple[str, ...] = ()
    """What has to be known of the source as a whole."""
    need_snapshots: tuple[tuple[CollectionRef, str], ...] = ()
    """Collections whose files no import reads, each with the reason."""
    snapshots: ObservedSnapshots | None = None
    """None where a side is too old for them, is a backup, or the plan wants none."""
    copies: Choice | None = None
    """How files would come into the dump; None where there is no file to tell it by."""
    forwards: bool = False
    """Whether they have to be brought on to the target's store, which does not show what is in staging."""
    in_place: ObservedInPlace | None = None
    """None unless the plan asks for it (`transfer.mode: in_place`)."""
