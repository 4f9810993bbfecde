"""`create_snapshot`: take a snapshot of the source's collection, and note what it is of (Milvus 3.0 and later).

Its name is the run's own, so that a request whose reply was lost is found by it, and is never there twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, RunError, SnapshotFailed
from migrator.model.codec import to_plain
from migrator.model.collection import Collection, CollectionRef
from migrator.model.segment import SegmentState
from migrator.model.snapshot import Snapshot, snapshot_name
from migrator.steps.base import GIVE_UP, Evidence, Outcome, Step
from migrator.steps.counting import count_partitions
from migrator.steps.dump_meta import FrozenDump, dump_key, require_same_schema
from migrator.steps.flush import FLUSH_KEY
from migrator.steps.restored import CREATE_SNAPSHOT, SNAPSHOT_PLACE, snapshot_key

if TYPE_CHECKING:
    from migrator.ports.ledger import LedgerReader
    from migrator.steps.base import ReadContext, StepContext


def taken(ledger: LedgerReader, source: CollectionRef) -> tuple[str, str]:
    """Name and location of the snapshot, for steps that need it."""
    notes = ledger.notes(snapshot_key(source))
    return str(notes["name"]), str(notes[SNAPSHOT_PLACE])


def asked_name(ledger: LedgerReader, source: CollectionRef) -> str | None:
    """The name of a snapshot that this run may have taken; None where it never asked for one."""
    noted = ledger.notes(snapshot_key(source)).get("name")
    return None if noted is None else str(noted)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSnapshot(Step):
    """Take a snapshot of what is flushed of `planned`; what verifies the run finds its description as of a dump."""

    kind: ClassVar[str] = CREATE_SNAPSHOT
    planned: Collection
    may_flush: bool = True

    @property
    def key(self) -> str:
        """By the source collection."""
        return snapshot_key(self.planned.ref)

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"take a snapshot of {self.planned.ref.short} at the source"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done once it was noted what it is of."""
        return Evidence.DONE if SNAPSHOT_PLACE in self.notes(ctx) else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Take it unless it is there, count what the source shows, and note both."""
        self._require_flushed(ctx)
        found = self._describe(ctx)
        snapshot = self._take(ctx, found.collection_id)
        self._note_dump(ctx, self._describe(ctx), snapshot)
        self.note(ctx, **{SNAPSHOT_PLACE: snapshot.location})
        return Outcome(rows=ctx.ledger.totals(found.collection_id).rows, detail=snapshot.name)

    def _require_flushed(self, ctx: StepContext) -> None:
        faults = ctx.ledger.notes(FLUSH_KEY).get("faults")
        if isinstance(faults, dict) and (fault := faults.get(str(self.planned.ref))):
            raise RunError(f"{self.planned.ref.short} could not be flushed: {fault}")

    def _describe(self, ctx: StepContext) -> Collection:
        found = ctx.source.find_collection(self.planned.ref)
        if found is None:
            raise RunError(f"collection {self.planned.ref.short} is gone from {ctx.source.uri}", hint=GIVE_UP)
        require_same_schema(self.planned, found)
        return found

    def _take(self, ctx: StepContext, collection_id: int) -> Snapshot:
        ref, name = self.planned.ref, snapshot_name(ctx.run_id, collection_id)
        self.note(ctx, name=name)
        if (found := ctx.source.find_snapshot(ref, name)) is not None:
            return found
        try:
            ctx.source.create_snapshot(ref, name)
        except MilvusRefused:  # one whose reply was lost may have come about meanwhile
            if ctx.source.find_snapshot(ref, name) is None:
                raise
        found = ctx.source.find_snapshot(ref, name)
        if found is None or not found.location:
            raise SnapshotFailed(
                f"the source took a snapshot {name} of {ref.short}, and does not tell where it is",
                hint="run migrator apply --resume; or set options.transfer.format to binlogs, and plan again",
            )
        return found

    def _note_dump(self, ctx: StepContext, found: Collection, snapshot: Snapshot) -> None:
        """As `dump_meta` does: a listing without files, and what was counted."""
        segments = [each for each in ctx.source.list_segments(found.ref) if each.state is SegmentState.FLUSHED]
        ctx.ledger.freeze(found.collection_id, segments, ())
        counted = count_partitions(ctx.source, found) if self.may_flush else {}
        before = ctx.ledger.notes(FLUSH_KEY).get("counts_before")
        frozen = FrozenDump(
            collection=found,
            cut_ts=snapshot.created_ts,
            rows_at_cut=counted,
            held_still=isinstance(before, dict) and before.get(str(found.ref)) == counted,
            raw_rows=sum(each.num_rows for each in segments if not each.is_l0),
            can_count=ctx.source.can_count,
        )
        ctx.ledger.note(dump_key(found.ref), {"frozen": to_plain(frozen)})
