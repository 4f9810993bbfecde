"""The Milvus that contract tests are about: fixture `subject`, one in memory and a real server after the other."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.memory import MemoryMilvus, MemoryStore
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.model.collection import Collection, CollectionRef, CollectionSchema, ConsistencyLevel, LoadState
from migrator.model.import_job import ImportJob, ImportState, ImportTag
from migrator.model.segment import LogKind, SegmentBatch, parse_binlog
from migrator.running.clock import SystemClock
from migrator.steps.flush import flush_and_wait
from tests.support.builders import FakeClock, a_schema, an_index
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from migrator.model.rows import Key
    from migrator.model.segment import Binlog
    from migrator.ports.milvus import FlushResult
    from tests.support.bench import Bench

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Subject:
    """One Milvus with its store, and rows written the way an application does."""

    milvus: MemoryMilvus | GrpcMilvus
    store: MemoryStore | ObstoreStore
    root: str
    clock: FakeClock | SystemClock

    def insert(self, ref: CollectionRef, rows: list[dict[str, object]], partition: str | None = None) -> None:
        """Rows that grow."""
        if isinstance(self.milvus, MemoryMilvus):
            self.milvus.insert(ref, rows, partition)
            return
        with connected(self.milvus.uri, ref.database) as client:
            client.insert(ref.name, rows, partition_name=partition or "")

    def delete(self, ref: CollectionRef, ids: Iterable[Key]) -> None:
        """Rows that go."""
        if isinstance(self.milvus, MemoryMilvus):
            self.milvus.delete(ref, ids)
            return
        with connected(self.milvus.uri, ref.database) as client:
            client.delete(ref.name, ids=list(ids))

    def create(self, schema: CollectionSchema | None = None, *, num_partitions: int | None = None) -> CollectionRef:
        """A collection of a name nobody has used."""
        ref = CollectionRef("default", f"c_{secrets.token_hex(6)}")
        self.request(ref, schema or a_schema(), num_partitions=num_partitions)
        return ref

    def request(self, ref: CollectionRef, schema: CollectionSchema, *, num_partitions: int | None = None) -> None:
        """Ask for a collection."""
        self.milvus.create_collection(
            ref,
            schema,
            shards_num=1,
            num_partitions=num_partitions,
            consistency_level=ConsistencyLevel.BOUNDED,
            properties=(("collection.ttl.seconds", "0"),),
        )

    def flush(self, ref: CollectionRef) -> FlushResult:
        """Flush to the end."""
        return flush_and_wait(self.milvus, [ref], self.clock)[ref]

    def load(self, ref: CollectionRef, *partitions: str) -> None:
        """Load to the end."""
        self.milvus.load(ref, partitions=partitions, replica_number=1)
        self.until(lambda: self.milvus.load_state(ref) is LoadState.LOADED)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what has to become so."""
        deadline = self.clock.monotonic() + PATIENCE_S
        while not is_so():
            assert self.clock.monotonic() < deadline
            self.clock.sleep(0.3)

    def find(self, ref: CollectionRef) -> Collection:
        """What has to be there."""
        found = self.milvus.find_collection(ref)
        assert found is not None
        return found

    def binlogs(self, ref: CollectionRef) -> list[Binlog]:
        """What lies of a collection below the root path."""
        collection_id = self.find(ref).collection_id
        objects = (o for k in LogKind for o in self.store.list_objects(f"{self.root}/{k}/{collection_id}"))
        return [binlog for found in objects if (binlog := parse_binlog(found, self.root)) is not None]

    def batch(self, ref: CollectionRef, **changes: Any) -> SegmentBatch:  # noqa: ANN401 - any member
        """A request for all that the first partition of `ref` holds, straight from where it lies."""
        found = self.find(ref)
        segments = self.milvus.list_segments(ref)
        folder = f"{found.collection_id}/{found.partitions[0].partition_id}/"
        batch = SegmentBatch(
            number=1,
            partition_id=found.partitions[0].partition_id,
            partition_name="_default",
            segment_ids=tuple(segment.segment_id for segment in segments),
            rows=sum(segment.num_rows for segment in segments),
            objects=0,
            delta_objects=0,
            size_bytes=0,
            entries=((f"{self.root}/{LogKind.INSERT}/{folder}", f"{self.root}/{LogKind.DELTA}/{folder}"),),
        )
        return replace(batch, **changes)

    def bring(self, ref: CollectionRef, batch: SegmentBatch, *, end_ts: int | None = None) -> ImportJob:
        """Import to the end."""
        bound = self.milvus.allocate_timestamp() if end_ts is None else end_ts
        tag = ImportTag(run_id="run-1", batch_key="contract", attempt=1)
        job_id = self.milvus.start_import(ref, batch, end_ts=bound, tag=tag)
        over = {ImportState.COMPLETED, ImportState.FAILED}
        self.until(lambda: self.get_job(ref, job_id).state in over)
        return self.get_job(ref, job_id)

    def get_job(self, ref: CollectionRef, job_id: int) -> ImportJob:
        """What has to be there."""
        job = self.milvus.find_import_job(ref, job_id)
        assert job is not None
        return job

    def count(self, ref: CollectionRef) -> int:
        """Index, load and count."""
        self.milvus.create_index(ref, an_index())
        self.load(ref)
        return self.milvus.count_rows(ref)


@pytest.fixture(params=["memory", "server"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """One in memory, and a real one."""
    if request.param == "memory":
        clock, store = FakeClock(), MemoryStore()
        yield Subject(MemoryMilvus("memory", store, "files_A", clock), store, "files_A", clock)
        return
    bench: Bench = request.getfixturevalue("bench")
    store_of_server = ObstoreStore(
        StoreEndpoint(
            plan_field="source.storage",
            bucket=bench.state.bucket,
            endpoint=bench.state.s3_endpoint,
            access_key_id=bench.state.access_key_id,
            secret_access_key=bench.state.secret_access_key,
        )
    )
    milvus = GrpcMilvus(MilvusEndpoint(uri=bench.a.uri, plan_field="source.milvus"))
    yield Subject(milvus, store_of_server, bench.a.root_path, SystemClock())
    milvus.close()
