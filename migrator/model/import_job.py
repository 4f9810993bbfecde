"""An import job: one bulk-insert request and the task the target makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TAG_RUN = "mig_run"
TAG_STEP = "mig_step"
TAG_ATTEMPT = "mig_attempt"
"""Option keys of our own; Milvus 2.3 ignores them and returns them with the task, which makes it findable."""


class ImportState(StrEnum):
    """Where an import job is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


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
    """One job as the target reports it; `rows` is what it brought, meaningful once completed."""

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

    def has_tag(self, tag: ImportTag) -> bool:
        """Whether this job is the request that was sent with `tag`."""
        return set(tag.as_options().items()) <= set(self.tags)
