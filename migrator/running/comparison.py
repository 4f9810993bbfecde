"""Comparing source and target outside of a run: what each side says now, and what lies in the dump."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from migrator.errors import RunError, SourceMoved, VerificationFailed
from migrator.model.collection import LoadState
from migrator.model.difference import Difference, DifferenceKind, Differences
from migrator.model.shape import Shape
from migrator.planning.partitions import ALL, with_chosen_partitions
from migrator.ports.backup import as_backup
from migrator.running.retry import Patience
from migrator.running.standing import Standing
from migrator.steps.comparing import Compared
from migrator.steps.copy_segments import CopySegments
from migrator.steps.counting import PartitionCount, compare_counts, count_partitions, difference
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_index import CreateIndex
from migrator.steps.dump_meta import FrozenDump, frozen_dump
from migrator.steps.expectation import has_moved, open_dump, why_not_readable
from migrator.steps.load_collection import LoadCollection
from migrator.steps.milvus_rows import MilvusRows
from migrator.steps.queryable import loaded_meanwhile
from migrator.steps.restored import NO_DUMP as SNAPSHOT_ONLY
from migrator.steps.routing import routing_check
from migrator.steps.searching import Searcher
from migrator.steps.switch_alias import SwitchAlias
from migrator.steps.verification import Depth, Finding, Level, Verification
from migrator.steps.verify_collection import is_indexed, shape_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from migrator.errors import MigratorError
    from migrator.model.collection import Collection, CollectionRef
    from migrator.model.observed import MigratedRecord
    from migrator.model.rows import Sample
    from migrator.ports.clock import Clock
    from migrator.ports.engine import Engine
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
    dump_prefix: str | None
    """None where it came by a snapshot."""
    shape: Shape
    standing: Standing = field(default_factory=Standing)


@contextmanager
def open_past(runs: StateDirectory, record: MigratedRecord) -> Iterator[Past]:
    """The journal of the run that made a record, open as long as the block lasts."""
    (run,) = [run for run in runs.find_runs(record.run_id) if run.run_id == record.run_id]
    steps = run.plan.steps
    copy = next((step for step in steps if isinstance(step, CopySegments) and step.source == record.source), None)
    pair = (record.source, record.target)
    built_as = next(each.built_as for each in run.plan.collections if (each.source, each.target) == pair)
    create = next(step for step in steps if isinstance(step, CreateCollection) and step.target == built_as)
    index = next((step for step in steps if isinstance(step, CreateIndex) and step.target == built_as), None)
    load = next((step for step in steps if isinstance(step, LoadCollection) and step.target == built_as), None)
    switch = next((step for step in steps if isinstance(step, SwitchAlias) and step.target == record.target), None)
    with runs.journal(run) as journal:
        yield Past(
            ledger=journal,
            dump=frozen_dump(journal, record.source),
            dump_prefix=None if copy is None else copy.dump_prefix,
            shape=shape_asked(create, index.indexes if index else ()),
            standing=Standing(aliases=switch.aliases if switch and journal.is_finished(switch.key) else (), loads=load),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    """A mapping's collections as they are now, their rows by partition, and what is known of the run that mapped it."""

    source: Collection | None
    """None where it is gone, and a run is known that mapped it."""
    target: Collection
    stood: Collection
    """The target as it was before it was loaded for the comparison."""
    why_no_source: str
    """Where it is None."""
    why_uncounted: str
    """Why a source that is there was not counted."""
    at_source: dict[str, int]
    at_target: dict[str, int]
    record: MigratedRecord | None

    @property
    def is_whole(self) -> bool:
        """Whether all rows of the target were counted."""
        return bool(self.at_target) and len(self.target.loaded_partitions) == len(self.target.partitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares mappings; only a target that a run of the plan made is loaded for it, and released."""

    source: MilvusReader | None
    """None where it cannot be reached, and the dumps of earlier runs have to do."""
    target: MilvusTarget
    source_store: ObjectReader
    staging: ObjectReader
    dump_reader: DumpReader
    clock: Clock
    depth: Depth
    records: Sequence[MigratedRecord]
    open_past: Callable[[MigratedRecord], AbstractContextManager[Past]]
    policy: RetryPolicy
    tell: Callable[[str], None]
    """Hears every few seconds how far a comparison is, and what it waits for."""
    engine: Engine | None = None
    """Where values are compared by others; None where all is done here."""

    def compare(self, pair: tuple[CollectionRef, CollectionRef], *, partitions: Sequence[str] = ALL) -> Comparison:
        """One mapping, as deep as asked; of the source the `partitions` that the mapping chooses."""
        record = next((r for r in self.records if (r.source, r.target) == pair), None)
        ours = self.source.find_collection(pair[0]) if self.source else None
        theirs = self.target.find_collection(pair[1])
        if self.depth.level is Level.NONE:
            return self._compared(pair, (), "nothing was compared", 0)
        if theirs is None:
            return self._compared(pair, (), f"{pair[1].short} is not at the target", VerificationFailed.exit_code)
        if ours is None and record is None:  # it went meanwhile
            return self._compared(pair, (), f"{pair[0].short} is gone from the source", VerificationFailed.exit_code)
        own = record is not None and record.target_collection_id == theirs.collection_id
        with self._queryable(theirs, may_load=own) as loaded:
            both = self._both(ours, partitions, loaded, theirs, record)
            if self.depth.level.looks_at_rows:
                return self._compare_rows(pair, both)
            return self._compare_counts(pair, both)

    def _both(
        self,
        ours: Collection | None,
        partitions: Sequence[str],
        loaded: Collection | None,
        stood: Collection,
        record: MigratedRecord | None,
    ) -> _Both:
        """Count both sides as far as they are loaded."""
        chosen = ours and with_chosen_partitions(partitions, ours)
        at_target = count_partitions(self.target, loaded) if loaded else {}
        if chosen is not None and chosen != ours:  # the target's `_default` is there without having been brought
            brought = {each.name for each in chosen.partitions}
            at_target = {name: rows for name, rows in at_target.items() if name in brought or rows}
        return _Both(
            source=chosen,
            target=loaded or stood,
            stood=stood,
            at_source=count_partitions(self.source, chosen) if self.source and chosen else {},
            why_no_source="the source is gone" if self.source else "the source cannot be reached",
            why_uncounted=_why_uncounted(self.source),
            at_target=at_target,
            record=record,
        )

    # -- counts -----------------------------------------------------------------------------------------------------

    def _compare_counts(self, pair: tuple[CollectionRef, CollectionRef], both: _Both) -> Comparison:
        counts = compare_counts(both.at_source, both.at_target)
        said, record = difference(counts, *pair), both.record
        if not said:
            return self._without_difference(pair, counts, both)
        moved = record is not None and not (record.held_still and dict(record.rows_at_cut) == both.at_source)
        if moved and (other := _unlike_import(both)):
            return self._compared(pair, counts, f"{said}; {other}", VerificationFailed.exit_code)
        note = "; the source has moved since the cut" if moved else ""
        code = SourceMoved.exit_code if moved else VerificationFailed.exit_code
        return self._compared(pair, counts, said + note, code)

    def _without_difference(
        self, pair: tuple[CollectionRef, CollectionRef], counts: tuple[PartitionCount, ...], both: _Both
    ) -> Comparison:
        """Equal, or as equal as could be asked."""
        rows = sum(both.at_target.values())
        compared = [count for count in counts if None not in (count.source_rows, count.target_rows)]
        if not both.at_target:
            verdict, code = f"nothing could be compared: {_why_unread(both)}", SourceMoved.exit_code
        elif compared == list(counts):
            verdict, code = f"equal: {rows:,} rows at both sides", 0
        elif compared:
            verdict = f"equal in {len(compared)} of {len(counts)} partitions; the others are not loaded at both sides"
            code = SourceMoved.exit_code
        else:
            verdict, code = _said_of_target(both, rows)
        return self._compared(pair, counts, verdict, code)

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

    def _compare_rows(self, pair: tuple[CollectionRef, CollectionRef], both: _Both) -> Comparison:
        record, ours = both.record, both.source
        own = record is not None and (ours is None or record.source_collection_id == ours.collection_id)
        with ExitStack() as stack:
            past = stack.enter_context(self.open_past(record)) if record is not None and own else None
            finding = self._run(self._verification(both, past))
            if past is not None:
                finding = finding.with_counts(past.standing.differences(both.stood, self.target))
        if finding.basis is None or finding.undecided:
            finding = finding.with_counts(_count_difference(both))
        if finding.differences:
            code = SourceMoved.exit_code if finding.undecided else VerificationFailed.exit_code
        else:
            code = 0 if finding.basis else SourceMoved.exit_code
        counts = compare_counts(both.at_source, both.at_target)
        return replace(
            self._compared(pair, counts, finding.verdict, code),
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
        shape = past.shape if past else None if ours is None else Shape.of(ours)
        assert shape is not None  # noqa: S101 - for the types: one of them is known
        source = self.source if ours else None
        why_not = why_not_readable(source, ours) if source and ours else both.why_no_source
        why_no_dump = self._why_no_dump(past)
        return Verification(
            depth=self.depth,
            shape=shape,
            found=theirs,
            target=MilvusRows(self.target, theirs) if both.at_target else None,
            why_no_target=_why_unread(both),
            live=MilvusRows(source, ours) if source and ours and not why_not else None,
            why_not_live=why_not,
            open_dump=None if past is None or why_no_dump else partial(self._open_dump, past, past.dump_prefix or ""),
            why_no_dump=why_no_dump,
            has_moved=lambda: past is not None and (source is None or has_moved(source, past.dump, past.ledger)),
            expected_rows=both.record.rows if both.record and past else sum(both.at_target.values()),
            rows_are_told=both.record is None or both.record.rows_are_told,
            live_counts=both.at_source,
            target_counts=both.at_target,
            check=routing_check(self.target, theirs, self.depth, source=source, source_is=ours),
            searcher=Searcher(source=source, target=self.target, source_is=ours, target_is=theirs)
            if source and ours
            else None,
            engine=self.engine,
            live_is=ours,
            clock=self.clock,
            progress=_Telling(theirs.ref.short, self.clock, self.tell),
            put_down=lambda _: None,
        )

    def _why_no_dump(self, past: Past | None) -> str:
        if past is None:
            return _NO_DUMP
        return SNAPSHOT_ONLY if past.dump_prefix is None else self.dump_reader.missing

    def _open_dump(self, past: Past, dump_prefix: str, sample: Sample) -> AbstractContextManager[RowSource]:
        name = past.dump.collection.ref.short
        return open_dump(
            self.dump_reader,
            past.dump,
            dump_prefix,
            sample,
            ledger=past.ledger,
            staging=self.staging,
            clock=self.clock,
            progress=_Telling(name, self.clock, self.tell),
            source_store=None if past.dump.backed_up_ts is None else self.source_store,  # a backup stays as it is
        )

    # -- what is loaded for it --------------------------------------------------------------------------------------

    @contextmanager
    def _queryable(self, found: Collection, *, may_load: bool) -> Iterator[Collection | None]:
        """The target, loaded while it lasts; as far as it is where it may not be loaded, or None."""
        if not may_load or not is_indexed(found):
            yield found if found.load_state is LoadState.LOADED else None
            return
        by_us = found.load_state is LoadState.NOT_LOADED
        with loaded_meanwhile(self.target, found, by_us=by_us, wait=partial(self._wait, found.ref)) as loaded:
            yield loaded

    def _wait(self, ref: CollectionRef, is_over: Callable[[], bool]) -> None:
        deadline = self.clock.monotonic() + _LOAD_PATIENCE_S
        while not is_over():
            if self.clock.monotonic() > deadline:
                raise RunError(f"{ref.short} did not load within {_LOAD_PATIENCE_S / 60:.0f} minutes")
            self.clock.sleep(_POLL_S)


def _unlike_import(both: _Both) -> str:
    """That the target does not hold as many rows as the run brought; empty where it does, or was not counted whole."""
    counted, record = sum(both.at_target.values()), both.record
    if record is None or not both.is_whole or counted == record.rows:
        return ""
    if not record.rows_are_told and counted < record.rows:
        return ""
    return f"{both.target.ref.short} holds {counted:,} rows, and run {record.run_id} imported {record.rows:,}"


def _why_uncounted(source: MilvusReader | None) -> str:
    if source is None or source.can_count:
        return "is not loaded"
    return "cannot count its rows" if as_backup(source) is None else "is a backup"


def _said_of_target(both: _Both, rows: int) -> tuple[str, int]:
    """A verdict where only the target was counted, and its exit code."""
    if both.record is None:
        return f"the source {both.why_uncounted}, so its rows could not be counted", SourceMoved.exit_code
    why = f"the source {both.why_uncounted}" if both.source else both.why_no_source
    if not both.is_whole:
        return f"{rows:,} rows in the partitions that the target holds loaded; {why}", SourceMoved.exit_code
    if other := _unlike_import(both):
        return other, VerificationFailed.exit_code
    if both.record.rows != rows:
        return f"{rows:,} rows at the target, {both.record.rows:,} less deletes as they were imported; {why}", 0
    return f"{rows:,} rows at the target, as many as were imported; {why}", 0


def _count_difference(both: _Both) -> Iterator[Difference]:
    """The same as a difference, for where nothing else is known."""
    if both.record is not None and _unlike_import(both):
        counted = sum(both.at_target.values())
        told = f"{both.record.rows:,} were imported"
        yield Difference(kind=DifferenceKind.COUNT, source=told, target=f"{counted:,} are at the target")


def _why_unread(both: _Both) -> str:
    if not is_indexed(both.stood):
        return "the target has no vector index, so its rows could not be queried"
    return "the target is not loaded"


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
        **_: int,
    ) -> None:
        if self.clock.monotonic() - self.told_at >= _TELL_EVERY_S:
            self.told_at = self.clock.monotonic()
            self.tell(f"{self.name}: {message}, {done:,} of {total:,} {unit}")
