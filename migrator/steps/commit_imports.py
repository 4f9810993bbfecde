"""`commit_imports`: let the rows of all collections of a run be seen at once, when all of them are in.

From Milvus 3.0 on an import job can wait to be committed, and until then no query finds its rows, ours neither. So what
can be held against each other before is what the jobs say they brought, and what the source counted at the cut; rows
themselves are compared by `verify_collection`, afterwards. Where one number is wrong, or one job is lost, nothing of
the run is committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import ImportJobFailed, StepInDoubt, VerificationFailed
from migrator.model.collection import CollectionRef
from migrator.model.import_job import ImportState
from migrator.steps.base import GIVE_UP, Evidence, Outcome, Step
from migrator.steps.counting import WHOLE
from migrator.steps.create_collection import require_own
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.import_segments import imported_by_partition, sent_requests
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from migrator.model.import_job import SentRequest
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.milvus import MilvusReader
    from migrator.steps.base import ReadContext, StepContext


_TTL = "collection.ttl.seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCollection:
    """A collection whose import jobs wait to be committed."""

    source: CollectionRef
    target: CollectionRef


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitImports(Step):
    """Commit every import job of `collections`; with `compares_counts` only if they brought what the source counted."""

    kind: ClassVar[str] = "commit_imports"
    collections: tuple[ImportedCollection, ...]
    compares_counts: bool = True

    @property
    def key(self) -> str:
        """There is one in a run."""
        return self.kind

    def describe(self) -> str:
        """What it does, in a few words."""
        if len(self.collections) == 1:
            return f"let the rows of {self.collections[0].target.short} be seen"
        return f"let the rows of {len(self.collections)} collections be seen at once"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when every job was seen to be committed."""
        return Evidence.ABSENT if any(self._uncommitted(ctx.ledger, ctx.run_id)) else Evidence.DONE

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Look at everything before the first is committed; then commit those that are not, and wait."""
        for each in self.collections:
            require_own(ctx, each.target)
            if self.compares_counts:
                _require_counted(ctx.ledger, each)
        waiting = [(ref, job_id) for ref, job_id, state in self._left(ctx) if state is ImportState.UNCOMMITTED]
        for each in self.collections:
            ctx.lease.require_held(each.target)
        list(ctx.workers.map(lambda job: ctx.target.commit_import(*job), waiting))
        self._wait(ctx)
        jobs = sum(len(sent_requests(ctx.ledger, each.target, ctx.run_id)) for each in self.collections)
        return Outcome(detail=f"{jobs} import job{'' if jobs == 1 else 's'} committed")

    def _wait(self, ctx: StepContext) -> None:
        total = sum(1 for _ in self._uncommitted(ctx.ledger, ctx.run_id))

        def look(_: float) -> Look:
            left = len(self._left(ctx))
            return Look(is_over=left == 0, done=total - left, total=total, unit="jobs")

        wait_until_over(ctx, look, doing="target shows what was imported")

    def _left(self, ctx: StepContext) -> list[tuple[CollectionRef, int, ImportState]]:
        """The jobs that are not committed; those that are by now are noted: a server forgets them in hours."""
        left: list[tuple[CollectionRef, int, ImportState]] = []
        for ref, requests in self._by_collection(ctx.ledger, ctx.run_id):
            listed = {job.job_id: job.state for job in ctx.target.list_import_jobs(ref)}
            for request, job_id in requests:
                state = _require_sound(ref, job_id, listed.get(job_id) or _state(ctx.target, ref, job_id))
                if state is ImportState.COMPLETED:
                    ctx.ledger.note(request.tag.batch_key, {"is_committed": True})
                else:
                    left.append((ref, job_id, state))
        return left

    def _by_collection(
        self, ledger: LedgerReader, run_id: str
    ) -> Iterator[tuple[CollectionRef, list[tuple[SentRequest, int]]]]:
        for each in self.collections:
            requests = [
                (request, request.job_id)
                for request in sent_requests(ledger, each.target, run_id)
                if not request.is_committed and request.job_id is not None
            ]
            if requests:
                yield each.target, requests

    def _uncommitted(self, ledger: LedgerReader, run_id: str) -> Iterator[int]:
        for _, requests in self._by_collection(ledger, run_id):
            yield from (job_id for _, job_id in requests)


def _state(target: MilvusReader, ref: CollectionRef, job_id: int) -> ImportState | None:
    job = target.find_import_job(ref, job_id)
    return None if job is None else job.state


def _require_sound(ref: CollectionRef, job_id: int, state: ImportState | None) -> ImportState:
    """The state, if the job can be or is committed.

    Raises:
        ImportJobFailed: It failed while it waited: somebody aborted it, or the target gave it up.
        StepInDoubt: The target does not know it.
    """
    if state is None:
        raise StepInDoubt(
            f"the target no longer remembers import job {job_id} into {ref.short}, which was to be committed",
            hint=f"compare count(*) of {ref.short} with the source; {GIVE_UP}",
        )
    if state is ImportState.FAILED:
        raise ImportJobFailed(
            f"import job {job_id} into {ref.short} was given up while it waited to be committed",
            hint="see who aborted it; give the run up with migrator rollback, and plan again",
        )
    return state


def _require_counted(ledger: LedgerReader, each: ImportedCollection) -> None:
    """Raise where jobs brought surely another number of rows than there were at the cut.

    Nothing is sure of a source that moved or was not counted, nor where rows expire: files have those, counts have not.
    """
    dump = frozen_dump(ledger, each.source)
    if not dump.held_still or dump.late_deletes or dict(dump.collection.properties).get(_TTL, "0") != "0":
        return
    brought = imported_by_partition(ledger, each.target)
    for partition, counted, rows in _both(dump.rows_at_cut, brought):
        if counted != rows:
            raise VerificationFailed(
                f"the import jobs of {each.target.short} brought {rows:,} rows{partition}, and {each.source.short} had "
                f"{counted:,} at the cut: nothing of this run was committed",
                hint="look at the run with migrator status; migrator rollback takes back what was imported",
            )


def _both(at_cut: Mapping[str, int], brought: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """Where, the source's count, and the rows that jobs brought; of what was counted only."""
    for name, counted in at_cut.items():
        if name == WHOLE:
            yield "", counted, sum(brought.values())
        else:
            yield f" of partition {name!r}", counted, brought.get(name, 0)
