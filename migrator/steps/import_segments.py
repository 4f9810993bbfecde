"""`import_segments`: bring the staged segments into the target, every row once.

Milvus has no idempotency key: a request sent twice imports twice. So each request carries a tag that was noted before
it left, and before any is sent the target's tasks are searched for what was sent earlier. Milvus 2.3 runs one task at a
time in ticks of two seconds, so a whole partition travels as one request where its size allows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import ImportIncomplete, ImportJobFailed, ImportStalled, MilvusBusy, SchemaDiffers, StepInDoubt
from migrator.model.binlog_rows import NoBinlog, count_rows
from migrator.model.codec import from_plain, to_plain
from migrator.model.collection import CollectionRef
from migrator.model.import_job import ImportJob, ImportState, ImportTag
from migrator.model.segment import LogKind, SegmentBatch
from migrator.model.timestamps import physical_ms
from migrator.ports.milvus import FlushResult
from migrator.steps.base import GIVE_UP, Evidence, Outcome, Step
from migrator.steps.copy_segments import require_staged_exactly, staged_key
from migrator.steps.counting import WHOLE, count_named
from migrator.steps.create_collection import require_own
from migrator.steps.dump_meta import dump_key, frozen_dump
from migrator.steps.flush import FLUSH_KEY
from migrator.steps.forward_segments import forwarded_prefix, require_forwarded_exactly
from migrator.steps.import_progress import tell_imports

if TYPE_CHECKING:
    from migrator.model.collection import Collection
    from migrator.ports.ledger import JsonValue, LedgerReader, SegmentTotals
    from migrator.steps.base import ReadContext, StepContext

PARTITION_REQUEST_BYTES = 1024**3
"""Largest partition brought by one request: a 2.3 task expires 900 s after its start, and slow stores do 10 MB/s."""
SETTLE_S = 120.0
"""How long a request whose reply was lost may still turn up as a task: a minute of patience with the call itself, and
one for a server that took it and was slow to register it (Milvus 2.3)."""
CLOCKS_AGREE_S = 30.0
"""Two clocks that measured the same span with a larger difference: one of them was set meanwhile."""
RETENTION_S = 23 * 3600.0
"""How long we trust the target to remember its tasks; 2.3 keeps them 24 hours."""
POLL_S = 0.5
_SEARCH_S = 10.0
"""Between two searches for a lost request: Milvus 2.3.5 dies of a client that breaks off while it lists its tasks."""
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
    job_id: int | None = None
    rows: int | None = None


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
    """At most so many; None is a whole partition up to `PARTITION_REQUEST_BYTES`."""
    stall_timeout_s: float = 1800.0

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
            return Evidence.DONE
        return Evidence.RUNNING if any(note.job_id is not None for note in notes) else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Send, wait for and check every batch, at most `max_jobs` at a time."""
        require_own(ctx, self.target)
        batches = self._batches(ctx)
        waiting = [batch for batch in batches if self.batch_notes(ctx, batch).rows is None]
        _Imports(self, ctx, waiting, batches).run()
        rows = imported_rows(ctx.ledger, self.target)
        return Outcome(rows=rows, size_bytes=sum(batch.size_bytes for batch in batches), detail=_requests(len(batches)))

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
        number = 0
        late = _late_segment_ids(ctx.ledger, self.source)
        listing = (entry for entry in ctx.ledger.segments(self.collection_id) if not entry.segment.is_l0)
        for partition_id, group in groupby(listing, key=lambda entry: entry.segment.partition_id):
            for entries in self._requests(list(group)):
                number += 1
                batch = self._batch(self._prefix(ctx), number, partition_id, entries)
                name = collection.partition_name(partition_id)
                if name is None:
                    raise SchemaDiffers(
                        f"segments of {self.source.short} lie in partition {partition_id}, which was not there when it "
                        f"was described",
                        hint=GIVE_UP,
                    )
                is_late = late.issuperset(batch.segment_ids)
                yield self._with_server_paths(ctx, replace(batch, partition_name=name, is_late=is_late))

    def _requests(self, entries: list[SegmentTotals]) -> Iterator[list[SegmentTotals]]:
        """A partition's prefix holds all its segments, so a request is the whole partition or one segment."""
        size_bytes = sum(entry.size_bytes for entry in entries)
        fits = self.segments_per_job is None or len(entries) <= self.segments_per_job
        if fits and size_bytes <= PARTITION_REQUEST_BYTES:
            yield entries
        else:
            yield from ([entry] for entry in entries)

    def _batch(self, prefix: str, number: int, partition_id: int, entries: list[SegmentTotals]) -> SegmentBatch:
        ids = tuple(entry.segment.segment_id for entry in entries)
        whole = len(ids) > 1
        folder = f"{self.collection_id}/{partition_id}/" + ("" if whole else f"{ids[0]}/")
        deltas = sum(entry.delta_objects for entry in entries)
        return SegmentBatch(
            number=number,
            partition_name="",
            partition_id=partition_id,
            segment_ids=ids,
            rows=sum(entry.segment.num_rows for entry in entries),
            objects=sum(entry.insert_objects for entry in entries) + deltas,
            delta_objects=deltas,
            size_bytes=sum(entry.size_bytes for entry in entries),
            insert_prefix=f"{prefix}/binlogs/{LogKind.INSERT}/{folder}",
            delta_prefix=f"{prefix}/binlogs/{LogKind.DELTA}/{folder}" if deltas else None,
        )

    def _with_server_paths(self, ctx: StepContext, batch: SegmentBatch) -> SegmentBatch:
        delta, store = batch.delta_prefix, ctx.target_store if self.imports_folder else ctx.staging
        return replace(
            batch,
            insert_prefix=store.server_path(batch.insert_prefix),
            delta_prefix=None if delta is None else store.server_path(delta),
        )

    def _prefix(self, ctx: StepContext) -> str:
        """What the target reads lies below this."""
        return forwarded_prefix(self.imports_folder, ctx.run_id) if self.imports_folder else self.dump_prefix

    def require_exactly(self, ctx: StepContext, partition_id: int) -> None:
        """See that there is just the frozen set of a partition where the target reads it."""
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


