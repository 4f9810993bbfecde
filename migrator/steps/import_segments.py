"""`import_segments`: bring the staged segments into the target, every row once.

Milvus has no idempotency key: a request sent twice imports twice. So each is noted before it leaves, and before any is
sent the target's jobs are searched for what was sent earlier. Milvus 2.3 runs one task at a time in ticks of two
seconds, so a whole partition travels as one request where its size allows; later ones take many segments in a job.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial
from itertools import count, groupby
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import (
    ImportIncomplete,
    ImportJobFailed,
    ImportsFull,
    ImportStalled,
    MilvusBusy,
    NothingToImport,
    SchemaDiffers,
    StepInDoubt,
    TooManyFiles,
)
from migrator.model.binlog_rows import NoBinlog, count_rows
from migrator.model.codec import from_plain, to_plain
from migrator.model.collection import CollectionRef
from migrator.model.import_job import ImportJob, ImportState, ImportTag, SentRequest
from migrator.model.segment import LogKind, SegmentBatch
from migrator.model.timestamps import physical_ms
from migrator.ports.milvus import FlushResult
from migrator.steps import sent_jobs
from migrator.steps.base import GIVE_UP, Evidence, Outcome, Step
from migrator.steps.copy_segments import copy_key, require_staged_exactly, staged_key
from migrator.steps.counting import WHOLE, count_named
from migrator.steps.create_collection import require_own
from migrator.steps.dump_meta import dump_key, frozen_dump
from migrator.steps.flush import FLUSH_KEY
from migrator.steps.forward_segments import forwarded_prefix, require_forwarded_exactly
from migrator.steps.import_progress import tell_imports
from migrator.steps.in_place import CHECKED, FilesMoved, entry_in_place, find_routes, place_of, require_unmoved
from migrator.steps.in_place_routes import REQUEST_BYTES
from migrator.steps.restored import is_restored, restored_rows
from migrator.steps.start_over import StartOver
from migrator.steps.waiting import next_look_s

if TYPE_CHECKING:
    from migrator.errors import MigratorError, MilvusError
    from migrator.model.collection import Collection
    from migrator.model.segment import Segment
    from migrator.ports.ledger import JsonValue, LedgerReader, SegmentTotals
    from migrator.steps.allowance import Share
    from migrator.steps.base import ReadContext, StepContext

PARTITION_REQUEST_BYTES = REQUEST_BYTES
JOB_SEGMENTS = 256
"""Most segments in one job unless the plan says otherwise, as milvus-backup has it (Milvus 2.4 and later)."""
JOB_BYTES = 16 * 1024**3
"""Most that one job brings, unless a segment alone is larger: what fails is done again as a whole."""
CLOCKS_AGREE_S = 30.0
"""Two clocks that measured the same span with a larger difference: one of them was set meanwhile."""
DELETES = "import_deletes"
"""The kind of the step that imports what is left over here: deletes in segments of their own."""
_TRUSTED_RETENTION = 0.9
"""The part of its retention for which we trust the target to remember its jobs."""
POLL_S = 0.5
_SEARCH_S = 10.0
"""Between two searches for a lost request: Milvus 2.3.5 dies of a client that breaks off while it lists its tasks."""
_FULL_S = 10.0
"""Between two requests to a target that has as many jobs as it takes."""
MAX_TRANSIENT_FAILURES = 5
_log = logging.getLogger(__name__)


class _Fate(StrEnum):
    """What became of a batch's last request."""

    NEVER_SENT = "never sent"
    UNDER_WAY = "under way"
    BROUGHT = "brought"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _BatchNotes:
    """What is durably known of a batch, with the time before the last request left.

    It is told by the target's clock (hybrid), by our time of day, and by our steady clock since boot `boot` (seconds).
    """

    attempt: int = 0
    intent_ts: int = 0
    intent_at: float = 0.0
    steady_at: float = 0.0
    boot: str = ""
    was_refused: bool = False
    past_ids: tuple[int, ...] = ()
    job_id: int | None = None
    rows: int | None = None
    is_committed: bool = True
    """Whether its rows are seen, once it is known how many they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSegments(Step):
    """Import the frozen segments of `source` into `target`; repeating it never imports a row twice."""

    kind: ClassVar[str] = "import_segments"
    source: CollectionRef
    target: CollectionRef
    collection_id: int
    dump_prefix: str
    imports_folder: str = ""
    """Where `forward_segments` brings the files in the target's store; empty: they are read where they are staged."""
    max_jobs: int = 8
    segments_per_job: int | None = None
    """At most so many; None leaves it to what the target's version does well with."""
    stall_timeout_s: float = 1800.0
    is_committed_later: bool = False
    """Whether jobs that wait to be committed are left to `commit_imports`; else each is committed by itself."""

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"import the staged segments into {self.target.short}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Whatever was sent before is looked for batch by batch in `apply`; here only whether something runs."""
        batches = self._noted_batches(ctx)
        if batches is None:
            return Evidence.ABSENT
        notes = [self.batch_notes(ctx, batch) for batch in batches]
        if all(note.rows is not None for note in notes):
            return Evidence.DONE if self._is_checked(ctx) else Evidence.ABSENT
        return Evidence.RUNNING if any(note.job_id is not None for note in notes) else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Send, wait for and check every batch, at most `max_jobs` at a time."""
        self._start_over(ctx).carry_on(ctx)
        batches = self._batches(ctx)
        waiting = [batch for batch in batches if self.batch_notes(ctx, batch).rows is None]
        if waiting:
            require_own(ctx, self.target)
        try:
            _Imports(self, ctx, waiting, batches).run()
            self._require_unmoved(ctx)
        except FilesMoved as moved:
            self._start_over(ctx).begin(ctx, str(moved))
        except (ImportJobFailed, ImportIncomplete, NothingToImport, StepInDoubt) as error:
            self._start_over_if_moved(ctx, error)
            raise
        self._note_checked(ctx)
        rows, batches = imported_rows(ctx.ledger, self.target), self._batches(ctx)
        return Outcome(rows=rows, size_bytes=sum(batch.size_bytes for batch in batches), detail=_requests(len(batches)))

    # -- files that are read in place -------------------------------------------------------------------------------

    def _is_checked(self, ctx: ReadContext | StepContext) -> bool:
        return find_routes(ctx.ledger, self.source) is None or bool(self.notes(ctx).get(CHECKED))

    def _require_unmoved(self, ctx: StepContext) -> None:
        """See that what the target read where it lies was the frozen set to the end."""
        if not self._is_checked(ctx):
            segments = [segment_id for batch in self._batches(ctx) for segment_id in batch.segment_ids]
            require_unmoved(ctx, self.source, self.collection_id, of=segments)

    def _note_checked(self, ctx: StepContext) -> None:
        if not self._is_checked(ctx):
            self.note(ctx, **{CHECKED: True})

    def _start_over_if_moved(self, ctx: StepContext, error: MigratorError) -> None:
        """Have the collection done anew, where an import failed because files moved."""
        try:
            self._require_unmoved(ctx)
        except FilesMoved as moved:
            _log.warning("%s: %s", self.key, error.message)
            self._start_over(ctx).begin(ctx, str(moved))

    def _start_over(self, ctx: StepContext) -> StartOver:
        keys = (f"{ImportSegments.kind}:{self.target}", self.key)
        return StartOver(
            source=self.source,
            target=self.target,
            copy_key=copy_key(self.source),
            import_keys=keys[1:] if keys[0] == keys[1] else keys,
            settle=lambda: _Imports(self, ctx, [], self._noted_batches(ctx) or ()).settle(),
            brought=lambda: self._brought(ctx),
        )

    def _brought(self, ctx: StepContext) -> int | None:
        """The rows that jobs of the run brought and that are seen, of batches that are not yet noted as brought too."""
        total = 0
        for request in sent_requests(ctx.ledger, self.target, ctx.run_id):
            if request.rows is not None and request.is_committed:
                total += request.rows
            elif request.job_id is not None:
                job = ctx.target.find_import_job(self.target, request.job_id)
                if job is None:
                    return None
                total += job.rows if job.state is ImportState.COMPLETED else 0
        return total

    # -- batches ----------------------------------------------------------------------------------------------------

    def _noted_batches(self, ctx: ReadContext | StepContext) -> tuple[SegmentBatch, ...] | None:
        noted = self.notes(ctx).get("batches")
        return None if noted is None else from_plain(tuple[SegmentBatch, ...], noted)

    def _batches(self, ctx: StepContext) -> tuple[SegmentBatch, ...]:
        """The batches as noted; made of the frozen listing and noted the first time."""
        noted = self._noted_batches(ctx)
        if noted is None:
            dump = frozen_dump(ctx.ledger, self.source)
            noted = tuple(self._expand(ctx, dump.collection))
            self.note(ctx, batches=to_plain(noted), cut_ts=dump.cut_ts)
        return noted

    def _expand(self, ctx: StepContext, collection: Collection) -> Iterator[SegmentBatch]:
        numbers, late = count(1), _late_segment_ids(ctx.ledger, self.source)
        listing = (each for each in ctx.ledger.segments(self.collection_id) if not each.segment.is_l0)
        for partition_id, group in groupby(listing, key=lambda entry: entry.segment.partition_id):
            name = collection.partition_name(partition_id)
            if name is None:
                raise SchemaDiffers(
                    f"segments of {self.source.short} lie in partition {partition_id}, which was not there when it "
                    f"was described",
                    hint=GIVE_UP,
                )
            for totals in self._requests(ctx, list(group)):
                batch = self._batch(ctx, next(numbers), name, totals)
                yield replace(batch, is_late=late.issuperset(batch.segment_ids))

    def _requests(self, ctx: StepContext, totals: list[SegmentTotals]) -> Iterator[list[SegmentTotals]]:
        """Where a job has one entry, the whole of a partition or one segment; else as many segments as it may have."""
        most = ctx.target.capabilities.entries_per_job
        if most > 1:
            yield from self._jobs_of_many(totals, most)
            return
        routes = find_routes(ctx.ledger, self.source)
        if routes is not None and totals[0].segment.partition_id not in routes.whole:
            yield from ([each] for each in totals if routes.holds(each.segment.segment_id))
            totals = [each for each in totals if not routes.holds(each.segment.segment_id)]
        if totals:
            yield from self._requests_of_folder(totals)

    def _requests_of_folder(self, totals: list[SegmentTotals]) -> Iterator[list[SegmentTotals]]:
        size_bytes = sum(each.size_bytes for each in totals)
        fits = self.segments_per_job is None or len(totals) <= self.segments_per_job
        if fits and size_bytes <= PARTITION_REQUEST_BYTES:
            yield totals
        else:
            yield from ([each] for each in totals)

    def _jobs_of_many(self, totals: list[SegmentTotals], most: int) -> Iterator[list[SegmentTotals]]:
        """A job has one storage version."""
        most = min(most, self.segments_per_job or JOB_SEGMENTS)
        job: list[SegmentTotals] = []
        for each in sorted(totals, key=lambda each: each.segment.storage_version):
            size_bytes = sum(other.size_bytes for other in job) + each.size_bytes
            is_other = bool(job) and job[0].segment.storage_version != each.segment.storage_version
            if job and (is_other or len(job) == most or size_bytes > JOB_BYTES):
                yield job
                job = []
            job.append(each)
        yield job

    def _batch(self, ctx: StepContext, number: int, partition_name: str, totals: list[SegmentTotals]) -> SegmentBatch:
        ids = tuple(each.segment.segment_id for each in totals)
        deltas = sum(each.delta_objects for each in totals)
        if len(totals) > 1 and ctx.target.capabilities.entries_per_job == 1:
            entries = [self._entry(ctx, totals[0].segment, "", has_deltas=deltas > 0)]
        else:
            entries = [
                self._entry(ctx, each.segment, f"{each.segment.segment_id}/", has_deltas=each.delta_objects > 0)
                for each in totals
            ]
        return SegmentBatch(
            number=number,
            partition_name=partition_name,
            partition_id=totals[0].segment.partition_id,
            segment_ids=ids,
            rows=sum(each.segment.num_rows for each in totals),
            objects=sum(each.insert_objects for each in totals) + deltas,
            delta_objects=deltas,
            size_bytes=sum(each.size_bytes for each in totals),
            entries=tuple(entries),
            storage_version=totals[0].segment.storage_version,
        )

    def _entry(self, ctx: StepContext, segment: Segment, folder: str, *, has_deltas: bool) -> tuple[str, ...]:
        """The prefixes of a segment's folder, or of its partition's, as the target's server sees them."""
        store = ctx.target_store if self.imports_folder else ctx.staging
        kinds = (LogKind.INSERT, LogKind.DELTA) if has_deltas else (LogKind.INSERT,)
        routes = find_routes(ctx.ledger, self.source)
        if routes is not None and routes.holds(segment.segment_id):
            return entry_in_place(ctx, routes, self.collection_id, segment, is_whole=not folder, kinds=kinds)
        below = f"{self.collection_id}/{segment.partition_id}/{folder}"
        return tuple(store.server_path(f"{self._prefix(ctx)}/binlogs/{kind}/{below}") for kind in kinds)

    def split(self, ctx: StepContext, batch: SegmentBatch) -> tuple[SegmentBatch, ...]:
        """Two batches in the place of one that had too many files for the target; noted."""
        batches = self._batches(ctx)
        chosen = set(batch.segment_ids)
        totals = [each for each in ctx.ledger.segments(self.collection_id) if each.segment.segment_id in chosen]
        number, half = max(each.number for each in batches), len(totals) // 2
        late = _late_segment_ids(ctx.ledger, self.source)
        halves = tuple(
            replace(
                self._batch(ctx, number + place, batch.partition_name, part),
                is_late=late.issuperset(each.segment.segment_id for each in part),
            )
            for place, part in enumerate((totals[:half], totals[half:]), start=1)
        )
        kept = tuple(each for each in batches if each.number != batch.number)
        self.note(ctx, batches=to_plain((*kept, *halves)))
        return halves

    def _prefix(self, ctx: StepContext) -> str:
        """What the target reads lies below this."""
        return forwarded_prefix(self.imports_folder, ctx.run_id) if self.imports_folder else self.dump_prefix

    def require_exactly(self, ctx: StepContext, batch: SegmentBatch) -> None:
        """See that there is just the frozen set of a batch's partition where the target reads it.

        Raises:
            FilesMoved: Of what it reads where the source keeps it, that is not so.
        """
        partition_id = batch.partition_id
        require_unmoved(ctx, self.source, self.collection_id, partition_id=partition_id, of=batch.segment_ids)
        if self.imports_folder:
            require_forwarded_exactly(ctx, self.source, self.imports_folder, self.collection_id, partition_id)
        else:
            require_staged_exactly(
                ctx, self.source, self.dump_prefix, self.collection_id, partition_id, seen_by=ctx.target_store
            )

    # -- notes ------------------------------------------------------------------------------------------------------

    def batch_key(self, batch: SegmentBatch) -> str:
        """The key a batch is noted under, and its tag."""
        return f"{self.key}:{batch.number:04d}"

    def batch_notes(self, ctx: ReadContext | StepContext, batch: SegmentBatch) -> _BatchNotes:
        """What was noted of a batch, over all attempts."""
        return from_plain(_BatchNotes, dict(ctx.ledger.notes(self.batch_key(batch))))


