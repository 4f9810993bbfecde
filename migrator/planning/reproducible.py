"""Whether a target can be given a collection just as it is: what its version lacks, and ids it would not give."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from migrator.model.capabilities import capabilities, comes_with, since_patch
from migrator.model.collection import FIRST_USER_FIELD, DataType
from migrator.planning.compatibility import unsupported_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import Collection, CollectionSchema, FieldSchema


def irreproducible(collection: Collection, target_version: str, source_version: str = "2.3.0") -> list[str]:
    """Why a target of this version cannot hold the collection as it is, reason by reason; empty where it can."""
    if unsupported_target(target_version):  # which is complained about as such
        return []
    target = capabilities(target_version)
    schema = collection.schema
    reasons = [reason for field in schema.all_fields for reason in _of_field(field, target)]
    if schema.functions and not target.functions:
        names = ", ".join(repr(function.name) for function in schema.functions)
        reasons.append(f"it has functions ({names}), which come with Milvus {comes_with('functions')}")
    if schema.struct_array_fields and not target.struct_arrays:
        names = ", ".join(repr(struct.name) for struct in schema.struct_array_fields)
        reasons.append(f"it has arrays of structs ({names}), which come with Milvus {comes_with('struct_arrays')}")
    if schema.enable_dynamic_field and schema.added_fields and capabilities(source_version).drops_fields:
        names = ", ".join(repr(each.name) for each in schema.added_fields)
        reasons.append(
            f"it has values beyond its schema, and fields that were added ({names}) or are left after others were "
            f"dropped, so that nobody tells under which id those values are: it needs snapshots"
        )
    if schema.enable_dynamic_field and capabilities(source_version).nullable_meta and not target.nullable_meta:
        reasons.append(
            f"it has values beyond its schema, which may be NULL in files of Milvus {source_version}, and only from "
            f"{since_patch('nullable_meta')} on servers read that: upgrade the target first"
        )
    return [*reasons, *_of_ids(schema, target), *_of_partitions(collection)]


def _of_field(field: FieldSchema, target: Capabilities) -> Iterator[str]:
    for data_type in {field.data_type, field.element_type or field.data_type} - target.data_types:
        since = comes_with("data_types", partial(_holds, data_type))
        yield f"its field {field.name!r} is of type {data_type.name.lower()}, which comes with Milvus {since}"
    if field.data_type is DataType.TEXT:
        yield f"its field {field.name!r} is of type text, whose files only a manifest names: it needs snapshots"
    if field.has_bare_time:
        yield (
            f"its field {field.name!r} is a timestamptz whose default value is told as a number, and servers differ in "
            f"whether they take one: alter it to a text such as '2026-01-31T00:00:00Z'"
        )
    if field.nullable and not target.nullable_fields:
        yield f"its field {field.name!r} is nullable, which comes with Milvus {comes_with('nullable_fields')}"
    if field.is_clustering_key and not target.clustering_keys:
        yield f"its field {field.name!r} is a clustering key, which comes with Milvus {comes_with('clustering_keys')}"


def _holds(data_type: DataType, types: frozenset[DataType]) -> bool:
    return data_type in types


def _of_ids(schema: CollectionSchema, target: Capabilities) -> Iterator[str]:
    """Milvus matches files to fields by id, and numbers fields by their order at creation, from 100 on.

    After the fields come `$meta` and the structs, each followed by its own fields; then fields that are added.
    """
    wanted = FIRST_USER_FIELD
    for field in schema.before_additions.fields:
        if field.field_id != wanted:
            yield _other_id(field, wanted)
            return
        wanted += 1
    wanted += schema.enable_dynamic_field
    for struct in schema.struct_array_fields:
        ids = [struct.field_id, *(field.field_id for field in struct.fields)]
        if ids != list(range(wanted, wanted + len(ids))):
            yield f"its array of structs {struct.name!r} has ids that the target would not give it"
            return
        wanted += len(ids)
    for number, field in enumerate(schema.added_fields, start=wanted):
        if field.field_id != number:
            yield _other_id(field, number)
            return
        if not (target.adds_fields and field.nullable):
            since = comes_with("adds_fields")
            yield f"its field {field.name!r} was added; nullable fields can be, and that comes with Milvus {since}"
            return


def _other_id(field: FieldSchema, wanted: int) -> str:
    return (
        f"its field {field.name!r} has the id {field.field_id}, and the target would give it {wanted}: fields were "
        f"added or dropped since the collection was created"
    )


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
