"""Snapshots of 3.0 in Milvus's messages: taken, described, dropped, restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.adapters.milvus_messages import milvus_pb2
from migrator.errors import MilvusRefused, MilvusUnimplemented
from migrator.model.collection import CollectionRef
from migrator.model.snapshot import RestoreJob, RestoreState, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.adapters.milvus_values import Message

    Call = Callable[[str, Message, str, float], Message]
    """Sends a request by its method, what it is about, and how long it may take (seconds), errors translated."""

_QUICK_S, _SLOW_S = 30.0, 120.0
_ANY_JOB = 1
"""Whether a server knows of a job is no matter where only the call is looked for."""
_FORGOTTEN = ("not found", "not exist")
"""In a refusal, lower case: which code it has, is not known."""
_STATES = {
    0: RestoreState.PENDING,
    1: RestoreState.PENDING,
    2: RestoreState.RUNNING,
    3: RestoreState.COMPLETED,
    4: RestoreState.FAILED,
}


class Snapshots:
    """What a server of 3.0 does with snapshots; older ones answer each call with `MilvusUnimplemented`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def are_there(self, ref: CollectionRef) -> bool:
        """Whether the server can list them."""
        try:
            self._names(ref)
        except MilvusUnimplemented:
            return False
        return True

    def restores_elsewhere(self) -> bool:
        """Whether it knows jobs of export; the calls of 3.0.0 are there, and say that they are not implemented."""
        try:
            request = milvus_pb2.GetExportSnapshotStateRequest(job_id=_ANY_JOB)
            self._call("GetExportSnapshotState", request, "", _QUICK_S)
        except MilvusUnimplemented:
            return False
        except MilvusRefused as error:
            if not _is_forgotten(error):
                raise
        return True

    def _names(self, ref: CollectionRef) -> list[str]:
        request = milvus_pb2.ListSnapshotsRequest(db_name=ref.database, collection_name=ref.name)
        return list(self._call("ListSnapshots", request, ref.short, _QUICK_S).snapshots)

    def find(self, ref: CollectionRef, name: str) -> Snapshot | None:
        """By its name, among the collection's."""
        if name not in self._names(ref):
            return None
        request = milvus_pb2.DescribeSnapshotRequest(name=name, db_name=ref.database, collection_name=ref.name)
        found = self._call("DescribeSnapshot", request, f"{ref.short}/{name}", _QUICK_S)
        return Snapshot(name=found.name, created_ts=found.create_ts, location=found.s3_location)

    def create(self, ref: CollectionRef, name: str) -> None:
        """Without a protection of its own: the snapshot keeps its files as long as it is there."""
        request = milvus_pb2.CreateSnapshotRequest(
            name=name, description="made by migrator", db_name=ref.database, collection_name=ref.name
        )
        self._call("CreateSnapshot", request, f"{ref.short}/{name}", _SLOW_S)

    def drop(self, ref: CollectionRef, name: str) -> None:
        """Where it is there: what a server says of one that is not, is not known."""
        if name in self._names(ref):
            request = milvus_pb2.DropSnapshotRequest(name=name, db_name=ref.database, collection_name=ref.name)
            self._call("DropSnapshot", request, f"{ref.short}/{name}", _SLOW_S)

    def restore(self, source: CollectionRef, name: str, ref: CollectionRef) -> int:
        """Of this server's own snapshot."""
        request = milvus_pb2.RestoreSnapshotRequest(
            name=name,
            db_name=source.database,
            collection_name=source.name,
            target_db_name=ref.database,
            target_collection_name=ref.name,
        )
        return int(self._call("RestoreSnapshot", request, ref.short, _SLOW_S).job_id)

    def restore_elsewhere(self, location: str, ref: CollectionRef) -> int:
        """With the server's own credentials, which an empty `external_spec` stands for."""
        request = milvus_pb2.RestoreExternalSnapshotRequest(
            db_name=ref.database, target_collection_name=ref.name, snapshot_metadata_uri=location
        )
        return int(self._call("RestoreExternalSnapshot", request, ref.short, _SLOW_S).job_id)

    def find_restore(self, job_id: int) -> RestoreJob | None:
        """One job."""
        request = milvus_pb2.GetRestoreSnapshotStateRequest(job_id=job_id)
        try:
            return _job(self._call("GetRestoreSnapshotState", request, f"job {job_id}", _QUICK_S).info)
        except MilvusRefused as error:
            if _is_forgotten(error):
                return None
            raise

    def list_restores(self, ref: CollectionRef) -> tuple[RestoreJob, ...]:
        """Which collections a server would leave out by the request's own names is not known: it gets none."""
        jobs = self._call("ListRestoreSnapshotJobs", milvus_pb2.ListRestoreSnapshotJobsRequest(), "", _QUICK_S).jobs
        return tuple(job for job in map(_job, jobs) if job.target == ref)


def _job(info: Message) -> RestoreJob:
    return RestoreJob(
        job_id=info.job_id,
        target=CollectionRef(info.db_name or "default", info.collection_name),
        snapshot_name=info.snapshot_name,
        state=_state(info),
        progress_percent=info.progress,
        failure=info.reason,
    )


def _state(info: Message) -> RestoreState:
    if (state := _STATES.get(info.state)) is None:
        raise MilvusRefused(
            f"the target tells of restore {info.job_id} of {info.collection_name} in the state {info.state}, which "
            f"this version of migrator does not know",
            hint="look at the restore there; then use a newer migrator, and migrator apply --resume",
        )
    return state


def _is_forgotten(error: MilvusRefused) -> bool:
    return any(text in error.message.lower() for text in _FORGOTTEN)
