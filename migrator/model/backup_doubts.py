"""What a backup's meta says twice, or says that nobody here understands."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from migrator.errors import BackupUnreadable
from migrator.model.backup_meta import Message
from migrator.model.backup_reading import ref_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.model.backup_meta import BackupInfo, CollectionBackup, SegmentBackup

T = TypeVar("T")
_FILES = frozenset({"binlogs", "deltalogs", "statslogs"})
"""There may be millions of them."""


def require_no_clash(info: BackupInfo, file: str) -> None:
    """Accept what is told twice in the same words, as a segment of a partition; `file` is where it is told.

    Raises:
        BackupUnreadable: A name or an id belongs to two things: rows would come twice, or come to the wrong place.
    """
    for what in _clashes(info):
        raise BackupUnreadable(f"{file} names {what}", hint="restore the file, or choose another backup")


def repeated_segments(info: CollectionBackup) -> int:
    """How many entries of segments are there once more than they should."""
    return sum(len(partition.segment_backups) for partition in info.partition_backups) - len(info.segments)


def unknown_members(message: Message) -> tuple[str, ...]:
    """Members that this version does not know, such as `schema.fields.novel`, each once; of files nothing is told."""
    return tuple(sorted(set(_unknown(message))))


def _unknown(message: Message, place: str = "") -> Iterator[str]:
    yield from (f"{place}{name}" for name in message.model_extra or {})
    for name, info in type(message).model_fields.items():
        if name in _FILES:
            continue
        found = getattr(message, name)
        for inner in found if isinstance(found, tuple) else (found,):
            if isinstance(inner, Message):
                yield from _unknown(inner, f"{place}{info.alias or name}.")


def _clashes(info: BackupInfo) -> Iterator[str]:
    collections = info.collection_backups
    for name in _twice(ref_of(each).short for each in collections):
        yield f"the collection {name} twice"
    for number in _twice(each.collection_id for each in collections):
        names = " and ".join(ref_of(each).short for each in collections if each.collection_id == number)
        yield f"{names} by one collection id, {number}"
    for each in collections:
        yield from (f"{what} in {ref_of(each).short}" for what in _clashes_inside(each))


def _clashes_inside(info: CollectionBackup) -> Iterator[str]:
    partitions = info.partition_backups
    yield from (f"the partition {name!r} twice" for name in _twice(each.partition_name for each in partitions))
    yield from (f"the partition id {number} twice" for number in _twice(each.partition_id for each in partitions))
    homes: dict[int, tuple[str, SegmentBackup]] = {}
    for partition in partitions:
        for segment in partition.segment_backups:
            home, first = homes.setdefault(segment.segment_id, (partition.partition_name, segment))
            if home != partition.partition_name:
                yield f"the segment {segment.segment_id} in two partitions, {home} and {partition.partition_name},"
            elif segment != first:
                yield f"the segment {segment.segment_id} twice, and not in the same words,"


def _twice(values: Iterable[T]) -> list[T]:
    return [value for value, times in Counter(values).items() if times > 1]
