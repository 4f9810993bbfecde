"""`dump_meta`: describe the collection, and freeze the listing of its live segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import ObjectMissing, RunError, SchemaDiffers, SourceBusy
from migrator.model.codec import from_plain, to_plain
from migrator.model.collection import Collection, CollectionRef
from migrator.model.segment import ALL_PARTITIONS, Segment, SegmentState
from migrator.model.timestamps import END_OF_TIME
from migrator.ports.backup import as_backup
from migrator.ports.milvus import FlushResult
from migrator.steps.backup_tree import backed_up_ts, find_files
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.counting import count_named, count_partitions
from migrator.steps.flush import FLUSH_KEY, cut_note, flush_and_wait
from migrator.steps.late_deletes import wait_for_late_deletes
from migrator.steps.segment_listing import SegmentListing, may_be_l0
from migrator.steps.valid_logs import SegmentGone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.ports.backup import BackupReader
    from migrator.ports.ledger import JsonValue, LedgerReader
    from migrator.steps.base import ReadContext, StepContext

MAX_LISTINGS = 12
MAX_DELETE_WAITS = 3
MAX_FREEZES = 3
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
    orphans: int = 0
    """Files in folders of the frozen segments that belong to none of them, and stay out."""
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
        described, known_cut = self._describe(ctx), self._noted_cut(ctx)
        for _ in range(MAX_FREEZES):
            cut, segments, late = self._settled_with_deletes(ctx)
            if cut != known_cut or not ctx.source.writes_deletes_at_flush:  # a partition may have come meanwhile
                described, known_cut = self._describe(ctx), cut
            found = self._chosen(described)
            rows_at_cut = count_partitions(ctx.source, found) if self.may_flush else {}
            chosen = self._of_chosen(segments)
            listed = [segment for segment in chosen if _has_home(segment, found)]
            listing = SegmentListing(ctx=ctx, collection=found, source_root=self.source_root, listed=listed)
            try:
                listing.freeze()
                break
            except SegmentGone as error:
                gone = error
                ctx.progress(f"segment {gone} of {self.planned.ref.short} was compacted away, listing them again")
        else:
            raise SourceBusy(
                f"segment {gone} of {self.planned.ref.short} is listed by the source, and its files are gone",
                hint="see that source.storage names the source's bucket and root path, then run migrator apply "
                "--resume; compaction may be quicker than the listing",
            )
        self._require_nothing_lost(ctx)
        self.note(ctx, left_behind=listing.left_behind)
        frozen = FrozenDump(
            collection=found,
            cut_ts=cut.cut_ts,
            rows_at_cut=rows_at_cut,
            held_still=rows_at_cut == self._counts_before(ctx) and not listing.left_behind,
            raw_rows=listing.rows,
            can_count=ctx.source.can_count,
            late_deletes=late,
            left_behind=listing.left_behind,
            orphans=listing.orphans,
        )
        self.note(ctx, frozen=to_plain(frozen))
        totals = ctx.ledger.totals(found.collection_id)
        said = [f"{late:,} rows are deleted at the source and still in its files"] if late else []
        homeless = len(chosen) - len(listed)
        said += [f"{homeless:,} segments of partitions that are not there stay out"] if homeless else []
        said += [f"{listing.orphans:,} files that belong to no segment stay out"] if listing.orphans else []
        said += ["the source did not tell which files count, they were held against one another"] * listing.is_untold
        return Outcome(rows=totals.rows, objects=totals.objects, size_bytes=totals.size_bytes, detail="; ".join(said))

    def _chosen(self, found: Collection) -> Collection:
        return found.only(self.partitions) if self.partitions else found

    def _of_chosen(self, segments: Iterable[Segment]) -> list[Segment]:
        chosen = {ALL_PARTITIONS, *(partition.partition_id for partition in self._chosen(self.planned).partitions)}
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
            strangers = self._strangers(ctx, cut, segments)
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

    def _strangers(self, ctx: StepContext, cut: FlushResult, segments: tuple[Segment, ...]) -> list[int]:
        """Of partitions that do not come along, none; one that is gone may be of any.

        A flush names no segments of deletes alone: it is over when they are written.
        """
        chosen = self._of_chosen(segments)
        unsettled = {s.segment_id for s in chosen if s.state is not SegmentState.FLUSHED}
        if self.may_flush:
            named = {s.segment_id for s in chosen if not may_be_l0(s, ctx.source.capabilities)}
            unsettled |= named - set(cut.segment_ids)
            unsettled |= set(cut.segment_ids) - {s.segment_id for s in segments}
        return sorted(unsettled)

    def _require_nothing_lost(self, ctx: StepContext) -> None:
        """Files go with their segment: one that an earlier listing had, of a segment that lives on, was taken away."""
        lost = next(iter(ctx.ledger.lost(self.planned.collection_id)), None)
        if lost is not None:
            raise ObjectMissing(
                f"{lost} is gone from the source, and its segment lives on: rows or deletes would be missing",
                hint="see who removes files below the source's root path; restore it, then run migrator apply --resume",
            )


def _has_home(segment: Segment, found: Collection) -> bool:
    """Whether its partition is there, which was described later: 2.6 lists some of none (milvus issue 47145)."""
    return segment.partition_id == ALL_PARTITIONS or found.partition_name(segment.partition_id) is not None
