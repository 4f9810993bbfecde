"""What lies under a location of backups: those of runs, those of milvus-backup, and what is neither."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from migrator.errors import BackupUnreadable, RunError
from migrator.model.backup_meta import BACKUP_META, FULL_META, LEVEL_FILES
from migrator.model.backup_reading import ref_of
from migrator.model.collection import DataType
from migrator.model.timestamps import told_as_utc
from migrator.planning.places import beside, flat
from migrator.running.cleaning import plan_of
from migrator.running.lock import LeasePlaces, Leases
from migrator.steps.backup_tree import backed_up_ts, has_meta, meta_key, read_backup
from migrator.steps.dump_claim import drop_claim, read_claims
from migrator.steps.seal_dump import DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.model.backup_meta import BackupInfo, CollectionBackup, FieldInfo, SegmentBackup
    from migrator.ports.clock import Clock
    from migrator.ports.store import ObjectStore
    from migrator.steps.dump_claim import DumpClaim

_NOT_RESTORABLE = "no backup: its collections were read in place and are described here, nothing can be restored"
_FOLDERS = {"meta", "binlogs", "bundle"}
_PAGE = 1000
_DELETERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelvedBackup:
    """One folder of the location; `problem` says why it is no backup that could be restored, if it is none.

    `created_at` is UTC in ISO format, empty where it is not recorded; bytes are those of the meta.
    """

    name: str
    created_at: str = ""
    milvus_version: str = ""
    collections: int = 0
    rows: int | None = 0
    """None where the meta does not say how many its segments have, as that of old backups."""
    size_bytes: int = 0
    format: str = ""
    whose: str = ""
    problem: str = ""
    read_in_place: tuple[str, ...] = ()
    """The runs that read collections in place: of those it holds a description, and nothing to restore."""
    users: int = 0
    roles: int = 0
    grants: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelvedCollection:
    """One collection of a backup."""

    name: str
    fields: tuple[str, ...]
    partitions: tuple[str, ...]
    segments: int
    rows: int | None
    size_bytes: int
    indexes: tuple[str, ...]
    aliases: tuple[str, ...]
    load_state: str
    created_at: str


class BackupShelf:
    """The backups in the folder `root` of a store; what is this tool's own lies beside it, or in the bucket's root."""

    def __init__(self, store: ObjectStore, root: str, *, is_bucket: bool, clock: Clock) -> None:
        self._store = store
        self._root = root.strip("/")
        own = beside(self._root, is_bucket=is_bucket)
        self._claims = f"{own}/dumps"
        self._places = LeasePlaces(targets="", dumps=f"{own}/leases/dumps", beats=f"{own}/leases/beats")
        self._clock = clock
        self._is_bucket = is_bucket

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return "/".join([self._store.place if self._is_bucket else "", *filter(None, [self._root]), ""])

    def prefix(self, name: str) -> str:
        """The folder of a backup."""
        return f"{self._root}/{name}" if self._root else name

    def backups(self) -> list[ShelvedBackup]:
        """Every folder, by name."""
        names = [name for name in self._store.list_folders(self._root) if not name.startswith(".")]
        return [self.find(name) for name in names]

    def find(self, name: str) -> ShelvedBackup:
        """One folder, whatever it is."""
        claims = self._claims_on(name)
        try:
            info = self.read(name)
        except BackupUnreadable as error:
            if claims and self._store.find_object(meta_key(self.prefix(name), FULL_META)) is None:
                return ShelvedBackup(name=name, whose=_whose(claims), problem="unfinished")
            return ShelvedBackup(name=name, whose=_whose(claims), problem=self._problem(name, error.message))
        described = self._described(name)
        if described and not info.collection_backups:
            return ShelvedBackup(name=name, whose=_whose(claims), problem=_NOT_RESTORABLE, read_in_place=described)
        moments = [moment for each in info.collection_backups if (moment := backed_up_ts(each))]
        is_cut = claims and self._store.find_object(meta_key(self.prefix(name), FULL_META)) is None
        return ShelvedBackup(
            name=name,
            created_at=told_as_utc(min(moments, default=0)),
            milvus_version=info.milvus_version.removeprefix("v"),
            collections=len(info.collection_backups),
            rows=_rows(segment for each in info.collection_backups for segment in each.segments),
            size_bytes=info.size or sum(map(_size, info.collection_backups)),
            format=info.format or "binlogs",
            whose=_whose(claims) or (f"run {info.id}" if plan_of(info.id) else "milvus-backup"),
            problem="unfinished" if is_cut else "",
            read_in_place=described,
            users=len(info.rbac_meta.users),
            roles=len(info.rbac_meta.roles),
            grants=len(info.rbac_meta.grants),
        )

    def _described(self, name: str) -> tuple[str, ...]:
        """The runs whose collections it describes, and does not hold."""
        meta = f"{self.prefix(name)}/meta"
        names = (found.key.rpartition("/")[2] for found in self._store.list_objects(meta))
        return tuple(
            each.removeprefix(DESCRIPTION).removesuffix(".json") for each in names if each.startswith(DESCRIPTION)
        )

    def _problem(self, name: str, message: str) -> str:
        """The message, where it is plain whose folder it is about."""
        prefix = self.prefix(name)
        if not has_meta(self._store, prefix):
            return "no backup: it has no meta files"
        return message.removeprefix(f"the backup under {prefix}/ ").replace(f"{prefix}/", "")

    def read(self, name: str) -> BackupInfo:
        """What the meta files of a backup say; raises `BackupUnreadable`."""
        return read_backup(self._store, self.prefix(name))

    def collections(self, name: str) -> list[ShelvedCollection]:
        """What a backup holds, by name; raises `BackupUnreadable`."""
        return sorted(map(_collection, self.read(name).collection_backups), key=lambda each: each.name)

    def _claims_on(self, name: str) -> list[DumpClaim]:
        return list(read_claims(self._store, self._claims_folder(name)))

    def _claims_folder(self, name: str) -> str:
        return f"{self._claims}/{flat(self.prefix(name))}"

    # -- deleting ---------------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether anything of that name is there, readable or not; a path is no name."""
        return name in self._store.list_folders(self._root)

    def require_deletable(self, name: str) -> ShelvedBackup:
        """The backup, if it may be deleted.

        Raises:
            BackupUnreadable: Nothing of that name is there.
            RunError: It is unfinished: the run that makes it has a say.
        """
        if not self.has(name):
            raise BackupUnreadable(f"there is no backup {name!r} under {self.place}", hint="see migrator backup list")
        if strange := self._find_stranger(name):
            raise RunError(
                f"{name} holds {strange}, which no backup has: it is left alone",
                hint="if it is to go all the same, remove it by hand",
            )
        found = self.find(name)
        if found.problem == "unfinished":
            runs = ", ".join(claim.run_id for claim in self._claims_on(name))
            raise RunError(
                f"the backup {name} is unfinished, and belongs to {found.whose}",
                hint=f"give the run up: migrator rollback {runs}; or see migrator clean",
            )
        return found

    def _find_stranger(self, name: str) -> str:
        """An object of the folder that is not in one of a backup's, if there is any."""
        inside = (
            found.key.removeprefix(f"{self.prefix(name)}/") for found in self._store.list_objects(self.prefix(name))
        )
        return next((key for key in inside if "/" not in key or key.partition("/")[0] not in _FOLDERS), "")

    def delete(self, name: str) -> int:
        """Delete all of a backup, and return the number of its objects; what says that it is one goes first.

        Raises:
            LockHeld: A run is at work on it.
        """
        home = f"{socket.gethostname()}/{os.getpid()}"
        prefix = self.prefix(name)
        with Leases(self._store, self._places, prefix, run_id="backup-delete", home=home, clock=self._clock) as leases:
            leases.acquire((), timeout_s=0.0, on_wait=lambda *_: None)
            self.require_deletable(name)
            leases.require_dump_held()
            deleted = self._delete_objects(prefix)
            for claim in self._claims_on(name):
                drop_claim(self._store, self._claims_folder(name), claim.run_id)
        return deleted

    def _delete_objects(self, prefix: str) -> int:
        marks = [meta_key(prefix, file) for file in (FULL_META, BACKUP_META, *LEVEL_FILES[1:])]
        deleted = 0
        for key in marks:
            if self._store.find_object(key) is not None:
                self._store.delete([key])
                deleted += 1
        with ThreadPoolExecutor(_DELETERS) as pool:
            while page := [found.key for found in islice(self._store.list_objects(prefix), _PAGE)]:
                list(pool.map(lambda key: self._store.delete([key]), page))
                deleted += len(page)
        self._store.sweep(prefix)
        self._store.drop_empty_folders(prefix)
        return deleted


