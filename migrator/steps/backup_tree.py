"""A backup as it lies in a store: its meta files, and the binlogs of the segments that they name.

Binlogs lie at `binlogs/insert_log/C/P/GROUP/S/F/L` and `binlogs/delta_log/C/P/GROUP/S/L`. Old backups have no GROUP:
then no segment of the partition has a `group_id`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from migrator.errors import BackupUnreadable, ObjectMissing
from migrator.model.backup_doubts import require_no_clash
from migrator.model.backup_meta import (
    BACKUP_META,
    COLLECTION_META,
    FULL_META,
    LEVEL_FILES,
    PARTITION_META,
    SEGMENT_META,
    BackupInfo,
    CollectionInfos,
    PartitionInfos,
    SegmentInfos,
    join,
    parse,
)
from migrator.model.backup_reading import collection_of, ref_of
from migrator.model.binlog_rows import NoBinlog, count_rows
from migrator.model.collection import TIMESTAMP_FIELD
from migrator.model.segment import (
    ALL_PARTITIONS,
    FIRST_GROUP,
    STORAGE_V2,
    Binlog,
    LogKind,
    Segment,
    SegmentLevel,
    parse_ids,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.model.backup_meta import BinlogEntry, CollectionBackup, FieldBinlog, SegmentBackup
    from migrator.model.collection import Collection
    from migrator.model.segment import StoredObject
    from migrator.ports.store import ObjectReader

_HINT = "restore the file, or choose another backup"


def meta_key(prefix: str, file: str) -> str:
    """A meta file of the backup that lies under `prefix`."""
    return f"{prefix}/meta/{file}"


def binlogs_root(prefix: str) -> str:
    """The folder of the backup's binlogs."""
    return f"{prefix}/binlogs"


# -- meta files -------------------------------------------------------------------------------------------------------


def read_backup(store: ObjectReader, prefix: str) -> BackupInfo:
    """What the meta files say: `full_meta.json` where there is one, else the four level files together.

    Raises:
        BackupUnreadable: There is no backup, a file of it is missing, or one cannot be read.
    """
    full = meta_key(prefix, FULL_META)
    is_full = store.find_object(full) is not None
    info = parse(BackupInfo, store.read(full), full) if is_full else _read_levels(store, prefix)
    require_no_clash(info, full if is_full else f"{prefix}/meta")
    return info


def _read_levels(store: ObjectReader, prefix: str) -> BackupInfo:
    missing = [file for file in LEVEL_FILES if store.find_object(meta_key(prefix, file)) is None]
    if len(missing) == len(LEVEL_FILES):
        raise BackupUnreadable(
            f"there is no backup under {prefix}/ in {store.place}: it has no meta files",
            hint="migrator backup list shows what lies there",
        )
    if missing:
        raise BackupUnreadable(
            f"the backup under {prefix}/ lacks meta/{' and meta/'.join(missing)}, and has no meta/{FULL_META}",
            hint=_HINT,
        )
    files = {file: (store.read(meta_key(prefix, file)), meta_key(prefix, file)) for file in LEVEL_FILES}
    return join(
        parse(BackupInfo, *files[BACKUP_META]),
        parse(CollectionInfos, *files[COLLECTION_META]),
        parse(PartitionInfos, *files[PARTITION_META]),
        parse(SegmentInfos, *files[SEGMENT_META]),
    )


def has_meta(store: ObjectReader, prefix: str) -> bool:
    """Whether there is any meta file, be it readable or not."""
    return any(store.find_object(meta_key(prefix, file)) is not None for file in (FULL_META, *LEVEL_FILES))


def backed_up_ts(info: CollectionBackup) -> int:
    """The moment of the backup as a hybrid timestamp; 0 where it is not known."""
    return info.backup_timestamp or (info.backup_physical_timestamp * 1000) << 18


# -- binlogs ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class BackedUpFiles:
    """The segments of a collection with their binlogs, and how many files were left out: nobody named them."""

    segments: list[Segment] = field(default_factory=list)
    binlogs: list[Binlog] = field(default_factory=list)
    left_out: int = 0


_Group = int | None
"""The folder between partition and segment; None in the old layout."""


@dataclass(slots=True)
class _Folder:
    """What lies in one folder of a segment: insert logs by field and log id, delta logs by log id."""

    inserts: dict[tuple[int, int], Binlog] = field(default_factory=dict)
    deltas: dict[int, Binlog] = field(default_factory=dict)


def find_files(store: ObjectReader, root: str, info: CollectionBackup) -> BackedUpFiles:
    """The files below the backup's `binlogs_root` of the segments that the meta names.

    Raises:
        BackupUnreadable: Files do not fit the meta or one another.
        ObjectMissing: The store lacks what the meta names.
    """
    return _Finder(store, root, info).find()


