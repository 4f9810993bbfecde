"""What the binlogs of a real server hold, after all that can happen to a row, is what the server itself answers."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.model.collection import CollectionRef, DataType
from migrator.model.rows import Sample, encode, encode_array, print_of
from migrator.model.segment import LogKind, parse_binlog
from migrator.ports.rows import Dump
from migrator.running.clock import SystemClock
from migrator.steps.counting import WHOLE
from migrator.steps.flush import flush_and_wait
from tests.support import sources
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.model.collection import Collection
    from migrator.model.rows import Key, Value
    from tests.support.bench import Bench

Rows = dict[Any, tuple[Any, ...]]


def fill_eventful(uri: str, name: str) -> None:
    """One shard, and keys to which everything happens that can, before and after a flush."""
    plain = sources.dynamic_rows(0, 400)
    other = sources.dynamic_rows(0, 400, seed=2, label="other")
    with connected(uri) as client:
        sources._create(client, name, dynamic=True)
        client.create_partition(name, "east")
        client.insert(name, plain[:200])
        client.insert(name, plain[200:300], partition_name="east")
        client.delete(name, ids=list(range(10)))
        client.insert(name, other[5:15])  # 5 to 9 anew, 10 to 14 twice
        client.upsert(name, other[20:30])
        client.upsert(name, plain[25:30])
        client.flush(name)
        client.delete(name, ids=list(range(5, 8)))
        client.delete(name, ids=list(range(30, 40)))
        client.insert(name, plain[35:45])  # 35 to 39 anew, 40 to 44 twice
        client.upsert(name, other[50:60])
        client.flush(name)
        client.upsert(name, plain[55:65])
        client.delete(name, ids=[50, 210, 211])
        client.flush(name)
        client.insert(name, plain[300:400])
        client.delete(name, ids=[300, 301, 51])


def nobody_listens(done: int, total: int) -> None:
    """Watch nothing."""


CASES: dict[str, Callable[[str, str], None]] = {
    "eventful": fill_eventful,
    "stirred": sources.fill_stirred,
    "kinds": sources.fill_kinds,
    "binary": sources.fill_binary,
    "by_tenant": sources.fill_by_tenant,
    "wiped": sources.fill_wiped,
    "tiny": sources.fill_tiny_segments,
}


@pytest.fixture(scope="module")
def milvus(bench: Bench) -> Iterator[GrpcMilvus]:
    client = GrpcMilvus(MilvusEndpoint(uri=bench.a.uri, plan_field="source.milvus"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def store(bench: Bench) -> ObstoreStore:
    return ObstoreStore(
        StoreEndpoint(
            plan_field="source.storage",
            bucket=bench.state.bucket,
            endpoint=bench.state.s3_endpoint,
            access_key_id=bench.state.access_key_id,
            secret_access_key=bench.state.secret_access_key,
        )
    )


def frozen(milvus: GrpcMilvus, store: ObstoreStore, ref: CollectionRef, root: str) -> Dump:
    """Flush, and list what there is."""
    cut = flush_and_wait(milvus, [ref], SystemClock())[ref]
    collection = milvus.find_collection(ref)
    assert collection is not None
    live = {segment.segment_id for segment in milvus.list_segments(ref)}
    folders = [f"{root}/{kind}/{collection.collection_id}" for kind in LogKind]
    found = (parse_binlog(each, root) for folder in folders for each in store.list_objects(folder))
    return Dump(
        collection=collection,
        place="the dump",
        store=store,
        binlogs=[log for log in found if log is not None and log.segment_id in live],
        key_of=lambda log: log.source.key,
        end_ts=cut.cut_ts,
    )


@pytest.mark.parametrize("case", CASES)
def test_the_dump_holds_what_the_server_answers(
    bench: Bench, milvus: GrpcMilvus, store: ObstoreStore, case: str
) -> None:
    name = f"rows_of_{case}"
    CASES[case](bench.a.uri, name)
    dump = frozen(milvus, store, CollectionRef("default", name), bench.a.root_path)
    keyed = dump.collection.schema.has_partition_key
    with BinlogDumps().open(dump, wants=Sample(seed=1, share=0.5).takes, report=nobody_listens) as rows:
        for partition in [WHOLE] if keyed else [each.name for each in dump.collection.partitions]:
            asked = "" if keyed else partition
            answers = answered(bench.a.uri, dump.collection, rows.field_names, asked)
            keys = list(chain.from_iterable(rows.keys(partition)))
            assert keys == sorted(answers)
            told = rows.values(partition, keys)
            copies = rows.copies(partition, keys)
            assert {key: told[key] for key in keys if copies[key] == 1} == {
                key: answers[key] for key in keys if copies[key] == 1
            }
            assert sum(copies.values()) == milvus.count_rows(dump.collection.ref, asked or None)
            assert rows.prints(partition, keys) == {key: tuple(map(print_of, told[key])) for key in keys}
            if case == "eventful" and partition == "_default":
                assert Counter(copies.values())[2] > 0  # Milvus does not refuse a key that it has


# -- the server's own answer ------------------------------------------------------------------------------------------


def answered(uri: str, collection: Collection, names: tuple[str, ...], partition: str) -> Rows:
    """All rows of a partition as the server answers them, exact bytes by key."""
    key = next(field for field in collection.schema.fields if field.is_primary_key)
    every = f"{key.name} >= -9223372036854775807" if key.data_type is DataType.INT64 else f'{key.name} >= ""'
    answer = _query(uri, collection.ref.name, every, [key.name, *names], partition)
    columns: dict[str, list[Value]] = {}
    keys: list[Key] = []
    types = {field.name: field for field in collection.schema.fields}
    for each in answer.fields_data:
        if each.WhichOneof("field") == "scalars" and each.scalars.WhichOneof("data") is None:
            return {}  # no rows at all
        if each.field_name == key.name:
            keys = list(getattr(each.scalars, each.scalars.WhichOneof("data")).data)
        else:
            element = types[each.field_name].element_type if each.field_name in types else None
            columns[each.field_name or "$meta"] = _column(each, element)
    rows = zip(*(columns[name] for name in names), strict=True)
    return dict(zip(keys, rows, strict=True))


def _query(uri: str, name: str, expression: str, fields: list[str], partition: str) -> Any:  # noqa: ANN401 - pymilvus has no types
    import grpc  # noqa: PLC0415 - slow to import
    from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc  # noqa: PLC0415 - as above

    with grpc.insecure_channel(uri.removeprefix("http://")) as channel:
        answer = milvus_pb2_grpc.MilvusServiceStub(channel).Query(
            milvus_pb2.QueryRequest(
                collection_name=name,
                expr=expression,
                output_fields=fields,
                partition_names=[partition] if partition else [],
                consistency_level=common_pb2.Strong,
            )
        )
    assert answer.status.code == 0, answer.status
    return answer


def _column(data: Any, element_type: DataType | None) -> list[Value]:  # noqa: ANN401 - as above
    data_type = DataType(data.type)
    if data_type is DataType.FLOAT_VECTOR:
        size = data.vectors.dim
        floats = list(data.vectors.float_vector.data)
        parts = (floats[at : at + size] for at in range(0, len(floats), size))
        return [b"".join(encode(DataType.FLOAT, x) for x in part) for part in parts]
    if data_type is DataType.BINARY_VECTOR:
        size, packed = data.vectors.dim // 8, data.vectors.binary_vector
        return [packed[at : at + size] for at in range(0, len(packed), size)]
    values = getattr(data.scalars, data.scalars.WhichOneof("data")).data
    if element_type is not None:
        return [
            encode_array(element_type, getattr(each, each.WhichOneof("data") or "int_data").data) for each in values
        ]
    return [encode(data_type, value) for value in values]
