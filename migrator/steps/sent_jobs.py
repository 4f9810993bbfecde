"""Finding the import jobs of a run again: by tag where the server echoes options, else by collection, age and paths."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from migrator.errors import StepInDoubt
from migrator.model.import_job import ImportState, lies_below
from migrator.steps.base import GIVE_UP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.collection import CollectionRef
    from migrator.model.import_job import ImportJob, SentRequest
    from migrator.ports.milvus import MilvusReader


def settle_s(target: MilvusReader) -> float:
    """For how long a request whose reply was lost may still turn up as a job of `target`."""
    return target.capabilities.settle_s


def own_jobs(target: MilvusReader, refs: Iterable[CollectionRef], run_id: str) -> list[ImportJob]:
    """The run's import jobs into `refs`, which it made, as far as the target remembers them."""
    asked = sorted(refs)
    if asked and target.capabilities.echoes_options:  # which tells of all jobs of a database at once
        asked = [next(group) for _, group in groupby(asked, key=lambda ref: ref.database)]
    return [job for ref in asked for job in target.list_import_jobs(ref) if job.is_of_run(run_id)]


def waiting_jobs(target: MilvusReader, ref: CollectionRef) -> list[ImportJob]:
    """Those that wait to be committed; their rows are in no segment that a server lists."""
    if not target.capabilities.auto_commit:
        return []
    return [job for job in target.list_import_jobs(ref) if job.state is ImportState.UNCOMMITTED]


def find_sent(
    target: MilvusReader, ref: CollectionRef, request: SentRequest, *, known: tuple[str, ...] | None = None
) -> tuple[ImportJob | None, bool]:
    """The job that came of a request whose reply was lost, and whether what was not found is not there.

    A job that has not begun tells no paths: it may be the one, and nobody can say yet.

    Raises:
        StepInDoubt: A job that can have come of it brought rows, and tells paths that begin with none of `known`,
            which is every one unless it is given.
    """
    undecided = False
    for listed in target.list_import_jobs(ref):
        if not request.may_be(listed):
            continue
        job = listed if listed.tags else target.find_import_job(ref, listed.job_id)
        if job is None:
            continue
        if job.tags or request.names_paths_of(job):
            return job, True
        _require_known(ref, job, known)
        undecided = undecided or not (job.paths or job.state.is_over)
    return None, not undecided


def _require_known(ref: CollectionRef, job: ImportJob, known: tuple[str, ...] | None) -> None:
    is_told = bool(job.paths) and (known is None or all(lies_below(path, known) for path in job.paths))
    if job.state is ImportState.FAILED or is_told or not (job.paths or job.rows):
        return
    raise StepInDoubt(
        f"import job {job.job_id} into {ref.short} is of files that this run did not ask for"
        f"{f' ({job.paths[0]})' if job.paths else ''}",
        hint=f"see who imports into {ref.short}; {GIVE_UP}",
    )
