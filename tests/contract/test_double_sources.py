"""The double as a source: rows and deletes through pymilvus, flushes, L0 segments, orphans, and the next version."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus import DataType, Function, FunctionType, MilvusException
from pymilvus.grpc_gen import milvus_pb2

from tests.support.double_cases import bed, double_of, flushed, run, submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["bed", "double_of"]

_KEYS = list(range(30))


def _row(key: int) -> dict[str, Any]:
    return {"id": key, "text": f"t{key}", "vector": [key / 8, 1.0, 0.0, -key / 16], "beyond": {"n": [key, None]}}


def _make(double: Double, name: str, *, nullable: bool = False) -> None:
    with double.client() as client:
        schema = client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=50, nullable=nullable)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        client.create_collection(name, schema=schema, num_shards=2)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="COSINE")
        client.create_index(name, index)
        client.load_collection(name)


def _fill(double: Double, name: str) -> None:
    """Thirty rows, of which 1 was deleted growing, 2 after a flush, and 3 upserted after it."""
    with double.client() as client:
        client.insert(name, [_row(key) for key in _KEYS])
        client.delete(name, filter="id in [1]")
    flushed(double, name)
    with double.client() as client:
        client.delete(name, filter="id in [2]")
        client.upsert(name, [_row(3) | {"text": "again"}])
    flushed(double, name)


def _told(double: Double, name: str) -> dict[int, Any]:
    with double.client() as client:
        assert client.query(name, "", output_fields=["count(*)"])[0]["count(*)"] == 28
        found = client.query(name, "id >= 0", output_fields=["id", "text", "vector", "beyond"])
    return {row["id"]: dict(row) for row in found}


_EXPECTED = {key: _row(key) | ({"text": "again"} if key == 3 else {}) for key in _KEYS if key not in {1, 2}}


@pytest.mark.parametrize(
    ("source", "target"), [("2.4.5", "2.4.24"), ("2.4.24", "2.5.5"), ("2.5.20", "2.6.12"), ("2.6.12", "2.6.12")]
)
def test_a_collection_with_deletes_moves_on(double_of: DoubleOf, source: str, target: str) -> None:
    a, b, name = double_of(source), double_of(target), f"moves_{source}_{target}".replace(".", "_")
    _make(a, name)
    _fill(a, name)
    assert _told(a, name) == _EXPECTED
    copy = f"{name}_copy"
    _make(b, copy)
    data = [each for each in a.ask("segments", collection=name) if each["level"] != 1 and each["state"] == 4]
    collection_id = _collection_id(a, name)
    version = {"storage_version": "2"} if data[0]["storage_version"] == 2 else {}
    paths = [[f"{a.root_path}/insert_log/{collection_id}/{each['partition_id']}/{each['id']}"] for each in data]
    job = run(b, copy, "_default", paths, backup="true", **version)
    assert job["state"] == "Completed", job
    assert job["importedRows"] == 31
    l0 = [each for each in a.ask("segments", collection=name) if each["level"] == 1]
    prefixes = [[f"{a.root_path}/delta_log/{collection_id}/-1/{each['id']}/"] for each in l0]
    assert "please release it first" in submit(b, copy, "", prefixes[:1], l0_import="true")["message"]
    with b.client() as client:
        client.release_collection(copy)
    if target != "2.6.12":
        assert "one l0 segment" in submit(b, copy, "", prefixes, l0_import="true")["message"]
    for prefix in prefixes:
        assert run(b, copy, "", [prefix], l0_import="true")["state"] == "Completed"
    with b.client() as client:
        client.load_collection(copy)
    assert _told(b, copy) == _EXPECTED


def _collection_id(double: Double, name: str) -> int:
    with double.client() as client:
        return int(client.describe_collection(name)["collection_id"])


def test_deletes_come_before_rows_and_after_their_time(double_of: DoubleOf) -> None:
    """0.2.9, E.6: an L0 import reaches older rows that are there already, and is off on 3.0."""
    a, name = double_of("2.6.12"), "l0_first"
    _make(a, name)
    a.ask("settings", multi_field_deltas=True)
    _fill(a, name)
    a.ask("settings", multi_field_deltas=False)
    collection_id = _collection_id(a, name)
    segments = a.ask("segments", collection=name)
    l0 = [f"{a.root_path}/delta_log/{collection_id}/-1/{each['id']}/" for each in segments if each["level"] == 1]
    data = [
        [f"{a.root_path}/insert_log/{collection_id}/{each['partition_id']}/{each['id']}"]
        for each in segments
        if each["level"] == 2
    ]
    assert (
        "disabled"
        in submit(double_of("3.0.0"), _made(double_of("3.0.0"), name), "", [l0[:1]], l0_import="true")["message"]
    )
    copy = _made(a, f"{name}_copy")
    assert run(a, copy, "", [[each] for each in l0], l0_import="true")["state"] == "Completed"  # several, from 2.6.5 on
    run(a, copy, "_default", data, backup="true", storage_version="2")
    assert len(a.rows(copy)["_default"]) == 31  # too early
    assert run(a, copy, "", [[f"{a.root_path}/delta_log/{collection_id}/-1/"]], l0_import="true")["state"] == "Failed"
    assert run(a, copy, "", [[each] for each in l0], l0_import="true")["state"] == "Completed"
    assert {row["id"] for row in a.rows(copy)["_default"]} == set(_EXPECTED)


def _made(double: Double, name: str) -> str:
    _make(double, name)
    with double.client() as client:
        client.release_collection(name)
    return name


def test_a_segment_is_told_as_the_version_can(double_of: DoubleOf) -> None:
    told = {}
    for version in ("2.4.5", "2.4.24", "2.6.12"):
        double = double_of(version)
        _make(double, "told")
        _fill(double, "told")
        with double.client() as client:
            request = milvus_pb2.GetPersistentSegmentInfoRequest(dbName="default", collectionName="told")
            infos = client._get_connection()._stub.GetPersistentSegmentInfo(request).infos
        told[version] = {(info.level, info.storage_version, info.num_rows > 0) for info in infos}
    assert told["2.4.5"] == {(0, 0, True), (0, 0, False)}
    assert told["2.4.24"] == {(2, 0, True), (1, 0, False)}
    assert told["2.6.12"] == {(2, 2, True), (1, 0, False)}


def test_log_ids_are_told_and_orphans_are_not_among_them(bed: Bed, double_of: DoubleOf) -> None:
    double = double_of("2.5.20")
    _make(double, "orphans")
    _fill(double, "orphans")
    segment = next(each for each in double.ask("segments", collection="orphans") if each["level"] == 2)
    key = double.ask("orphan", collection="orphans", segment_id=segment["id"], field_id=101)
    collection_id = _collection_id(double, "orphans")
    body = {"dbName": "default", "collectionId": collection_id, "segmentIds": [segment["id"]]}
    told = double.rest("segments/describe", body)["data"]["segmentInfos"][0]
    assert {log["fieldID"] for log in told["insertLogs"]} == {0, 1, 100, 101, 102, 103}
    assert told["vChannel"] == segment["vchannel"]
    assert key in bed.keys(key.rpartition("/")[0])
    assert int(key.rpartition("/")[2]) not in next(log for log in told["insertLogs"] if log["fieldID"] == 101)["logIDs"]
    wrong = double.rest("segments/describe", body | {"segmentIds": [str(segment["id"])]})
    assert "of type []int64" in wrong["message"]


def test_compaction_and_garbage(bed: Bed, double_of: DoubleOf) -> None:
    double = double_of("2.6.12")
    _make(double, "compacted")
    _fill(double, "compacted")
    collection_id = _collection_id(double, "compacted")
    before = set(bed.keys(f"{double.root_path}/insert_log/{collection_id}/"))
    with double.client() as client:
        client._get_connection()._stub.ManualCompaction(
            milvus_pb2.ManualCompactionRequest(collectionID=collection_id, l0Compaction=True)
        )
    segments = double.ask("segments", collection="compacted")
    assert all(each["state"] == 6 for each in segments if each["level"] == 1)
    assert any(each["delta_logs"] for each in segments if each["level"] == 2)
    double.ask("compact", collection="compacted")
    assert before <= set(bed.keys(f"{double.root_path}/insert_log/{collection_id}/"))
    assert _told(double, "compacted") == _EXPECTED
    double.ask("collect_garbage")
    assert not before & set(bed.keys(f"{double.root_path}/insert_log/{collection_id}/"))
    assert _told(double, "compacted") == _EXPECTED


def test_flushes_are_limited_per_collection(double_of: DoubleOf) -> None:
    double = double_of("2.5.5")
    _make(double, "limited")
    double.ask("settings", flush_interval_s=10)
    try:
        flushed(double, "limited")
        with double.client() as client:  # which itself would try again for long
            reply = client._get_connection()._stub.Flush(milvus_pb2.FlushRequest(collection_names=["limited"]))
        assert "rate limit exceeded" in reply.status.reason
    finally:
        double.ask("settings", flush_interval_s=0)


def test_new_kinds_of_fields_go_to_where_they_are_known(double_of: DoubleOf) -> None:
    a, b = double_of("2.6.12"), double_of("3.0.0")
    row = {
        "key": "k",
        "maybe": None,
        "many": [1, 2],
        "half": b"\x00\x3c\x00\x40",
        "brain": b"\x80\x3f\x00\x40",
        "few": {3: 0.5, 9: 1.5},
        "small": b"\x01\xff",
    }
    for double in (a, b):
        with double.client() as client:
            schema = client.create_schema(enable_dynamic_field=True)
            schema.add_field("key", DataType.VARCHAR, max_length=9, is_primary=True)
            schema.add_field("maybe", DataType.INT32, nullable=True, default_value=None)
            schema.add_field("many", DataType.ARRAY, element_type=DataType.INT16, max_capacity=4, nullable=True)
            schema.add_field("half", DataType.FLOAT16_VECTOR, dim=2)
            schema.add_field("brain", DataType.BFLOAT16_VECTOR, dim=2)
            schema.add_field("few", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_field("small", DataType.INT8_VECTOR, dim=2)
            client.create_collection("kinds", schema=schema)
            client.add_collection_field("kinds", "late", DataType.INT64, nullable=True)
            fields = client.describe_collection("kinds")["fields"]
            assert [each["field_id"] for each in fields] == [100, 101, 102, 103, 104, 105, 106, 108]  # 107 is `$meta`
    with a.client() as client:
        client.insert("kinds", [row, row | {"key": "l", "maybe": 7, "late": 5, "extra": "x"}])
    flushed(a, "kinds")
    segment = a.ask("segments", collection="kinds")[0]
    path = f"{a.root_path}/insert_log/{_collection_id(a, 'kinds')}/{segment['partition_id']}/{segment['id']}"
    assert run(b, "kinds", "_default", [[path]], backup="true")["state"] == "Failed"  # v2 files, and nobody said so
    assert run(b, "kinds", "_default", [[path]], backup="true", storage_version="2")["state"] == "Completed"
    ids = {"RowID", "Timestamp"}
    found = [[{k: v for k, v in row.items() if k not in ids} for row in d.rows("kinds")["_default"]] for d in (a, b)]
    assert found[0] == found[1]
    assert found[1][1]["late"] == 5
    with double_of("2.5.5").client() as client:
        schema = client.create_schema()
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("small", DataType.INT8_VECTOR, dim=2)
        with pytest.raises(MilvusException, match="not supported"):
            client.create_collection("kinds", schema=schema)


def test_descriptions_have_what_the_version_tells(double_of: DoubleOf) -> None:
    told = {}
    for version in ("2.4.24", "2.5.5", "2.5.20", "3.0.0"):
        with double_of(version).client() as client:
            schema = client.create_schema()
            schema.add_field("key", DataType.INT64, is_primary=True)
            schema.add_field("text", DataType.VARCHAR, max_length=9, nullable=True, enable_analyzer=True)
            schema.add_field("vector", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(
                Function("bm25", FunctionType.BM25, input_field_names=["text"], output_field_names=["vector"])
            )
            client.create_collection("described", schema=schema, properties={"collection.ttl.seconds": "100000"})
            client.create_alias("described", "other")
            request = milvus_pb2.DescribeCollectionRequest(collection_name="other")
            reply = client._get_connection()._stub.DescribeCollection(request)
            client.drop_alias("other")
        assert (reply.collection_name, reply.schema.name, list(reply.aliases)) == ("other", "described", ["other"])
        assert [field.fieldID for field in reply.schema.fields] == [100, 101, 102]
        own = {pair.key for pair in reply.schema.properties}
        told[version] = (reply.schema.fields[1].nullable, len(reply.schema.functions), own, reply.db_id > 0)
    assert told["2.4.24"] == (False, 0, set(), False)
    assert told["2.5.5"] == (True, 1, set(), False)
    assert told["2.5.20"] == (True, 1, {"collection.ttl.seconds"}, False)
    assert told["3.0.0"] == (True, 1, {"collection.ttl.seconds", "max_field_id"}, True)


def test_a_replayed_max_field_id_hides_values(double_of: DoubleOf) -> None:
    with double_of("3.0.0").client() as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field("number", DataType.INT64)
        client.create_collection("replayed", schema=schema, properties={"max_field_id": "102"})
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_index("replayed", index)
        client.load_collection("replayed")
        client.insert("replayed", [{"id": 1, "vector": [0, 0], "number": 4}])
        assert client.query("replayed", "id == 1", output_fields=["number"])[0]["number"] is None


def test_calls_are_there_since_their_release(double_of: DoubleOf) -> None:
    expected = {"2.4.5": (12, 12), "2.5.5": (0, 12), "3.0.0": (0, 0)}
    for version, codes in expected.items():
        with double_of(version).client() as client:
            stub = client._get_connection()._stub
            found = (
                _code(stub.BackupRBAC, milvus_pb2.BackupRBACMetaRequest()),
                _code(stub.ListSnapshots, milvus_pb2.ListSnapshotsRequest()),
            )
        assert found == codes


def _code(call: Any, request: Any) -> int:  # noqa: ANN401 - of pymilvus
    try:
        call(request)
    except grpc.RpcError as error:
        return int(error.code().value[0])
    return 0


def test_snapshots_move_between_clusters_of_3_0_x(bed: Bed, double_of: DoubleOf) -> None:
    a, b = double_of("3.0.1"), double_of("3.0.x")
    _make(a, "snapped")
    _fill(a, "snapped")
    with a.client() as client:
        client.insert("snapped", [_row(99)])  # not flushed, and so not in it
        client.create_snapshot(snapshot_name="first", collection_name="snapped")
        stub = client._get_connection()._stub
        request = milvus_pb2.ExportSnapshotRequest(name="first", collection_name="snapped", target_s3_path="bundles")
        job_id = stub.ExportSnapshot(request).job_id
        state = milvus_pb2.GetExportSnapshotStateRequest(job_id=job_id)
        info = _until(lambda: stub.GetExportSnapshotState(state).info, 3)
        assert info.snapshot_metadata_uri.startswith(f"s3://{bed.bucket}/bundles/exports/")
    with b.client() as client:
        stub = client._get_connection()._stub
        wanted = milvus_pb2.RestoreExternalSnapshotRequest(
            target_collection_name="restored", snapshot_metadata_uri=info.snapshot_metadata_uri
        )
        job_id = stub.RestoreExternalSnapshot(wanted).job_id
        _until(lambda: stub.GetRestoreSnapshotState(milvus_pb2.GetRestoreSnapshotStateRequest(job_id=job_id)).info, 3)
        assert "already exists" in stub.RestoreExternalSnapshot(wanted).status.reason
        client.load_collection("restored")
    assert _told(b, "restored") == _EXPECTED
    exports = bed.keys("bundles/exports/")
    bed.client.delete_object(Bucket=bed.bucket, Key=next(key for key in exports if "/files/insert_log/" in key))
    with b.client() as client:
        stub = client._get_connection()._stub
        wanted.target_collection_name = "torn"
        job_id = stub.RestoreExternalSnapshot(wanted).job_id
        _until(lambda: stub.GetRestoreSnapshotState(milvus_pb2.GetRestoreSnapshotStateRequest(job_id=job_id)).info, 4)
    with double_of("3.0.0").client() as client:
        reply = client._get_connection()._stub.ExportSnapshot(request)
        assert "not implemented" in reply.status.reason


def _until(read: Callable[[], Any], state: int) -> Any:  # noqa: ANN401 - of pymilvus
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        info = read()
        if info.state == state:
            return info
        time.sleep(0.05)
    raise AssertionError("it goes on")


def test_structs_texts_models_and_dropped_fields(double_of: DoubleOf) -> None:
    double = double_of("3.0.0")
    with double.client() as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        parts = client.create_struct_field_schema()
        parts.add_field("word", DataType.VARCHAR, max_length=9)
        parts.add_field("place", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field("parts", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=parts, max_capacity=4)
        schema.add_field("gone", DataType.INT64, nullable=True)
        client.create_collection("structs", schema=schema)
        told = _described(client, "structs")
        assert [each.fieldID for each in told.schema.fields] == [100, 101, 102]
        struct = told.schema.struct_array_fields[0]
        assert (struct.fieldID, [each.fieldID for each in struct.fields]) == (103, [104, 105])
        stub = client._get_connection()._stub
        drop = milvus_pb2.AlterCollectionSchemaRequest(collection_name="structs")
        drop.action.drop_request.field_name = "gone"
        stub.AlterCollectionSchema(drop)
        client.add_collection_field("structs", "late", DataType.INT64, nullable=True)
        assert [each.fieldID for each in _described(client, "structs").schema.fields] == [100, 101, 106]
        row = {"id": 1, "vector": [0.0, 1.0], "parts": [{"word": "a", "place": [1.0, 2.0]}], "late": None}
        client.insert("structs", [row])
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        index.add_index("parts[place]", index_type="HNSW", metric_type="MAX_SIM_COSINE")
        client.create_index("structs", index)
        client.load_collection("structs")
        assert dict(client.query("structs", "id == 1", output_fields=["*"])[0]) == row

        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("essay", DataType(25))
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        client.create_collection("texts", schema=schema)
        client.insert("texts", [{"id": 1, "essay": "long", "vector": [0.0, 0.0]}])
    flushed(double, "texts")
    assert double.ask("segments", collection="texts")[0]["storage_version"] == 3
    for version, is_possible in (("2.5.20", False), ("2.6.12", True)):
        with double_of(version).client() as client:
            schema = client.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("text", DataType.VARCHAR, max_length=9)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
            made = Function("embed", FunctionType.TEXTEMBEDDING, ["text"], ["vector"], params={"provider": "openai"})
            schema.add_function(made)
            with pytest.raises(MilvusException, match="cannot be reached"):
                client.create_collection("models", schema=schema)
            if is_possible:
                client.create_collection("models", schema=schema, properties={"disable_func_runtime_check": "true"})


def _described(client: Any, name: str) -> Any:  # noqa: ANN401 - of pymilvus
    return client._get_connection()._stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name=name))


def test_a_partition_key_finds_what_lies_in_its_partition(double_of: DoubleOf) -> None:
    a, b = double_of("2.4.24"), double_of("2.5.20")
    for double in (a, b):
        with double.client() as client:
            schema = client.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("tenant", DataType.VARCHAR, max_length=20, is_partition_key=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
            client.create_collection("tenants", schema=schema, num_partitions=4)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="L2")
            client.create_index("tenants", index)
            client.load_collection("tenants")
    with a.client() as client:
        client.insert("tenants", [{"id": key, "tenant": "a", "vector": [0.0, 0.0]} for key in range(5)])
    flushed(a, "tenants")
    segment = a.ask("segments", collection="tenants")[0]
    path = f"{a.root_path}/insert_log/{_collection_id(a, 'tenants')}/{segment['partition_id']}/{segment['id']}"
    counts = []
    for partition in ("_default_0", "_default_3"):  # where a real 2.3.5 too puts the tenant `a`: the last one
        run(b, "tenants", partition, [[path]], backup="true")
        with b.client() as client:
            counts.append(client.query("tenants", 'tenant == "a"', output_fields=["count(*)"])[0]["count(*)"])
    assert counts == [0, 5]
