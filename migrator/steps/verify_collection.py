"""`verify_collection`: what the import jobs, the target and the source say of the rows, held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import SourceMoved, VerificationFailed
from migrator.model.codec import to_plain
from migrator.model.collection import Collection, CollectionRef, LoadState
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.copy_segments import require_staged_exactly
from migrator.steps.counting import WHOLE, PartitionCount, compare_counts, count_partitions, difference
from migrator.steps.create_collection import require_own
from migrator.steps.dump_meta import FrozenDump, frozen_dump
from migrator.steps.import_segments import imported_rows
from migrator.steps.load_collection import load_and_wait

if TYPE_CHECKING:
    from migrator.steps.base import ReadContext, StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCollection(Step):
    """Compare objects and sizes of the dump, rows the import jobs brought, and `count(*)` at both sides.

    The target is loaded for the count where the plan leaves it unloaded, and released again; the source never is.
    """

    kind: ClassVar[str] = "verify_collection"
    source: CollectionRef
    target: CollectionRef
    collection_id: int
    dump_prefix: str

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"compare the rows of {self.source.short} and {self.target.short}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Reads only, so it is simply done again."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Compare, note what was compared, and raise on a difference."""
        require_staged_exactly(ctx, self.source, self.dump_prefix, self.collection_id)
        found = require_own(ctx, self.target)
        imported = imported_rows(ctx.ledger, self.target)
        at_target = self._count_target(ctx, found)
        dump = frozen_dump(ctx.ledger, self.source)
        counts = compare_counts(dump.rows_at_cut, at_target)
        self.note(ctx, imported_rows=imported, counts=to_plain(counts), target_collection_id=found.collection_id)
        counted = sum(at_target.values()) if at_target else None
        is_whole = WHOLE in at_target or len(at_target) == len(found.partitions)
        if counted is not None and is_whole and counted != imported:
            raise VerificationFailed(
                f"{self.target.short} holds {counted:,} rows, and the import jobs of this run brought {imported:,}",
                hint=f"somebody else may have written to {self.target.short}; run migrator verify to compare again",
            )
        moved = not dump.held_still and bool(difference(counts, self.source, self.target))
        if not moved:
            self._require_equal(ctx, counts)
        return Outcome(rows=imported, detail=_verdict(dump, counts, counted, moved=moved, imported=imported))

    def _count_target(self, ctx: StepContext, found: Collection) -> dict[str, int]:
        """Counts by partition; the collection is loaded for it where it is not, if its indexes allow that."""
        is_ours = bool(self.notes(ctx).get("loaded_for_count"))
        if found.load_state is LoadState.LOADED and not is_ours:
            return count_partitions(ctx.target, found)
        indexed = {index.field_name for index in found.indexes}
        if any(field.data_type.is_vector and field.name not in indexed for field in found.schema.fields):
            return {}
        self.note(ctx, loaded_for_count=True)  # an attempt that dies in between is tidied up by the next
        try:
            load_and_wait(ctx, self.target)
            return count_partitions(ctx.target, require_own(ctx, self.target))
        finally:
            ctx.target.release(self.target)
            self.note(ctx, loaded_for_count=False)

    def _require_equal(self, ctx: StepContext, counts: tuple[PartitionCount, ...]) -> None:
        said = difference(counts, self.source, self.target)
        if not said:
            return
        now = ctx.source.find_collection(self.source)
        then = {count.partition: count.source_rows for count in counts if count.source_rows is not None}
        if now is None or count_partitions(ctx.source, now) != then:
            raise SourceMoved(
                f"{said}; the source has moved since the cut",
                hint="compare with migrator verify while the source holds still",
            )
        raise VerificationFailed(said, hint="look at the run with migrator status; the target is left as it is")


def _verdict(
    dump: FrozenDump, counts: tuple[PartitionCount, ...], counted: int | None, *, moved: bool, imported: int
) -> str:
    """What was held against what; equality is said only of rows that were counted at both sides."""
    agreed = _agreement(counted is not None, imported, dump.raw_rows)
    if counted is None:
        return f"the target has no vector index, so its rows could not be queried; {agreed}"
    if moved and dump.left_behind:
        return f"the source lost deletes in a compaction, which were applied to the target; {agreed}"
    if moved:
        return f"the source moved while it was counted; {agreed}"
    if all(count.source_rows is None for count in counts):
        why = "was not flushed" if dump.collection.loaded_partitions else "is not loaded"
        why = why if dump.backed_up_ts is None else "is a backup"
        return f"the source {why}, so its rows at the cut could not be counted; {agreed}"
    at_source = WHOLE in dump.rows_at_cut or len(dump.rows_at_cut) == len(dump.collection.partitions)
    if not at_source or any(None in (count.source_rows, count.target_rows) for count in counts):
        return f"equal where both sides are loaded; elsewhere {agreed}"
    return "source and target are equal"


def _agreement(target_counted: bool, imported: int, raw_rows: int) -> str:  # noqa: FBT001 - one of three facts
    if imported == raw_rows:
        return f"{'target, ' if target_counted else ''}import jobs and dump agree"
    who = "target and import jobs agree" if target_counted else "the import jobs are complete"
    missing = f"{raw_rows - imported:,} of the dump's {raw_rows:,} rows did not come"
    return f"{who}, and {missing}: deletes, or rows written after the cut"
