"""`drop_forwarded`: what was brought to the target's store for an import goes, once the import is over."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from migrator.model.collection import CollectionRef
from migrator.model.import_job import TAG_STEP, ImportState
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.forward_segments import forwarded_folders, forwarded_prefix
from migrator.steps.import_segments import ImportSegments
from migrator.steps.sent_jobs import own_jobs
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from migrator.model.import_job import ImportJob
    from migrator.steps.base import ReadContext, StepContext

_PAGE = 1000
_UNDER_WAY = {ImportState.PENDING, ImportState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class DropForwarded(Step):
    """Delete what `forward_segments` brought of one collection; the dump stays."""

    kind: ClassVar[str] = "drop_forwarded"
    target: CollectionRef
    collection_id: int
    imports_folder: str

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"delete what was brought to the target's store for the import into {self.target.short}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """What is gone is deleted again, which does nothing."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Wait until no job reads the files, and delete them."""
        wait_until_over(ctx, lambda _: self._look(ctx), doing="target imports")
        objects = size_bytes = 0
        for folder in forwarded_folders(self.imports_folder, ctx.run_id, self.collection_id):
            while page := list(islice(ctx.target_store.list_objects(folder), _PAGE)):
                list(ctx.workers.map(lambda each: ctx.target_store.delete([each.key]), page))
                objects, size_bytes = objects + len(page), size_bytes + sum(each.size_bytes for each in page)
                ctx.progress("deleting what was imported", done=objects, unit="objects")
            ctx.target_store.sweep(folder)
        ctx.target_store.drop_empty_folders(forwarded_prefix(self.imports_folder, ctx.run_id))
        return Outcome(objects=objects, size_bytes=size_bytes)

    def _look(self, ctx: StepContext) -> Look:
        """One whose reply was lost may have come about after all."""
        own = [job for job in own_jobs(ctx.target, [self.target], ctx.run_id) if self._is_own(job)]
        over = sum(job.state not in _UNDER_WAY for job in own)
        return Look(is_over=over == len(own), done=over, total=len(own), unit="import jobs")

    def _is_own(self, job: ImportJob) -> bool:
        batch_key = dict(job.tags).get(TAG_STEP)
        return batch_key is None or batch_key.startswith(f"{ImportSegments.kind}:{self.target}:")
