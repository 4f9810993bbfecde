"""The double's logins, privileges and roles; its garbage collection; its faults over gRPC; and what outlives it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from pymilvus import DataType, MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from tests.support.double import start_double
from tests.support.double_cases import Seed, bed, double_of, flushed, run, seed, submit, wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["bed", "double_of"]

_ROOT = {"user": "root", "password": "Milvus"}
_ALICE = {"user": "alice", "password": "wonderland"}


def test_logins_and_privileges(bed: Bed) -> None:
    with start_double("2.5.20", endpoint=bed.endpoint, bucket=bed.bucket, login=True) as double:
        with pytest.raises(MilvusException), double.client():
            pass
        with double.client(**_ROOT) as root:
            schema = root.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
            root.create_collection("books", schema=schema)
            root.create_user("alice", "wonderland")
            root.create_role("reader")
            root.grant_role("alice", "reader")
            refused = _create(double, "alice:wonderland")
            assert refused.status_code == 403
            assert "PrivilegeImport: permission deny to alice" in refused.text
            assert "hasn't authenticated" in _create(double, "alice:queen").text
            root.grant_privilege("reader", "Collection", "Import", "books")
            assert "no binlog to import" in _create(double, "alice:wonderland").text
            meta = root._get_connection()._stub.BackupRBAC(milvus_pb2.BackupRBACMetaRequest()).RBAC_meta
        assert [user.user for user in meta.users] == ["alice"]
        assert meta.users[0].password.startswith("$2a$")
    with start_double("2.6.12", endpoint=bed.endpoint, bucket=bed.bucket, login=True) as other:
        with other.client(**_ROOT) as root:
            stub = root._get_connection()._stub
            assert not stub.RestoreRBAC(milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=meta)).code
            assert "already exists" in stub.RestoreRBAC(milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=meta)).reason
        with other.client(**_ALICE) as alice:  # the hash is carried, the password stays
            assert alice.list_collections() == []


def _create(double: Double, who: str) -> httpx.Response:
    body = {
        "collectionName": "books",
        "partitionName": "_default",
        "files": [["none/"]],
        "options": {"backup": "true"},
    }
    headers = {"Authorization": f"Bearer {who}"}
    return httpx.post(f"{double.uri}/v2/vectordb/jobs/import/create", json=body, headers=headers, timeout=30)


def test_garbage_collection_pauses_with_a_ticket_since_2_6_8(double_of: DoubleOf) -> None:
    for version, has_ticket in (("2.5.20", False), ("2.6.12", True)):
        double = double_of(version)
        base = f"http://127.0.0.1:{double.management_port}/management/datacoord/garbage_collection"
        told = httpx.get(f"{base}/pause", params={"pause_seconds": 60}).json()
        assert told["msg"] == "OK"
        assert ("ticket" in told) == has_ticket
        assert double.ask("paused")
        assert httpx.get(f"{base}/resume", params={"ticket": told.get("ticket", "")}).json() == {"msg": "OK"}
        assert not double.ask("paused")


def test_faults_over_grpc(double_of: DoubleOf) -> None:
    double = double_of("2.4.24")
    with double.client() as client:
        stub = client._get_connection()._stub
        for kind, code in (
            ("deny", grpc.StatusCode.PERMISSION_DENIED),
            ("limit", grpc.StatusCode.RESOURCE_EXHAUSTED),
            ("unimplemented", grpc.StatusCode.UNIMPLEMENTED),
        ):
            double.misbehave("CreateDatabase", kind)
            assert _code(stub, "never") is code
        double.misbehave("CreateDatabase", "lose_reply")
        assert _code(stub, "made") is grpc.StatusCode.UNAVAILABLE
        assert client.list_databases() == ["default", "made"]
        double.misbehave("GetPersistentSegmentInfo", "error", code=600, reason="segment not found[segment=1]")
        reply = stub.GetPersistentSegmentInfo(milvus_pb2.GetPersistentSegmentInfoRequest(collectionName="any"))
        assert (reply.status.code, reply.status.reason) == (600, "segment not found[segment=1]")
    assert [request["db_name"] for request in double.calls("CreateDatabase")] == ["never"] * 3 + ["made"]


def _code(stub: Any, name: str) -> grpc.StatusCode | None:  # noqa: ANN401 - of pymilvus
    try:
        stub.CreateDatabase(milvus_pb2.CreateDatabaseRequest(db_name=name))
    except grpc.RpcError as error:
        return error.code()
    return None


def test_a_job_goes_on_in_the_next_process(bed: Bed, tmp_path: Path) -> None:
    kinds, state = seed(bed), tmp_path / "state"
    with start_double("2.6.12", endpoint=bed.endpoint, bucket=bed.bucket, state=state, job_s=30) as double:
        kinds.create(double, "kinds")
        job_id = submit(double, "kinds", "east", kinds.entries("east"), backup="true")["data"]["jobId"]
    with start_double("2.6.12", endpoint=bed.endpoint, bucket=bed.bucket, state=state, job_s=0.02) as double:
        assert wait(double, job_id)["state"] == "Completed"
        assert {row["id"] for row in double.rows("kinds")["east"]} == {101, 102}


def test_segments_of_a_real_server_are_adopted(bed: Bed) -> None:
    kinds = seed(bed)
    with start_double("2.4.5", endpoint=bed.endpoint, bucket=bed.bucket, root_path="files_A") as double:
        collection_id = kinds.told["collection"]["collection_id"]
        schema = base64.b64encode(_schema(kinds)).decode()
        double.ask("adopt", schema=schema, collection_id=collection_id, partitions=kinds.partitions)
        for partition, rows in kinds.rows.items():
            assert {row["id"] for row in double.rows("kinds")[partition]} == {row["id"] for row in rows}
        kinds.create(double, "copy")
        for partition in kinds.partitions:
            run(double, "copy", partition, kinds.entries(partition), backup="true")
        flushed(double, "kinds")
        found = [sum(map(len, double.rows(name).values())) for name in ("kinds", "copy")]
        assert found[0] == found[1]


def _schema(kinds: Seed) -> bytes:
    told = kinds.told["collection"]["schema"]
    schema = schema_pb2.CollectionSchema(name="kinds", enable_dynamic_field=True)
    for field in told["fields"]:
        if field["name"] != "$meta":
            schema.fields.add(
                fieldID=field["field_id"],
                name=field["name"],
                data_type=field["data_type"],
                is_primary_key=field["is_primary_key"],
                element_type=field["element_type"] or 0,
                type_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in field["type_params"]],
            )
    return bytes(schema.SerializeToString())
