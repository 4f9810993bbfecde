"""Milvus's messages to model values and back; no message leaves the adapters."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

from migrator.adapters.milvus_messages import common_pb2, schema_pb2
from migrator.errors import MilvusRefused
from migrator.model.collection import (
    Collection,
    CollectionRef,
    CollectionSchema,
    ConsistencyLevel,
    DataType,
    FieldSchema,
    FunctionSchema,
    Index,
    IndexProgress,
    KeyValues,
    LoadState,
    Partition,
    StructArrayField,
    merged_properties,
    name_inside,
)
from migrator.model.import_job import ImportJob, ImportState
from migrator.model.segment import Compaction, Segment, SegmentLevel, SegmentState

if TYPE_CHECKING:
    from collections.abc import Iterable

Message = Any
"""A protobuf message: pymilvus ships no types."""
Kind = TypeVar("Kind", bound=IntEnum)

_UNSUPPORTED_SCHEMA_PARTS = ("external_source", "enable_namespace")
_IMPORT_STATES = {
    "ImportPending": ImportState.PENDING,
    "ImportStarted": ImportState.RUNNING,
    "ImportPersisted": ImportState.RUNNING,
    "ImportFlushed": ImportState.RUNNING,
    "ImportCompleted": ImportState.COMPLETED,
    "ImportFailed": ImportState.FAILED,
    "ImportFailedAndCleaned": ImportState.FAILED,
}
_SENT_AS = {"marisa-trie": "Trie"}
_LOAD_STATES = {2: LoadState.LOADING, 3: LoadState.LOADED}


def pairs(messages: Iterable[Message]) -> KeyValues:
    """Key/value messages as tuples, order kept."""
    return tuple((message.key, message.value) for message in messages)


def pair_messages(values: Iterable[tuple[str, str]]) -> list[Message]:
    """Tuples as key/value messages."""
    return [common_pb2.KeyValuePair(key=key, value=value) for key, value in values]


def _data_type(number: int, field_name: str) -> DataType:
    try:
        return DataType(number)
    except ValueError:
        raise MilvusRefused(
            f"field {field_name!r} is of type number {number}, which this version of migrator does not know",
            hint="leave the collection out with `exclude`, or use a newer migrator",
        ) from None


def field_from(message: Message) -> FieldSchema:
    """A field schema; unknown types are refused."""
    default = message.default_value.SerializeToString() if message.HasField("default_value") else b""
    return FieldSchema(
        field_id=message.fieldID,
        name=message.name,
        data_type=_data_type(message.data_type, message.name),
        description=message.description,
        is_primary_key=message.is_primary_key,
        auto_id=message.autoID,
        is_partition_key=message.is_partition_key,
        is_clustering_key=message.is_clustering_key,
        is_dynamic=message.is_dynamic,
        is_function_output=message.is_function_output,
        nullable=message.nullable,
        element_type=_data_type(message.element_type, message.name) if message.element_type else None,
        default_value_base64=base64.b64encode(default).decode(),
        type_params=pairs(message.type_params),
        index_params=pairs(message.index_params),
    )


def field_message(field: FieldSchema) -> Message:
    """A field for a request."""
    message = schema_pb2.FieldSchema(
        fieldID=field.field_id,
        name=field.name,
        description=field.description,
        data_type=int(field.data_type),
        is_primary_key=field.is_primary_key,
        autoID=field.auto_id,
        is_partition_key=field.is_partition_key,
        is_clustering_key=field.is_clustering_key,
        is_dynamic=field.is_dynamic,
        is_function_output=field.is_function_output,
        nullable=field.nullable,
        element_type=int(field.element_type or 0),
        type_params=pair_messages(field.type_params),
        index_params=pair_messages(field.index_params),
    )
    if field.default_value_base64:
        message.default_value.ParseFromString(base64.b64decode(field.default_value_base64))
    return message


def schema_from(message: Message) -> CollectionSchema:
    """A collection schema; parts that cannot be carried are refused rather than dropped."""
    for part in _UNSUPPORTED_SCHEMA_PARTS:
        if getattr(message, part, None):
            raise MilvusRefused(
                f"collection {message.name!r} uses {part}, which this version of migrator cannot carry",
                hint="leave the collection out with `exclude`, or use a newer migrator",
            )
    return CollectionSchema(
        description=message.description,
        auto_id=message.autoID,
        enable_dynamic_field=message.enable_dynamic_field,
        fields=tuple(field_from(field) for field in message.fields),
        functions=tuple(_function_from(function) for function in message.functions),
        struct_array_fields=tuple(_struct_from(struct) for struct in message.struct_array_fields),
    )


def _function_from(message: Message) -> FunctionSchema:
    return FunctionSchema(
        name=message.name,
        kind=message.type,
        function_id=message.id,
        description=message.description,
        input_names=tuple(message.input_field_names),
        output_names=tuple(message.output_field_names),
        params=pairs(message.params),
    )


def _struct_from(message: Message) -> StructArrayField:
    return StructArrayField(
        field_id=message.fieldID,
        name=message.name,
        description=message.description,
        nullable=message.nullable,
        type_params=pairs(message.type_params),
        fields=tuple(
            replace(field_from(field), name=name_inside(message.name, field.name)) for field in message.fields
        ),
    )


def schema_message(schema: CollectionSchema, name: str) -> Message:
    """The schema for a create request; the server numbers fields by their order, so order is kept."""
    return schema_pb2.CollectionSchema(
        name=name,
        description=schema.description,
        autoID=schema.auto_id,
        enable_dynamic_field=schema.enable_dynamic_field,
        fields=[field_message(field) for field in schema.fields],
        functions=[_function_message(function) for function in schema.functions],
        struct_array_fields=[_struct_message(struct) for struct in schema.struct_array_fields],
    )


def _function_message(function: FunctionSchema) -> Message:
    return schema_pb2.FunctionSchema(
        name=function.name,
        type=function.kind,
        description=function.description,
        input_field_names=function.input_names,
        output_field_names=function.output_names,
        params=pair_messages(function.params),
    )


def _struct_message(struct: StructArrayField) -> Message:
    return schema_pb2.StructArrayFieldSchema(
        fieldID=struct.field_id,
        name=struct.name,
        description=struct.description,
        nullable=struct.nullable,
        type_params=pair_messages(struct.type_params),
        fields=[field_message(field) for field in struct.fields],
    )


def partitions_from(message: Message) -> tuple[Partition, ...]:
    """Partitions by id, which is the order of their creation."""
    return tuple(
        sorted(
            Partition(partition_id, name)
            for partition_id, name in zip(message.partitionIDs, message.partition_names, strict=True)
        )
    )


def index_progress_from(message: Message) -> IndexProgress:
    """An index description: the index, and how far its build is."""
    index = Index(field_name=message.field_name, name=message.index_name, params=pairs(message.params))
    return IndexProgress(
        index=index,
        indexed_rows=message.indexed_rows,
        total_rows=message.total_rows,
        pending_rows=message.pending_index_rows,
        failure=message.index_state_fail_reason,
    )


def index_name_sent(index: Index) -> str:
    """The name for a request: one that the server made of a JSON path it does not take, and makes again of no name."""
    return "" if "/" in index.name else index.name


def index_params_sent(index: Index) -> list[Message]:
    """The parameters for a request, as they were told but for a kind that is told by a name that is not taken."""
    return pair_messages(
        (key, _SENT_AS.get(value, value) if key == "index_type" else value) for key, value in index.params
    )


def segment_from(message: Message) -> Segment:
    """A persistent segment; what the server's version does not tell is zero."""
    return Segment(
        segment_id=message.segmentID,
        partition_id=message.partitionID,
        num_rows=message.num_rows,
        state=_known(SegmentState, message.state, f"segment {message.segmentID} is in state"),
        level=_known(SegmentLevel, message.level, f"segment {message.segmentID} is of level"),
        storage_version=message.storage_version,
        is_sorted=message.is_sorted,
        vchannel=message.insert_channel,
    )


