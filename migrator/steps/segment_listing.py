"""The live segments of a collection with their binlogs, as `dump_meta` freezes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from migrator.errors import MilvusRefused, ObjectMissing, RunError
from migrator.model.binlog_rows import NoBinlog, count_rows
from migrator.model.collection import TIMESTAMP_FIELD
from migrator.model.segment import (
    ALL_PARTITIONS,
    FIRST_GROUP,
    STORAGE_V2,
    LogKind,
    Segment,
    SegmentLevel,
    parse_binlog,
)
from migrator.steps.valid_logs import SegmentGone, ValidLogs, find_orphans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import Collection
    from migrator.model.segment import Binlog, Compaction
    from migrator.steps.base import StepContext


def may_be_l0(segment: Segment, source: Capabilities) -> bool:
    """Whether it is an L0 segment as far as the list tells: the first releases with such segments do not say it."""
    if source.reports_level or not source.has_l0_segments:
        return segment.is_l0
    return segment.num_rows == 0 or segment.partition_id == ALL_PARTITIONS


@dataclass(slots=True, kw_only=True)
class SegmentListing:
    """The segments that the source listed last, with what of their files counts."""

    ctx: StepContext
    collection: Collection
    source_root: str
    listed: Sequence[Segment]
    left_behind: int = 0
    """Delta logs that the source lost in compactions."""
    orphans: int = 0
    """Files that belong to no segment, and stay out."""
    is_untold: bool = False
    """Whether the source refused to say which files count, as its version could."""
    rows: int = 0
    """As inserted, deletes not subtracted."""
    _valid: ValidLogs | None = None
    _inserts: set[int] = field(default_factory=set)
    """Segments that insert logs were found of."""
    _deltas: set[int] = field(default_factory=set)

    def freeze(self) -> None:
        """Write the listing into the ledger, and see that it is whole.

        Raises:
            SegmentGone: A segment was compacted away, and its files are gone: the list is stale.
        """
        source = self.ctx.source.capabilities
        live = [each for each in self.listed if each.num_rows > 0 or may_be_l0(each, source)]
        self._require_readable(live)
        if source.segments_describe:
            self._valid = ValidLogs.find(self.ctx.source, self.collection.ref, self.collection.collection_id, live)
            if self._valid is None:
                self.is_untold = True
                self.ctx.progress(
                    f"{self.collection.ref.short}: {self.ctx.source.uri} does not tell which files of its segments "
                    f"count; they are held against one another"
                )
        self.ctx.ledger.freeze(self.collection.collection_id, self._segments(live), self._binlogs(live))
        self._require_complete()

    def _require_readable(self, live: Sequence[Segment]) -> None:
        for segment in live:
            if segment.storage_version not in {0, STORAGE_V2}:
                raise RunError(
                    f"{self._name(segment)} is of storage version {segment.storage_version}, whose files only a "
                    f"manifest names: no import by prefix reads them",
                    hint="such collections need snapshots of Milvus 3.0; leave this one out with `exclude`",
                )

    # -- what is frozen ---------------------------------------------------------------------------------------------

    def _segments(self, live: Sequence[Segment]) -> Iterator[Segment]:
        """The segments that have something to bring; asked for once all files were seen."""
        source = self.ctx.source.capabilities
        for segment in live:
            is_l0 = may_be_l0(segment, source) and segment.segment_id not in self._inserts
            if is_l0 and segment.segment_id in self._deltas:
                yield replace(self._told(segment), level=SegmentLevel.L0, num_rows=0)
            elif segment.is_l0 and self._valid is None:
                raise SegmentGone(segment.segment_id)
            elif segment.num_rows > 0 and not is_l0:
                self.rows += segment.num_rows
                yield self._told(segment)

    def _told(self, segment: Segment) -> Segment:
        if self._valid is None:
            return segment
        return replace(segment, vchannel=self._valid.vchannels.get(segment.segment_id, "") or segment.vchannel)

    def _binlogs(self, live: Sequence[Segment]) -> Iterator[Binlog]:
        """The binlogs of the live segments, and deletes that a compaction left behind."""
        rows = {segment.segment_id: segment.num_rows for segment in live}
        left_behind = _LeftBehind(self._compactions())
        for kind in LogKind:
            prefix = f"{self.source_root}/{kind}/{self.collection.collection_id}"
            for found in self.ctx.source_store.list_objects(prefix.lstrip("/")):
                binlog = parse_binlog(found, self.source_root)
                if binlog is None:
                    continue
                if binlog.segment_id in rows and self._counts(binlog, rows[binlog.segment_id]):
                    yield binlog
                left_behind.look_at(binlog)
        yield from self._told_of(tuple(left_behind.logs(rows.keys())))

    def _counts(self, binlog: Binlog, rows: int) -> bool:
        """Whether the file is one of its segment's; what has no rows has no insert logs to bring."""
        (self._inserts if binlog.kind is LogKind.INSERT else self._deltas).add(binlog.segment_id)
        if self._valid is not None and not self._valid.allows(binlog):
            return False
        return rows > 0 or (binlog.kind is LogKind.DELTA and binlog.segment_id not in self._inserts)

    def _told_of(self, left_behind: tuple[Binlog, ...]) -> tuple[Binlog, ...]:
        self.left_behind = len(left_behind)
        if left_behind:
            self.ctx.progress(
                f"{self.collection.ref.short}: the source lost {len(left_behind)} delta logs in compactions, and may "
                f"show rows again that were deleted or replaced; the deletes come along"
            )
        return left_behind

    def _compactions(self) -> tuple[Compaction, ...]:
        """Those the source remembers; none where it does not tell, for want of the call or of a privilege.

        With L0 segments none is asked for: deletes no longer go to the segments that a compaction takes away.
        """
        if self.ctx.source.capabilities.has_l0_segments:
            return ()
        try:
            return self.ctx.source.list_compactions()
        except MilvusRefused:
            return ()

    # -- whether it is whole ----------------------------------------------------------------------------------------

    def _require_complete(self) -> None:
        """Every live segment has insert logs of all its columns, equally many of each."""
        ledger, collection_id = self.ctx.ledger, self.collection.collection_id
        orphans: list[Binlog] = []
        for entry in ledger.segments(collection_id):
            segment = entry.segment
            if self._valid is not None:
                found = entry.insert_objects + entry.delta_objects
                self._valid.require_found(segment.segment_id, found, self._name(segment))
            if segment.is_l0:
                continue
            logs = tuple(ledger.binlogs(collection_id, segment_id=segment.segment_id))
            counts = Counter(binlog.field_id for binlog in logs if binlog.field_id is not None)
            self._require_columns(segment, counts)
            if len(set(counts.values())) > 1 or self._has_other_rows(segment, logs):
                orphans += self._orphans(segment, logs)
        if orphans:
            ledger.leave_out(collection_id, orphans)
        self.orphans = len(orphans) + (self._valid.left_out if self._valid is not None else 0)

    def _orphans(self, segment: Segment, logs: tuple[Binlog, ...]) -> tuple[Binlog, ...]:
        if self._valid is not None:
            raise RunError(
                f"{self._name(segment)} has unequal numbers of binlogs per field, as its source says itself",
                hint="compact the collection at the source, then run migrator apply --resume",
            )
        return find_orphans(self.ctx.source_store, segment, logs, self._name(segment))

    def _has_other_rows(self, segment: Segment, logs: Iterable[Binlog]) -> bool:
        """Whether files hold other rows than the segment; looked at where servers import many without counting."""
        source = self.ctx.source.capabilities
        if self._valid is not None or not source.has_l0_segments:
            return False
        column = FIRST_GROUP if segment.storage_version == STORAGE_V2 else TIMESTAMP_FIELD
        try:
            rows = sum(
                count_rows(self.ctx.source_store.read(binlog.source.key))
                for binlog in logs
                if binlog.field_id == column
            )
        except NoBinlog:
            return False
        return rows != segment.num_rows

    def _require_columns(self, segment: Segment, counts: Counter[int]) -> None:
        place = f"{self.source_root}/{LogKind.INSERT}/{self.collection.collection_id}/{segment.partition_id}"
        if not counts:
            raise ObjectMissing(
                f"{self._name(segment)} has {segment.num_rows:,} rows at the source and no binlogs under {place}",
                hint="see that source.storage.bucket and source.storage.root_path are those of the source Milvus",
            )
        is_told = self.ctx.source.capabilities.adds_fields and segment.storage_version != STORAGE_V2
        if is_told and (strange := sorted(counts.keys() - self.collection.schema.stored_field_ids)):
            raise RunError(
                f"{self._name(segment)} has binlogs of field {strange[0]}, which its schema does not tell",
                hint="if a field was dropped, only snapshots of Milvus 3.0 bring it; leave it out with `exclude`",
            )
        if missing := sorted(self._columns(segment) - counts.keys()):
            what = "column group" if segment.storage_version == STORAGE_V2 else "field"
            raise ObjectMissing(
                f"{self._name(segment)} has no binlogs of {what} {', '.join(map(str, missing))} under {place}"
            )

    def _columns(self, segment: Segment) -> frozenset[int]:
        """The folders that a segment surely has; a field that was added later has none in older segments."""
        schema = self.collection.schema
        if segment.storage_version == STORAGE_V2:
            return frozenset({FIRST_GROUP}) | (schema.vector_field_ids - schema.may_lack_files)
        if self.ctx.source.capabilities.adds_fields:
            return schema.stored_field_ids - schema.may_lack_files
        return schema.stored_field_ids

    def _name(self, segment: Segment) -> str:
        return f"segment {segment.segment_id} of {self.collection.ref.short}"


