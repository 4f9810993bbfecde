"""Whether a target can be given a collection just as it is: what its version lacks, and ids it would not give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.collection import FIRST_USER_FIELD, DataType
from migrator.planning.compatibility import parse_version, unsupported_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.collection import Collection, CollectionSchema, FieldSchema

Version = tuple[int, int]

_SINCE: dict[DataType, Version] = {
    DataType.ARRAY: (2, 3),
    DataType.FLOAT16_VECTOR: (2, 4),
    DataType.BFLOAT16_VECTOR: (2, 4),
    DataType.SPARSE_FLOAT_VECTOR: (2, 4),
    DataType.INT8_VECTOR: (2, 6),
    DataType.GEOMETRY: (2, 6),
    DataType.TIMESTAMPTZ: (2, 6),
    DataType.ARRAY_OF_VECTOR: (2, 6),
    DataType.ARRAY_OF_STRUCT: (2, 6),
    DataType.STRUCT: (2, 6),
    DataType.TEXT: (3, 0),
}
_CLUSTERING_KEYS: Version = (2, 4)
_NULLABLE: Version = (2, 5)
_FUNCTIONS: Version = (2, 5)
_STRUCTS: Version = (2, 6)


def irreproducible(collection: Collection, target_version: str) -> list[str]:
    """Why a target of this version cannot hold the collection as it is, reason by reason; empty where it can."""
    if unsupported_target(target_version):  # which is complained about as such
        return []
    line = (parse_version(target_version) or (0, 0, 0))[:2]
    schema = collection.schema
    reasons = [reason for field in schema.fields for reason in _of_field(field, line)]
    if schema.functions and line < _FUNCTIONS:
        names = ", ".join(repr(function.name) for function in schema.functions)
        reasons.append(f"it has functions ({names}), which come with Milvus {_text(_FUNCTIONS)}")
    if schema.struct_array_fields and line < _STRUCTS:
        names = ", ".join(repr(struct.name) for struct in schema.struct_array_fields)
        reasons.append(f"it has arrays of structs ({names}), which come with Milvus {_text(_STRUCTS)}")
    return [*reasons, *_of_ids(schema), *_of_partitions(collection)]


def _of_field(field: FieldSchema, line: Version) -> Iterator[str]:
    for data_type in {field.data_type, field.element_type or field.data_type}:
        if line < (since := _SINCE.get(data_type, (2, 2))):
            kind = data_type.name.lower()
            yield f"its field {field.name!r} is of type {kind}, which comes with Milvus {_text(since)}"
    if field.nullable and line < _NULLABLE:
        yield f"its field {field.name!r} is nullable, which comes with Milvus {_text(_NULLABLE)}"
    if field.is_clustering_key and line < _CLUSTERING_KEYS:
        yield f"its field {field.name!r} is a clustering key, which comes with Milvus {_text(_CLUSTERING_KEYS)}"


def _of_ids(schema: CollectionSchema) -> Iterator[str]:
    """Milvus matches files to fields by id, and numbers fields by their order at creation, from 100 on.

    After the fields come `$meta` and the structs, each followed by its own fields.
    """
    wanted = FIRST_USER_FIELD
    for field in schema.fields:
        if field.field_id != wanted:
            yield (
                f"its field {field.name!r} has the id {field.field_id}, and the target would give it {wanted}: fields "
                f"were added or dropped since the collection was created"
            )
            return
        wanted += 1
    wanted += schema.enable_dynamic_field
    for struct in schema.struct_array_fields:
        ids = [struct.field_id, *(field.field_id for field in struct.fields)]
        if ids != list(range(wanted, wanted + len(ids))):
            yield f"its array of structs {struct.name!r} has ids that the target would not give it"
            return
        wanted += len(ids)


def _of_partitions(collection: Collection) -> Iterator[str]:
    """Rows of a partition key lie where their hash says: their number has to be known, and every one of them."""
    names = {partition.name for partition in collection.partitions}
    if not collection.schema.has_partition_key:
        if "" in names:
            yield "one of its partitions has no name"
        return
    wanted = {f"_default_{number}" for number in range(len(names))}
    if not names or names != wanted:
        missing = ", ".join(sorted(wanted - names)) or "all of them"
        yield f"it has a partition key, and not all of its partitions are known: {missing} is missing"


def _text(version: Version) -> str:
    return ".".join(map(str, version))