def _known(kind: type[Kind], number: int, what: str) -> Kind:
    """A number of Milvus's by its name; `what` leads up to it in the message where it has none."""
    try:
        return kind(number)
    except ValueError:
        raise MilvusRefused(
            f"{what} {number}, which this version of migrator does not know", hint="use a newer migrator"
        ) from None


def compaction_from(message: Message) -> Compaction:
    """A compaction; its product is -1 as long as there is none."""
    return Compaction(sources=tuple(message.sources), product=message.target if message.target > 0 else None)


def load_state_from(number: int) -> LoadState:
    """A load state; `NotExist` counts as not loaded."""
    return _LOAD_STATES.get(number, LoadState.NOT_LOADED)


def import_job_from(message: Message) -> ImportJob:
    """An import task of Milvus 2.3, whose `infos` carry its files and every option it was sent."""
    infos = dict(pairs(message.infos))
    name = common_pb2.ImportState.Name(message.state)
    return ImportJob(
        job_id=message.id,
        state=_IMPORT_STATES.get(name, ImportState.RUNNING),
        rows=message.row_count,
        progress_percent=int(infos.get("progress_percent") or 0),
        paths=tuple(infos.get("files", "").split(",")),
        tags=tuple(sorted(infos.items())),
        failure=infos.get("failed_reason", ""),
    )


def collection_from(
    message: Message,
    ref: CollectionRef,
    *,
    partitions: tuple[Partition, ...],
    indexes: tuple[Index, ...],
    load_state: LoadState,
    loaded_partitions: tuple[str, ...],
    resource_groups: tuple[str, ...],
) -> Collection:
    """A described collection with what other calls told of it."""
    return Collection(
        ref=ref,
        collection_id=message.collectionID,
        created_ts=message.created_timestamp,
        schema=schema_from(message.schema),
        shards_num=message.shards_num,
        num_partitions=message.num_partitions,
        consistency_level=_known(ConsistencyLevel, message.consistency_level, f"{ref.short} is of consistency level"),
        properties=merged_properties(pairs(message.schema.properties), pairs(message.properties)),
        partitions=partitions,
        indexes=indexes,
        aliases=tuple(sorted(message.aliases)),
        load_state=load_state,
        loaded_partitions=loaded_partitions,
        replica_number=max(len(resource_groups), int(load_state is LoadState.LOADED)),
        resource_groups=resource_groups,
    )


def bucket_from(metrics: str) -> str:
    """The bucket that a node names in its metrics, JSON; empty where none does."""
    try:
        nodes = json.loads(metrics)["nodes_info"]
        named = [node["infos"].get("system_configurations") or {} for node in nodes]
        return next((str(each["minio_bucket_name"]) for each in named if each.get("minio_bucket_name")), "")
    except (ValueError, KeyError, TypeError, AttributeError):  # another version's form
        return ""
