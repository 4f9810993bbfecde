"""`verify_collection`: what the import jobs, the target and the source say of the rows, held against each other."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import SourceMoved, VerificationFailed
from migrator.model.codec import from_plain, to_plain
from migrator.model.collection import DEFAULT_PARTITION, Collection, CollectionRef, Index, LoadState
from migrator.model.difference import Difference, DifferenceKind
from migrator.model.shape import Shape
from migrator.ports.backup import as_backup
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.comparing import Compared
from migrator.steps.copy_segments import require_staged_exactly
from migrator.steps.counting import (
    WHOLE,
    PartitionCount,
    compare_counts,
    count_partitions,
    difference,
)
from migrator.steps.create_collection import CreateCollection, require_own
from migrator.steps.dump_meta import FrozenDump, frozen_dump
from migrator.steps.expectation import find_chosen, has_moved, open_dump, why_not_live
from migrator.steps.import_deletes import brings_deletes
from migrator.steps.import_segments import imported_rows
from migrator.steps.milvus_rows import MilvusRows
from migrator.steps.queryable import loaded_meanwhile
from migrator.steps.restored import NO_DUMP, is_restored
from migrator.steps.routing import routing_check
from migrator.steps.searching import Searcher
from migrator.steps.verification import Basis, Depth, Finding, Level, Verification
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from migrator.model.rows import Sample
    from migrator.ports.ledger import JsonValue
    from migrator.ports.rows import RowSource
    from migrator.steps.base import ReadContext, StepContext

_EQUAL = "source and target are equal"
_TOLD = 5
"""Differences that a failure names; all that are kept are in the journal, and told by `migrator verify`."""


def shape_asked(create: CreateCollection, indexes: tuple[Index, ...]) -> Shape:
    """What a target is asked to be by the step that creates it, and by its indexes."""
    return Shape(
        schema=create.schema,
        shards_num=create.shards_num,
        consistency_level=create.consistency_level,
        properties=create.properties,
        partitions=create.partitions,
        num_partitions=create.num_partitions,
        indexes=indexes,
    )


def found_no_rows(notes: Mapping[str, JsonValue]) -> bool:
    """Whether a verification was to compare rows and could not, by its notes."""
    finding = notes.get("finding")
    return isinstance(finding, dict) and finding.get("basis") is None


def is_indexed(collection: Collection) -> bool:
    """Whether every vector field has an index: what has not cannot be loaded."""
    indexed = {index.field_name for index in collection.indexes}
    return all(not field.data_type.is_vector or field.name in indexed for field in collection.schema.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCollection(Step):
    """Compare objects and sizes of the dump, rows the import jobs brought, counts, and rows as deep as `depth` says.

    The target is loaded for it where the plan leaves it unloaded, and released again; the source only with
    `load_source`. `shape` is what the target was asked to be.
    """

    kind: ClassVar[str] = "verify_collection"
    source: CollectionRef
    target: CollectionRef
    collection_id: int
    dump_prefix: str
    depth: Depth = field(default_factory=lambda: Depth(level=Level.COUNTS))
    load_source: bool = False
    shape: Shape | None = None

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"compare {self.source.short} and {self.target.short}: {self.depth}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Reads only, so it is simply done again, from where an interrupted comparison was."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Compare, note what was compared, and raise on a difference."""
        if not is_restored(ctx.ledger, self.target):
            require_staged_exactly(ctx, self.source, self.dump_prefix, self.collection_id)
        found = require_own(ctx, self.target)
        with self._loaded_source(ctx) as loaded_by_us, self._queryable(ctx, found) as loaded:
            at_target = count_partitions(ctx.target, loaded) if loaded else {}
            dump = frozen_dump(ctx.ledger, self.source)
            counts = compare_counts(dump.rows_at_cut, _comparable(dump, at_target))
            imported = imported_rows(ctx.ledger, self.target)
            self.note(ctx, imported_rows=imported, counts=to_plain(counts), target_collection_id=found.collection_id)
            if self.depth.level.looks_at_rows:
                return self._compare(ctx, loaded or found, counts, at_target, loaded_by_us=loaded_by_us)
            return self._count(ctx, found, counts, at_target)

    def _count(
        self, ctx: StepContext, found: Collection, counts: tuple[PartitionCount, ...], at_target: Mapping[str, int]
    ) -> Outcome:
        """What counts alone say."""
        dump, imported = frozen_dump(ctx.ledger, self.source), imported_rows(ctx.ledger, self.target)
        counted = _whole_count(found, at_target)
        fewer = (
            counted is not None and counted < imported and brings_deletes(ctx.ledger, self.source, self.collection_id)
        )
        if counted is not None and counted != imported and not fewer:
            raise VerificationFailed(
                f"{self.target.short} holds {counted:,} rows, and the import jobs of this run brought {imported:,}",
                hint=f"somebody else may have written to {self.target.short}; run migrator verify to compare again",
            )
        moved = not dump.held_still and bool(difference(counts, self.source, self.target))
        if not moved:
            self._require_equal(ctx, counts)
        told = sum(at_target.values()) if at_target else None
        return Outcome(rows=imported, detail=_verdict(dump, counts, told, moved=moved, imported=imported))

    def _require_equal(self, ctx: StepContext, counts: tuple[PartitionCount, ...]) -> None:
        said = difference(counts, self.source, self.target)
        if not said:
            return
        now = find_chosen(ctx.source, frozen_dump(ctx.ledger, self.source))
        then = {count.partition: count.source_rows for count in counts if count.source_rows is not None}
        if now is None or count_partitions(ctx.source, now) != then:
            raise SourceMoved(
                f"{said}; the source has moved since the cut",
                hint="compare with migrator verify while the source holds still",
            )
        raise VerificationFailed(said, hint="look at the run with migrator status; the target is left as it is")

    # -- deeper -----------------------------------------------------------------------------------------------------

    def _compare(
        self,
        ctx: StepContext,
        found: Collection,
        counts: tuple[PartitionCount, ...],
        at_target: Mapping[str, int],
        *,
        loaded_by_us: bool,
    ) -> Outcome:
        """What rows say beside the counts."""
        dump, imported = frozen_dump(ctx.ledger, self.source), imported_rows(ctx.ledger, self.target)
        finding = self._verification(ctx, dump, found, at_target, loaded_by_us=loaded_by_us).run()
        if finding.basis is not Basis.SOURCE:
            finding = finding.with_counts(_count_differences(dump, counts))
        self.note(ctx, compared=None, finding=to_plain(finding))
        if finding.differences:
            self._fail(finding)
        detail = finding.verdict
        if finding.basis is None:
            counted = self._count(ctx, found, counts, at_target).detail
            detail = f"{detail}; {'the numbers of rows are equal' if counted == _EQUAL else counted}"
        return Outcome(rows=imported, detail=detail)

    def _verification(
        self, ctx: StepContext, dump: FrozenDump, found: Collection, at_target: Mapping[str, int], *, loaded_by_us: bool
    ) -> Verification:
        now = find_chosen(ctx.source, dump)
        why_not = "" if loaded_by_us else why_not_live(ctx.source, now, dump)
        noted = self.notes(ctx).get("compared")
        why_no_dump = NO_DUMP if is_restored(ctx.ledger, self.target) else ctx.dump_reader.missing
        return Verification(
            depth=self.depth,
            shape=self.shape or Shape.of(dump.collection),
            found=found,
            target=MilvusRows(ctx.target, found) if at_target else None,
            why_no_target="",  # what is said of the counts tells it
            live=MilvusRows(ctx.source, now) if now and not why_not else None,
            why_not_live=why_not,
            open_dump=None if why_no_dump else self._open_dump(ctx, dump),
            why_no_dump=why_no_dump,
            has_moved=lambda: has_moved(ctx.source, dump, ctx.ledger),
            expected_rows=imported_rows(ctx.ledger, self.target),
            rows_are_told=not brings_deletes(ctx.ledger, self.source, self.collection_id),
            live_counts=count_partitions(ctx.source, now) if now and not why_not else {},
            target_counts=at_target,
            check=routing_check(ctx.target, found, self.depth, source=ctx.source, source_is=now),
            searcher=Searcher(source=ctx.source, target=ctx.target, source_is=now, target_is=found) if now else None,
            engine=ctx.engine,
            live_is=now,
            clock=ctx.clock,
            progress=ctx.progress,
            put_down=lambda compared: self.note(ctx, compared=to_plain(compared)),
            begun=from_plain(Compared, noted) if noted else Compared(),
        )

    def _open_dump(self, ctx: StepContext, dump: FrozenDump) -> Callable[[Sample], AbstractContextManager[RowSource]]:
        return lambda sample: open_dump(
            ctx.dump_reader,
            dump,
            self.dump_prefix,
            sample,
            ledger=ctx.ledger,
            staging=ctx.staging,
            clock=ctx.clock,
            progress=ctx.progress,
        )

    def _fail(self, finding: Finding) -> None:
        said = f"{self.source.short} and {self.target.short} differ: {finding.differences.told(_TOLD)}"
        if finding.undecided:
            raise SourceMoved(
                f"{said}; the source has moved since the cut, and that may be why",
                hint="what lies in the dump decides: pip install 'migrator[binlogs]', then run migrator apply --resume",
            )
        raise VerificationFailed(
            said,
            hint="the target is left as it is; migrator verify compares it again, and tells all differences",
        )

    # -- what is loaded for it --------------------------------------------------------------------------------------

    @contextmanager
    def _queryable(self, ctx: StepContext, found: Collection) -> Iterator[Collection | None]:
        """The target, loaded while it lasts; None where it lacks the indexes for that."""
        is_ours = bool(self.notes(ctx).get("loaded_for_count"))
        if found.load_state is LoadState.LOADED and not is_ours:
            yield found
            return
        if not is_indexed(found):
            yield None
            return
        by_us = is_ours or found.load_state is LoadState.NOT_LOADED
        self.note(ctx, loaded_for_count=by_us)  # an attempt that dies in between is tidied up by the next
        tidy = partial(self.note, ctx, loaded_for_count=False)
        with loaded_meanwhile(ctx.target, found, by_us=by_us, wait=partial(self._wait, ctx), released=tidy):
            yield require_own(ctx, self.target)

    def _wait(self, ctx: StepContext, is_over: Callable[[], bool]) -> None:
        def look(_: float) -> Look:
            done = is_over()
            percent = 100 if done else ctx.target.load_progress(self.target)
            return Look(is_over=done, done=percent, total=100, unit="%")

        wait_until_over(ctx, look, doing="target loads")

    @contextmanager
    def _loaded_source(self, ctx: StepContext) -> Iterator[bool]:
        """Whether the source was loaded for this, as the plan allows; it is released again."""
        is_server = as_backup(ctx.source) is None
        now = ctx.source.find_collection(self.source) if self.load_source and is_server else None
        is_ours = bool(self.notes(ctx).get("loaded_source"))
        if now is None or not is_indexed(now) or (now.load_state is not LoadState.NOT_LOADED and not is_ours):
            yield False
            return
        self.note(ctx, loaded_source=True)  # see above
        try:
            ctx.source.load(self.source, partitions=(), replica_number=1)
            wait_until_over(ctx, self._look_at_source(ctx), doing="source loads")
            yield True
        finally:
            ctx.source.release(self.source)
            self.note(ctx, loaded_source=False)

    def _look_at_source(self, ctx: StepContext) -> Callable[[float], Look]:
        def look(_: float) -> Look:
            is_loaded = ctx.source.load_state(self.source) is LoadState.LOADED
            done = 100 if is_loaded else ctx.source.load_progress(self.source)
            return Look(is_over=is_loaded, done=done, total=100, unit="%")

        return look


