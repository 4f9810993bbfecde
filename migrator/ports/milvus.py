"""What a migration asks of a Milvus; reading and writing apart, so that a reader cannot write by its type.

Every method may raise `MilvusUnavailable` (worth another try) or `MilvusRefused` (the server said no).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import (
        Collection,
        CollectionRef,
        CollectionSchema,
        ConsistencyLevel,
        FieldSchema,
        Index,
        IndexProgress,
        KeyValues,
        LoadState,
        Partition,
        ResourceGroup,
    )
    from migrator.model.import_job import ImportJob, ImportTag
    from migrator.model.rbac import Binding, Grant, Rbac
    from migrator.model.rows import Key, Value
    from migrator.model.segment import Compaction, Segment, SegmentBatch, SegmentLogs
    from migrator.model.snapshot import RestoreJob, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushResult:
    """What a flush sealed; `cut_ts` is hybrid, everything up to it is in `segment_ids` once flushed."""

    cut_ts: int
    segment_ids: tuple[int, ...]
    sealed_ids: tuple[int, ...] = ()
    """Those of them that were growing until this flush."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that a search found."""

    key: Key
    score: float


class MilvusReader(Protocol):
    """Looks only.

    What looks at rows needs the collection loaded, sees all that was written up to `at_least_ts` (hybrid) and may see
    more; without one it sees all up to the call, and waits for the server's next time tick. `where` is a condition of
    `model.filters`.
    """

    @property
    def uri(self) -> str:
        """The address, as the plan file names it."""

    def version(self) -> str:
        """Three numbers, `2.3.5`."""

    @property
    def capabilities(self) -> Capabilities:
        """What a server of its version can do."""

    @property
    def can_count(self) -> bool:
        """Whether it answers `count(*)`: from 2.3.0 on."""

    @property
    def writes_deletes_at_flush(self) -> bool:
        """Whether a flush surely writes the deletes of flushed rows too: from 2.3.2 on."""

    def told_bucket(self) -> str:
        """The bucket it keeps its files in, as it says itself; empty where it does not."""

    def list_databases(self) -> tuple[str, ...]: ...

    def is_encrypted(self, database: str) -> bool:
        """Whether the files of its collections are, as far as the server tells."""

    def list_collections(self, database: str) -> tuple[str, ...]: ...

    def find_collection(self, ref: CollectionRef) -> Collection | None:
        """Everything but rows and segments; None where there is none of that name. An alias is not a name."""

    def list_aliases(self, database: str) -> tuple[str, ...]:
        """All aliases of a database's collections."""

    def find_alias(self, ref: CollectionRef) -> str | None:
        """The name of the collection that the alias points at; None where there is no such alias."""

    def list_resource_groups(self) -> tuple[ResourceGroup, ...]: ...

    def list_partitions(self, ref: CollectionRef) -> tuple[Partition, ...]: ...

    def list_segments(self, ref: CollectionRef) -> tuple[Segment, ...]:
        """Persistent segments, sealed ones and those being flushed included, growing ones never."""

    def describe_segments(
        self, ref: CollectionRef, collection_id: int, segment_ids: Sequence[int]
    ) -> Mapping[int, SegmentLogs] | None:
        """Of which logs the segments consist, dropped ones too; None where the server does not tell.

        A segment that it does not know any more is left out.
        """

    def list_compactions(self) -> tuple[Compaction, ...]:
        """Those the server remembers, of all collections; none from before its start."""

    def index_progress(self, ref: CollectionRef) -> tuple[IndexProgress, ...]: ...

    def load_state(self, ref: CollectionRef) -> LoadState: ...

    def load_progress(self, ref: CollectionRef) -> int:
        """Percent."""

    def count_rows(
        self, ref: CollectionRef, partition: str | None = None, where: str = "", *, at_least_ts: int = 0
    ) -> int:
        """`count(*)`: a primary key counts as often as it is there."""

    def query_keys(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        *,
        partition: str | None,
        after: Key | None,
        limit: int,
        at_least_ts: int = 0,
    ) -> Sequence[Key]:
        """The next primary keys behind `after`, ascending, each once; empty at the end only.

        There may be fewer than `limit`, and a few times as many where keys are there several times.
        """

    def query_rows(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        keys: Sequence[Key],
        *,
        partition: str | None = None,
        where: str = "",
        at_least_ts: int = 0,
    ) -> Mapping[Key, tuple[Value, ...]]:
        """The `value_fields` of those of `keys` that are there, as exact bytes (`model.rows`).

        Of a key that is there several times, one row.
        """

    def search(
        self,
        ref: CollectionRef,
        field: FieldSchema,
        vectors: Sequence[bytes],
        *,
        metric_type: str,
        params: Mapping[str, Any],
        limit: int,
        partitions: Sequence[str] = (),
        at_least_ts: int = 0,
    ) -> Sequence[Sequence[Hit]]:
        """The nearest rows of each of `vectors` (exact bytes), best first, with `params` of the index's own.

        They are looked for in `partitions`, or in all where none is named.
        """

    def allocate_timestamp(self) -> int:
        """The server's clock, as a hybrid timestamp."""

    def is_flushed(self, ref: CollectionRef, flush: FlushResult) -> bool: ...

    def find_import_job(self, ref: CollectionRef, job_id: int) -> ImportJob | None:
        """The job with its paths, or None once it is forgotten."""

    def list_import_jobs(self, ref: CollectionRef) -> tuple[ImportJob, ...]:
        """The jobs of the collection of that name as it is now, as far as remembered, perhaps with others.

        A server that echoes options tells of all in the database; others tell no paths here.
        """

    def read_rbac(self) -> Rbac:
        """All users, roles and grants; a login needs a right of its own for it."""

    def takes_snapshots(self, ref: CollectionRef) -> bool:
        """Whether it has snapshots at all, as it says when it is asked for those of a collection."""

    def restores_elsewhere(self) -> bool:
        """Whether it restores snapshots of other clusters: asked for a job of that kind, it does not say UNIMPLEMENTED.

        Export and restore of another cluster's snapshots came to the servers together.
        """

    def find_snapshot(self, ref: CollectionRef, name: str) -> Snapshot | None:
        """The collection's snapshot of that name."""

    def find_restore(self, job_id: int) -> RestoreJob | None:
        """A restore, or None once it is forgotten."""

    def list_restores(self, ref: CollectionRef) -> tuple[RestoreJob, ...]:
        """Those into a collection of that name, as far as remembered."""


