"""Values of the model to milvus-backup's messages: what is written of a dump."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.backup_meta import (
    BackupInfo,
    BinlogEntry,
    CollectionBackup,
    DatabaseBackup,
    FieldBinlog,
    FieldInfo,
    FunctionInfo,
    IndexInfo,
    Pair,
    PartitionBackup,
    Plain,
    SchemaInfo,
    SegmentBackup,
    StructArrayInfo,
    encode,
)
from migrator.model.segment import ALL_PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.collection import Collection, FieldSchema, FunctionSchema, Index, KeyValues, Partition
    from migrator.model.segment import Binlog, Segment

__all__ = [
    "backup_entry",
    "binlog_entry",
    "collection_entry",
    "database_entry",
    "encode",
    "partition_entry",
    "segment_entry",
]

_LOAD_STATES = {"loaded": "Loaded", "loading": "Loading", "not loaded": "NotLoad"}


def _pairs(pairs: KeyValues) -> tuple[Pair, ...]:
    return tuple(Pair(key=key, value=value) for key, value in pairs)


def _field(field: FieldSchema) -> FieldInfo:
    return FieldInfo(
        fieldID=field.field_id,
        name=field.name,
        is_primary_key=field.is_primary_key,
        description=field.description,
        data_type=int(field.data_type),
        type_params=_pairs(field.type_params),
        index_params=_pairs(field.index_params),
        autoID=field.auto_id,
        element_type=int(field.element_type or 0),
        is_dynamic=field.is_dynamic,
        is_partition_key=field.is_partition_key,
        is_clustering_key=field.is_clustering_key,
        nullable=field.nullable,
        is_function_output=field.is_function_output,
        default_value_base64=field.default_value_base64,
    )


def _function(function: FunctionSchema, ids: dict[str, int]) -> FunctionInfo:
    return FunctionInfo(
        name=function.name,
        id=function.function_id,
        description=function.description,
        type=function.kind,
        input_field_names=function.input_names,
        input_field_ids=tuple(ids[name] for name in function.input_names if name in ids),
        output_field_names=function.output_names,
        output_field_ids=tuple(ids[name] for name in function.output_names if name in ids),
        params=_pairs(function.params),
    )


def _schema(collection: Collection) -> SchemaInfo:
    schema = collection.schema
    ids = {field.name: field.field_id for field in schema.all_fields}
    return SchemaInfo(
        name=collection.ref.name,
        description=schema.description,
        autoID=schema.auto_id,
        fields=tuple(map(_field, schema.fields)),
        enable_dynamic_field=schema.enable_dynamic_field,
        properties=_pairs(collection.properties),
        functions=tuple(_function(function, ids) for function in schema.functions),
        struct_array_fields=tuple(
            StructArrayInfo(
                fieldID=struct.field_id,
                name=struct.name,
                description=struct.description,
                fields=tuple(map(_field, struct.fields)),
                nullable=struct.nullable,
                type_params=_pairs(struct.type_params),
            )
            for struct in schema.struct_array_fields
        ),
    )


def _index(index: Index) -> IndexInfo:
    return IndexInfo(
        field_name=index.field_name,
        index_name=index.name,
        index_type=index.index_type,
        params=dict(index.params),
    )


def _binlog(binlog: Binlog) -> BinlogEntry:
    """Not looked at again: there may be a million of them, and they were read as what they are."""
    return BinlogEntry.model_construct(
        log_path=binlog.source.key, log_size=binlog.source.size_bytes, log_id=binlog.log_id
    )


def binlog_entry(binlog: Binlog) -> Plain:
    """One binlog; `log_path` is its key at the source, which readers of the format do not use."""
    return _binlog(binlog).plain()


def _logs(field_id: int, binlogs: Iterable[BinlogEntry]) -> FieldBinlog:
    return FieldBinlog.model_construct(fieldID=field_id, binlogs=tuple(binlogs))


def segment_entry(segment: Segment, binlogs: Iterable[Binlog]) -> Plain:
    """A segment with its binlogs by field; GROUP is the segment's own id, but for L0 segments of all partitions."""
    fields: dict[int, list[BinlogEntry]] = {}
    deltas: list[BinlogEntry] = []
    size_bytes, collection_id = 0, 0
    for binlog in binlogs:
        size_bytes += binlog.source.size_bytes
        collection_id = binlog.collection_id
        home = deltas if binlog.field_id is None else fields.setdefault(binlog.field_id, [])
        home.append(_binlog(binlog))
    return SegmentBackup.model_construct(
        segment_id=segment.segment_id,
        collection_id=collection_id,
        partition_id=segment.partition_id,
        num_of_rows=segment.num_rows,
        binlogs=tuple(_logs(field_id, logs) for field_id, logs in sorted(fields.items())),
        deltalogs=(_logs(0, deltas),),
        size=size_bytes,
        group_id=0 if segment.partition_id == ALL_PARTITIONS else segment.segment_id,
        is_l0=segment.is_l0,
        v_channel=segment.vchannel,
        storage_version=segment.storage_version,
    ).plain()


def partition_entry(partition: Partition, collection: Collection, size_bytes: int) -> Plain:
    """A partition without its segments."""
    loaded = partition.name in collection.loaded_partitions
    return PartitionBackup(
        partition_id=partition.partition_id,
        partition_name=partition.name,
        collection_id=collection.collection_id,
        size=size_bytes,
        load_state=_LOAD_STATES["loaded" if loaded else "not loaded"],
    ).plain()


def collection_entry(
    collection: Collection, *, task_id: str, cut_ts: int, size_bytes: int, l0_segments: Iterable[Plain] = ()
) -> Plain:
    """A collection without its partitions; `backup_timestamp` is the cut, `l0_segments` are those of all partitions."""
    entry = CollectionBackup(
        id=task_id,
        collection_id=collection.collection_id,
        db_name=collection.ref.database,
        collection_name=collection.ref.name,
        schema_=_schema(collection),
        shards_num=collection.shards_num,
        consistency_level=int(collection.consistency_level),
        backup_timestamp=cut_ts,
        size=size_bytes,
        has_index=bool(collection.indexes),
        index_infos=tuple(map(_index, collection.indexes)),
        load_state=_LOAD_STATES[collection.load_state],
        backup_physical_timestamp=(cut_ts >> 18) // 1000,
        properties=_pairs(collection.properties),
        created_timestamp=collection.created_ts,
        aliases=collection.aliases,
    ).plain()
    deletes = list(l0_segments)
    return {**entry, "l0_segments": deletes} if deletes else entry


def backup_entry(*, task_id: str, name: str, size_bytes: int, milvus_version: str) -> Plain:
    """The backup as a whole, without databases and collections."""
    return BackupInfo(id=task_id, state_code=0, name=name, size=size_bytes, milvus_version=milvus_version).plain()


def database_entry(name: str) -> Plain:
    """A database."""
    return DatabaseBackup(db_name=name).plain()
