"""Delta logs that are written here do at a real server what its own would have done."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import DataType as ClientType
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from migrator.adapters.binlog_writer import delta_log
from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.model.collection import CollectionRef
from migrator.model.segment import ALL_PARTITIONS, Binlog, LogKind, Segment, StoredObject, parse_binlog
from migrator.ports.rows import L0Deletes
from migrator.running.clock import SystemClock
from migrator.steps.flush import flush_and_wait
from tests.support import sources
from tests.support.portraits import connected, wait_until_indexed

if TYPE_CHECKING:
    from migrator.model.rows import Key
    from tests.support.bench import Bench

ROWS = 400
L0 = Segment(7, ALL_PARTITIONS, 0)


def key(number: int, kind: ClientType) -> Key:
    return number if kind == ClientType.INT64 else f"key-{number:04d}-äß漢"


def create(uri: str, name: str, kind: ClientType) -> None:
    with connected(uri) as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        length = {"max_length": 60} if kind == ClientType.VARCHAR else {}
        schema.add_field("id", kind, is_primary=True, **length)
        schema.add_field("vector", ClientType.FLOAT_VECTOR, dim=sources.DIMENSION)
        client.create_collection(name, schema=schema, num_shards=1)
        sources._index(client, name, "vector", index_type="FLAT", metric_type="L2")


def brought(client: Any, name: str, files: list[str]) -> int:  # noqa: ANN401 - pymilvus has no types
    """The rows of an import, once it is over."""
    stub = client._get_connection()._stub
    options = [common_pb2.KeyValuePair(key="backup", value="true")]
    request = milvus_pb2.ImportRequest(collection_name=name, partition_name="_default", files=files, options=options)
    (task,) = stub.Import(request, timeout=60).tasks
    for _ in range(240):
        reply = stub.GetImportState(milvus_pb2.GetImportStateRequest(task=task), timeout=30)
        if reply.state in {common_pb2.ImportCompleted, common_pb2.ImportFailed}:
            assert reply.state == common_pb2.ImportCompleted, reply.infos
            return int(reply.row_count)
        time.sleep(0.25)
    raise AssertionError("the import did not end")


@pytest.mark.parametrize("kind", [ClientType.INT64, ClientType.VARCHAR])
def test_deletes_of_an_l0_segment_take_just_the_rows_they_should(bench: Bench, kind: ClientType) -> None:
    name = f"deletes_by_{kind.name.lower()}"
    for uri in (bench.a.uri, bench.b.uri):
        create(uri, name, kind)
    vectors = sources._vectors(ROWS, seed=1)
    with connected(bench.a.uri) as client:
        client.insert(name, [{"id": key(n, kind), "vector": vectors[n]} for n in range(ROWS)])
    state = bench.state
    store = ObstoreStore(
        StoreEndpoint(
            plan_field="source.storage",
            bucket=state.bucket,
            endpoint=state.s3_endpoint,
            access_key_id=state.access_key_id,
            secret_access_key=state.secret_access_key,
        )
    )
    milvus = GrpcMilvus(MilvusEndpoint(uri=bench.a.uri, plan_field="source.milvus"))
    ref = CollectionRef("default", name)
    cut_ts = flush_and_wait(milvus, [ref], SystemClock())[ref].cut_ts
    collection, (segment,) = milvus.find_collection(ref), milvus.list_segments(ref)
    milvus.close()
    assert collection is not None
    root = bench.a.root_path
    folder = f"{root}/{LogKind.INSERT}/{collection.collection_id}"
    found = [parse_binlog(each, root) for each in store.list_objects(folder)]
    inserts = [log for log in found if log is not None and log.segment_id == segment.segment_id]

    deletes = [(key(n, kind), cut_ts) for n in (*range(50), 10_000)]
    deletes += [(key(n, kind), 1) for n in range(50, 60)]  # older than the rows
    deletes += [(key(60, kind), cut_ts + (1 << 30))]  # later than the bound
    of_all = delta_log(
        deletes,
        L0,
        collection_id=collection.collection_id,
        key_type=collection.schema.primary_field.data_type,
        written_ts=cut_ts,
    )
    place = f"written/{name}"
    store.write(f"{place}/l0", of_all)
    l0 = Binlog(
        kind=LogKind.DELTA,
        collection_id=collection.collection_id,
        partition_id=ALL_PARTITIONS,
        segment_id=L0.segment_id,
        field_id=None,
        log_id=1,
        source=StoredObject(f"{place}/l0", len(of_all)),
    )
    wanted = L0Deletes(
        schema=collection.schema, store=store, binlogs=[l0], key_of=lambda log: log.source.key, end_ts=cut_ts
    )
    with BinlogDumps().fold(wanted) as folded:
        (content,) = folded.logs_of(segment, inserts, written_ts=cut_ts)
        assert folded.later == 1
    for log in inserts:
        store.write(f"{place}/{log.staged_suffix}", store.read(log.source.key))
    ours = replace(l0, partition_id=segment.partition_id, segment_id=segment.segment_id)
    store.write(f"{place}/{ours.staged_suffix}", content)
    parents = [f"{place}/{log.staged_suffix.split(str(segment.segment_id))[0]}" for log in (inserts[0], ours)]

    with connected(bench.b.uri) as client:
        assert brought(client, name, parents) == ROWS - 50
        wait_until_indexed(client, name)
        client.load_collection(name)
        gone = client.query(name, filter=f"id in {[key(n, kind) for n in (*range(50), 10_000)]}", output_fields=["id"])
        kept = client.query(name, filter=f"id in {[key(n, kind) for n in range(50, 61)]}", output_fields=["id"])
        (counted,) = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    assert (gone, len(kept), counted["count(*)"]) == ([], 11, ROWS - 50)