_KINDS = (ImportSegments.kind, DELETES)


def imported_rows(ledger: LedgerReader, target: CollectionRef) -> int:
    """The rows all import jobs of this run, or its restore, brought into `target`, as the target reported them."""
    if is_restored(ledger, target):
        return restored_rows(ledger, target)
    return sum(imported_by_partition(ledger, target).values())


def imported_by_partition(ledger: LedgerReader, target: CollectionRef) -> dict[str, int]:
    """The same by the partition they were imported into."""
    key = f"{ImportSegments.kind}:{target}"
    brought: dict[str, int] = defaultdict(int)
    batches = ledger.notes(key).get("batches")
    for batch in batches if isinstance(batches, list) else []:
        rows = ledger.notes(f"{key}:{batch['number']:04d}").get("rows") if isinstance(batch, dict) else None
        if isinstance(batch, dict) and isinstance(rows, int):
            brought[str(batch["partition_name"])] += rows
    return brought


def _late_segment_ids(ledger: LedgerReader, source: CollectionRef) -> frozenset[int]:
    """Segments that were sealed after the cut: they may hold nothing up to it."""
    cuts = ledger.notes(FLUSH_KEY).get("cuts")
    noted = ledger.notes(dump_key(source)).get("cut") or (cuts[str(source)] if isinstance(cuts, dict) else None)
    return frozenset(from_plain(FlushResult, noted).sealed_ids)


