"""milvus-backup's meta files, written the way that tool writes and reads them.

Its JSON is Go's `encoding/json` over generated structs: snake_case names, 64-bit integers as numbers, enums as numbers,
zero values left out except a few that are always there, no white space, and `<>&` escaped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.collection import Collection, FieldSchema, Index, KeyValues, Partition
    from migrator.model.segment import Binlog, Segment

Plain = dict[str, Any]

_ALWAYS_THERE = frozenset({"state_code", "size", "has_index", "log_size"})
_LOAD_STATES = {"loaded": "Loaded", "loading": "Loading", "not loaded": "NotLoad"}
_GO_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def encode(value: object) -> str:
    """JSON as Go prints it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escaped in _GO_ESCAPES.items():
        text = text.replace(character, escaped)
    return text


def _message(**members: object) -> Plain:
    """A message without its zero values, but for those that are always there."""
    return {
        name: value
        for name, value in members.items()
        if name in _ALWAYS_THERE or (value is not None and value not in (0, False, "", [], {}))
    }


def _pairs(pairs: KeyValues) -> list[Plain]:
    return [_message(key=key, value=value) for key, value in pairs]


def _field(field: FieldSchema) -> Plain:
    return _message(
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
        nullable=field.nullable,
        default_value_base64=field.default_value_base64,
    )


def _schema(collection: Collection) -> Plain:
    schema = collection.schema
    return _message(
        name=collection.ref.name,
        description=schema.description,
        autoID=schema.auto_id,
        fields=[_field(field) for field in schema.fields],
        enable_dynamic_field=schema.enable_dynamic_field,
        properties=_pairs(schema.properties or collection.properties),
    )


def _index(index: Index) -> Plain:
    return _message(
        field_name=index.field_name,
        index_name=index.name,
        index_type=index.index_type,
        params=dict(index.params),
    )


def binlog_entry(binlog: Binlog) -> Plain:
    """One binlog; `log_path` is its key at the source, which readers of the format do not use."""
    return _message(log_path=binlog.source.key, log_size=binlog.source.size_bytes, log_id=binlog.log_id)


def segment_entry(segment: Segment, binlogs: Iterable[Binlog]) -> Plain:
    """A segment with its binlogs by field; GROUP is the segment's own id."""
    fields: dict[int, list[Plain]] = {}
    deltas: list[Plain] = []
    size_bytes, collection_id = 0, 0
    for binlog in binlogs:
        size_bytes += binlog.source.size_bytes
        collection_id = binlog.collection_id
        home = deltas if binlog.field_id is None else fields.setdefault(binlog.field_id, [])
        home.append(binlog_entry(binlog))
    return _message(
        segment_id=segment.segment_id,
        collection_id=collection_id,
        partition_id=segment.partition_id,
        num_of_rows=segment.num_rows,
        binlogs=[_message(fieldID=field_id, binlogs=entries) for field_id, entries in sorted(fields.items())],
        deltalogs=[_message(binlogs=deltas)],
        size=size_bytes,
        group_id=segment.segment_id,
    )


def partition_entry(partition: Partition, collection: Collection, size_bytes: int) -> Plain:
    """A partition without its segments."""
    loaded = partition.name in collection.loaded_partitions
    return _message(
        partition_id=partition.partition_id,
        partition_name=partition.name,
        collection_id=collection.collection_id,
        size=size_bytes,
        load_state=_LOAD_STATES["loaded" if loaded else "not loaded"],
    )


def collection_entry(collection: Collection, *, task_id: str, cut_ts: int, size_bytes: int) -> Plain:
    """A collection without its partitions; `backup_timestamp` is the cut."""
    return _message(
        id=task_id,
        collection_id=collection.collection_id,
        db_name=collection.ref.database,
        collection_name=collection.ref.name,
        schema=_schema(collection),
        shards_num=collection.shards_num,
        consistency_level=int(collection.consistency_level),
        backup_timestamp=cut_ts,
        size=size_bytes,
        has_index=bool(collection.indexes),
        index_infos=[_index(index) for index in collection.indexes],
        load_state=_LOAD_STATES[collection.load_state],
        backup_physical_timestamp=(cut_ts >> 18) // 1000,
        properties=_pairs(collection.properties),
        created_timestamp=collection.created_ts,
        aliases=list(collection.aliases),
    )


def backup_entry(*, task_id: str, name: str, size_bytes: int, milvus_version: str) -> Plain:
    """The backup as a whole, without databases and collections."""
    return _message(id=task_id, state_code=0, name=name, size=size_bytes, milvus_version=milvus_version)


def database_entry(name: str) -> Plain:
    """A database."""
    return _message(db_name=name)
