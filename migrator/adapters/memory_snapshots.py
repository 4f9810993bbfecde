"""Snapshots of a Milvus in memory, as the facts tell of 3.0: of what is flushed, restored by jobs that take a while."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from migrator.errors import MilvusRefused, MilvusUnimplemented
from migrator.model.segment import ALL_PARTITIONS, SegmentState
from migrator.model.snapshot import RestoreJob, RestoreState, Snapshot, is_whole_uri

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from migrator.adapters.memory import MemoryStore, _Held, _Segment
    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import CollectionRef
    from migrator.ports.clock import Clock

RESTORE_S = 2.0
"""How long a restore takes."""


@dataclass(slots=True)
class _Restore:
    """A job, what it makes, and when that is there."""

    job: RestoreJob
    made: _Held
    due: float


class MemorySnapshots:
    """What a server in memory does with snapshots; `failure` is the reason why the next restore fails."""

    def __init__(
        self,
        *,
        store: MemoryStore,
        root_path: str,
        clock: Clock,
        server: Capabilities,
        next_id: Callable[[], int],
        databases: MutableMapping[str, dict[str, _Held]],
        write_logs: Callable[[_Held, _Segment], None],
    ) -> None:
        self._store = store
        self._root = root_path
        self._clock = clock
        self._server = server
        self._next_id = next_id
        self._databases = databases
        self._write_logs = write_logs
        self._own: dict[tuple[CollectionRef, str], Snapshot] = {}
        self._jobs: dict[int, _Restore] = {}
        self.failure = ""

    # -- snapshots --------------------------------------------------------------------------------------------------

    def names(self, ref: CollectionRef) -> list[str]:
        """Those of a collection."""
        return [name for owner, name in self._own if owner == ref]

    def find(self, ref: CollectionRef, name: str) -> Snapshot | None:
        """By its name."""
        return self._own.get((ref, name))

    def create(self, ref: CollectionRef, name: str) -> None:
        """Of the flushed segments; refused where the name is taken."""
        if (ref, name) in self._own:
            raise MilvusRefused(f"snapshot {name} already exists")
        held = copy.deepcopy(self._databases[ref.database][ref.name])
        held.segments = [each for each in held.segments if each.state is SegmentState.FLUSHED]
        held.loaded = set()
        number = self._next_id()
        key = f"{self._root}/snapshots/{held.base.collection_id}/metadata/{number}.json"
        self._store.write(key, b"{}")
        self._store.snapshots[key] = held
        location = f"s3://{self._store.bucket}/{key}"
        self._own[ref, name] = Snapshot(name=name, created_ts=self._next_id(), location=location)

    def drop(self, ref: CollectionRef, name: str) -> None:
        """One that is not there counts as dropped."""
        found = self._own.pop((ref, name), None)
        if found is not None:
            key = self._key(found.location)
            self._store.delete([key])
            del self._store.snapshots[key]

    def _key(self, location: str) -> str:
        return location.removeprefix(f"s3://{self._store.bucket}/")

    # -- restores ---------------------------------------------------------------------------------------------------

    def restore(self, source: CollectionRef, name: str, ref: CollectionRef) -> int:
        """Of an own one."""
        return self._begin(self._own[source, name].location, name, ref)

    def restore_elsewhere(self, location: str, ref: CollectionRef) -> int:
        """Of one in the same bucket, whoever took it."""
        if not self._server.exports_snapshots:
            raise MilvusUnimplemented("not implemented: service unimplemented")
        if not is_whole_uri(location) or self._key(location) not in self._store.snapshots:
            raise MilvusRefused(f"snapshot_metadata_uri is not complete: {location}")
        return self._begin(location, "", ref)

    def _begin(self, location: str, name: str, ref: CollectionRef) -> int:
        self.work()
        if ref.name in self._databases[ref.database]:
            raise MilvusRefused(f"collection {ref.name} already exists")
        held = copy.deepcopy(self._store.snapshots[self._key(location)])
        job = RestoreJob(job_id=self._next_id(), target=ref, snapshot_name=name, state=RestoreState.RUNNING)
        self._jobs[job.job_id] = _Restore(job, held, self._clock.monotonic() + RESTORE_S)
        return job.job_id

    def find_restore(self, job_id: int) -> RestoreJob | None:
        """As it is now."""
        self.work()
        return self._jobs[job_id].job if job_id in self._jobs else None

    def list_restores(self, ref: CollectionRef) -> tuple[RestoreJob, ...]:
        """All into that name there ever were."""
        self.work()
        return tuple(each.job for each in self._jobs.values() if each.job.target == ref)

    def forget_restores(self) -> None:
        """As a server does after a time."""
        self._jobs.clear()

    def work(self) -> None:
        """Bring what is due to its end; a restore that fails leaves the collection, and no rows in it."""
        now = self._clock.monotonic()
        for each in self._jobs.values():
            if each.job.state.is_over or now < each.due:
                continue
            failure, self.failure = self.failure, ""
            self._put(each.job.target, each.made, is_whole=not failure)
            state = RestoreState.FAILED if failure else RestoreState.COMPLETED
            each.job = replace(each.job, state=state, failure=failure, progress_percent=0 if failure else 100)

    def _put(self, ref: CollectionRef, held: _Held, *, is_whole: bool) -> None:
        """Ids of fields and indexes are kept; of collection, partitions and segments they are new."""
        ids = {ALL_PARTITIONS: ALL_PARTITIONS}
        held.base = replace(held.base, ref=ref, collection_id=self._next_id(), created_ts=self._next_id())
        for number, partition in enumerate(held.partitions):
            ids[partition.partition_id] = self._next_id()
            held.partitions[number] = replace(partition, partition_id=ids[partition.partition_id])
        held.aliases = set()
        held.segments = held.segments if is_whole else []
        for segment in held.segments:
            segment.segment_id, segment.partition_id = self._next_id(), ids[segment.partition_id]
            segment.state, segment.written_deletes = SegmentState.FLUSHING, 0
            self._write_logs(held, segment)
        self._databases[ref.database][ref.name] = held