def sent_requests(ledger: LedgerReader, target: CollectionRef, run_id: str) -> list[SentRequest]:
    """What the run asked `target` to import, batch by batch, deletes too; what was never sent is left out."""
    return [each for kind in _KINDS for each in _sent_by(ledger, f"{kind}:{target}", run_id)]


def _sent_by(ledger: LedgerReader, key: str, run_id: str) -> list[SentRequest]:
    batches = from_plain(tuple[SegmentBatch, ...], ledger.notes(key).get("batches") or [])
    noted = {
        f"{key}:{batch.number:04d}": (batch, from_plain(_BatchNotes, dict(ledger.notes(f"{key}:{batch.number:04d}"))))
        for batch in batches
    }
    return [
        _sent(run_id, batch_key, batch, notes)
        for batch_key, (batch, notes) in noted.items()
        if notes.attempt > 0 and not notes.was_refused
    ]


def _sent(run_id: str, batch_key: str, batch: SegmentBatch, notes: _BatchNotes) -> SentRequest:
    return SentRequest(
        tag=ImportTag(run_id=run_id, batch_key=batch_key, attempt=notes.attempt),
        intent_ts=notes.intent_ts,
        intent_at=notes.intent_at,
        job_id=notes.job_id,
        rows=notes.rows,
        is_committed=notes.is_committed,
        prefixes=tuple(entry[0] for entry in batch.entries),
        past_ids=notes.past_ids,
    )


