"""An import job: one bulk-insert request and the task the target makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from migrator.model.timestamps import physical_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

TAG_RUN = "mig_run"
TAG_STEP = "mig_step"
TAG_ATTEMPT = "mig_attempt"
"""Option keys of our own; Milvus 2.3 ignores them and returns them with the task, which makes it findable."""
NO_FILES = "no binlog to import"
"""In reasons, lower case: the server sees nothing under a prefix."""
_SKEW_MS = 2000
"""Job ids come from the allocator of timestamps; a node may hold some in stock."""


class ImportState(StrEnum):
    """Where an import job is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    UNCOMMITTED = "uncommitted"
    """All is written, and nobody sees it before the job is committed (Milvus 3.0)."""

    @property
    def is_over(self) -> bool:
        """Whether the server does no more about it by itself."""
        return self in {ImportState.COMPLETED, ImportState.FAILED, ImportState.UNCOMMITTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTag:
    """What marks a request as ours: the run, the batch of a step, and which attempt at it."""

    run_id: str
    batch_key: str
    attempt: int

    def as_options(self) -> dict[str, str]:
        """The option keys and values that travel with the request."""
        return {TAG_RUN: self.run_id, TAG_STEP: self.batch_key, TAG_ATTEMPT: str(self.attempt)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJob:
    """One job as the target reports it; `rows` is what it brought, meaningful once completed.

    `paths` begin with the prefixes it was asked for. From Milvus 2.4 on they are told once the job has tasks, and only
    by `find_import_job`; `tags` are not told at all.
    """

    job_id: int
    state: ImportState
    rows: int
    progress_percent: int
    paths: tuple[str, ...]
    tags: tuple[tuple[str, str], ...] = ()
    failure: str = ""

    @property
    def is_lost_to_restart(self) -> bool:
        """Whether it failed only because the server went down or ran out of its own time: another attempt helps."""
        return any(text in self.failure for text in ("service restarted", "timed out", "has timeout"))

    @property
    def found_no_files(self) -> bool:
        """Whether it failed because the server saw no files where it was told to look (Milvus 2.4 and later)."""
        return NO_FILES in self.failure.lower()

    def has_tag(self, tag: ImportTag) -> bool:
        """Whether this job is the request that was sent with `tag`."""
        return set(tag.as_options().items()) <= set(self.tags)

    def is_of_run(self, run_id: str) -> bool:
        """Whether it is of that run, if it is into a collection that the run made: untagged ones can be of no other."""
        return not self.tags or (TAG_RUN, run_id) in self.tags


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """The last request of a batch; `job_id` is None until it is known, `rows` until it was seen to be complete.

    `is_committed` is False while rows that are in wait to be committed, as far as the run knows. `prefixes` begin the
    entries of the request. `past_ids` are the jobs of earlier attempts.
    """

    tag: ImportTag
    intent_ts: int
    intent_at: float
    job_id: int | None
    rows: int | None
    is_committed: bool = True
    prefixes: tuple[str, ...] = ()
    past_ids: tuple[int, ...] = ()

    def may_be(self, job: ImportJob) -> bool:
        """Whether the job can have come of it, by tag or by age; of an untagged one its paths have to decide."""
        if self.job_id is not None:
            return job.job_id == self.job_id
        if job.tags:
            return job.has_tag(self.tag)
        is_younger = physical_ms(job.job_id) >= physical_ms(self.intent_ts) - _SKEW_MS
        return is_younger and job.job_id not in self.past_ids

    def names_paths_of(self, job: ImportJob) -> bool:
        """Whether the job reads what it asked for, and nothing else."""
        return bool(job.paths) and all(lies_below(path, self.prefixes) for path in job.paths)


def lies_below(path: str, prefixes: Iterable[str]) -> bool:
    """Whether a path that a job tells begins with one of `prefixes`, part by part.

    Servers differ in slashes at either end; behind the path the one of its deletes may stand, after a blank.
    """
    told = path.lstrip("/")
    bare = (prefix.strip("/") for prefix in prefixes)
    return any(told == prefix or told.startswith((f"{prefix}/", f"{prefix} ")) for prefix in bare)
