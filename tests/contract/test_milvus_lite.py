"""Schemas of 2.5 and later at a real server of today, as far as milvus-lite is one.

It keeps no ids, no descriptions and no arrays of structs, and knows no segments: what is looked at is that a request is
taken, and that nullable fields, default values, sparse vectors and functions are told as they were asked for.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import milvus_pb2

from migrator.adapters import milvus_values as values
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.errors import MilvusUnavailable
from migrator.model.collection import CollectionRef, CollectionSchema, ConsistencyLevel, FieldSchema
from tests.unit.adapters.test_milvus_schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REF = CollectionRef("default", "of_today")
KEPT = {"id", "text", "sparse", "year", "tags"}


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[GrpcMilvus]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["server", "--data-dir", str(tmp_path), "--host", "127.0.0.1", "--port", str(port)]
    start = "import sys; from milvus_lite.cmdline import main; sys.exit(main())"
    server = subprocess.Popen([sys.executable, "-c", start, *arguments])  # noqa: S603 - of this environment
    try:
        client = connected(f"http://127.0.0.1:{port}")
        yield client
        client.close()
    finally:
        server.kill()
        server.wait()


def connected(uri: str) -> GrpcMilvus:
    for _ in range(120):
        with suppress(MilvusUnavailable):
            return GrpcMilvus(MilvusEndpoint(uri=uri, plan_field="target.milvus"))
        time.sleep(0.25)
    raise AssertionError("milvus-lite did not start")


def without_what_it_forgets(schema: CollectionSchema) -> dict[str, FieldSchema]:
    """Every field by name; of analyzers it tells what it does not know to be the usual."""
    return {
        each.name: replace(
            each,
            field_id=0,
            description="",
            index_params=(),
            type_params=tuple(pair for pair in each.type_params if pair[0] != "analyzer_params"),
        )
        for each in schema.fields
        if each.name in KEPT
    }


def test_what_it_was_asked_for_is_what_it_tells(lite: GrpcMilvus) -> None:
    whole = values.schema_from(SCHEMA)
    asked = CollectionSchema(
        description=whole.description,
        auto_id=False,
        enable_dynamic_field=True,
        fields=tuple(each for each in whole.fields if each.name in KEPT),
        functions=whole.functions,
    )
    lite.create_collection(
        REF, asked, shards_num=1, num_partitions=None, consistency_level=ConsistencyLevel.BOUNDED, properties=()
    )
    request = milvus_pb2.DescribeCollectionRequest(db_name=REF.database, collection_name=REF.name)
    told = values.schema_from(lite._stub.DescribeCollection(request).schema)
    assert without_what_it_forgets(told) == without_what_it_forgets(asked)
    assert told.enable_dynamic_field
    assert [function.name for function in told.functions] == ["bm25"]
