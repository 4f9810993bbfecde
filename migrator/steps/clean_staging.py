"""`clean_staging`: the run's part of the dump deleted, once everything of the run is done (`staging.keep: false`)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from migrator.model.collection import CollectionRef
from migrator.model.import_job import ImportState
from migrator.model.segment import LogKind
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.dump_claim import drop_claim, read_claims
from migrator.steps.seal_dump import delist, description_key
from migrator.steps.sent_jobs import own_jobs
from migrator.steps.verify_collection import VerifyCollection, found_no_rows
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.steps.base import ReadContext, StepContext

DELETED = "the dump is deleted"
"""What the step says where it did; else it says why the dump is kept."""
KEPT = "kept"
"""The note of a dump that was not deleted, because something was not verified."""
_NAMED = 3
_PAGE = 1000
_UNDER_WAY = {ImportState.PENDING, ImportState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanStaging(Step):
    """Delete what this run copied into the dump; collections that earlier runs of the plan left in it stay.

    It needs every other step of the run, so that nothing is deleted where something failed; and nothing is where a
    verification was to compare rows and could not. The meta files go first: what is half deleted is no dump any more.
    The claim goes last: as long as it is there, this is not done.
    """

    kind: ClassVar[str] = "clean_staging"
    dump_prefix: str
    claims_folder: str
    collection_ids: tuple[int, ...]
    targets: tuple[CollectionRef, ...]

    @property
    def key(self) -> str:
        """One per run."""
        return f"{self.kind}:{self.dump_prefix}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"delete the dump {self.dump_prefix}/ again"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done once the claim is gone."""
        claims = read_claims(ctx.staging, self.claims_folder)
        return Evidence.ABSENT if any(claim.run_id == ctx.run_id for claim in claims) else Evidence.DONE

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Wait until nobody reads what goes, and delete it; what is gone already is no fault."""
        if unread := [key for key in self._verifications() if found_no_rows(ctx.ledger.notes(key))]:
            self.note(ctx, **{KEPT: True})
            names = ", ".join(key.partition(":")[2] for key in unread[:_NAMED])
            return Outcome(detail=f"the dump is kept: no rows could be compared of {names}")
        self._wait_for_readers(ctx)
        ctx.lease.require_dump_held()
        delist(ctx.staging, self.dump_prefix, frozenset(self.collection_ids))
        objects = size_bytes = 0
        for folder in self._folders():
            while page := list(islice(ctx.staging.list_objects(folder), _PAGE)):
                list(ctx.workers.map(lambda each: ctx.staging.delete([each.key]), page))
                objects, size_bytes = objects + len(page), size_bytes + sum(each.size_bytes for each in page)
                ctx.progress("deleting the dump", done=objects, unit="objects")
            ctx.staging.sweep(folder)
        ctx.staging.delete([description_key(self.dump_prefix, ctx.run_id)])
        ctx.staging.sweep(f"{self.dump_prefix}/meta")
        drop_claim(ctx.staging, self.claims_folder, ctx.run_id)
        return Outcome(objects=objects, size_bytes=size_bytes, detail=DELETED)

    def _verifications(self) -> Iterator[str]:
        yield from (key for key in self.needs if key.startswith(f"{VerifyCollection.kind}:"))

    def _folders(self) -> Iterator[str]:
        for collection_id in self.collection_ids:
            yield from (f"{self.dump_prefix}/binlogs/{kind}/{collection_id}" for kind in LogKind)

    def _wait_for_readers(self, ctx: StepContext) -> None:
        """Until no import job of the run is under way: one whose reply was lost may have come about after all."""

        def look(_: float) -> Look:
            own = own_jobs(ctx.target, self.targets, ctx.run_id)
            over = sum(job.state not in _UNDER_WAY for job in own)
            return Look(is_over=over == len(own), done=over, total=len(own), unit="import jobs")

        wait_until_over(ctx, look, doing="target imports")
