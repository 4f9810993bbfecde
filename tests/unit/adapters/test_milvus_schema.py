"""Schemas of Milvus 2.4 to 3.0: from a description to a request, and through a dump's meta files, without loss."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from migrator.adapters import milvus_values as values
from migrator.model import backup_format as fmt
from migrator.model.backup_meta import CollectionBackup, parse
from migrator.model.backup_reading import collection_of
from migrator.model.collection import (
    Collection,
    CollectionRef,
    CollectionSchema,
    DataType,
    FieldSchema,
    FunctionSchema,
    LoadState,
)
from migrator.planning.reproducible import irreproducible
from tests.support.builders import a_schema

Type = schema_pb2.DataType
BOOKS = CollectionRef("default", "books")


def pair(key: str, value: str) -> Any:  # noqa: ANN401 - protobuf has no types
    return common_pb2.KeyValuePair(key=key, value=value)


def field(number: int, name: str, kind: int, **more: Any) -> Any:  # noqa: ANN401 - as above
    return schema_pb2.FieldSchema(fieldID=number, name=name, data_type=kind, **more)


FIELDS = [
    field(100, "id", Type.VarChar, is_primary_key=True, type_params=[pair("max_length", "64")]),
    field(
        101,
        "text",
        Type.VarChar,
        type_params=[
            pair("max_length", "900"),
            pair("enable_analyzer", "true"),
            pair("analyzer_params", "{}"),
        ],
    ),
    field(102, "sparse", Type.SparseFloatVector, is_function_output=True),
    field(103, "half", Type.Float16Vector, type_params=[pair("dim", "8")]),
    field(104, "brain", Type.BFloat16Vector, type_params=[pair("dim", "8")]),
    field(105, "small", Type.Int8Vector, type_params=[pair("dim", "8")], nullable=True),
    field(106, "year", Type.Int32, nullable=True, default_value=schema_pb2.ValueField(int_data=1984)),
    field(107, "tags", Type.Array, element_type=Type.VarChar, type_params=[pair("max_capacity", "5")]),
    field(108, "tenant", Type.Int64, is_clustering_key=True),
    field(109, "place", Type.Geometry, nullable=True),
    field(110, "since", Type.Timestamptz, default_value=schema_pb2.ValueField(string_data="2026-01-31T00:00:00Z")),
]
STRUCT = schema_pb2.StructArrayFieldSchema(
    fieldID=112,
    name="chapters",
    description="one each",
    nullable=True,
    type_params=[pair("max_capacity", "9")],
    fields=[
        field(113, "title", Type.Array, element_type=Type.VarChar, type_params=[pair("max_length", "9")]),
        field(114, "vec", Type.ArrayOfVector, element_type=Type.FloatVector, type_params=[pair("dim", "4")]),
    ],
)
BM25 = schema_pb2.FunctionSchema(
    name="bm25", id=17, type=1, input_field_names=["text"], output_field_names=["sparse"], params=[pair("k", "1")]
)
SCHEMA = schema_pb2.CollectionSchema(
    name="books",
    description="all there is",
    enable_dynamic_field=True,
    fields=FIELDS,
    functions=[BM25],
    struct_array_fields=[STRUCT],
)


def described(schema: Any = SCHEMA, **more: Any) -> Collection:  # noqa: ANN401 - as above
    message = milvus_pb2.DescribeCollectionResponse(
        schema=schema, collectionID=5, created_timestamp=7, shards_num=2, num_partitions=1, **more
    )
    return values.collection_from(
        message,
        BOOKS,
        partitions=(),
        indexes=(),
        load_state=LoadState.NOT_LOADED,
        loaded_partitions=(),
        resource_groups=(),
    )


def without_ids(schema: Any) -> Any:  # noqa: ANN401 - as above
    """As a create request may say it: the server gives ids to functions by itself."""
    copy = schema_pb2.CollectionSchema.FromString(schema.SerializeToString())
    for function in copy.functions:
        function.ClearField("id")
    return copy


def test_what_is_described_is_asked_for() -> None:
    asked = values.schema_message(values.schema_from(SCHEMA), "books")
    assert asked == without_ids(SCHEMA)


def test_a_dump_tells_it_all() -> None:
    collection = described(properties=[pair("collection.ttl.seconds", "9")])
    entry = fmt.encode(fmt.collection_entry(collection, task_id="1", cut_ts=5, size_bytes=0)).encode()
    assert collection_of(parse(CollectionBackup, entry, "meta")) == replace(collection, num_partitions=0)
    function = json.loads(entry)["schema"]["functions"][0]
    assert (function["input_field_ids"], function["output_field_ids"]) == ([101], [102])


def test_numbers_of_functions_make_no_difference() -> None:
    schema = values.schema_from(SCHEMA)
    other = replace(schema, functions=tuple(replace(each, function_id=99) for each in schema.functions))
    assert other == schema


def test_the_fields_of_a_struct_have_the_names_that_users_gave_them() -> None:
    """Milvus 2.6.0 to 2.6.3 tells others."""
    told = schema_pb2.CollectionSchema.FromString(SCHEMA.SerializeToString())
    for each in told.struct_array_fields[0].fields:
        each.name = f"chapters[{each.name}]"
    assert values.schema_from(told) == values.schema_from(SCHEMA)


def test_properties_of_both_places_are_read_and_those_of_the_server_are_not() -> None:
    told = schema_pb2.CollectionSchema.FromString(SCHEMA.SerializeToString())
    told.properties.extend([pair("max_field_id", "114"), pair("mmap.enabled", "true"), pair("a", "old")])
    found = described(told, properties=[pair("a", "new"), pair("max_field_id", "114")])
    assert found.properties == (("mmap.enabled", "true"), ("a", "new"))
    assert not values.schema_message(found.schema, "books").properties


def test_the_hidden_field_comes_before_structs_and_before_what_was_added() -> None:
    schema = values.schema_from(SCHEMA)
    assert schema.dynamic_field_id == 111
    assert schema.stored_field_ids == {0, 1, *range(100, 112), 113, 114}
    added = replace(schema.fields[0], field_id=115, name="added", is_primary_key=False, nullable=True)
    later = replace(schema, fields=(*schema.fields, added))
    assert later.dynamic_field_id == 111
    assert {105, 106, 109, 110, 111, 115} == later.may_lack_files
    assert replace(schema, enable_dynamic_field=False).dynamic_field_id is None


def test_what_no_query_gives_out_is_not_compared() -> None:
    schema = values.schema_from(SCHEMA)
    assert schema.unread_fields == ("sparse", "place", "since", "chapters")
    assert "sparse" not in {each.name for each in schema.value_fields}
    model = replace(schema, functions=(replace(schema.functions[0], kind=2),))
    assert "sparse" in {each.name for each in model.value_fields}


@pytest.mark.parametrize(
    ("kind", "default", "said"),
    [
        (DataType.TIMESTAMPTZ, schema_pb2.ValueField(timestamptz_data=5), "told as a number"),
        (DataType.TIMESTAMPTZ, schema_pb2.ValueField(long_data=5), "told as a number"),
        (DataType.TIMESTAMPTZ, schema_pb2.ValueField(string_data="2026-01-31"), ""),
        (DataType.TEXT, None, "it needs snapshots"),
    ],
)
def test_what_nobody_knows_how_to_carry_is_refused(kind: DataType, default: Any, said: str) -> None:  # noqa: ANN401
    told = "" if default is None else base64.b64encode(default.SerializeToString()).decode()
    odd = FieldSchema(field_id=103, name="odd", data_type=kind, default_value_base64=told)
    schema = a_schema(fields=(*a_schema().fields, odd))
    reasons = irreproducible(replace(described(), schema=schema, partitions=()), "2.3.5")
    assert any(said in reason for reason in reasons if said) == bool(said)


def test_a_function_is_carried_by_names() -> None:
    plain = CollectionSchema(description="", auto_id=False, enable_dynamic_field=False, fields=())
    function = FunctionSchema(name="f", kind=3, function_id=4)
    assert values.schema_message(replace(plain, functions=(function,)), "x").functions[0].id == 0