def listed_segment(info: SegmentBackup) -> Segment:
    """The segment as its meta tells of it."""
    return Segment(
        info.segment_id,
        info.partition_id,
        0 if info.is_l0 else info.num_of_rows,
        level=SegmentLevel.L0 if info.is_l0 else SegmentLevel.LEGACY,
        storage_version=info.storage_version,
        vchannel=info.v_channel,
    )


class _Finder:
    def __init__(self, store: ObjectReader, root: str, info: CollectionBackup) -> None:
        self._store = store
        self._root = root
        self._info = info
        self._collection: Collection = collection_of(info)
        self._grouped = {segment.partition_id for segment in info.segments if segment.group_id}
        self._found: dict[tuple[int, int], dict[_Group, _Folder]] = defaultdict(lambda: defaultdict(_Folder))
        self._files = BackedUpFiles()

    def find(self) -> BackedUpFiles:
        """Segment by segment, in the meta's order."""
        segments = (*self._info.segments, *self._info.deletes_of_all)
        named = {(segment.partition_id, segment.segment_id) for segment in segments}
        listed = 0
        for found in self._listing():
            listed += 1
            self._require_no_stray_deletes(found)
            if (parsed := _parse(found, self._root)) and (parsed[1].partition_id, parsed[1].segment_id) in named:
                self._keep(*parsed)
        for segment in segments:
            self._take(segment)
        self._files.left_out = listed - len(self._files.binlogs)
        return self._files

    def _listing(self) -> Iterator[StoredObject]:
        for kind in LogKind:
            yield from self._store.list_objects(f"{self._root}/{kind}/{self._info.collection_id}")

    def _require_no_stray_deletes(self, found: StoredObject) -> None:
        """The level files have no place for L0 segments of all partitions: without them deleted rows would be back."""
        if f"/{ALL_PARTITIONS}/" in found.key.removeprefix(self._root) and not self._info.l0_segments:
            raise BackupUnreadable(
                f"{found.key} holds deletes for all partitions, and the backup's meta does not name it",
                hint=f"restore meta/{FULL_META}, which alone tells of them, or leave the collection out with `exclude`",
            )

    def _keep(self, group: _Group, binlog: Binlog) -> None:
        folder = self._found[binlog.partition_id, binlog.segment_id][group]
        if binlog.field_id is None:
            folder.deltas[binlog.log_id] = binlog
        else:
            folder.inserts[binlog.field_id, binlog.log_id] = binlog

    def _take(self, segment: SegmentBackup) -> None:
        folder = self._folder(segment)
        self._require_deltas(segment, folder)
        if segment.is_l0:
            self._take_deletes(segment, folder)
            return
        inserts = self._named_inserts(segment, folder)
        if not inserts:
            if segment.num_of_rows:
                raise ObjectMissing(
                    f"{self._of(segment)} has {segment.num_of_rows:,} rows, and none of its files lies under "
                    f"{self._place(LogKind.INSERT, segment)}/",
                    hint="restore the files, or leave the collection out with `exclude`",
                )
            return  # an empty segment has nothing to bring
        self._require_whole(segment, inserts)
        rows = segment.num_of_rows or self._count_rows(segment, inserts)
        if rows:
            self._files.segments.append(replace(listed_segment(segment), num_rows=rows))
            self._files.binlogs += [*inserts, *folder.deltas.values()]

    def _take_deletes(self, segment: SegmentBackup, folder: _Folder) -> None:
        if not folder.deltas:
            raise ObjectMissing(
                f"{self._of(segment)} holds deletes, and none of its files lies under "
                f"{self._place(LogKind.DELTA, segment)}/",
                hint="restore the files, or leave the collection out with `exclude`",
            )
        self._files.segments.append(listed_segment(segment))
        self._files.binlogs += folder.deltas.values()

    def _folder(self, segment: SegmentBackup) -> _Folder:
        """The segment's own; a partition without groups may still have them as folders, which servers see through."""
        folders = self._found[segment.partition_id, segment.segment_id]
        if segment.partition_id in self._grouped:
            return folders[segment.group_id or segment.segment_id]
        others = [group for group, folder in folders.items() if group is not None and folder.inserts]
        is_old = None in folders and bool(folders[None].inserts)
        return folders[others[0] if not is_old and len(others) == 1 else None]

    def _named_inserts(self, segment: SegmentBackup, folder: _Folder) -> list[Binlog]:
        """Just what the meta names, where it names any: files that belong to no segment make an import fail."""
        named = [(binlogs.fieldID, entry) for binlogs in segment.binlogs for entry in binlogs.binlogs]
        chosen = [
            self._require(folder.inserts.get((field_id, _log_id(entry))), entry, LogKind.INSERT, segment, field_id)
            for field_id, entry in named
            if _log_id(entry)
        ]
        return chosen or list(folder.inserts.values())

    def _require_deltas(self, segment: SegmentBackup, folder: _Folder) -> None:
        for entry in _entries(segment.deltalogs):
            if log_id := _log_id(entry):
                self._require(folder.deltas.get(log_id), entry, LogKind.DELTA, segment)

    def _require(
        self,
        found: Binlog | None,
        entry: BinlogEntry,
        kind: LogKind,
        segment: SegmentBackup,
        field_id: int | None = None,
    ) -> Binlog:
        name = _log_id(entry) if field_id is None else f"{field_id}/{_log_id(entry)}"
        if found is None:
            raise ObjectMissing(
                f"the backup's meta names {self._place(kind, segment)}/{name}, and it is not there", hint=_HINT
            )
        if entry.log_size and entry.log_size != found.source.size_bytes:
            raise BackupUnreadable(
                f"the backup's {found.source.key} has {found.source.size_bytes:,} bytes, and its meta says "
                f"{entry.log_size:,}",
                hint=_HINT,
            )
        return found

    def _require_whole(self, segment: SegmentBackup, inserts: Iterable[Binlog]) -> None:
        """Equally many files for each field of the schema, and for no other; in storage v2 for each group."""
        counts = Counter(binlog.field_id for binlog in inserts)
        surely, perhaps = self._columns(segment)
        place = f"{self._place(LogKind.INSERT, segment)}/"
        if missing := sorted(surely - counts.keys()):
            raise ObjectMissing(
                f"{self._of(segment)} has no files of field {_listed(missing)} under {place}", hint=_HINT
            )
        if strange := sorted({number for number in counts if number is not None} - (perhaps or counts.keys())):
            raise BackupUnreadable(
                f"{self._of(segment)} has files of field {_listed(strange)} under {place}, which its schema lacks",
                hint="remove them if they are not of the backup",
            )
        if len(set(counts.values())) > 1:
            raise BackupUnreadable(
                f"{self._of(segment)} has unequal numbers of files per field under {place}",
                hint="remove those that the segment's meta at the source did not name",
            )

    def _columns(self, segment: SegmentBackup) -> tuple[frozenset[int], frozenset[int]]:
        """The folders that there have to be, and those that may be; of the latter none where groups of columns are.

        Fields that were added later have no files in older segments, and the meta names none.
        """
        schema = self._collection.schema
        named = {binlogs.fieldID for binlogs in segment.binlogs if binlogs.binlogs}
        absent = schema.may_lack_files - named if named else frozenset()
        if segment.storage_version == STORAGE_V2:
            return frozenset({FIRST_GROUP}) | (schema.vector_field_ids - absent), frozenset()
        return schema.stored_field_ids - absent, schema.stored_field_ids

    def _count_rows(self, segment: SegmentBackup, inserts: Iterable[Binlog]) -> int:
        """Where the meta does not say: as many as the segment has timestamps."""
        rows = 0
        for binlog in inserts:
            if binlog.field_id == (FIRST_GROUP if segment.storage_version == STORAGE_V2 else TIMESTAMP_FIELD):
                try:
                    rows += count_rows(self._store.read(binlog.source.key))
                except NoBinlog as error:
                    raise BackupUnreadable(f"{binlog.source.key} is no binlog: {error}", hint=_HINT) from None
        return rows

    def _of(self, segment: SegmentBackup) -> str:
        return f"segment {segment.segment_id} of the backup's {ref_of(self._info).short}"

    def _place(self, kind: LogKind, segment: SegmentBackup) -> str:
        group = f"/{segment.group_id or segment.segment_id}" if segment.partition_id in self._grouped else ""
        return f"{self._root}/{kind}/{self._info.collection_id}/{segment.partition_id}{group}/{segment.segment_id}"