class _LeftBehind:
    """Delta logs that Milvus 2.3 wrote to a segment while it was compacted and lost, for the segment its rows are in.

    What a compaction applies was there before its product got an id; what was written since, it takes along under the
    same log id. Where the upload ends after the segment was given up, 2.3 does neither (milvus issue 26023): rows that
    were deleted or replaced come back, at the source too. Other deletes than those of its rows do a segment no harm.
    """

    def __init__(self, compactions: Iterable[Compaction]) -> None:
        self._products = {
            source: each.product for each in compactions if each.product is not None for source in each.sources
        }
        compacted = {*self._products, *self._products.values()}
        self._deltas: dict[int, dict[int, Binlog]] = {segment_id: {} for segment_id in compacted}

    def look_at(self, binlog: Binlog) -> None:
        """Remember it, where it may be one."""
        if binlog.kind is LogKind.DELTA and binlog.segment_id in self._deltas:
            self._deltas[binlog.segment_id][binlog.log_id] = binlog

    def logs(self, live: Iterable[int]) -> Iterator[Binlog]:
        """Those of segments whose rows are in a live one, under its id."""
        alive = set(live)
        for segment_id, product in self._products.items():
            heir: int | None = product
            while heir is not None and heir not in alive:
                heir = self._products.get(heir)
            if heir is None:
                continue
            for log_id, binlog in self._deltas[segment_id].items():
                if log_id > product and log_id not in self._deltas[product] and log_id not in self._deltas[heir]:
                    yield replace(binlog, segment_id=heir)
