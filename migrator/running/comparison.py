"""Comparing source and target outside of a run: what each side says now, and what lies in the dump."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from migrator.errors import RunError, SourceMoved, VerificationFailed
from migrator.model.collection import LoadState
from migrator.model.difference import Differences
from migrator.model.shape import Shape
from migrator.planning.partitions import ALL, with_chosen_partitions
from migrator.ports.backup import as_backup
from migrator.running.retry import Patience
from migrator.steps.comparing import Compared
from migrator.steps.copy_segments import CopySegments
from migrator.steps.counting import PartitionCount, compare_counts, count_partitions, difference
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_index import CreateIndex
from migrator.steps.dump_meta import FrozenDump, frozen_dump
from migrator.steps.expectation import has_moved, open_dump, why_not_readable
from migrator.steps.milvus_rows import MilvusRows
from migrator.steps.routing import routing_check
from migrator.steps.searching import Searcher
from migrator.steps.verification import Depth, Finding, Level, Verification
from migrator.steps.verify_collection import is_indexed, shape_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from migrator.errors import MigratorError
    from migrator.model.collection import Collection, CollectionRef
    from migrator.model.observed import MigratedRecord
    from migrator.model.rows import Sample
    from migrator.ports.clock import Clock
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.milvus import MilvusReader, MilvusTarget
    from migrator.ports.rows import DumpReader, RowSource
    from migrator.ports.store import ObjectReader
    from migrator.running.retry import RetryPolicy
    from migrator.running.runs import StateDirectory

_POLL_S = 0.5
_LOAD_PATIENCE_S = 1800.0
_TELL_EVERY_S = 5.0
_NO_DUMP = "no run of this plan that brought it is known here, so there is no dump to compare with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One mapping compared; `exit_code` is 0, 50 or 51.

    `compared_with` is `source` or `dump`, empty where only counts were compared; `keys` were compared at both sides,
    and `rows_compared` are those of them whose every value was. `differences` are the first of each kind.
    """

    source: str
    target: str
    level: Level
    counts: tuple[PartitionCount, ...]
    verdict: str
    exit_code: int
    compared_with: str = ""
    keys: int = 0
    source_digest: str = ""
    """Of the set of primary keys."""
    target_digest: str = ""
    rows_compared: int = 0
    differences: Differences = field(default_factory=Differences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the run left that migrated a mapping: its frozen listing, and what it asked the target to be."""

    ledger: LedgerReader
    dump: FrozenDump
    dump_prefix: str
    shape: Shape


@contextmanager
def open_past(runs: StateDirectory, record: MigratedRecord) -> Iterator[Past]:
    """The journal of the run that made a record, open as long as the block lasts."""
    (run,) = [run for run in runs.find_runs(record.run_id) if run.run_id == record.run_id]
    steps = run.plan.steps
    copy = next(step for step in steps if isinstance(step, CopySegments) and step.source == record.source)
    pair = (record.source, record.target)
    built_as = next(each.built_as for each in run.plan.collections if (each.source, each.target) == pair)
    create = next(step for step in steps if isinstance(step, CreateCollection) and step.target == built_as)
    index = next((step for step in steps if isinstance(step, CreateIndex) and step.target == built_as), None)
    with runs.journal(run) as journal:
        yield Past(
            ledger=journal,
            dump=frozen_dump(journal, record.source),
            dump_prefix=copy.dump_prefix,
            shape=shape_asked(create, index.indexes if index else ()),
        )


@dataclass(frozen=True, slots=True)
class _Both:
    """A mapping's collections as they are now, their rows by partition, and what is known of the run that mapped it."""

    source: Collection
    target: Collection
    at_source: dict[str, int]
    at_target: dict[str, int]
    record: MigratedRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares mappings; only a target that a run of the plan made is loaded for it, and released."""

    source: MilvusReader
    target: MilvusTarget
    staging: ObjectReader
    dump_reader: DumpReader
    clock: Clock
    depth: Depth
    records: Sequence[MigratedRecord]
    open_past: Callable[[MigratedRecord], AbstractContextManager[Past]]
    policy: RetryPolicy
    tell: Callable[[str], None]
    """Hears every few seconds how far a comparison is, and what it waits for."""

    def compare(self, pair: tuple[CollectionRef, CollectionRef], *, partitions: Sequence[str] = ALL) -> Comparison:
        """One mapping, as deep as asked; of the source the `partitions` that the mapping chooses."""
        record = next((r for r in self.records if (r.source, r.target) == pair), None)
        ours, theirs = self.source.find_collection(pair[0]), self.target.find_collection(pair[1])
        if self.depth.level is Level.NONE:
            return self._compared(pair, (), "nothing was compared", 0)
        if ours is None or theirs is None:
            is_gone = f"{pair[0].short} is gone from the source"
            verdict = is_gone if ours is None else f"{pair[1].short} is not at the target"
            return self._compared(pair, (), verdict, VerificationFailed.exit_code)
        own = record is not None and record.target_collection_id == theirs.collection_id
        with self._queryable(theirs, may_load=own) as loaded:
            chosen = with_chosen_partitions(partitions, ours)
            at_source = count_partitions(self.source, chosen)
            at_target = count_partitions(self.target, loaded) if loaded else {}
            if chosen != ours:  # the target's `_default` is there without having been brought
                brought = {each.name for each in chosen.partitions}
                at_target = {name: rows for name, rows in at_target.items() if name in brought or rows}
            if loaded and self.depth.level.looks_at_rows:
                return self._compare_rows(_Both(chosen, loaded, at_source, at_target, record))
            return self._compare_counts(pair, record, at_source, at_target)

    # -- counts -----------------------------------------------------------------------------------------------------

    def _compare_counts(
        self,
        pair: tuple[CollectionRef, CollectionRef],
        record: MigratedRecord | None,
        at_source: dict[str, int],
        at_target: dict[str, int],
    ) -> Comparison:
        counts = compare_counts(at_source, at_target)
        said = difference(counts, *pair)
        if not said:
            return self._without_difference(pair, counts, record, at_target)
        moved = record is not None and not (record.held_still and dict(record.rows_at_cut) == at_source)
        note = "; the source has moved since the cut" if moved else ""
        code = SourceMoved.exit_code if moved else VerificationFailed.exit_code
        return self._compared(pair, counts, said + note, code)

    def _without_difference(
        self,
        pair: tuple[CollectionRef, CollectionRef],
        counts: tuple[PartitionCount, ...],
        record: MigratedRecord | None,
        at_target: dict[str, int],
    ) -> Comparison:
        """Equal, or as equal as could be asked."""
        if not at_target:
            verdict = "the target is not loaded, so nothing could be compared"
            return self._compared(pair, counts, verdict, SourceMoved.exit_code)
        rows = sum(at_target.values())
        compared = [count for count in counts if None not in (count.source_rows, count.target_rows)]
        if compared == list(counts):
            return self._compared(pair, counts, f"equal: {rows:,} rows at both sides", 0)
        if compared:
            verdict = f"equal in {len(compared)} of {len(counts)} partitions; the others are not loaded at both sides"
            return self._compared(pair, counts, verdict, SourceMoved.exit_code)
        if record is None:
            verdict = f"{self._why_uncounted}, so its rows could not be counted"
            return self._compared(pair, counts, verdict, SourceMoved.exit_code)
        if rows != record.rows:
            verdict = f"{pair[1].short} holds {rows:,} rows, and run {record.run_id} imported {record.rows:,}"
            return self._compared(pair, counts, verdict, VerificationFailed.exit_code)
        verdict = f"{rows:,} rows at the target, as many as were imported; {self._why_uncounted}"
        return self._compared(pair, counts, verdict, 0)

    @property
    def _why_uncounted(self) -> str:
        return "the source is not loaded" if as_backup(self.source) is None else "the source is a backup"

    def _compared(
        self, pair: tuple[CollectionRef, CollectionRef], counts: tuple[PartitionCount, ...], verdict: str, code: int
    ) -> Comparison:
        return Comparison(
            source=pair[0].short,
            target=pair[1].short,
            level=self.depth.level,
            counts=counts,
            verdict=verdict,
            exit_code=code,
        )

    # -- rows -------------------------------------------------------------------------------------------------------

    def _compare_rows(self, both: _Both) -> Comparison:
        record = both.record
        own = record is not None and record.source_collection_id == both.source.collection_id
        with ExitStack() as stack:
            past = stack.enter_context(self.open_past(record)) if record is not None and own else None
            finding = self._run(self._verification(both, past))
        if finding.differences:
            code = SourceMoved.exit_code if finding.undecided else VerificationFailed.exit_code
        else:
            code = 0 if finding.basis else SourceMoved.exit_code
        counts = compare_counts(both.at_source, both.at_target)
        return replace(
            self._compared((both.source.ref, both.target.ref), counts, finding.verdict, code),
            compared_with=finding.basis or "",
            keys=finding.compared.source_keys,
            source_digest=finding.compared.source_digest,
            target_digest=finding.compared.target_digest,
            rows_compared=finding.compared.rows_valued,
            differences=finding.differences,
        )

    def _run(self, verification: Verification) -> Finding:
        """Go on after errors that pass, from where it was."""
        reached = [Compared()]

        def attempt() -> Finding:
            return replace(verification, begun=reached[0], put_down=partial(reached.__setitem__, 0)).run()

        def announce(error: MigratorError, seconds: float) -> None:
            self.tell(f"trying again in {seconds:.0f} s: {error.message}")

        return Patience(self.policy, self.clock).call(attempt, on_wait=announce)

    def _verification(self, both: _Both, past: Past | None) -> Verification:
        ours, theirs = both.source, both.target
        why_not = why_not_readable(self.source, ours)
        return Verification(
            depth=self.depth,
            shape=past.shape if past else Shape.of(ours),
            found=theirs,
            target=MilvusRows(self.target, theirs),
            live=None if why_not else MilvusRows(self.source, ours),
            why_not_live=why_not,
            open_dump=None if past is None or self.dump_reader.missing else partial(self._open_dump, past),
            why_no_dump=self.dump_reader.missing if past else _NO_DUMP,
            has_moved=lambda: past is not None and has_moved(self.source, past.dump, past.ledger),
            expected_rows=both.record.rows if both.record and past else sum(both.at_target.values()),
            live_counts=both.at_source,
            target_counts=both.at_target,
            check=routing_check(self.target, theirs, self.depth, source=self.source, source_is=ours),
            searcher=Searcher(source=self.source, target=self.target, source_is=ours, target_is=theirs),
            clock=self.clock,
            progress=_Telling(ours.ref.short, self.clock, self.tell),
            put_down=lambda _: None,
        )

    def _open_dump(self, past: Past, sample: Sample) -> AbstractContextManager[RowSource]:
        name = past.dump.collection.ref.short
        return open_dump(
            self.dump_reader,
            past.dump,
            past.dump_prefix,
            sample,
            ledger=past.ledger,
            staging=self.staging,
            clock=self.clock,
            progress=_Telling(name, self.clock, self.tell),
        )

    # -- what is loaded for it --------------------------------------------------------------------------------------

    @contextmanager
    def _queryable(self, found: Collection, *, may_load: bool) -> Iterator[Collection | None]:
        """The target, loaded while it lasts; None where it may not or cannot be loaded."""
        if found.load_state is LoadState.LOADED:
            yield found
            return
        if not may_load or not is_indexed(found):
            yield None
            return
        try:
            self.target.load(found.ref, partitions=(), replica_number=1)
            deadline = self.clock.monotonic() + _LOAD_PATIENCE_S
            while self.target.load_state(found.ref) is not LoadState.LOADED:
                if self.clock.monotonic() > deadline:
                    raise RunError(f"{found.ref.short} did not load within {_LOAD_PATIENCE_S / 60:.0f} minutes")
                self.clock.sleep(_POLL_S)
            yield self.target.find_collection(found.ref)
        finally:
            self.target.release(found.ref)


@dataclass(slots=True)
class _Telling:
    """How far a comparison is, in a line every few seconds."""

    name: str
    clock: Clock
    tell: Callable[[str], None]
    told_at: float = 0.0

    def __post_init__(self) -> None:
        self.told_at = self.clock.monotonic()

    def __call__(
        self,
        message: str = "",
        *,
        done: int = 0,
        total: int = 0,
        unit: str = "",
        size_bytes: int = 0,  # noqa: ARG002 - of the protocol
    ) -> None:
        if self.clock.monotonic() - self.told_at >= _TELL_EVERY_S:
            self.told_at = self.clock.monotonic()
            self.tell(f"{self.name}: {message}, {done:,} of {total:,} {unit}")
