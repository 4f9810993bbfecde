"""Which files of a source count, as far as a plan can tell: a retried upload leaves some behind that are no segment's.

Where the source names the valid ones they are known exactly. Where it does not, uneven numbers of files per field show
that there are some; which ones is found out by their rows, when the dump is made.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from migrator.model.segment import LogKind
from migrator.steps.valid_logs import SegmentGone, ValidLogs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.model.collection import Collection
    from migrator.model.segment import Binlog, Segment
    from migrator.ports.milvus import MilvusReader


class StrayFiles:
    """The files of one collection's segments, looked at one after another as a store lists them."""

    def __init__(self, source: MilvusReader, collection: Collection) -> None:
        self._source = source
        self._collection = collection
        self._valid: ValidLogs | None = None
        self._is_untold = False
        self._is_known = True
        self._uneven = _Uneven()

    def begin(self, segments: Sequence[Segment]) -> None:
        """Ask for the valid files of those segments."""
        if not self._source.capabilities.segments_describe:
            return
        try:
            ref, number = self._collection.ref, self._collection.collection_id
            self._valid = ValidLogs.find(self._source, ref, number, segments)
        except SegmentGone:  # compacted since they were listed: a run lists them again
            self._is_known = False
        else:
            self._is_untold = self._valid is None

    def counts(self, binlog: Binlog) -> bool:
        """Whether a segment consists of this file, as far as it is known."""
        if self._valid is None:
            self._uneven.look_at(binlog)
            return True
        try:
            return self._valid.allows(binlog)
        except SegmentGone:
            self._valid, self._is_known = None, False
            return True

    def notices(self) -> Iterator[str]:
        """What a plan says of them."""
        if self._is_untold:
            yield (
                f"{self._source.uri} does not tell over REST which files of its segments count: they are held against "
                f"one another when the dump is made, and where that decides nothing, the run stops"
            )
        if self._valid is not None and self._valid.left_out:
            yield f"{self._valid.left_out:,} files that belong to no segment stay out"
        elif self._is_known and (segments := self._uneven.segments):
            yield (
                f"of {segments:,} segment{'' if segments == 1 else 's'} some fields have more files than others: a "
                f"retried upload left them behind; those that count are told by their rows when the dump is made"
            )


class _Uneven:
    """Segments with uneven numbers of insert logs per field; holds one segment at a time.

    Stores of objects list in the order of keys. Where one does not, nothing is said.
    """

    def __init__(self) -> None:
        self._found = 0
        self._last = ""
        self._is_ordered = True
        self._segment_id = 0
        self._fields: Counter[int | None] = Counter()

    def look_at(self, binlog: Binlog) -> None:
        if binlog.kind is not LogKind.INSERT:
            return
        self._is_ordered = self._is_ordered and binlog.source.key > self._last
        self._last = binlog.source.key
        if binlog.segment_id != self._segment_id:
            self._found += self._is_uneven
            self._segment_id, self._fields = binlog.segment_id, Counter()
        self._fields[binlog.field_id] += 1

    @property
    def segments(self) -> int:
        return self._found + self._is_uneven if self._is_ordered else 0

    @property
    def _is_uneven(self) -> bool:
        return len(set(self._fields.values())) > 1