class MilvusSource(MilvusReader, Protocol):
    """A source: it may be flushed, loaded for a verification where the plan allows that, and that is all.

    From 3.0 on a run may take a snapshot there, and drops it again.
    """

    def flush(self, refs: Sequence[CollectionRef]) -> Mapping[CollectionRef, FlushResult]:
        """Seal what is growing in collections of one database, by one request."""

    def load(self, ref: CollectionRef, *, partitions: tuple[str, ...], replica_number: int) -> None:
        """Start loading it; see `MilvusTarget`."""

    def release(self, ref: CollectionRef) -> None: ...

    def create_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Take a snapshot of what is flushed; refused where one of that name is there."""

    def drop_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Drop it; one that is not there counts as dropped."""


class MilvusTarget(MilvusReader, Protocol):
    """A target: what a run creates, it creates and drops through here."""

    def flush(self, refs: Sequence[CollectionRef]) -> Mapping[CollectionRef, FlushResult]:
        """Seal what is growing, so that it can be seen; see `MilvusSource`."""

    def create_database(self, name: str) -> None: ...

    def create_collection(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        *,
        shards_num: int,
        num_partitions: int | None,
        consistency_level: ConsistencyLevel,
        properties: KeyValues,
    ) -> None: ...

    def add_field(self, ref: CollectionRef, field: FieldSchema) -> None:
        """Add a nullable field to the collection; its id is the first behind all that are given."""

    def create_partition(self, ref: CollectionRef, name: str) -> None: ...

    def start_import(self, ref: CollectionRef, batch: SegmentBatch, *, end_ts: int, tag: ImportTag) -> int:
        """Request an import of what was written up to `end_ts` (hybrid), and return its job id.

        The request is not idempotent: sent twice it imports twice. Where the server has `auto_commit`, the rows are
        seen only once the job is committed.

        Raises:
            ImportsFull: The target has as many jobs as it takes, and did nothing.
            TooManyFiles: It takes no request of so many files, and did nothing.
            NothingToImport: It sees none of the files, and did nothing; others find that out in the job.
        """

    def commit_import(self, ref: CollectionRef, job_id: int) -> None:
        """Let the rows of an uncommitted job be seen; one that is committed already is left alone."""

    def abort_import(self, ref: CollectionRef, job_id: int) -> None:
        """Throw away what an uncommitted job brought; repeating it does nothing."""

    def restore_snapshot(self, source: CollectionRef, name: str, ref: CollectionRef) -> int:
        """Request a collection `ref` made of this server's own snapshot of `source`, and return the job's id.

        The request is not idempotent, and refused where a collection has the name.
        """

    def restore_elsewhere(self, location: str, ref: CollectionRef) -> int:
        """The same of another cluster's snapshot, whose files this server can read where they are.

        Raises:
            MilvusUnimplemented: It cannot do that, and did nothing.
        """

    def create_index(self, ref: CollectionRef, index: Index) -> None: ...

    def load(
        self,
        ref: CollectionRef,
        *,
        partitions: tuple[str, ...],
        replica_number: int,
        resource_groups: tuple[str, ...] = (),
    ) -> None:
        """Start loading the whole collection, or the named partitions of it; without groups on the default one."""

    def release(self, ref: CollectionRef) -> None: ...

    def create_alias(self, ref: CollectionRef, alias: str) -> None: ...

    def alter_alias(self, ref: CollectionRef, alias: str) -> None:
        """Point an alias at the collection, in one act; refused where there is no such alias."""

    def drop_alias(self, ref: CollectionRef, alias: str) -> None:
        """Take the alias from the collection; one that is not on it is left alone."""

    def drop_property(self, ref: CollectionRef, name: str) -> None:
        """Take a property from the collection; one that is not there is left alone."""

    def rename_collection(self, ref: CollectionRef, name: str) -> None:
        """Give it another name in its database; refused where a collection or an alias has that name.

        Its id, rows, partitions, indexes and aliases stay as they are, and it stays loaded.
        """

    def drop_collection(self, ref: CollectionRef) -> None:
        """Drop it with its rows; one that is not there counts as dropped. Servers differ where aliases point at it."""

    def drop_database(self, name: str) -> None:
        """Drop an empty database; one that is not there counts as dropped, one that is not empty is refused."""

    def create_role(self, role: str) -> None:
        """Create it; refused where it exists."""

    def drop_role(self, role: str) -> None:
        """Drop it, whoever has it; revoke its grants first: servers refuse, or keep some of them."""

    def grant(self, grant: Grant) -> None:
        """Grant it to a role that is there; the object need not be there. A grant that is there is left alone."""

    def revoke(self, grant: Grant) -> None:
        """Revoke it; one that is not there counts as revoked."""

    def add_to_role(self, binding: Binding) -> None:
        """Give the user the role; refused where either is not there."""

    def remove_from_role(self, binding: Binding) -> None:
        """Take the role from the user; a user without it is left alone."""
