"""milvus-backup's meta files, byte for byte.

The example is the one of `facts/milvus.md` I.5, without what only that tool knows (channels, index and database ids).
"""

from __future__ import annotations

import json

import pytest

from migrator.model import backup_format as fmt
from migrator.model.collection import (
    Collection,
    CollectionRef,
    CollectionSchema,
    ConsistencyLevel,
    DataType,
    FieldSchema,
    Index,
    LoadState,
    Partition,
)
from migrator.model.segment import Binlog, Segment
from tests.support.builders import a_binlog, a_collection

C, P, S = 460000000000000100, 460000000000000101, 460000000000000201
TASK = "7f1c2f2e-9d0a-11f0-8de9-0242ac120002"
CUT = 460000123456782336

BOOKS = Collection(
    ref=CollectionRef("default", "books"),
    collection_id=C,
    created_ts=459999000000000000,
    schema=CollectionSchema(
        description="demo",
        auto_id=False,
        enable_dynamic_field=True,
        fields=(
            FieldSchema(field_id=100, name="id", data_type=DataType.INT64, is_primary_key=True),
            FieldSchema(
                field_id=101,
                name="title",
                data_type=DataType.VARCHAR,
                type_params=(("max_length", "200"),),
                nullable=True,
                default_value_base64="MgNuL2E=",
            ),
            FieldSchema(field_id=102, name="vec", data_type=DataType.FLOAT_VECTOR, type_params=(("dim", "8"),)),
        ),
    ),
    shards_num=1,
    num_partitions=1,
    consistency_level=ConsistencyLevel.BOUNDED,
    properties=(("collection.ttl.seconds", "0"),),
    partitions=(Partition(P, "_default"),),
    indexes=(
        Index(
            field_name="vec",
            name="vec_idx",
            params=(
                ("index_type", "HNSW"),
                ("metric_type", "COSINE"),
                ("params", '{"M":16,"efConstruction":200}'),
            ),
        ),
    ),
    aliases=(),
    load_state=LoadState.LOADED,
    loaded_partitions=("_default",),
    replica_number=1,
)

COLLECTION = (
    '{"id":"7f1c2f2e-9d0a-11f0-8de9-0242ac120002",'
    '"collection_id":460000000000000100,"db_name":"default","collection_name":"books",'
    '"schema":{"name":"books","description":"demo","fields":['
    '{"fieldID":100,"name":"id","is_primary_key":true,"data_type":5},'
    '{"fieldID":101,"name":"title","data_type":21,"type_params":[{"key":"max_length","value":"200"}],'
    '"nullable":true,"default_value_base64":"MgNuL2E="},'
    '{"fieldID":102,"name":"vec","data_type":101,"type_params":[{"key":"dim","value":"8"}]}],'
    '"enable_dynamic_field":true,"properties":[{"key":"collection.ttl.seconds","value":"0"}]},'
    '"shards_num":1,"consistency_level":2,"backup_timestamp":460000123456782336,"size":61440,"has_index":true,'
    '"index_infos":[{"field_name":"vec","index_name":"vec_idx","index_type":"HNSW",'
    '"params":{"index_type":"HNSW","metric_type":"COSINE","params":"{\\"M\\":16,\\"efConstruction\\":200}"}}],'
    '"load_state":"Loaded","backup_physical_timestamp":1754761213,'
    '"properties":[{"key":"collection.ttl.seconds","value":"0"}],"created_timestamp":459999000000000000}'
)
SEGMENT = (
    '{"segment_id":460000000000000201,"collection_id":460000000000000100,"partition_id":460000000000000101,'
    '"num_of_rows":1000,"binlogs":['
    '{"binlogs":[{"log_path":"files/insert_log/460000000000000100/460000000000000101/460000000000000201/0/'
    '460000000000000301","log_size":8192,"log_id":460000000000000301}]},'
    '{"fieldID":1,"binlogs":[{"log_path":"files/insert_log/460000000000000100/460000000000000101/460000000000000201/1/'
    '460000000000000302","log_size":4096,"log_id":460000000000000302}]}],'
    '"deltalogs":[{"binlogs":[{"log_path":"files/delta_log/460000000000000100/460000000000000101/460000000000000201/'
    '460000000000000401","log_size":2048,"log_id":460000000000000401}]}],'
    '"size":14336,"group_id":460000000000000201}'
)


def a_log(field_id: int | None, log_id: int, size_bytes: int) -> Binlog:
    return a_binlog(
        collection_id=C,
        partition_id=P,
        segment_id=S,
        field_id=field_id,
        log_id=log_id,
        size_bytes=size_bytes,
        root="files",
    )