def imported_rows(ledger: LedgerReader, target: CollectionRef) -> int:
    """The rows all import jobs of this run brought into `target`, as the target reported them."""
    key = f"{ImportSegments.kind}:{target}"
    batches = ledger.notes(key).get("batches")
    numbers = [batch["number"] for batch in batches if isinstance(batch, dict)] if isinstance(batches, list) else []
    noted = (ledger.notes(f"{key}:{number:04d}").get("rows") for number in numbers)
    return sum(rows for rows in noted if isinstance(rows, int))


def _late_segment_ids(ledger: LedgerReader, source: CollectionRef) -> frozenset[int]:
    """Segments that were sealed after the cut: they may hold nothing up to it."""
    cuts = ledger.notes(FLUSH_KEY).get("cuts")
    noted = ledger.notes(dump_key(source)).get("cut") or (cuts[str(source)] if isinstance(cuts, dict) else None)
    return frozenset(from_plain(FlushResult, noted).sealed_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """The last request of a batch, for who comes after the run; `rows` are None until it was seen to be complete."""

    tag: ImportTag
    intent_ts: int
    intent_at: float
    job_id: int | None
    rows: int | None


def sent_requests(ledger: LedgerReader, target: CollectionRef, run_id: str) -> list[SentRequest]:
    """What the run asked `target` to import, batch by batch; what was never sent is left out."""
    key = f"{ImportSegments.kind}:{target}"
    batches = from_plain(tuple[SegmentBatch, ...], ledger.notes(key).get("batches") or [])
    keys = [f"{key}:{batch.number:04d}" for batch in batches]
    noted = {batch_key: from_plain(_BatchNotes, dict(ledger.notes(batch_key))) for batch_key in keys}
    return [
        SentRequest(
            tag=ImportTag(run_id=run_id, batch_key=batch_key, attempt=notes.attempt),
            intent_ts=notes.intent_ts,
            intent_at=notes.intent_at,
            job_id=notes.job_id,
            rows=notes.rows,
        )
        for batch_key, notes in noted.items()
        if notes.attempt > 0 and not notes.was_refused
    ]


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
        self._transient_failures = 0
        self._moved_at = ctx.clock.monotonic()
        self._last_look: Mapping[int, tuple[ImportState, int]] = {}

    def run(self) -> None:
        """Until every batch is brought, or one cannot be."""
        while self._waiting or self._under_way:
            while self._waiting and len(self._under_way) < self._step.max_jobs:
                self._begin(self._waiting.pop(0))
            if self._under_way:
                self._look()
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
        if job.state is ImportState.COMPLETED:
            return (_Fate.FAILED if self._is_suspicious(batch, job) else _Fate.BROUGHT), job
        return _Fate.UNDER_WAY, job

    def _find(self, batch: SegmentBatch, notes: _BatchNotes) -> ImportJob | None:
        """The job of the last request, by its noted id or its tag; None only when it surely never came about."""
        began = self._ctx.clock.monotonic()
        while True:
            age_s = self._age_s(notes)  # before the search: what is decided on is what was seen after that time
            settled_s = self._settled_s(notes, age_s, self._ctx.clock.monotonic() - began)
            job = self._search(batch, notes)
            if job is not None:
                return job
            if notes.job_id is not None or age_s > RETENTION_S:
                raise StepInDoubt(
                    f"the target no longer remembers the import of {self._step.target.short} that was requested as "
                    f"{self._step.batch_key(batch)}, attempt {notes.attempt}",
                    hint=f"compare count(*) of {self._step.target.short} with the source; {GIVE_UP}",
                )
            if settled_s >= SETTLE_S:
                return None
            self._ctx.progress(f"waits {SETTLE_S - settled_s:.0f} s: a lost request may still be registered")
            self._ctx.clock.sleep(min(_SEARCH_S, SETTLE_S - settled_s))

    def _search(self, batch: SegmentBatch, notes: _BatchNotes) -> ImportJob | None:
        if notes.job_id is not None:
            return self._ctx.target.find_import_job(notes.job_id)
        tag = self._tag(batch, notes.attempt)
        jobs = self._ctx.target.list_import_jobs(self._step.target)
        found = next((job for job in jobs if job.has_tag(tag)), None)
        if found is not None:
            self._note(batch, job_id=found.job_id)
        return found

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
        step.require_exactly(ctx, batch.partition_id)
        ctx.lease.require_held(step.target)
        attempt = self._notes(batch).attempt + 1
        self._note(
            batch,
            attempt=attempt,
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
        except MilvusBusy:
            self._note(batch, was_refused=True)  # so that nobody waits for it to turn up
            _log.info("import request refused, the target is busy: %s", step.batch_key(batch))
            raise
        self._note(batch, job_id=job_id)
        _log.info("import job %d stands for %s, attempt %d", job_id, step.batch_key(batch), attempt)
        self._under_way[job_id] = batch

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """One look at every job under way; whatever is over is settled."""
        looks = {}
        seen = []
        for job_id, batch in list(self._under_way.items()):
            job = self._ctx.target.find_import_job(job_id)
            if job is None:
                self._find(batch, self._notes(batch))  # says why it cannot be decided
                continue
            looks[job_id] = (job.state, job.progress_percent)
            if job.state in {ImportState.COMPLETED, ImportState.FAILED}:
                del self._under_way[job_id]
                self._settle(batch, job)
            else:
                seen.append((batch, job))
        tell_imports(self._ctx.progress, self._batches, self._waiting, seen)
        self._require_motion(looks)

    def _settle(self, batch: SegmentBatch, job: ImportJob) -> None:
        if job.state is ImportState.COMPLETED:
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
        self._note(batch, rows=job.rows)
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
        total = 0
        for segment_id in batch.segment_ids:
            for binlog in self._ctx.ledger.binlogs(self._step.collection_id, segment_id=segment_id):
                if binlog.kind is LogKind.DELTA:
                    with suppress(NoBinlog):
                        total += count_rows(self._ctx.staging.read(staged_key(self._step.dump_prefix, binlog)))
        return total

    def _require_motion(self, looks: Mapping[int, tuple[ImportState, int]]) -> None:
        """Our patience never resubmits: a stalled import ends the run, and resume goes on waiting."""
        now = self._ctx.clock.monotonic()
        if looks != self._last_look:
            self._last_look, self._moved_at = looks, now
        if now - self._moved_at > self._step.stall_timeout_s:
            raise ImportStalled(
                f"import job {next(iter(looks))} into {self._step.target.short} has not moved for "
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
