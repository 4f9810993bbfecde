"""Milvus's unit of storage: segments, and the binlogs they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class SegmentState(IntEnum):
    """Milvus's numbers of segment states (common.proto)."""

    NONE = 0
    NOT_EXIST = 1
    GROWING = 2
    SEALED = 3
    FLUSHED = 4
    FLUSHING = 5
    DROPPED = 6
    IMPORTING = 7


class SegmentLevel(IntEnum):
    """Milvus's numbers of segment levels (common.proto); `LEGACY` is what servers say that know none."""

    LEGACY = 0
    L0 = 1
    """Deletes alone, of rows in other segments."""
    L1 = 2
    L2 = 3


ALL_PARTITIONS = -1
"""The partition of L0 segments whose deletes are of no single one."""
STORAGE_V2 = 2
"""From this storage version on, insert logs are parquet by groups of columns."""
FIRST_GROUP = 0
"""In storage v2 the group of the system's columns, and of all narrow ones."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A persistent segment; `num_rows` counts rows as inserted, deletes not subtracted.

    `storage_version` is 0 for one file per field, the only form up to Milvus 2.5. `vchannel` is empty where it is not
    told.
    """

    segment_id: int
    partition_id: int
    num_rows: int
    state: SegmentState = SegmentState.FLUSHED
    level: SegmentLevel = SegmentLevel.LEGACY
    storage_version: int = 0
    is_sorted: bool = False
    vchannel: str = ""

    @property
    def is_l0(self) -> bool:
        """Whether it holds deletes of other segments' rows, and none of its own."""
        return self.level is SegmentLevel.L0


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLogs:
    """The log ids that a segment consists of; of insert logs with their field, or in storage v2 with their group."""

    inserts: frozenset[tuple[int, int]]
    deltas: frozenset[int]
    vchannel: str = ""


@dataclass(frozen=True, slots=True)
class Compaction:
    """A compaction that the server remembers; `product` is None until it is done, and where it failed."""

    sources: tuple[int, ...]
    product: int | None


class LogKind(StrEnum):
    """The two kinds of binlog a migration needs, by the name of their folder; Milvus rebuilds all others."""

    INSERT = "insert_log"
    DELTA = "delta_log"


_KINDS = {str(kind): kind for kind in LogKind}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing or a head tells it; `etag` is None where the store has none."""

    key: str
    size_bytes: int
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binlog:
    """One binlog of a frozen listing; `field_id` is None for delta logs, which have none.

    In storage v2 `field_id` is the id of a group of columns.
    """

    kind: LogKind
    collection_id: int
    partition_id: int
    segment_id: int
    field_id: int | None
    log_id: int
    source: StoredObject

    @property
    def staged_suffix(self) -> str:
        """Its key below `<dump>/binlogs/`, in milvus-backup's layout, where GROUP is the segment's id."""
        group = "" if self.partition_id == ALL_PARTITIONS else f"/{self.segment_id}"
        segment = f"{self.collection_id}/{self.partition_id}{group}/{self.segment_id}"
        field = "" if self.field_id is None else f"/{self.field_id}"
        return f"{self.kind}/{segment}{field}/{self.log_id}"


def parse_binlog(found: StoredObject, root: str) -> Binlog | None:
    """The binlog an object of a Milvus root path is, or None for any other object.

    Insert logs lie at `ROOT/insert_log/C/P/S/F/L`, delta logs at `ROOT/delta_log/C/P/S/L`; all ids are decimal, and the
    partition of delta logs may be -1.
    """
    parts = found.key.removeprefix(f"{root}/" if root else "").split("/")
    kind = _KINDS.get(parts[0])
    if kind is None or len(parts) != (6 if kind is LogKind.INSERT else 5) or (ids := parse_ids(parts)) is None:
        return None
    return Binlog(
        kind=kind,
        collection_id=ids[0],
        partition_id=ids[1],
        segment_id=ids[2],
        field_id=ids[3] if kind is LogKind.INSERT else None,
        log_id=ids[-1],
        source=found,
    )


def parse_ids(parts: list[str]) -> list[int] | None:
    """The ids behind a kind of log in a key's parts, or None where one is no id."""
    ids: list[int] = []
    for place, part in enumerate(parts[1:]):
        if part.isascii() and part.isdigit():
            ids.append(int(part))
        elif place == 1 and part == str(ALL_PARTITIONS) and parts[0] == LogKind.DELTA:
            ids.append(ALL_PARTITIONS)
        else:
            return None
    return ids


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentBatch:
    """Segments of one partition that one import request brings.

    Each of `entries` is a prefix of insert logs and, where there are some, one of delta logs, as the target's server
    shall see them; of `is_l0`, it is a prefix of delta logs alone. Milvus 2.3 takes one entry, which may be a whole
    partition; later ones take many, each a segment. `rows` are raw rows, before deletes and the time bound. `is_late`
    says that every segment was sealed after the cut, so that all rows may be newer than it.
    """

    number: int
    partition_id: int
    partition_name: str
    segment_ids: tuple[int, ...]
    rows: int
    objects: int
    delta_objects: int
    size_bytes: int
    entries: tuple[tuple[str, ...], ...]
    is_late: bool = False
    is_l0: bool = False
    storage_version: int = 0

    @property
    def has_deletes(self) -> bool:
        """Whether delta logs are among what it brings."""
        return self.is_l0 or any(len(entry) > 1 for entry in self.entries)

    @property
    def allows_no_rows(self) -> bool:
        """Whether nothing at all can be right: deletes, where carried, or the cut may have taken every row."""
        return self.rows == 0 or self.has_deletes or self.is_late

    def allows_rows(self, imported: int) -> bool:
        """Whether an import of this batch can have brought so many rows.

        Fewer than the raw rows are right where deletes are carried, and where the last rows are newer than the time
        bound; how many exactly is for the verification to say. None at all is right only as `allows_no_rows` says. What
        a job of deletes counts is not known.
        """
        return self.is_l0 or (0 if self.allows_no_rows else 1) <= imported <= self.rows
