"""What the tests of the double share: a store, collections of a real 2.3.5 in it, and jobs waited for."""

from __future__ import annotations

import json
import logging
import tarfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pymilvus import DataType
from pymilvus.grpc_gen import milvus_pb2

from tests.support.double import Double, start_double

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSIONS = ("2.4.5", "2.4.24", "2.5.5", "2.5.20", "2.6.12", "3.0.0")
_BINLOGS = Path(__file__).parent / "binlogs"
_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Bed:
    """A store, with a bucket."""

    endpoint: str
    bucket: str
    client: Any

    def keys(self, prefix: str) -> list[str]:
        """Every key below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def write(self, key: str, content: bytes) -> None:
        """Put an object there."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def read(self, key: str) -> bytes:
        """An object's content."""
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def copy(self, prefix: str, to: str) -> None:
        """Put everything below one prefix under another too."""
        for key in self.keys(prefix):
            self.write(to + key.removeprefix(prefix), self.read(key))


@dataclass(frozen=True, slots=True)
class Seed:
    """A collection that a real 2.3.5 left in the bucket, and the rows of it that were alive, by partition."""

    told: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]]
    bed: Bed

    @property
    def partitions(self) -> dict[str, int]:
        """Ids by name."""
        return {each["name"]: each["partition_id"] for each in self.told["collection"]["partitions"]}

    def path(self, partition: str, kind: str = "insert_log") -> str:
        """A partition's directory, with its slash."""
        return f"files_A/{kind}/{self.told['collection']['collection_id']}/{self.partitions[partition]}/"

    def segments(self, partition: str) -> list[str]:
        """The directories of its segments, without one."""
        return sorted({"/".join(key.split("/")[:5]) for key in self.bed.keys(self.path(partition))})

    def entries(self, partition: str) -> list[list[str]]:
        """What a request lists: each segment, and its deletes."""
        return [[path, path.replace("insert_log", "delta_log")] for path in self.segments(partition)]

    def create(self, double: Double, name: str, *, without: str = "", more: bool = False) -> None:
        """The collection at a double, indexed; without a field or with one more if a test wants that."""
        with double.client() as client:
            schema = client.create_schema(enable_dynamic_field=True)
            for field in self.told["collection"]["schema"]["fields"]:
                if field["name"] not in {without, "$meta"}:
                    schema.add_field(
                        field["name"],
                        DataType(field["data_type"]),
                        is_primary=field["is_primary_key"],
                        **_params(field),
                    )
            if more:
                schema.add_field("more", DataType.INT64)
            client.create_collection(name, schema=schema)
            for partition in set(self.partitions) - {"_default"}:
                client.create_partition(name, partition)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
            client.create_index(name, index)


def _params(field: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {key: int(value) for key, value in field["type_params"]}
    if field["element_type"]:
        params["element_type"] = DataType(field["element_type"])
    return params


def seed(bed: Bed, name: str = "kinds") -> Seed:
    """Put a collection of `tests/support/binlogs` into the bucket."""
    told: dict[str, Any] = {}
    with tarfile.open(_BINLOGS / f"{name}.tar.xz") as archive:
        for member in archive:
            opened = archive.extractfile(member)
            assert opened is not None
            if member.name.endswith(".json"):
                told = json.loads(opened.read())
            else:
                bed.write(member.name, opened.read())
    rows = json.loads((_BINLOGS / f"{name}.json").read_text(encoding="utf-8"))
    return Seed(told, rows, bed)


def submit(double: Double, collection: str, partition: str, files: object, **options: object) -> dict[str, Any]:
    """The answer to a request for an import."""
    body = {"collectionName": collection, "partitionName": partition, "files": files, "options": options}
    return double.rest("jobs/import/create", body)


def run(double: Double, collection: str, partition: str, files: object, **options: object) -> dict[str, Any]:
    """A job that was waited for, as it is described at its end."""
    return wait(double, submit(double, collection, partition, files, **options)["data"]["jobId"])


def flushed(double: Double, *names: str) -> None:
    """Flush collections, and wait until all is written."""
    with double.client() as client:
        stub = client._get_connection()._stub
        for name in names:
            reply = stub.Flush(milvus_pb2.FlushRequest(collection_names=[name]))
            assert not reply.status.code, reply.status.reason
            ids = [*reply.coll_segIDs[name].data, *reply.flush_coll_segIDs[name].data]
            asked = milvus_pb2.GetFlushStateRequest(
                segmentIDs=ids, flush_ts=reply.coll_flush_ts[name], collection_name=name
            )
            deadline = time.monotonic() + _WITHIN_S
            while not stub.GetFlushState(asked).flushed:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def wait(double: Double, job_id: str, *states: str) -> dict[str, Any]:
    """Poll a job until it is in one of those states, or has ended."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        told: dict[str, Any] = double.rest("jobs/import/get_progress", {"jobId": job_id})["data"]
        if told["state"] in {"Completed", "Failed", *states}:
            return told
        time.sleep(0.05)
    raise AssertionError(f"job {job_id} goes on")


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """A store of the module's own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint, bucket = f"http://{host}:{port}", f"doubles-{uuid.uuid4().hex[:8]}"
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=endpoint, **keys)
        client.create_bucket(Bucket=bucket)
        yield Bed(endpoint, bucket, client)
        client.close()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def double_of(bed: Bed) -> Iterator[Callable[[str], Double]]:
    """The module's double of a version; each is started once, with quick jobs and flushes."""
    with ExitStack() as stack:
        found: dict[str, Double] = {}

        def get(version: str) -> Double:
            if version not in found:
                found[version] = stack.enter_context(
                    start_double(
                        version,
                        endpoint=bed.endpoint,
                        bucket=bed.bucket,
                        root_path=f"files_{version}",
                        flush_interval_s=0,
                        job_s=0.02,
                        seal_s=0.02,
                        writes_imports=False,
                    )
                )
            return found[version]

        yield get
