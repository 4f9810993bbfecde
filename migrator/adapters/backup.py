"""A backup in the place of a source Milvus: what its meta files say, and nothing else."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from migrator.errors import MilvusRefused
from migrator.model.backup_reading import collection_of, rbac_of, ref_of
from migrator.model.capabilities import capabilities
from migrator.model.collection import DEFAULT_DATABASE, LoadState
from migrator.steps.backup_tree import listed_segment, read_backup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from migrator.model.backup_meta import BackupInfo, CollectionBackup
    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import (
        Collection,
        CollectionRef,
        CollectionSchema,
        FieldSchema,
        IndexProgress,
        Partition,
        ResourceGroup,
    )
    from migrator.model.import_job import ImportJob
    from migrator.model.rbac import Rbac
    from migrator.model.rows import Key, Value
    from migrator.model.segment import Compaction, Segment, SegmentLogs
    from migrator.model.snapshot import RestoreJob, Snapshot
    from migrator.ports.milvus import FlushResult, Hit
    from migrator.ports.store import ObjectReader


class BackupMilvus:
    """The backup under `prefix`, as a source; its meta files are read once, when first asked for.

    Every method may raise `BackupUnreadable`, and what a store raises.
    """

    def __init__(self, store: ObjectReader, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    @cached_property
    def info(self) -> BackupInfo:
        """All that the meta files say."""
        return read_backup(self._store, self._prefix)

    @cached_property
    def _collections(self) -> dict[CollectionRef, CollectionBackup]:
        return {ref_of(each): each for each in self.info.collection_backups}

    @property
    def uri(self) -> str:
        """Where it lies, for a person."""
        return f"{self._store.place}/{self._prefix}/"

    def close(self) -> None:
        """Nothing is open."""

    def get_backup(self, ref: CollectionRef) -> CollectionBackup:
        """What the meta says of a collection."""
        found = self._collections.get(ref)
        if found is None:
            self._refuse(f"the collection {ref.short}, which it does not hold")
        return found

    # -- what a backup knows ----------------------------------------------------------------------------------------

    def version(self) -> str:
        """Of the Milvus that was backed up; empty where it is not recorded."""
        return self.info.milvus_version.removeprefix("v")

    @cached_property
    def capabilities(self) -> Capabilities:
        """Of the Milvus that was backed up; of the newest where it is not recorded."""
        return capabilities(self.version())

    @property
    def can_count(self) -> bool:
        """It has no server to ask."""
        return False

    @property
    def writes_deletes_at_flush(self) -> bool:
        """Nothing is flushed in a backup."""
        return True

    def told_bucket(self) -> str:
        """Never asked: it has no server to tell."""
        self._refuse("its bucket")

    def list_databases(self) -> tuple[str, ...]:
        """Those that are recorded, and those of its collections."""
        recorded = {each.db_name or DEFAULT_DATABASE for each in self.info.database_backups}
        return tuple(sorted(recorded | {ref.database for ref in self._collections}))

    def is_encrypted(self, database: str) -> bool:
        """By the key that its files need."""
        return any(each.ezk for each in self.info.database_backups if (each.db_name or DEFAULT_DATABASE) == database)

    def list_collections(self, database: str) -> tuple[str, ...]:
        """The names of a database's collections."""
        return tuple(sorted(ref.name for ref in self._collections if ref.database == database))

    def find_collection(self, ref: CollectionRef) -> Collection | None:
        """As it was described when it was backed up."""
        found = self._collections.get(ref)
        return None if found is None else collection_of(found)

    def list_aliases(self, database: str) -> tuple[str, ...]:
        """All recorded ones of a database's collections."""
        found = (info.aliases for ref, info in self._collections.items() if ref.database == database)
        return tuple(sorted(alias for aliases in found for alias in aliases))

    def list_partitions(self, ref: CollectionRef) -> tuple[Partition, ...]:
        """Partitions by id."""
        return collection_of(self.get_backup(ref)).partitions

    def list_segments(self, ref: CollectionRef) -> tuple[Segment, ...]:
        """Those that the meta names, by id, with the rows that it says."""
        info = self.get_backup(ref)
        return tuple(sorted(map(listed_segment, (*info.segments, *info.deletes_of_all))))

    def list_compactions(self) -> tuple[Compaction, ...]:
        """None: what is backed up does not move."""
        return ()

    def load_state(self, ref: CollectionRef) -> LoadState:
        """As it was recorded."""
        return collection_of(self.get_backup(ref)).load_state

    def load_progress(self, ref: CollectionRef) -> int:
        """Percent."""
        return 100 if self.load_state(ref) is LoadState.LOADED else 0

    def read_rbac(self) -> Rbac:
        """As they were recorded; empty where they were not."""
        return rbac_of(self.info.rbac_meta)

    # -- what it does not -------------------------------------------------------------------------------------------

    def _refuse(self, what: str) -> NoReturn:
        raise MilvusRefused(f"the backup {self.uri} was asked for {what}")

    def describe_segments(self, ref: CollectionRef, *_: object) -> Mapping[int, SegmentLogs] | None:
        """Never asked: a backup's meta names its files."""
        self._refuse(f"the files of {ref.short}'s segments")

    def index_progress(self, ref: CollectionRef) -> tuple[IndexProgress, ...]:
        """Nothing is built in a backup."""
        self._refuse(f"the indexes of {ref.short}")

    def count_rows(
        self,
        ref: CollectionRef,
        partition: str | None = None,  # noqa: ARG002 - of the protocol
        where: str = "",  # noqa: ARG002 - of the protocol
        **_: object,
    ) -> int:
        """Nothing is counted in a backup."""
        self._refuse(f"a count of {ref.short}")

    def allocate_timestamp(self) -> int:
        """A backup has no clock."""
        self._refuse("the time")

    def is_flushed(self, ref: CollectionRef, flush: FlushResult) -> bool:  # noqa: ARG002 - of the protocol
        """Nothing is flushed in a backup."""
        self._refuse(f"a flush of {ref.short}")

    def flush(self, refs: Sequence[CollectionRef]) -> Mapping[CollectionRef, FlushResult]:
        """Nothing grows in a backup."""
        self._refuse(f"a flush of {refs[0].short}")

    def find_import_job(self, ref: CollectionRef, job_id: int) -> ImportJob | None:  # noqa: ARG002 - see the port
        """Nothing is imported into a backup."""
        self._refuse(f"import job {job_id}")

    def list_import_jobs(self, ref: CollectionRef) -> tuple[ImportJob, ...]:
        """Nothing is imported into a backup."""
        self._refuse(f"the import jobs of {ref.short}")

    def takes_snapshots(self, ref: CollectionRef) -> bool:  # noqa: ARG002 - of the protocol
        """None: it has no server to take them."""
        return False

    def restores_elsewhere(self) -> bool:
        """Nothing is restored into a backup."""
        return False

    def find_snapshot(self, ref: CollectionRef, name: str) -> Snapshot | None:
        """Never asked: it has none."""
        self._refuse(f"the snapshot {name} of {ref.short}")

    def create_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Never asked: see above."""
        self._refuse(f"a snapshot {name} of {ref.short}")

    def drop_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Never asked: see above."""
        self._refuse(f"the snapshot {name} of {ref.short}")

    def find_restore(self, job_id: int) -> RestoreJob | None:
        """Nothing is restored into a backup."""
        self._refuse(f"restore {job_id}")

    def list_restores(self, ref: CollectionRef) -> tuple[RestoreJob, ...]:
        """Nothing is restored into a backup."""
        self._refuse(f"the restores into {ref.short}")

    def find_alias(self, ref: CollectionRef) -> str | None:
        """Never asked: whose an alias is matters at a target."""
        self._refuse(f"the alias {ref.short}")

    def list_resource_groups(self) -> tuple[ResourceGroup, ...]:
        """Never asked: a backup does not run."""
        self._refuse("resource groups")

    def query_keys(self, ref: CollectionRef, schema: CollectionSchema, **_: object) -> Sequence[Key]:  # noqa: ARG002 - of the protocol
        """Never asked: nothing is loaded; rows are read from the files."""
        self._refuse(f"the keys of {ref.short}")

    def query_rows(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,  # noqa: ARG002 - of the protocol
        keys: Sequence[Key],  # noqa: ARG002 - of the protocol
        **_: object,
    ) -> Mapping[Key, tuple[Value, ...]]:
        """See `query_keys`."""
        self._refuse(f"rows of {ref.short}")

    def search(
        self,
        ref: CollectionRef,
        field: FieldSchema,  # noqa: ARG002 - of the protocol
        vectors: Sequence[bytes],  # noqa: ARG002 - of the protocol
        **_: object,
    ) -> Sequence[Sequence[Hit]]:
        """See `query_keys`."""
        self._refuse(f"a search in {ref.short}")

    def load(self, ref: CollectionRef, **_: object) -> None:
        """See `query_keys`."""
        self._refuse(f"loading {ref.short}")

    def release(self, ref: CollectionRef) -> None:
        """See `query_keys`."""
        self._refuse(f"releasing {ref.short}")
