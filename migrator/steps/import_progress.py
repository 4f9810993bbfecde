"""How far the import jobs of a collection are, in words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.import_job import ImportState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from migrator.model.import_job import ImportJob
    from migrator.model.segment import SegmentBatch
    from migrator.steps.base import ProgressReport


def tell_imports(
    progress: ProgressReport,
    batches: Sequence[SegmentBatch],
    waiting: Iterable[SegmentBatch],
    under_way: Sequence[tuple[SegmentBatch, ImportJob]],
) -> None:
    """Say what is waited for, `import 2 of 7, 40 %, job 4512`; a job under way counts by its percentage."""
    unbegun = list(waiting)
    total = sum(batch.rows for batch in batches)
    left = sum(batch.rows for batch in unbegun)
    left += sum(round(batch.rows * (100 - job.progress_percent) / 100) for batch, job in under_way)
    over = len(batches) - len(unbegun) - len(under_way)
    progress(
        _in_words([job for _, job in under_way], over, len(batches)),
        done=total - left,
        total=total,
        unit="rows",
        jobs_done=over,
        jobs=len(batches),
    )


def _in_words(jobs: Sequence[ImportJob], over: int, total: int) -> str:
    """Of the job that runs, or of the first that is queued: the target takes one at a time."""
    if not jobs:
        return "imports"
    job = next((each for each in jobs if each.state is ImportState.RUNNING), jobs[0])
    queued = "" if job.state is ImportState.RUNNING else ", queued"
    return f"import {over + 1} of {total}, {job.progress_percent} %{queued}, job {job.job_id}"
