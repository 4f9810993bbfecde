"""Snapshots of Milvus 3.0, and the jobs that make collections of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.model.collection import CollectionRef


class SnapshotWay(StrEnum):
    """How a target comes by a snapshot of the source."""

    WITHIN = "within"
    """Source and target are one Milvus, which restores it by its name."""
    REFERENCE = "reference"
    """The target reads it where the source has it: both keep their files in one bucket."""


class RestoreState(StrEnum):
    """How far a restore is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more."""
        return self in {RestoreState.COMPLETED, RestoreState.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot as its server describes it; `location` is the URI of its metadata, `created_ts` hybrid."""

    name: str
    created_ts: int
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSnapshots:
    """What both servers answer when they are asked for snapshots, and whether they keep files in one bucket."""

    at_source: bool
    at_target: bool
    """Whether the target restores those of other clusters."""
    shares_store: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreJob:
    """A restore as the target tells of it; `snapshot_name` may be empty where it came from elsewhere."""

    job_id: int
    target: CollectionRef
    snapshot_name: str
    state: RestoreState
    progress_percent: int = 0
    failure: str = ""


def snapshot_name(run_id: str, collection_id: int) -> str:
    """The name of a run's snapshot of a collection; Milvus takes none that begins with a digit."""
    return f"migrator_{re.sub(r'[^A-Za-z0-9]', '_', run_id)}_{collection_id}"


_METADATA = re.compile(r"[a-z0-9]+://[^/?#@\s]+/(?:[^?#\s]+/)?snapshots/\d+/metadata/\d+\.json")


def is_whole_uri(location: str) -> bool:
    """Whether a restore from elsewhere takes it: scheme and place, the metadata's own path, and nothing more."""
    return _METADATA.fullmatch(location) is not None and ".." not in location