def test_a_collection() -> None:
    assert fmt.encode(fmt.collection_entry(BOOKS, task_id=TASK, cut_ts=CUT, size_bytes=61440)) == COLLECTION


def test_a_segment() -> None:
    logs = [
        a_log(0, 460000000000000301, 8192),
        a_log(1, 460000000000000302, 4096),
        a_log(None, 460000000000000401, 2048),
    ]
    for order in (logs, logs[::-1]):
        assert fmt.encode(fmt.segment_entry(Segment(S, P, 1000), order)) == SEGMENT


def test_a_segment_without_deletes_has_one_empty_delta_entry() -> None:
    entry = fmt.segment_entry(Segment(S, P, 10), [a_log(0, 1, 3072)])
    assert entry["deltalogs"] == [{}]


def test_several_logs_of_a_field_stand_together() -> None:
    entry = fmt.segment_entry(Segment(S, P, 10), [a_log(100, 2, 1), a_log(0, 1, 1), a_log(100, 3, 1)])
    assert [(part.get("fieldID"), len(part["binlogs"])) for part in entry["binlogs"]] == [(None, 1), (100, 2)]


def test_a_partition() -> None:
    wanted = (
        '{"partition_id":460000000000000101,"partition_name":"_default","collection_id":460000000000000100,'
        '"size":61440,"load_state":"Loaded"}'
    )
    assert fmt.encode(fmt.partition_entry(BOOKS.partitions[0], BOOKS, 61440)) == wanted


def test_a_backup() -> None:
    wanted = (
        '{"id":"7f1c2f2e-9d0a-11f0-8de9-0242ac120002","state_code":0,"name":"nightly_1","size":61440,'
        '"milvus_version":"v2.5.20"}'
    )
    entry = fmt.backup_entry(task_id=TASK, name="nightly_1", size_bytes=61440, milvus_version="v2.5.20")
    assert fmt.encode(entry) == wanted
    assert fmt.encode(fmt.database_entry("default")) == '{"db_name":"default"}'


def test_zeros_are_left_out_but_for_those_that_are_always_there() -> None:
    bare = a_collection(
        consistency_level=ConsistencyLevel.STRONG,
        indexes=(),
        load_state=LoadState.NOT_LOADED,
        loaded_partitions=(),
    )
    entry = fmt.collection_entry(bare, task_id="t", cut_ts=0, size_bytes=0)
    assert (entry["size"], entry["has_index"], entry["load_state"]) == (0, False, "NotLoad")
    left_out = {
        "consistency_level",
        "index_infos",
        "properties",
        "aliases",
        "backup_timestamp",
        "backup_physical_timestamp",
    }
    assert not left_out & entry.keys()
    assert fmt.partition_entry(bare.partitions[0], bare, 0)["size"] == 0
    assert fmt.partition_entry(bare.partitions[0], bare, 0)["load_state"] == "NotLoad"
    assert fmt.binlog_entry(a_log(0, 1, 0))["log_size"] == 0
    backup = fmt.backup_entry(task_id="t", name="n", size_bytes=0, milvus_version="v2.3.5")
    assert (backup["state_code"], backup["size"]) == (0, 0)


def test_every_attribute_of_a_field_travels() -> None:
    field = FieldSchema(
        field_id=103,
        name="tags",
        data_type=DataType.ARRAY,
        description="d",
        auto_id=True,
        is_partition_key=True,
        is_dynamic=True,
        element_type=DataType.VARCHAR,
        index_params=(("a", "b"),),
    )
    schema = CollectionSchema(description="", auto_id=True, enable_dynamic_field=False, fields=(field,))
    entry = fmt.collection_entry(a_collection(schema=schema), task_id="t", cut_ts=1, size_bytes=1)
    assert fmt.encode(entry["schema"]) == (
        '{"name":"books","autoID":true,"fields":[{"fieldID":103,"name":"tags","description":"d","data_type":22,'
        '"index_params":[{"key":"a","value":"b"}],"autoID":true,"element_type":21,"is_dynamic":true,'
        '"is_partition_key":true}]}'
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a<b>c&d", '"a\\u003cb\\u003ec\\u0026d"'),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
        ("Ünï 漢字 🙂", '"Ünï 漢字 🙂"'),
        ('"\\\n\t', '"\\"\\\\\\n\\t"'),
    ],
)
def test_text_is_escaped_as_go_does(text: str, written: str) -> None:
    assert fmt.encode(text) == written
    assert json.loads(fmt.encode(text)) == text


def test_large_integers_stay_numbers() -> None:
    assert fmt.encode({"id": 2**63 - 1}) == '{"id":9223372036854775807}'
