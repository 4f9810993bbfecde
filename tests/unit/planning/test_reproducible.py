"""What a target cannot be given as it is, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from migrator.model.collection import DataType, FieldSchema, FunctionSchema, Partition, StructArrayField
from migrator.planning.reproducible import irreproducible
from tests.support.builders import a_collection, a_key_schema, a_schema


def with_field(**changes: Any) -> Any:  # noqa: ANN401 - any member of a field
    schema = a_schema()
    field = replace(FieldSchema(field_id=103, name="extra", data_type=DataType.INT64), **changes)
    return a_collection(schema=replace(schema, fields=(*schema.fields, field)))


def test_what_a_target_has_too_is_no_matter() -> None:
    assert irreproducible(a_collection(), "2.3.5") == []
    assert irreproducible(a_collection(schema=a_schema(enable_dynamic_field=True)), "2.3.5") == []
    assert irreproducible(with_field(data_type=DataType.ARRAY, element_type=DataType.VARCHAR), "2.3.5") == []


@pytest.mark.parametrize(
    ("collection", "said"),
    [
        (with_field(data_type=DataType.SPARSE_FLOAT_VECTOR), "sparse_float_vector, which comes with Milvus 2.4"),
        (with_field(data_type=DataType.INT8_VECTOR), "int8_vector, which comes with Milvus 2.6"),
        (with_field(data_type=DataType.ARRAY, element_type=DataType.STRUCT), "struct, which comes with Milvus 2.6"),
        (with_field(nullable=True), "nullable, which comes with Milvus 2.5"),
        (with_field(is_clustering_key=True), "clustering key, which comes with Milvus 2.4"),
        (with_field(field_id=105), "has the id 105, and the target would give it 103"),
        (a_collection(schema=a_schema(functions=(FunctionSchema(name="bm", kind=1),))), "functions ('bm')"),
        (
            a_collection(schema=a_schema(struct_array_fields=(StructArrayField(field_id=103, name="s"),))),
            "arrays of structs ('s')",
        ),
        (a_collection(partitions=(Partition(7, "_default"), Partition(8, ""))), "has no name"),
        (
            a_collection(schema=a_key_schema(), partitions=(Partition(1, "_default_0"), Partition(2, "_default_2"))),
            "_default_1 is missing",
        ),
        (a_collection(schema=a_key_schema(), partitions=()), "all of them is missing"),
    ],
)
def test_what_a_target_cannot_be_given_is_told(collection: Any, said: str) -> None:  # noqa: ANN401 - a collection
    (reason,) = irreproducible(collection, "2.3.5")
    assert said in reason


def test_a_target_that_is_refused_anyway_is_told_of_once() -> None:
    assert irreproducible(with_field(nullable=True), "dev") == []


def with_added(**changes: Any) -> Any:  # noqa: ANN401 - see above
    """A dynamic collection with a field behind `$meta`."""
    added = replace(a_schema().fields[1], field_id=104, name="added", nullable=True)
    fields = (*a_schema().fields, replace(added, **changes))
    return a_collection(schema=a_schema(enable_dynamic_field=True, fields=fields))


def test_a_field_that_was_added_is_added_again_where_the_target_can() -> None:
    assert irreproducible(with_added(), "2.6.8", "2.6.12") == []
    for collection, target in ((with_added(), "2.5.20"), (with_added(nullable=False), "2.6.0")):
        assert any("was added; nullable fields can be" in reason for reason in irreproducible(collection, target))
    assert any(
        "id 105, and the target would give it 104" in r for r in irreproducible(with_added(field_id=105), "2.6.0")
    )


def test_where_fields_may_have_been_dropped_nobody_guesses() -> None:
    (reason,) = irreproducible(with_added(), "3.0.0", "3.0.0")
    assert "nobody tells under which id those values are" in reason
    assert irreproducible(a_collection(schema=a_schema(enable_dynamic_field=True)), "3.0.0", "3.0.0") == []
