"""`dump_meta`: describe the collection, and freeze the listing of its live segments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, ObjectMissing, RunError, SchemaDiffers, SourceBusy
from migrator.model.codec import from_plain, to_plain
from migrator.model.collection import Collection, CollectionRef
from migrator.model.segment import LogKind, Segment, SegmentState, parse_binlog
from migrator.model.timestamps import END_OF_TIME
from migrator.ports.backup import as_backup
from migrator.ports.milvus import FlushResult
from migrator.steps.backup_tree import backed_up_ts, find_files
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.counting import count_named, count_partitions
from migrator.steps.flush import FLUSH_KEY, cut_note, flush_and_wait
from migrator.steps.late_deletes import wait_for_late_deletes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from migrator.model.segment import Binlog, Compaction
    from migrator.ports.backup import BackupReader
    from migrator.ports.ledger import JsonValue, LedgerReader
    from migrator.steps.base import ReadContext, StepContext

MAX_LISTINGS = 12
MAX_DELETE_WAITS = 3
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenDump:
    """What `dump_meta` fixed: the description and the cut (hybrid)."""

    collection: Collection
    cut_ts: int
    rows_at_cut: dict[str, int]
    """`count(*)` right after the cut, by partition; empty where the source is not loaded, or was not flushed."""
    held_still: bool
    """Whether the source's count is surely that of the cut: the same before the flush, and no deletes left behind."""
    raw_rows: int
    """Rows of the frozen segments as inserted, deletes not subtracted."""
    can_count: bool = True
    """Whether the source's version can count at all."""
    late_deletes: int = 0
    """Rows that the source does not show and its files have, after all deletes up to the cut were waited for."""
    left_behind: int = 0
    """Delta logs that the source lost in compactions, and that come along: its own count may be too high."""
    backed_up_ts: int | None = None
    """When the source is a backup: its moment (hybrid), 0 where it does not say. Nothing of it is cut off."""


def dump_key(source: CollectionRef) -> str:
    """The key of the step that freezes `source`."""
    return f"{DumpMeta.kind}:{source}"


def frozen_dump(ledger: LedgerReader, source: CollectionRef) -> FrozenDump:
    """What was frozen of `source`; for steps that need its `dump_meta`."""
    return from_plain(FrozenDump, ledger.notes(dump_key(source))["frozen"])


