"""`import_deletes`: bring the deletes of L0 segments into the target, after all data, where it imports such segments.

A delete takes rows that are older than it and there already, so the data has to be in before; and Milvus takes L0
segments into a collection only as long as it is not loaded. That every request arrives once is `import_segments`' art.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, groupby
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import SchemaDiffers
from migrator.model.collection import LoadState
from migrator.model.segment import ALL_PARTITIONS, LogKind, SegmentBatch
from migrator.steps.base import GIVE_UP, Evidence, Outcome
from migrator.steps.copy_segments import are_deletes_folded
from migrator.steps.create_collection import require_own
from migrator.steps.import_segments import DELETES, ImportSegments
from migrator.steps.in_place import entry_in_place, find_routes
from migrator.steps.restored import SNAPSHOT_PLACE, snapshot_key
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.collection import Collection, CollectionRef
    from migrator.model.segment import Segment
    from migrator.ports.ledger import LedgerReader, SegmentTotals
    from migrator.steps.base import ReadContext, StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDeletes(ImportSegments):
    """Import the frozen L0 segments of `source` into `target`; nothing to do where they were folded."""

    kind: ClassVar[str] = DELETES

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"import the staged deletes into {self.target.short}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """As of `import_segments`."""
        return Evidence.DONE if are_deletes_folded(ctx.ledger, self.source) else ImportSegments.probe(self, ctx)

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """See that the collection is not loaded, then send, wait for and check every batch."""
        if not brings_deletes(ctx.ledger, self.source, self.collection_id):
            return Outcome(detail="no deletes by themselves")
        self._start_over(ctx).carry_on(ctx)  # before the collection is asked for: it may be dropped already
        self._release(ctx)
        return replace(ImportSegments.apply(self, ctx, evidence), rows=0)

    def _release(self, ctx: StepContext) -> None:
        """Nobody else loads a collection of this run's own; if somebody did, it is loaded again later."""
        require_own(ctx, self.target)
        if ctx.target.load_state(self.target) is LoadState.NOT_LOADED:
            return
        ctx.target.release(self.target)

        def look(_: float) -> Look:
            is_over = ctx.target.load_state(self.target) is LoadState.NOT_LOADED
            return Look(is_over=is_over, done=int(is_over), total=1, unit="")

        wait_until_over(ctx, look, doing="target releases")

    # -- batches ----------------------------------------------------------------------------------------------------

    def _expand(self, ctx: StepContext, collection: Collection) -> Iterator[SegmentBatch]:
        """By partition, those of all partitions first; as many to a job as the target takes."""
        numbers, most = count(1), max(1, ctx.target.capabilities.l0_segments_per_job)
        listing = _l0_segments(ctx.ledger, self.collection_id)
        for partition_id, group in groupby(listing, key=lambda each: each.segment.partition_id):
            name = "" if partition_id == ALL_PARTITIONS else collection.partition_name(partition_id)
            if name is None:
                raise SchemaDiffers(
                    f"deletes of {self.source.short} are of partition {partition_id}, which was not there when it was "
                    f"described",
                    hint=GIVE_UP,
                )
            totals = list(group)
            for first in range(0, len(totals), most):
                yield self._batch(ctx, next(numbers), name, totals[first : first + most])

    def _batch(self, ctx: StepContext, number: int, partition_name: str, totals: list[SegmentTotals]) -> SegmentBatch:
        objects = sum(each.delta_objects for each in totals)
        return SegmentBatch(
            number=number,
            partition_name=partition_name,
            partition_id=totals[0].segment.partition_id,
            segment_ids=tuple(each.segment.segment_id for each in totals),
            rows=0,
            objects=objects,
            delta_objects=objects,
            size_bytes=sum(each.size_bytes for each in totals),
            entries=tuple((self._folder(ctx, each.segment),) for each in totals),
            is_l0=True,
        )

    def _folder(self, ctx: StepContext, segment: Segment) -> str:
        """The folder that holds just the delta logs of a segment, as the target's server sees it."""
        routes = find_routes(ctx.ledger, self.source)
        if routes is not None and routes.holds(segment.segment_id):
            place = entry_in_place(ctx, routes, self.collection_id, segment, is_whole=False, kinds=[LogKind.DELTA])
            return place[0]
        store = ctx.target_store if self.imports_folder else ctx.staging
        group = "" if segment.partition_id == ALL_PARTITIONS else f"{segment.segment_id}/"
        below = f"{self.collection_id}/{segment.partition_id}/{group}{segment.segment_id}/"
        return store.server_path(f"{self._prefix(ctx)}/binlogs/{LogKind.DELTA}/{below}")


def _l0_segments(ledger: LedgerReader, collection_id: int) -> Iterator[SegmentTotals]:
    return (each for each in ledger.segments(collection_id) if each.segment.is_l0)


def brings_deletes(ledger: LedgerReader, source: CollectionRef, collection_id: int) -> bool:
    """Whether L0 segments of `source` are imported, or came by a snapshot: how many rows they take, no job tells."""
    if SNAPSHOT_PLACE in ledger.notes(snapshot_key(source)):
        return True
    return not are_deletes_folded(ledger, source) and any(_l0_segments(ledger, collection_id))


def has_imported_deletes(ledger: LedgerReader, target: CollectionRef) -> bool:
    """Whether L0 segments were brought into `target`."""
    return bool(ledger.notes(f"{ImportDeletes.kind}:{target}").get("batches"))