def _whose(claims: list[DumpClaim]) -> str:
    return ", ".join(f"run {claim.run_id}" for claim in claims)


def _collection(info: CollectionBackup) -> ShelvedCollection:
    return ShelvedCollection(
        name=ref_of(info).short,
        fields=tuple(_fields(info)),
        partitions=tuple(partition.partition_name for partition in info.partition_backups),
        segments=len(info.segments) + len(info.l0_segments),
        rows=_rows(info.segments),
        size_bytes=_size(info),
        indexes=tuple(f"{index.index_type or 'default'} on {index.field_name}" for index in info.index_infos),
        aliases=info.aliases,
        load_state=info.load_state,
        created_at=told_as_utc(backed_up_ts(info)),
    )


def _rows(segments: Iterable[SegmentBackup]) -> int | None:
    """An empty segment is not backed up: where any says nothing, nobody knows."""
    counts = [segment.num_of_rows for segment in segments if not segment.is_l0]
    return sum(counts) if all(counts) else None


def _size(info: CollectionBackup) -> int:
    """What the meta sums up, or the files that it names."""
    logs = (binlogs for segment in info.segments for binlogs in (*segment.binlogs, *segment.deltalogs))
    return info.size or sum(entry.log_size for each in logs for entry in each.binlogs)


def _fields(info: CollectionBackup) -> Iterator[str]:
    for field in info.schema_.fields:
        marks = [("primary key", field.is_primary_key), ("partition key", field.is_partition_key)]
        marks += [("nullable", field.nullable), ("auto id", field.autoID)]
        said = chain([_type_of(field)], (word for word, is_so in marks if is_so))
        yield f"{field.name} ({', '.join(said)})"
    if info.schema_.enable_dynamic_field:
        yield "$meta (dynamic)"


def _type_of(field: FieldInfo) -> str:
    """`varchar`, `array of int32`, `float_vector of 8`."""
    dimension = next((pair.value for pair in field.type_params if pair.key == "dim"), "")
    inner = _type_name(field.element_type) if field.element_type else dimension
    return _type_name(field.data_type) + (f" of {inner}" if inner else "")


def _type_name(number: int) -> str:
    """A type's name in lower case, or its number where nobody knows it."""
    return DataType(number).name.lower() if number in {int(each) for each in DataType} else f"type {number}"