def require_same_schema(planned: Collection, found: Collection) -> None:
    """Raise in words what moved between the plan and now; rows and segments may move freely."""
    if found.collection_id != planned.collection_id:
        raise SchemaDiffers(
            f"collection {planned.ref.short} was dropped and created again since it was planned",
            hint="give this run up with migrator rollback, and plan again",
        )
    names, planned_names = ({f.name for f in c.schema.fields} for c in (found, planned))
    moved = [f"gained a field {name!r}" for name in sorted(names - planned_names)]
    moved += [f"lost a field {name!r}" for name in sorted(planned_names - names)]
    parts, planned_parts = ({p.name for p in c.partitions} for c in (found, planned))
    moved += [f"gained a partition {name!r}" for name in sorted(parts - planned_parts)]
    moved += [f"lost a partition {name!r}" for name in sorted(planned_parts - parts)]
    if not moved and found.schema != planned.schema:
        moved.append("changed its schema")
    if not moved and found.partitions != planned.partitions:
        moved.append("had a partition dropped and created again")
    if not moved and found.indexes != planned.indexes:
        moved.append("changed its indexes")
    if moved:
        raise SchemaDiffers(
            f"collection {planned.ref.short} {' and '.join(moved)} since it was planned",
            hint="give this run up with migrator rollback, and plan again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpMeta(Step):
    """Freeze what `planned` is now: description, cut, live segments and their binlogs under `source_root`.

    Where `partitions` are named, no others are frozen: to all later steps the collection has only those.
    """

    kind: ClassVar[str] = "dump_meta"
    planned: Collection
    source_root: str
    may_flush: bool = True
    partitions: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """By the source collection."""
        return dump_key(self.planned.ref)

    def describe(self) -> str:
        """What it does, in a few words."""
        whose = f"those of {', '.join(self.partitions[:3])}{' …' if len(self.partitions) > 3 else ''}"
        return (
            f"describe {self.planned.ref.short} and freeze the listing of its segments"
            f"{', ' + whose if self.partitions else ''}"
        )

    def probe(self, ctx: ReadContext) -> Evidence:
        """Frozen once noted."""
        return Evidence.DONE if "frozen" in self.notes(ctx) else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """List until a listing holds still, freeze it with its binlogs, and note the description last.

        Done anew as the next generation when a copy finds that a frozen object has vanished.
        """
        if (backup := as_backup(ctx.source)) is not None:
            return self._freeze_backup(ctx, backup)
        self._describe(ctx)
        cut, segments, late = self._settled_with_deletes(ctx)
        found = self._chosen(self._describe(ctx))  # once more: a partition may have come with the last flush
        rows_at_cut = count_partitions(ctx.source, found) if self.may_flush else {}
        live = [segment for segment in self._of_chosen(segments) if segment.num_rows > 0]
        ctx.ledger.freeze(found.collection_id, live, self._binlogs(ctx, {s.segment_id for s in live}))
        self._require_complete(ctx)
        self._require_nothing_lost(ctx)
        left_behind = self.notes(ctx)["left_behind"]
        frozen = FrozenDump(
            collection=found,
            cut_ts=cut.cut_ts,
            rows_at_cut=rows_at_cut,
            held_still=rows_at_cut == self._counts_before(ctx) and not left_behind,
            raw_rows=sum(segment.num_rows for segment in live),
            can_count=ctx.source.can_count,
            late_deletes=late,
            left_behind=left_behind if isinstance(left_behind, int) else 0,
        )
        self.note(ctx, frozen=to_plain(frozen))
        totals = ctx.ledger.totals(found.collection_id)
        said = f"{late:,} rows are deleted at the source and still in its files" if late else ""
        return Outcome(rows=totals.rows, objects=totals.objects, size_bytes=totals.size_bytes, detail=said)

    def _chosen(self, found: Collection) -> Collection:
        return found.only(self.partitions) if self.partitions else found

    def _of_chosen(self, segments: Iterable[Segment]) -> list[Segment]:
        chosen = {partition.partition_id for partition in self._chosen(self.planned).partitions}
        return [segment for segment in segments if not self.partitions or segment.partition_id in chosen]

    def _freeze_backup(self, ctx: StepContext, backup: BackupReader) -> Outcome:
        """What a backup's meta names, and all rows of it: milvus-backup copies some that are newer than its time."""
        found = self._describe(ctx)
        info = backup.get_backup(self.planned.ref)
        files = find_files(ctx.source_store, self.source_root, info)
        ctx.ledger.freeze(found.collection_id, files.segments, files.binlogs)
        frozen = FrozenDump(
            collection=found,
            cut_ts=END_OF_TIME,
            rows_at_cut={},
            held_still=True,
            raw_rows=sum(segment.num_rows for segment in files.segments),
            backed_up_ts=backed_up_ts(info),
        )
        self.note(ctx, cut=cut_note(FlushResult(cut_ts=END_OF_TIME, segment_ids=())), frozen=to_plain(frozen))
        totals = ctx.ledger.totals(found.collection_id)
        left_out = f"{files.left_out:,} files that the backup's meta does not name stay out" if files.left_out else ""
        return Outcome(rows=totals.rows, objects=totals.objects, size_bytes=totals.size_bytes, detail=left_out)

    def _describe(self, ctx: StepContext) -> Collection:
        ref = self.planned.ref
        found = ctx.source.find_collection(ref)
        if found is None:
            raise RunError(
                f"collection {ref.short} is gone from {ctx.source.uri}",
                hint="give this run up with migrator rollback, and plan again",
            )
        require_same_schema(self.planned, found)
        return found

    # -- a listing that holds still ---------------------------------------------------------------------------------

    def _settled_listing(self, ctx: StepContext) -> tuple[FlushResult, tuple[Segment, ...]]:
        """Segments that are exactly those of the cut.

        A segment that the flush did not name is newer than the cut (new data, or the product of a compaction, which
        may have applied later deletes for good); one that is missing was compacted away. Either way flush again.
        """
        pause_s = _FIRST_PAUSE_S
        cut = self._noted_cut(ctx)
        for _ in range(MAX_LISTINGS):
            segments = ctx.source.list_segments(self.planned.ref)
            strangers = self._strangers(cut, segments)
            if not strangers:
                return cut, segments
            ctx.progress(f"{self.planned.ref.short} is moving, listing it again")
            ctx.clock.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            if self.may_flush:
                self.note(ctx, counts_before=dict(count_named(ctx.source, self.planned.ref)))
                cut = flush_and_wait(ctx.source, [self.planned.ref], ctx.clock)[self.planned.ref]
                self.note(ctx, cut=cut_note(cut))
        raise SourceBusy(
            f"collection {self.planned.ref.short} did not hold still over {MAX_LISTINGS} listings; "
            f"segments that moved last: {', '.join(map(str, strangers[:5]))}",
            hint="pause compaction or heavy writes at the source, then run migrator apply --resume",
        )

    def _settled_with_deletes(self, ctx: StepContext) -> tuple[FlushResult, tuple[Segment, ...], int]:
        """The same, with all deletes up to the cut; and how many rows the source does not show for all that."""
        cut, segments = self._settled_listing(ctx)
        if ctx.source.writes_deletes_at_flush or not self.may_flush:
            return cut, segments, 0
        for _ in range(MAX_DELETE_WAITS):
            late = wait_for_late_deletes(
                ctx, self._chosen(self.planned), source_root=self.source_root, cut_ts=cut.cut_ts
            )
            waited_for = cut.cut_ts
            cut, segments = self._settled_listing(ctx)  # much may happen in so long a time
            if cut.cut_ts == waited_for:
                return cut, segments, late
        raise SourceBusy(
            f"collection {self.planned.ref.short} was written to each of the {MAX_DELETE_WAITS} times that its deletes "
            f"were waited for",
            hint="pause writes at the source, then run migrator apply --resume",
        )

    def _counts_before(self, ctx: StepContext) -> JsonValue:
        """What was counted just before the flush whose cut this is."""
        own = self.notes(ctx).get("counts_before")
        run = ctx.ledger.notes(FLUSH_KEY).get("counts_before")
        counts = own or (run.get(str(self.planned.ref)) if isinstance(run, dict) else None)
        if not self.partitions or not isinstance(counts, dict):
            return counts
        return {name: rows for name, rows in counts.items() if name in self.partitions}

    def _noted_cut(self, ctx: StepContext) -> FlushResult:
        own, run = self.notes(ctx), ctx.ledger.notes(FLUSH_KEY)
        faults, cuts = run.get("faults"), run.get("cuts")
        ref = str(self.planned.ref)
        if isinstance(faults, dict) and ref in faults:
            raise RunError(f"{self.planned.ref.short} could not be flushed: {faults[ref]}")
        noted = own.get("cut") or (cuts[ref] if isinstance(cuts, dict) else None)
        plain = noted if isinstance(noted, dict) else {}
        return from_plain(FlushResult, {"cut_ts": plain["cut_ts"], "segment_ids": plain["segment_ids"] or []})

    def _strangers(self, cut: FlushResult, segments: tuple[Segment, ...]) -> list[int]:
        """Of partitions that do not come along, none; one that is gone may be of any."""
        chosen = self._of_chosen(segments)
        unsettled = {s.segment_id for s in chosen if s.state is not SegmentState.FLUSHED}
        if self.may_flush:
            unsettled |= {s.segment_id for s in chosen} - set(cut.segment_ids)
            unsettled |= set(cut.segment_ids) - {s.segment_id for s in segments}
        return sorted(unsettled)

    # -- its binlogs ------------------------------------------------------------------------------------------------

    def _binlogs(self, ctx: StepContext, live: set[int]) -> Iterator[Binlog]:
        """The binlogs of the live segments, and deletes that a compaction left behind."""
        products = _products(self._compactions(ctx))
        compacted = {*products, *products.values()}
        deltas: dict[int, dict[int, Binlog]] = {segment_id: {} for segment_id in compacted}
        for kind in LogKind:
            prefix = f"{self.source_root}/{kind}/{self.planned.collection_id}"
            for found in ctx.source_store.list_objects(prefix.lstrip("/")):
                binlog = parse_binlog(found, self.source_root)
                if binlog is None:
                    continue
                if binlog.segment_id in live:
                    yield binlog
                if kind is LogKind.DELTA and binlog.segment_id in compacted:
                    deltas[binlog.segment_id][binlog.log_id] = binlog
        left_behind = tuple(_left_behind(products, deltas, live))
        self.note(ctx, left_behind=len(left_behind))
        if left_behind:
            ctx.progress(
                f"{self.planned.ref.short}: the source lost {len(left_behind)} delta logs in compactions, and may show "
                f"rows again that were deleted or replaced; the deletes come along"
            )
        yield from left_behind

    def _compactions(self, ctx: StepContext) -> tuple[Compaction, ...]:
        """Those the source remembers; none where it does not tell, for want of the call or of a privilege."""
        try:
            return ctx.source.list_compactions()
        except MilvusRefused:
            return ()

    def _require_complete(self, ctx: StepContext) -> None:
        """Every live segment has insert logs for every stored field, equally many for each."""
        wanted = self.planned.schema.stored_field_ids
        for entry in ctx.ledger.segments(self.planned.collection_id):
            segment_id = entry.segment.segment_id
            counts: dict[int, int] = {}
            for binlog in ctx.ledger.binlogs(self.planned.collection_id, segment_id=segment_id):
                if binlog.field_id is not None:
                    counts[binlog.field_id] = counts.get(binlog.field_id, 0) + 1
            self._require_fields(entry.segment, wanted, counts)

    def _require_nothing_lost(self, ctx: StepContext) -> None:
        """Files go with their segment: one that an earlier listing had, of a segment that lives on, was taken away."""
        lost = next(iter(ctx.ledger.lost(self.planned.collection_id)), None)
        if lost is not None:
            raise ObjectMissing(
                f"{lost} is gone from the source, and its segment lives on: rows or deletes would be missing",
                hint="see who removes files below the source's root path; restore it, then run migrator apply --resume",
            )

    def _require_fields(self, segment: Segment, wanted: frozenset[int], counts: dict[int, int]) -> None:
        place = f"{self.source_root}/{LogKind.INSERT}/{self.planned.collection_id}/{segment.partition_id}"
        if not counts:
            raise ObjectMissing(
                f"segment {segment.segment_id} of {self.planned.ref.short} has {segment.num_rows:,} rows at the "
                f"source and no binlogs under {place}",
                hint="see that source.storage.bucket and source.storage.root_path are those of the source Milvus",
            )
        if missing := sorted(wanted - counts.keys()):
            raise ObjectMissing(
                f"segment {segment.segment_id} of {self.planned.ref.short} has no binlogs of field "
                f"{', '.join(map(str, missing))} under {place}"
            )
        if len(set(counts.values())) > 1:
            raise RunError(
                f"segment {segment.segment_id} of {self.planned.ref.short} has unequal numbers of binlogs per field: "
                f"an upload left files behind that belong to no segment",
                hint="compact the collection at the source, then run migrator apply --resume",
            )


def _products(compactions: Iterable[Compaction]) -> dict[int, int]:
    """What became of each segment that was compacted."""
    return {source: each.product for each in compactions if each.product is not None for source in each.sources}


def _left_behind(
    products: Mapping[int, int], deltas: Mapping[int, Mapping[int, Binlog]], live: set[int]
) -> Iterator[Binlog]:
    """Delta logs that Milvus 2.3 wrote to a segment while it was compacted and lost, for the segment its rows are in.

    What a compaction applies was there before its product got an id; what was written since, it takes along under the
    same log id. Where the upload ends after the segment was given up, 2.3 does neither (milvus issue 26023): rows that
    were deleted or replaced come back, at the source too. Other deletes than those of its rows do a segment no harm.
    """
    for segment_id, product in products.items():
        heir: int | None = product
        while heir is not None and heir not in live:
            heir = products.get(heir)
        if heir is None:
            continue
        for log_id, binlog in deltas[segment_id].items():
            if log_id > product and log_id not in deltas[product] and log_id not in deltas[heir]:
                yield replace(binlog, segment_id=heir)
