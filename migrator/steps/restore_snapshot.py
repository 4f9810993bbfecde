"""`restore_snapshot`: let the target make its collection of the source's snapshot (Milvus 3.0 and later).

The server creates the collection with the ids of its fields and indexes, and copies files, indexes among them. A
request has no key of its own: sent twice it may restore twice. So it is noted before it leaves, and before another one
leaves, the target's jobs are searched, and the name has to be free.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, MilvusUnimplemented, RunError, SchemaDiffers, SnapshotFailed, StepInDoubt
from migrator.model.collection import Collection, CollectionRef
from migrator.model.segment import SegmentState
from migrator.model.snapshot import RestoreState, SnapshotWay, is_whole_uri
from migrator.model.timestamps import physical_ms
from migrator.steps import sent_jobs
from migrator.steps.base import GIVE_UP, Evidence, Outcome
from migrator.steps.create_collection import CreateCollection, create_key, noted_id, require_own
from migrator.steps.create_snapshot import taken
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.restored import RESTORE_SNAPSHOT, ROWS, restore_key, restored_rows
from migrator.steps.shown_rows import shown_rows
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from migrator.model.snapshot import RestoreJob
    from migrator.ports.milvus import MilvusReader
    from migrator.steps.base import ReadContext, StepContext

_SEARCH_S = 10.0
_CLOCKS_AGREE_S = 30.0
_BINLOGS = "set options.transfer.format to binlogs, give this run up with migrator rollback, and plan again"
_NO_SEGMENT = {SegmentState.DROPPED, SegmentState.NOT_EXIST}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSnapshot(CreateCollection):
    """Make `target` of the snapshot of `source`; all that `create_collection` would ask for comes with it."""

    kind: ClassVar[str] = RESTORE_SNAPSHOT
    source: CollectionRef
    way: SnapshotWay

    @property
    def key(self) -> str:
        """By the target collection."""
        return restore_key(self.target)

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"restore {self.target.short} from the snapshot of {self.source.short}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when the restored collection stands there; a job that is noted may run."""
        own, notes = noted_id(ctx.ledger, self.target), self.notes(ctx)
        found = None if own is None else ctx.target.find_collection(self.target)
        if found is not None and found.collection_id == own and ROWS in notes:
            return Evidence.DONE
        return Evidence.RUNNING if notes.get("job_id") is not None else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Take up the job of an earlier attempt, or send it; wait for its end, and note what it made."""
        if ROWS not in self.notes(ctx):
            job = self._earlier(ctx)
            if job is not None and job.state is RestoreState.FAILED:
                self._clear(ctx)
                job = None
            job_id = self._send(ctx) if job is None else job.job_id
            self._wait(ctx, job_id)
            self._note_made(ctx)
        require_own(ctx, self.target)
        return Outcome(rows=restored_rows(ctx.ledger, self.target))

    # -- a request --------------------------------------------------------------------------------------------------

    def _send(self, ctx: StepContext) -> int:
        """Note the intention, and only then let the request leave."""
        if ctx.target.find_collection(self.target) is not None:
            raise StepInDoubt(
                f"collection {self.target.short} is at the target, and this run did not restore it",
                hint=f"see whose {self.target.short} is; drop it and resume; {GIVE_UP}",
            )
        ctx.lease.require_held(self.target)
        now_ts = ctx.target.allocate_timestamp()
        self.note(
            ctx,
            absent_ts=self._absent_ts(ctx) or now_ts,
            known_ids=[job.job_id for job in ctx.target.list_restores(self.target)],
            intent_ts=now_ts,
            intent_at=ctx.clock.now().timestamp(),
            steady_at=ctx.clock.monotonic(),
            boot=ctx.clock.boot_id,
            is_sent=True,
            job_id=None,
        )
        try:
            job_id = self._ask(ctx)
        except MilvusRefused as error:
            self.note(ctx, is_sent=False)
            if isinstance(error, MilvusUnimplemented):
                raise SnapshotFailed(error.message, hint=_BINLOGS) from error
            raise
        self.note(ctx, job_id=job_id)
        _log.info("restore job %d makes %s", job_id, self.target)
        return job_id

    def _ask(self, ctx: StepContext) -> int:
        name, location = taken(ctx.ledger, self.source)
        if self.way is SnapshotWay.WITHIN:
            return ctx.target.restore_snapshot(self.source, name, self.target)
        if not is_whole_uri(location):
            self.note(ctx, is_sent=False)
            raise SnapshotFailed(
                f"the source tells its snapshot {name} to be at {location!r}, which is no complete address of one",
                hint=_BINLOGS,
            )
        return ctx.target.restore_elsewhere(location, self.target)

    # -- the last request of an earlier attempt ---------------------------------------------------------------------

    def _earlier(self, ctx: StepContext) -> RestoreJob | None:
        """Its job; None only where there surely is none."""
        notes = self.notes(ctx)
        if not notes.get("is_sent"):
            return None
        began = ctx.clock.monotonic()
        while True:
            settled_s = self._settled_s(ctx, ctx.clock.monotonic() - began)
            job = self._search(ctx)
            if job is not None:
                return job
            if notes.get("job_id") is not None or ctx.target.find_collection(self.target) is not None:
                raise StepInDoubt(
                    f"the target no longer remembers the restore of {self.target.short}, so that nobody tells whether "
                    f"it is whole",
                    hint=f"drop {self.target.short} and resume; {GIVE_UP}",
                )
            left_s = sent_jobs.settle_s(ctx.target) - settled_s
            if left_s <= 0:
                return None
            ctx.progress(f"waits {left_s:.0f} s: a lost request may still be registered")
            ctx.clock.sleep(min(_SEARCH_S, left_s))

    def _search(self, ctx: StepContext) -> RestoreJob | None:
        """By its id; else the newest into that name that was not there before, of this snapshot as far as it tells."""
        notes = self.notes(ctx)
        job_id, known = notes.get("job_id"), notes.get("known_ids")
        if isinstance(job_id, int):
            return ctx.target.find_restore(job_id)
        before, names = set(known if isinstance(known, list) else ()), {"", taken(ctx.ledger, self.source)[0]}
        found = [
            job
            for job in ctx.target.list_restores(self.target)
            if job.job_id not in before and job.snapshot_name in names
        ]
        if found:
            self.note(ctx, job_id=found[-1].job_id)
        return found[-1] if found else None

    def _settled_s(self, ctx: StepContext, waited_s: float) -> float:
        """Since the request left, as far as it is certain: by the steady clock, or by two that agree."""
        notes = self.notes(ctx)
        at = {name: _number(notes.get(name)) for name in ("steady_at", "intent_at", "intent_ts")}
        if notes.get("boot") and notes.get("boot") == ctx.clock.boot_id:
            return ctx.clock.monotonic() - at["steady_at"]
        by_ours = ctx.clock.now().timestamp() - at["intent_at"]
        by_target = (physical_ms(ctx.target.allocate_timestamp()) - physical_ms(int(at["intent_ts"]))) / 1000
        return min(by_ours, by_target) if abs(by_ours - by_target) <= _CLOCKS_AGREE_S else waited_s

    def _clear(self, ctx: StepContext) -> None:
        """Drop what a restore that failed has left: nothing is restored into a collection that is there.

        Whoever missed the collection may have made it, with the same schema; so it goes only if nothing is in it.
        """
        found = ctx.target.find_collection(self.target)
        if found is not None:
            self.require_ours(ctx.target, found, self._absent_ts(ctx))
            self._require_empty(ctx, found)
            ctx.lease.require_held(self.target)
            ctx.target.drop_collection(self.target)

    def _require_empty(self, ctx: StepContext, found: Collection) -> None:
        if (rows := shown_rows(ctx, self.target)) or found.aliases:
            raise StepInDoubt(
                f"the restore of {self.target.short} failed, and a collection of that name is at the target with "
                f"{rows:,} rows{', and an alias' if found.aliases else ''}, which may be somebody else's",
                hint=f"see whose {self.target.short} is; drop it and resume; {GIVE_UP}",
            )

    # -- its end ----------------------------------------------------------------------------------------------------

    def _wait(self, ctx: StepContext, job_id: int) -> None:
        def look(_: float) -> Look:
            job = ctx.target.find_restore(job_id)
            if job is None:
                raise StepInDoubt(
                    f"the target no longer remembers its restore {job_id} of {self.target.short}",
                    hint=f"drop {self.target.short} and resume; {GIVE_UP}",
                )
            if job.state is RestoreState.FAILED:
                raise SnapshotFailed(
                    f"restore {job_id} of {self.target.short} failed: {job.failure or 'no reason given'}",
                    hint="mend what the message names, then run migrator apply --resume, which restores it anew",
                )
            is_over = job.state is RestoreState.COMPLETED
            return Look(is_over=is_over, done=100 if is_over else job.progress_percent, total=100, unit="%")

        wait_until_over(ctx, look, doing="target restores")

    def _note_made(self, ctx: StepContext) -> None:
        found = ctx.target.find_collection(self.target)
        if found is None:
            raise StepInDoubt(
                f"the restore of {self.target.short} is completed, and no such collection is at the target",
                hint=GIVE_UP,
            )
        self.require_ours(ctx.target, found, self._absent_ts(ctx))
        if missing := sorted(set(self.partitions) - {partition.name for partition in found.partitions}):
            raise SchemaDiffers(f"{self.target.short} was restored without the partition {missing[0]!r}", hint=_BINLOGS)
        segments = [each for each in ctx.target.list_segments(self.target) if each.state not in _NO_SEGMENT]
        rows = sum(each.num_rows for each in segments if not each.is_l0)
        if not rows and (expected := frozen_dump(ctx.ledger, self.source).raw_rows):
            raise SnapshotFailed(
                f"the restore of {self.target.short} is completed, and brought none of {expected:,} rows", hint=_BINLOGS
            )
        ctx.ledger.note(create_key(self.target), {"collection_id": found.collection_id})
        self.note(ctx, **{ROWS: rows})

    def require_ours(self, target: MilvusReader, found: Collection, absent_ts: int) -> None:
        """Raise unless what was found can only be what was restored after `absent_ts`, when the name was free.

        Raises:
            StepInDoubt: It is older.
            SchemaDiffers: It is not what the snapshot was taken of.
        """
        if found.created_ts < absent_ts:
            raise StepInDoubt(
                f"collection {self.target.short} is older than the restore that this run asked for",
                hint=f"see who created {self.target.short}; this run leaves it alone",
            )
        if found.schema != self.schema or found.shards_num != self.shards_num:
            raise SchemaDiffers(
                f"{self.target.short} was restored with another schema than the source's collection has",
                hint=_BINLOGS,
            )


def _number(noted: object) -> float:
    if not isinstance(noted, int | float):
        raise RunError(f"the journal's note of a restore has no number where one belongs: {noted!r}")
    return noted