def _whole_count(found: Collection, at_target: Mapping[str, int]) -> int | None:
    """All rows of the target; None where only a part of them, or none, were counted."""
    is_whole = WHOLE in at_target or len(at_target) == len(found.partitions)
    return sum(at_target.values()) if at_target and is_whole else None


def _count_differences(dump: FrozenDump, counts: tuple[PartitionCount, ...]) -> Iterator[Difference]:
    """What the counts at the cut say, where they are sure."""
    for count in counts:
        if count.differs and dump.held_still:
            yield Difference(
                kind=DifferenceKind.COUNT,
                partition="" if count.partition == WHOLE else count.partition,
                source=f"{count.source_rows:,} at the source",
                target=f"{count.target_rows:,} at the target",
            )


def _comparable(dump: FrozenDump, at_target: Mapping[str, int]) -> Mapping[str, int]:
    """Without the `_default` that every target has and that stays empty where the source's does not come along."""
    if dump.collection.partitions and all(each.name != DEFAULT_PARTITION for each in dump.collection.partitions):
        return {name: rows for name, rows in at_target.items() if (name, rows) != (DEFAULT_PARTITION, 0)}
    return at_target


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
        return f"the source {_why_uncounted(dump)}, so its rows at the cut could not be counted; {agreed}"
    at_source = WHOLE in dump.rows_at_cut or len(dump.rows_at_cut) == len(dump.collection.partitions)
    if not at_source or any(None in (count.source_rows, count.target_rows) for count in counts):
        return f"equal where both sides are loaded; elsewhere {agreed}"
    return _EQUAL


def _why_uncounted(dump: FrozenDump) -> str:
    if dump.backed_up_ts is not None:
        return "is a backup"
    if not dump.can_count:
        return "is of a version that cannot count"
    return "was not flushed" if dump.collection.loaded_partitions else "is not loaded"


def _agreement(target_counted: bool, imported: int, raw_rows: int) -> str:  # noqa: FBT001 - one of three facts
    if imported == raw_rows:
        return f"{'target, ' if target_counted else ''}import jobs and dump agree"
    who = "target and import jobs agree" if target_counted else "the import jobs are complete"
    missing = f"{raw_rows - imported:,} of the dump's {raw_rows:,} rows did not come"
    return f"{who}, and {missing}: deletes, or rows written after the cut"