def _entries(binlogs: Iterable[FieldBinlog]) -> Iterator[BinlogEntry]:
    for each in binlogs:
        yield from each.binlogs


def _log_id(entry: BinlogEntry) -> int:
    """Its own, or the last part of its path; 0 where neither is told."""
    last = entry.log_path.rpartition("/")[2]
    return entry.log_id or (int(last) if last.isascii() and last.isdigit() else 0)


def _parse(found: StoredObject, root: str) -> tuple[_Group, Binlog] | None:
    """The binlog an object of the backup is, with its group; None for any other object."""
    kind_text, _, rest = found.key.removeprefix(f"{root}/").partition("/")
    parts = rest.split("/")
    if kind_text not in set(LogKind) or (ids := parse_ids([kind_text, *parts])) is None:
        return None
    kind = LogKind(kind_text)
    tail = 3 if kind is LogKind.INSERT else 2
    if len(ids) not in {tail + 2, tail + 3}:
        return None
    return (
        ids[2] if len(ids) == tail + 3 else None,
        Binlog(
            kind=kind,
            collection_id=ids[0],
            partition_id=ids[1],
            segment_id=ids[-tail],
            field_id=ids[-2] if kind is LogKind.INSERT else None,
            log_id=ids[-1],
            source=found,
        ),
    )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