def _requests(count: int) -> str:
    return f"{count} request{'' if count == 1 else 's'}"


class _Imports:
    """The batches of one step while they are under way."""

    def __init__(
        self, step: ImportSegments, ctx: StepContext, waiting: list[SegmentBatch], batches: Sequence[SegmentBatch]
    ) -> None:
        self._step = step
        self._ctx = ctx
        self._waiting = waiting
        self._batches = batches
        self._under_way: dict[int, SegmentBatch] = {}
        self._most = step.max_jobs
        """At a time: fewer after the target had no room, one more with each that is over."""
        self._was_full = False
        """Whether the last request found no room."""
        self._transient_failures = 0
        self._moved_at = ctx.clock.monotonic()
        self._last_look: Mapping[int, tuple[ImportState, int]] = {}

    def run(self) -> None:
        """Until every batch is brought, or one cannot be."""
        with self._ctx.jobs.join() as share:
            places: list[int] = []
            while self._waiting or self._under_way:
                self._begin_some(share, places)
                if self._under_way:
                    self._look()
                    self._give_back(share, places)
                    if self._under_way:
                        self._ctx.clock.sleep(next_look_s(self._ctx.clock.monotonic() - self._moved_at))
                elif self._waiting and self._most == 0:
                    self._wait_for_room()
                elif self._waiting:
                    share.wait(POLL_S)  # for jobs of other collections of this run
                    self._ctx.clock.sleep(0)

    def _begin_some(self, share: Share, places: list[int]) -> None:
        """As many as the target may have jobs of this run, and of this collection."""
        while self._waiting and len(self._under_way) < self._most and (place := share.find_place()) is not None:
            places.append(place)
            self._begin(self._waiting.pop(0))
            if self._was_full:
                share.refused(places.pop())
                self._was_full = False
            self._give_back(share, places)

    def _give_back(self, share: Share, places: list[int]) -> None:
        while len(places) > len(self._under_way):
            share.passed(places.pop(0))

    def settle(self) -> None:
        """Until none of them is under way any more; of one that nobody remembers, nothing is left to wait for."""
        for batch in self._batches:
            with suppress(StepInDoubt):
                while (found := self._fate(batch))[0] is _Fate.UNDER_WAY:
                    self._require_motion({job.job_id: (job.state, job.progress_percent) for job in found[1:] if job})
                    self._ctx.clock.sleep(POLL_S)

    # -- one batch --------------------------------------------------------------------------------------------------

    def _begin(self, batch: SegmentBatch) -> None:
        """Take up what an earlier attempt sent, or send it now."""
        fate, job = self._fate(batch)
        if fate is not _Fate.NEVER_SENT:
            _log.info("%s was sent before: %s, job %s", self._step.batch_key(batch), fate, job and job.job_id)
        if fate is _Fate.BROUGHT and job is not None:
            self._finish(batch, job)
        elif fate is _Fate.UNDER_WAY and job is not None:
            self._under_way[job.job_id] = batch
        else:
            self._send(batch)

    def _fate(self, batch: SegmentBatch) -> tuple[_Fate, ImportJob | None]:
        notes = self._notes(batch)
        if notes.attempt == 0 or notes.was_refused:
            return _Fate.NEVER_SENT, None
        job = self._find(batch, notes)
        if job is None:
            return _Fate.NEVER_SENT, None
        if job.state is ImportState.FAILED:
            return _Fate.FAILED, job
        if job.state.is_over:
            return (_Fate.FAILED if self._is_suspicious(batch, job) else _Fate.BROUGHT), job
        return _Fate.UNDER_WAY, job

    def _find(self, batch: SegmentBatch, notes: _BatchNotes) -> ImportJob | None:
        """The job of the last request, by its id, tag or paths; None only when it surely never came about."""
        began, target = self._ctx.clock.monotonic(), self._ctx.target
        patience_s, retention_s = sent_jobs.settle_s(target), target.capabilities.job_retention_s * _TRUSTED_RETENTION
        while True:
            age_s = self._age_s(notes)  # before the search: what is decided on is what was seen after that time
            waited_s = self._ctx.clock.monotonic() - began
            settled_s = self._settled_s(notes, age_s, waited_s)
            job, is_decided = self._search(batch, notes)
            if job is not None:
                return job
            if notes.job_id is not None or (is_decided and age_s > retention_s):
                raise StepInDoubt(
                    f"the target no longer remembers the import of {self._step.target.short} that was requested as "
                    f"{self._step.batch_key(batch)}, attempt {notes.attempt}",
                    hint=f"compare count(*) of {self._step.target.short} with the source; {GIVE_UP}",
                )
            if is_decided and settled_s >= patience_s:
                return None
            self._wait_for_lost(patience_s - settled_s, waited_s)

    def _wait_for_lost(self, left_s: float, waited_s: float) -> None:
        """Until the next search; a job that does not tell its files, because it waits for others, is waited for."""
        if waited_s > self._step.stall_timeout_s:
            raise ImportStalled(
                f"an import job into {self._step.target.short} has waited for {waited_s / 60:.0f} minutes, and does "
                f"not tell which files it is of",
                hint="look at the target's data nodes; migrator apply --resume goes on waiting for it",
            )
        self._ctx.progress(f"waits {max(left_s, 0):.0f} s: a lost request may still be registered")
        self._ctx.clock.sleep(min(_SEARCH_S, left_s) if left_s > 0 else _SEARCH_S)

    def _search(self, batch: SegmentBatch, notes: _BatchNotes) -> tuple[ImportJob | None, bool]:
        """The job, and whether none of those that do not tell their files yet can be it."""
        step, target = self._step, self._ctx.target
        if notes.job_id is not None:
            return target.find_import_job(step.target, notes.job_id), True
        request = _sent(self._ctx.run_id, step.batch_key(batch), batch, notes)
        found, is_decided = sent_jobs.find_sent(target, step.target, request, known=self._prefixes)
        if found is not None:
            self._note(batch, job_id=found.job_id)
        return found, is_decided

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        """Of all that the run asks for into the collection: jobs of deletes follow those of rows within a second."""
        noted = (self._ctx.ledger.notes(f"{kind}:{self._step.target}").get("batches") for kind in _KINDS)
        batches = (batch for each in noted for batch in from_plain(tuple[SegmentBatch, ...], each or []))
        return tuple(entry[0] for batch in batches for entry in batch.entries)

    def _age_s(self, notes: _BatchNotes) -> float:
        """Since the request left, by the target's own clock."""
        return (physical_ms(self._ctx.target.allocate_timestamp()) - physical_ms(notes.intent_ts)) / 1000

    def _settled_s(self, notes: _BatchNotes, age_s: float, waited_s: float) -> float:
        """Since the request left, as far as it is certain.

        The steady clock cannot be set. After a boot or on another machine there is none, and two clocks have to agree;
        where they do not, only what was waited here counts.
        """
        if notes.boot and notes.boot == self._ctx.clock.boot_id:
            return self._ctx.clock.monotonic() - notes.steady_at
        by_ours = self._ctx.clock.now().timestamp() - notes.intent_at
        return min(age_s, by_ours) if abs(age_s - by_ours) <= CLOCKS_AGREE_S else waited_s

    def _send(self, batch: SegmentBatch) -> None:
        """Check what lies there, note the intention, and only then let the request leave."""
        step, ctx = self._step, self._ctx
        step.require_exactly(ctx, batch)
        ctx.lease.require_held(step.target)
        noted = self._notes(batch)
        attempt = noted.attempt + 1
        self._note(
            batch,
            attempt=attempt,
            past_ids=[*noted.past_ids, *([] if noted.job_id is None else [noted.job_id])],
            intent_ts=ctx.target.allocate_timestamp(),
            intent_at=ctx.clock.now().timestamp(),
            steady_at=ctx.clock.monotonic(),
            boot=ctx.clock.boot_id,
            was_refused=False,
            job_id=None,
        )
        cut_ts = frozen_dump(ctx.ledger, step.source).cut_ts
        _log.info("import request sent: %s, attempt %d, %d rows", step.batch_key(batch), attempt, batch.rows)
        try:
            job_id = ctx.target.start_import(step.target, batch, end_ts=cut_ts, tag=self._tag(batch, attempt))
        except (MilvusBusy, TooManyFiles, NothingToImport) as error:
            self._note(batch, was_refused=True)  # so that nobody waits for it to turn up
            _log.info("import request refused, the target is busy: %s", step.batch_key(batch))
            self._give_way(batch, error)
        else:
            self._note(batch, job_id=job_id)
            _log.info("import job %d stands for %s, attempt %d", job_id, step.batch_key(batch), attempt)
            self._under_way[job_id] = batch

    def _give_way(self, batch: SegmentBatch, error: MilvusError) -> None:
        """Ask for less, where the target says that it was too much."""
        if isinstance(error, ImportsFull):
            self._waiting.insert(0, batch)
            self._most, self._was_full = len(self._under_way), True
        elif isinstance(error, TooManyFiles) and len(batch.segment_ids) > 1:
            halves = self._step.split(self._ctx, batch)
            self._waiting[:0] = halves
            self._batches = [*(each for each in self._batches if each != batch), *halves]
        else:
            raise error

    def _wait_for_room(self) -> None:
        """Others have all the jobs that the target takes."""
        self._ctx.progress("waiting for other imports at the target")
        self._require_motion({})
        self._ctx.clock.sleep(_FULL_S)
        self._most = 1

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """One look at every job under way; whatever is over is settled."""
        looks = {}
        seen = []
        for job_id, batch in list(self._under_way.items()):
            job = self._ctx.target.find_import_job(self._step.target, job_id)
            if job is None:
                self._find(batch, self._notes(batch))  # says why it cannot be decided
                continue
            looks[job_id] = (job.state, job.progress_percent)
            if job.state.is_over:
                del self._under_way[job_id]
                self._most = min(self._most + 1, self._step.max_jobs)
                self._settle(batch, job)
            else:
                seen.append((batch, job))
        tell_imports(self._ctx.progress, self._batches, self._waiting, seen)
        self._require_motion(looks)

    def _settle(self, batch: SegmentBatch, job: ImportJob) -> None:
        if job.state is not ImportState.FAILED:
            self._finish(batch, job)
            return
        self._transient_failures += 1
        if not job.is_lost_to_restart or self._transient_failures > MAX_TRANSIENT_FAILURES:
            raise ImportJobFailed(
                f"import job {job.job_id} into {self._step.target.short} failed: {job.failure or 'no reason given'}",
                hint="mend what the message names, then run migrator apply --resume",
            )
        _log.warning("import job %d was lost by the target (%s); it is sent again", job.job_id, job.failure)
        self._waiting.insert(0, batch)

    def _finish(self, batch: SegmentBatch, job: ImportJob) -> None:
        """Note a completed job, if its rows can be right: 2.3 completes a missing prefix with 0 rows."""
        missing = self._is_suspicious(batch, job)
        if missing or not batch.allows_rows(job.rows):
            raise (ImportIncomplete if missing else StepInDoubt)(
                f"import job {job.job_id} into {self._step.target.short} completed with {job.rows:,} of "
                f"{batch.rows:,} rows",
                hint="see that target.storage.bucket is the bucket the target Milvus itself uses: it found no files"
                + (" (if every row was deleted: load the source, and resume)" if batch.allows_no_rows else "")
                if missing
                else f"look at {self._step.target.short}; {GIVE_UP}",
            )
        is_committed = job.state is not ImportState.UNCOMMITTED
        if not (is_committed or self._step.is_committed_later):
            self._ctx.target.commit_import(self._step.target, job.job_id)  # once more where that reply was lost
            self._under_way[job.job_id] = batch
            return
        self._note(batch, rows=job.rows, is_committed=is_committed)
        _log.info("import job %d brought %d rows", job.job_id, job.rows)

    def _is_suspicious(self, batch: SegmentBatch, job: ImportJob) -> bool:
        """Whether a job brought nothing, and nothing shows that the target sees the files at all.

        Deletes can take every row of a batch; then the source counted none at the cut, or another job of this
        collection has brought rows from the same place. Where none of that can be told, there are enough deletes.
        """
        if job.rows > 0 or batch.rows == 0 or batch.is_late:
            return False
        if not batch.allows_no_rows:
            return True
        frozen = frozen_dump(self._ctx.ledger, self._step.source).rows_at_cut
        counts = frozen or count_named(self._ctx.source, self._step.source)
        if counts.get(batch.partition_name, counts.get(WHOLE)) == 0:
            return False
        if imported_rows(self._ctx.ledger, self._step.target) > 0:
            return False
        return self._deletes(batch) < batch.rows

    def _deletes(self, batch: SegmentBatch) -> int:
        """How many deletes the dump holds for a batch: with fewer than rows, some row has to be left."""
        step, total = self._step, 0
        key_of = place_of(self._ctx.ledger, step.source, partial(staged_key, step.dump_prefix))
        for segment_id in batch.segment_ids:
            for binlog in self._ctx.ledger.binlogs(self._step.collection_id, segment_id=segment_id):
                if binlog.kind is LogKind.DELTA:
                    with suppress(NoBinlog):
                        total += count_rows(self._ctx.staging.read(key_of(binlog)))
        return total

    def _require_motion(self, looks: Mapping[int, tuple[ImportState, int]]) -> None:
        """Our patience never resubmits: a stalled import ends the run, and resume goes on waiting."""
        now = self._ctx.clock.monotonic()
        if looks != self._last_look:
            self._last_look, self._moved_at = looks, now
        if now - self._moved_at > self._step.stall_timeout_s:
            what = f"import job {next(iter(looks))} into" if looks else "no room came up at the target for imports into"
            raise ImportStalled(
                f"{what} {self._step.target.short}{' has not moved' if looks else ''} for "
                f"{self._step.stall_timeout_s / 60:.0f} minutes",
                hint="look at the target's data nodes; migrator apply --resume goes on waiting for it",
            )

    # -- notes ------------------------------------------------------------------------------------------------------

    def _notes(self, batch: SegmentBatch) -> _BatchNotes:
        return self._step.batch_notes(self._ctx, batch)

    def _note(self, batch: SegmentBatch, **values: JsonValue) -> None:
        self._ctx.ledger.note(self._step.batch_key(batch), values)

    def _tag(self, batch: SegmentBatch, attempt: int) -> ImportTag:
        return ImportTag(run_id=self._ctx.run_id, batch_key=self._step.batch_key(batch), attempt=attempt)
