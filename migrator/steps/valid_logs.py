"""Which binlogs of a segment count: a retried upload leaves files behind that belong to no segment.

Milvus from 2.5.8 on names the valid ones. Before, the files of a segment are held against one another: each field has
equally many, with the same numbers of rows, and these add up to the segment's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from migrator.errors import ObjectMissing, RunError
from migrator.model.binlog_rows import NoBinlog, count_rows
from migrator.model.segment import LogKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from migrator.model.collection import CollectionRef
    from migrator.model.segment import Binlog, Segment, SegmentLogs
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.store import ObjectReader

_DESCRIBED = 50
"""Segments asked for at a time."""
_MOST_CHOSEN_FROM = 16
"""Files of a field among which a choice by their rows is looked for."""


class SegmentGone(Exception):
    """A listed segment is not described any more: the list is stale."""


@dataclass(slots=True)
class ValidLogs:
    """What the source says of the binlogs of listed segments, asked for in the order in which their files are listed.

    Only the segments asked for last are held: memory does not grow with the number of files.
    """

    source: MilvusReader
    ref: CollectionRef
    collection_id: int
    segments: Sequence[Segment]
    counts: dict[int, int] = field(default_factory=dict)
    """How many valid logs a segment has, of those that were asked for."""
    vchannels: dict[int, str] = field(default_factory=dict)
    left_out: int = 0
    _held: dict[int, SegmentLogs] = field(default_factory=dict)
    _batches: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def find(
        cls, source: MilvusReader, ref: CollectionRef, collection_id: int, segments: Sequence[Segment]
    ) -> ValidLogs | None:
        """None where the source does not tell.

        Raises:
            SegmentGone: One of the first of them is not there any more.
        """
        valid = cls(source, ref, collection_id, segments)
        in_order = sorted((str(s.partition_id), str(s.segment_id), s.segment_id) for s in segments)
        ids = tuple(number for _, _, number in in_order)
        for start in range(0, len(ids), _DESCRIBED):
            batch = ids[start : start + _DESCRIBED]
            valid._batches |= dict.fromkeys(batch, batch)
        return valid if not ids or valid._ask(ids[0]) else None

    def allows(self, binlog: Binlog) -> bool:
        """Whether the segment consists of this file, among others; one that does not is counted.

        Raises:
            SegmentGone: The source does not know the segment any more.
        """
        if binlog.segment_id not in self._held:
            self._ask(binlog.segment_id)
        logs = self._held[binlog.segment_id]
        if binlog.field_id is None:
            is_valid = binlog.log_id in logs.deltas
        else:
            is_valid = (binlog.field_id, binlog.log_id) in logs.inserts
        self.left_out += not is_valid
        return is_valid

    def _ask(self, segment_id: int) -> bool:
        batch = self._batches[segment_id]
        told = self.source.describe_segments(self.ref, self.collection_id, batch)
        if told is None:
            return False
        if missing := [each for each in batch if each not in told]:
            raise SegmentGone(f"segment {missing[0]}")
        self._held = dict(told)
        self.counts |= {each: len(logs.inserts) + len(logs.deltas) for each, logs in told.items()}
        self.vchannels |= {each: logs.vchannel for each, logs in told.items()}
        return True

    def require_found(self, segment_id: int, found: int, name: str) -> None:
        """Raise where the source names files of a segment that do not lie there; `name` is the segment's in messages.

        Raises:
            ObjectMissing: Some are not there.
        """
        if found < (wanted := self.counts.get(segment_id, found)):
            raise ObjectMissing(
                f"{name} has {wanted:,} valid binlogs, as the source says, and {found:,} of them lie in its store",
                hint="see that source.storage names the bucket and the root path of the source Milvus",
            )


# -- where nobody tells -----------------------------------------------------------------------------------------------


def find_orphans(store: ObjectReader, segment: Segment, binlogs: Iterable[Binlog], name: str) -> tuple[Binlog, ...]:
    """The insert logs of a segment that belong to nothing, told by rows alone; `name` is the segment's in messages.

    Of two files that are the same to the byte either may be left out.

    Raises:
        RunError: It cannot be decided which files count.
    """
    by_field: dict[int, list[Binlog]] = defaultdict(list)
    for binlog in sorted(binlogs, key=_log_id):
        if binlog.kind is LogKind.INSERT and binlog.field_id is not None:
            by_field[binlog.field_id].append(binlog)
    rows = {binlog: _rows(store, binlog, name) for logs in by_field.values() for binlog in logs}
    kept = _without_twins(by_field, rows, segment) or _by_rows(by_field, rows, segment, name)
    return tuple(log for logs in by_field.values() for log in logs if log not in kept)


def _without_twins(
    by_field: Mapping[int, list[Binlog]], rows: Mapping[Binlog, int], segment: Segment
) -> set[Binlog] | None:
    """One of each files that are the same to the byte, if that makes a whole segment: an upload was made twice."""
    kept = {
        number: list({(log.source.size_bytes, log.source.etag or log.log_id): log for log in reversed(logs)}.values())
        for number, logs in by_field.items()
    }
    sequences = {tuple(rows[log] for log in reversed(logs)) for logs in kept.values()}
    if len(sequences) != 1 or sum(next(iter(sequences))) != segment.num_rows:
        return None
    return {log for logs in kept.values() for log in logs}


def _by_rows(
    by_field: Mapping[int, list[Binlog]], rows: Mapping[Binlog, int], segment: Segment, name: str
) -> set[Binlog]:
    """Those of each field that hold the same numbers of rows as those of the field that has the fewest."""
    fewest = min(by_field.values(), key=len)
    wanted = _one_of({tuple(rows[log] for log in chosen) for chosen in _summing(fewest, rows, segment.num_rows)}, name)
    return {log for logs in by_field.values() for log in _matching(logs, rows, wanted, name)}


def _log_id(binlog: Binlog) -> int:
    return binlog.log_id


def _rows(store: ObjectReader, binlog: Binlog, name: str) -> int:
    try:
        return count_rows(store.read(binlog.source.key))
    except NoBinlog as error:
        raise _undecided(name, f"{binlog.source.key} cannot be read: {error}") from None


def _summing(logs: list[Binlog], rows: Mapping[Binlog, int], total: int) -> Iterator[tuple[Binlog, ...]]:
    """The choices of files, in their order, that hold so many rows together; of very many files only all of them."""
    fewest = len(logs) if len(logs) > _MOST_CHOSEN_FROM else 1
    choices = (chosen for size in range(len(logs), fewest - 1, -1) for chosen in combinations(logs, size))
    return (chosen for chosen in choices if sum(rows[log] for log in chosen) == total)


def _one_of(sequences: set[tuple[int, ...]], name: str) -> tuple[int, ...]:
    if len(sequences) != 1:
        raise _undecided(name, "their rows do not add up to the segment's" if not sequences else "several choices fit")
    return next(iter(sequences))


def _matching(logs: list[Binlog], rows: Mapping[Binlog, int], wanted: tuple[int, ...], name: str) -> tuple[Binlog, ...]:
    """The files of one field that have just those rows, in their order."""
    if [rows[log] for log in logs] == list(wanted):
        return tuple(logs)
    if len(logs) > _MOST_CHOSEN_FROM:
        raise _undecided(name, f"field {logs[0].field_id} has {len(logs)} of them")
    fitting = [c for c in combinations(logs, len(wanted)) if tuple(rows[log] for log in c) == wanted]
    contents = {tuple((log.source.size_bytes, log.source.etag) for log in choice) for choice in fitting}
    if len(contents) != 1 or (len(fitting) > 1 and any(log.source.etag is None for log in logs)):  # twins
        raise _undecided(name, f"of field {logs[0].field_id} {'several choices fit' if fitting else 'none fits'}")
    return fitting[-1]


def _undecided(name: str, why: str) -> RunError:
    return RunError(
        f"{name} has unequal numbers of binlogs per field, or more rows in them than the source says, and which "
        f"of them count cannot be told: {why}",
        hint="an upload left files behind that belong to no segment: compact the collection at the source, then run "
        "migrator apply --resume",
    )
