"""milvus-backup's meta files, there and back; with an example of one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.errors import BackupUnreadable
from migrator.model import backup_meta as meta
from migrator.model.backup_reading import collection_of, ref_of
from migrator.model.collection import CollectionRef, ConsistencyLevel, DataType, LoadState, Partition

I64 = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=8)
PAIRS = st.lists(st.builds(meta.Pair, key=TEXTS, value=TEXTS), max_size=2).map(tuple)
UNKNOWN = st.dictionaries(st.text("xyz", min_size=3, max_size=6), st.one_of(I64, TEXTS, st.lists(I64)), max_size=2)


def messages(kind: type[meta.M], **members: st.SearchStrategy[Any]) -> st.SearchStrategy[meta.M]:
    """Messages with every member anything it may be, and some that nobody knows."""
    simple = {"int": I64, "str": TEXTS, "bool": st.booleans()}
    known = {
        name: members.get(name, simple.get(getattr(info.annotation, "__name__", ""), st.just(info.default)))
        for name, info in kind.model_fields.items()
    }
    return st.builds(lambda extra, known: kind(**extra, **known), UNKNOWN, st.fixed_dictionaries(known))


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=2).map(tuple)


TEXT_LISTS = lists(TEXTS)
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=2)
BINLOGS = lists(messages(meta.FieldBinlog, binlogs=lists(messages(meta.BinlogEntry))))
SEGMENTS = messages(meta.SegmentBackup, binlogs=BINLOGS, statslogs=BINLOGS, deltalogs=BINLOGS)
FIELDS = lists(messages(meta.FieldInfo, type_params=PAIRS, index_params=PAIRS))
FUNCTIONS = messages(
    meta.FunctionInfo,
    input_field_names=TEXT_LISTS,
    input_field_ids=lists(I64),
    output_field_names=TEXT_LISTS,
    output_field_ids=lists(I64),
    params=PAIRS,
)
SCHEMAS = messages(
    meta.SchemaInfo,
    fields=FIELDS,
    properties=PAIRS,
    functions=lists(FUNCTIONS),
    struct_array_fields=lists(messages(meta.StructArrayInfo, fields=FIELDS)),
)
INDEXES = messages(meta.IndexInfo, params=MAPS, type_params=PAIRS, index_params=PAIRS, user_index_params=PAIRS)
COLLECTIONS = messages(
    meta.CollectionBackup,
    schema_=SCHEMAS,
    partition_backups=lists(messages(meta.PartitionBackup, segment_backups=lists(SEGMENTS))),
    index_infos=lists(INDEXES),
    channel_checkpoints=MAPS,
    l0_segments=lists(SEGMENTS),
    properties=PAIRS,
    virtual_channel_names=TEXT_LISTS,
    physical_channel_names=TEXT_LISTS,
    aliases=TEXT_LISTS,
    snapshot_backup=messages(meta.SnapshotBackup),
)
NAMED = messages(meta.Named)
RBAC = messages(
    meta.RbacMeta,
    users=lists(messages(meta.UserInfo, roles=lists(NAMED))),
    roles=lists(NAMED),
    grants=lists(
        messages(
            meta.GrantInfo,
            role=NAMED,
            object=NAMED,
            grantor=messages(meta.GrantorInfo, user=NAMED, privilege=NAMED),
        )
    ),
    privilege_groups=lists(messages(meta.PrivilegeGroupInfo, privileges=lists(NAMED))),
)
BACKUPS = messages(
    meta.BackupInfo,
    collection_backups=lists(COLLECTIONS),
    rbac_meta=RBAC,
    rpc_channel_info=MAPS,
    database_backups=lists(messages(meta.DatabaseBackup, properties=PAIRS)),
    flush_all_msgs_base64=MAPS,
    physical_channel_names=TEXT_LISTS,
)


@settings(max_examples=30, deadline=None)
@given(BACKUPS)
def test_what_is_written_is_read_back_equal(backup: meta.BackupInfo) -> None:
    text = meta.encode(backup.plain())
    assert meta.parse(meta.BackupInfo, text.encode(), "full_meta.json") == backup


# -- level files ------------------------------------------------------------------------------------------------------


def consistent(backup: meta.BackupInfo) -> meta.BackupInfo:
    """The same with ids that say where each thing belongs, and sizes that are sums, as the format has them."""
    collections = []
    for number, collection in enumerate(backup.collection_backups):
        partitions = []
        for inner, partition in enumerate(collection.partition_backups):
            ids = {"collection_id": number, "partition_id": inner}
            segments = tuple(s.model_copy(update=ids) for s in partition.segment_backups)
            size = sum(segment.size for segment in segments)
            partitions.append(partition.model_copy(update=ids | {"segment_backups": segments, "size": size}))
        size = sum(partition.size for partition in partitions)
        update = {"collection_id": number, "partition_backups": tuple(partitions), "size": size, "l0_segments": ()}
        collections.append(collection.model_copy(update=update))
    told = {"id", "state_code", "name", "format", "backup_timestamp", "milvus_version"}
    return meta.BackupInfo(
        collection_backups=tuple(collections),
        size=sum(collection.size for collection in collections),
        **{name: getattr(backup, name) for name in told},
    )


def split(backup: meta.BackupInfo) -> dict[str, meta.Message]:
    """The four level files by name; what they have no place for is lost (databases, collection-level L0 segments)."""
    collections = backup.collection_backups
    heads = {"id", "state_code", "name", "format", "backup_timestamp", "size", "milvus_version"}
    bare = {
        collection.collection_id: tuple(
            p.model_copy(update={"segment_backups": ()}) for p in collection.partition_backups
        )
        for collection in collections
    }
    return {
        meta.BACKUP_META: meta.BackupInfo(**{name: getattr(backup, name) for name in heads}),
        meta.COLLECTION_META: meta.CollectionInfos(
            infos=tuple(
                c.model_copy(update={"l0_segments": (), "partition_backups": bare[c.collection_id]})
                for c in collections
            )
        ),
        meta.PARTITION_META: meta.PartitionInfos(infos=tuple(p for c in collections for p in bare[c.collection_id])),
        meta.SEGMENT_META: meta.SegmentInfos(
            infos=tuple(s for c in collections for p in c.partition_backups for s in p.segment_backups)
        ),
    }


@settings(max_examples=30, deadline=None)
@given(BACKUPS)
def test_the_level_files_join_to_the_full_tree(backup: meta.BackupInfo) -> None:
    full = consistent(backup)
    files = {name: meta.encode(message.plain()).encode() for name, message in split(full).items()}
    joined = meta.join(
        meta.parse(meta.BackupInfo, files[meta.BACKUP_META], "b"),
        meta.parse(meta.CollectionInfos, files[meta.COLLECTION_META], "c"),
        meta.parse(meta.PartitionInfos, files[meta.PARTITION_META], "p"),
        meta.parse(meta.SegmentInfos, files[meta.SEGMENT_META], "s"),
    )
    assert joined == full


def test_what_belongs_to_nothing_is_named() -> None:
    collections = meta.CollectionInfos(infos=(meta.CollectionBackup(collection_id=1),))
    segments = meta.SegmentInfos(infos=(meta.SegmentBackup(segment_id=7, collection_id=1, partition_id=3),))
    with pytest.raises(BackupUnreadable, match=r"segment_meta.json has a segment 7 of collection 1"):
        meta.join(meta.BackupInfo(), collections, meta.PartitionInfos(), segments)


# -- leniency ---------------------------------------------------------------------------------------------------------


def test_numbers_may_be_text_and_names_of_any_case_and_null_is_absent() -> None:
    read = meta.parse(
        meta.SegmentBackup,
        b'{"SEGMENT_ID": "460000000000000201", "group_id": null, "binlogs": null, "new": {"a": 1}}',
        "x",
    )
    assert (read.segment_id, read.group_id, read.binlogs) == (460000000000000201, 0, ())
    assert read.plain() == {"segment_id": 460000000000000201, "size": 0, "new": {"a": 1}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b'{"name": "a", "size', "is cut off after 19 bytes"),
        (b'{"name": "a"', "is cut off"),
        (b"{name: 1}", "is no JSON"),
        (b'\xff\xfe{"a', "is no JSON"),
        (b"[]", "holds no JSON object"),
        (b'{"collection_backups": [{"collection_id": "x"}]}', "collection_backups.0.collection_id should be"),
        (b'{"collection_backups": 4}', "collection_backups should be"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of_in_one_sentence(content: bytes, said: str) -> None:
    with pytest.raises(BackupUnreadable) as caught:
        meta.parse(meta.BackupInfo, content, "backup/b/meta/full_meta.json")
    assert caught.value.message.startswith("backup/b/meta/full_meta.json ")
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


# -- milvus-backup's own ----------------------------------------------------------------------------------------------

C, P = 460000000000000100, 460000000000000101
CHANNEL = "by-dev-rootcoord-dml_0_460000000000000100v0"


def a_log(segment: int, field: int, log: int, size: int) -> dict[str, Any]:
    path = f"files/insert_log/{C}/{P}/{segment}/{field}/{log}"
    head = {} if field == 0 else {"fieldID": field}
    return {**head, "binlogs": [{"log_path": path, "log_size": size, "log_id": log}]}


EXAMPLE: dict[str, Any] = {
    "id": "7f1c2f2e-9d0a-11f0-8de9-0242ac120002",
    "state_code": 0,
    "name": "nightly_1",
    "size": 61440,
    "milvus_version": "v2.5.20",
    "database_backups": [{"db_name": "default", "db_id": 1}],
    "collection_backups": [
        {
            "id": "7f1c2f2e-9d0a-11f0-8de9-0242ac120002",
            "collection_id": C,
            "db_name": "default",
            "collection_name": "books",
            "schema": {
                "name": "books",
                "description": "demo",
                "fields": [
                    {"fieldID": 100, "name": "id", "is_primary_key": True, "data_type": 5},
                    {
                        "fieldID": 101,
                        "name": "title",
                        "data_type": 21,
                        "type_params": [{"key": "max_length", "value": "200"}],
                        "nullable": True,
                        "default_value_base64": "MgNuL2E=",
                    },
                    {"fieldID": 102, "name": "vec", "data_type": 101, "type_params": [{"key": "dim", "value": "8"}]},
                ],
                "enable_dynamic_field": True,
                "properties": [{"key": "collection.ttl.seconds", "value": "0"}],
            },
            "shards_num": 1,
            "consistency_level": 2,
            "partition_backups": [
                {
                    "partition_id": P,
                    "partition_name": "_default",
                    "collection_id": C,
                    "segment_backups": [
                        {
                            "segment_id": 460000000000000202,
                            "collection_id": C,
                            "partition_id": P,
                            "num_of_rows": 10,
                            "binlogs": [
                                a_log(460000000000000202, field, 460000000000000311 + number, 3072)
                                for number, field in enumerate((0, 1, 100, 101, 102, 103))
                            ],
                            "size": 18432,
                            "group_id": 460000000000000202,
                            "v_channel": CHANNEL,
                        }
                    ],
                    "size": 61440,
                    "load_state": "Loaded",
                }
            ],
            "backup_timestamp": 460000123456782336,
            "size": 61440,
            "has_index": True,
            "index_infos": [
                {
                    "field_name": "vec",
                    "index_name": "vec_idx",
                    "index_type": "HNSW",
                    "params": {
                        "index_type": "HNSW",
                        "metric_type": "COSINE",
                        "params": '{"M":16,"efConstruction":200}',
                    },
                    "index_id": 460000000000000150,
                }
            ],
            "load_state": "Loaded",
            "backup_physical_timestamp": 1754769000,
            "channel_checkpoints": {CHANNEL: "BASE64_OF_MsgPosition"},
            "properties": [{"key": "collection.ttl.seconds", "value": "0"}],
            "db_id": 1,
            "created_timestamp": 459999000000000000,
            "virtual_channel_names": [CHANNEL],
            "physical_channel_names": ["by-dev-rootcoord-dml_0"],
        }
    ],
}


def test_the_example_of_the_format_is_written_as_it_was_read() -> None:
    read = meta.BackupInfo.model_validate(EXAMPLE)
    assert read.plain() == EXAMPLE
    (mine,), (theirs,) = read.plain()["collection_backups"], EXAMPLE["collection_backups"]
    assert meta.encode(mine) == meta.encode(theirs)  # the order of members too
    assert not read.model_extra


def test_the_example_as_a_collection() -> None:
    found = collection_of(meta.BackupInfo.model_validate(EXAMPLE).collection_backups[0])
    assert found.ref == CollectionRef("default", "books")
    assert found.partitions == (Partition(P, "_default"),)
    assert found.schema.stored_field_ids == {0, 1, 100, 101, 102, 103}
    assert found.schema.fields[1].default_value_base64 == "MgNuL2E="
    assert found.properties == (("collection.ttl.seconds", "0"),)
    assert found.indexes[0].metric_type == "COSINE"
    assert (found.load_state, found.loaded_partitions) == (LoadState.LOADED, ("_default",))


def test_what_a_bare_meta_lacks_is_what_its_absence_means() -> None:
    bare = {
        "collection_id": 5,
        "schema": {
            "name": "books",
            "fields": [
                {"fieldID": 101, "name": "vec", "data_type": 101},
                {"fieldID": 100, "name": "id", "is_primary_key": True, "data_type": 5},
            ],
        },
        "index_infos": [{"field_name": "vec", "index_type": "marisa-trie"}],
    }
    info = meta.CollectionBackup.model_validate(bare)
    found = collection_of(info)
    assert ref_of(info) == CollectionRef("default", "books")
    assert [field.name for field in found.schema.fields] == ["id", "vec"]
    assert (found.shards_num, found.consistency_level) == (1, ConsistencyLevel.STRONG)
    assert found.load_state is LoadState.NOT_LOADED
    assert (found.indexes[0].name, found.indexes[0].index_type) == ("vec", "Trie")


def test_properties_of_both_places_come_along_and_reserved_ones_do_not() -> None:
    info = meta.CollectionBackup.model_validate(
        {
            "schema": {"properties": [{"key": "a", "value": "1"}, {"key": "max_field_id", "value": "104"}]},
            "properties": [{"key": "b", "value": "2"}],
        }
    )
    assert collection_of(info).properties == (("a", "1"), ("b", "2"))


@pytest.mark.parametrize(
    "params",
    [
        {"index_type": "HNSW", "params": '{"M":16}'},
        {"index_type": "HNSW", "params": {"M": 16}},
        [{"key": "index_type", "value": "HNSW"}, {"key": "params", "value": '{"M":16}'}],
    ],
)
def test_parameters_of_an_index_may_be_pairs_or_nested(params: object) -> None:
    read = meta.IndexInfo.model_validate({"field_name": "vec", "params": params})
    assert read.params == {"index_type": "HNSW", "params": '{"M":16}'}


def test_an_old_default_value_is_its_bytes_as_text() -> None:
    field = {"fieldID": 100, "name": "x", "data_type": 21, "default_value_proto": "2\x03n/a"}
    info = meta.CollectionBackup.model_validate({"schema": {"fields": [field]}})
    assert collection_of(info).schema.fields[0].default_value_base64 == "MgNuL2E="


@pytest.mark.parametrize("field", [{"data_type": 27}, {"data_type": 22, "element_type": 99}, {"data_type": 0}])
def test_unknown_types_are_refused(field: dict[str, Any]) -> None:
    info = meta.CollectionBackup.model_validate(
        {"collection_name": "books", "schema": {"fields": [{"fieldID": 100, "name": "x", **field}]}}
    )
    with pytest.raises(BackupUnreadable, match="type number"):
        collection_of(info)


@pytest.mark.parametrize("data_type", DataType)
def test_every_known_type_is_read(data_type: DataType) -> None:
    field = {"fieldID": 100, "name": "x", "data_type": int(data_type)}
    info = meta.CollectionBackup.model_validate({"schema": {"fields": [field]}})
    assert collection_of(info).schema.fields[0].data_type is data_type
