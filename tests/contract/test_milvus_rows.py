"""Rows as a Milvus 2.3.5 gives them out, in memory and on a real server: what a comparison relies on."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import MilvusRefused
from migrator.model import filters
from migrator.model.collection import DataType, FieldSchema, Index
from migrator.model.rows import encode, encode_array, print_of
from migrator.steps.counting import WHOLE
from migrator.steps.milvus_rows import MilvusRows
from tests.support.builders import a_key_schema, a_schema, an_index, some_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.collection import CollectionRef, CollectionSchema
    from migrator.model.rows import Key
    from tests.support.subject import Subject

FLAT = Index(field_name="vec", name="vec_idx", params=(("index_type", "FLAT"), ("metric_type", "L2")))
SMALLEST, LARGEST = filters.SMALLEST_INT64, filters.LARGEST_INT64
ODD_TEXTS = (
    "", " ", "'", '"', "\\", "\\\\", "a\"b'c", "x\ny", "x\ry", "\t\b\x0b\x0c\x1b\x7f", "100%", "_", "ä€😀", "e\u0301",
    "\x00", "a\x00b", "\\n", "\\u0041", "\\x41", "{", "\u2028", "\ufeff", "trail\\", '\\"', "$meta", "] or [",
)  # fmt: skip


def text_schema() -> CollectionSchema:
    """The key is a text."""
    key, title, vector = a_schema().fields
    key = replace(key, data_type=DataType.VARCHAR, type_params=(("max_length", "200"),))
    return a_schema(fields=(key, title, vector))


def some_texts(keys: Iterable[str]) -> list[dict[str, object]]:
    return [{"id": key, "title": f"title {key}", "vec": [0.0, 1.0]} for key in keys]


def ready(subject: Subject, ref: CollectionRef, index: Index = FLAT) -> CollectionRef:
    """Index and load it."""
    subject.milvus.create_index(ref, index)
    subject.load(ref)
    return ref


def all_keys(subject: Subject, ref: CollectionRef, partition: str | None = None, *, limit: int = 7) -> list[Key]:
    """Page by page."""
    schema = subject.find(ref).schema
    found: list[Key] = []
    after: Key | None = None
    while page := subject.milvus.query_keys(ref, schema, partition=partition, after=after, limit=limit):
        assert after is None or page[0] > after  # type: ignore[operator]  # both of one type
        found += page
        after = page[-1]
    return found


@pytest.mark.parametrize("is_text", [False, True])
def test_keys_come_in_order_each_once(subject: Subject, is_text: bool) -> None:  # noqa: FBT001 - a parameter
    """Over partitions, segments, growing rows, deletes, and keys that are there several times, close together."""
    schema = text_schema() if is_text else a_schema()
    numbers = [f"k-{n:03d}" for n in range(100)] if is_text else [n - 40 for n in range(100)]
    rows: list[dict[str, object]] = [{"id": key, "title": "t", "vec": [0.0, 1.0]} for key in numbers]
    ref = subject.create(schema)
    subject.milvus.create_partition(ref, "old")
    subject.insert(ref, [row for row in rows[:20] for _ in range(5)])
    subject.flush(ref)
    subject.insert(ref, rows[10:60:2], "old")
    subject.flush(ref)
    ready(subject, ref)
    subject.insert(ref, rows[50:])
    subject.delete(ref, numbers[3:90:9])
    there = {*range(20), *range(10, 60, 2), *range(50, 100)} - set(range(3, 90, 9))
    assert all_keys(subject, ref) == [numbers[n] for n in sorted(there)]
    old = sorted(set(range(10, 60, 2)) - set(range(3, 90, 9)))
    assert all_keys(subject, ref, "old", limit=16_384) == [numbers[n] for n in old]
    behind = subject.milvus.query_keys(ref, schema, partition=None, after=numbers[95], limit=100)
    assert list(behind) == numbers[96:]


def test_odd_texts_are_keys_like_others(subject: Subject) -> None:
    ref = subject.create(text_schema())
    subject.insert(ref, some_texts(ODD_TEXTS))
    ready(subject, ref)
    assert all_keys(subject, ref, limit=1) == sorted(ODD_TEXTS)
    found = subject.milvus.query_rows(ref, text_schema(), ODD_TEXTS)
    assert {key: row[0] for key, row in found.items()} == {key: f"title {key}".encode() for key in ODD_TEXTS}
    for key in ODD_TEXTS[1:12:3]:
        assert subject.milvus.count_rows(ref, where=filters.equals("id", key)) == 1
        assert list(subject.milvus.query_rows(ref, text_schema(), [key])) == [key]
    with pytest.raises(MilvusRefused, match="no text in UTF-8"):
        subject.milvus.query_rows(ref, text_schema(), ["\ud800"])


def test_numbers_are_keys_up_to_the_smallest(subject: Subject) -> None:
    numbers = (SMALLEST, SMALLEST + 1, -1, 0, 1, LARGEST - 1)
    ref = subject.create()
    subject.insert(ref, [{"id": n, "title": f"{n}", "vec": [0.0, 1.0]} for n in numbers])
    ready(subject, ref)
    assert all_keys(subject, ref, limit=1) == list(numbers)
    found = subject.milvus.query_rows(ref, a_schema(), [*numbers, 17])
    assert {key: row[0] for key, row in found.items()} == {n: f"{n}".encode() for n in numbers}
    assert [subject.milvus.count_rows(ref, where=filters.equals("id", n)) for n in numbers] == [1] * len(numbers)


def test_the_largest_number_is_a_key_whose_row_is_never_given_out(subject: Subject) -> None:
    ref = subject.create()
    subject.insert(ref, [{"id": n, "title": "t", "vec": [0.0, 1.0]} for n in (1, LARGEST)])
    ready(subject, ref)
    assert all_keys(subject, ref) == [1, LARGEST]
    with pytest.raises(MilvusRefused, match=str(LARGEST)):
        subject.milvus.query_rows(ref, a_schema(), [LARGEST])


# -- values -----------------------------------------------------------------------------------------------------------

ARRAYS: dict[DataType, list[list[Any]]] = {
    DataType.BOOL: [[True, False], []],
    DataType.INT8: [[-128, 127], []],
    DataType.INT16: [[-(2**15)], [0, 0]],
    DataType.INT32: [[2**31 - 1], []],
    DataType.INT64: [[LARGEST, SMALLEST], [0]],
    DataType.FLOAT: [[-0.0, 1e-45, math.nan], []],
    DataType.DOUBLE: [[-0.0, 5e-324, math.inf], []],
    DataType.VARCHAR: [["", "ä\n"], []],
}
SCALARS: dict[DataType, list[Any]] = {
    DataType.BOOL: [True, False],
    DataType.INT8: [-128, 127],
    DataType.INT16: [-(2**15), 2**15 - 1],
    DataType.INT32: [-(2**31), 2**31 - 1],
    DataType.INT64: [SMALLEST, LARGEST],
    DataType.FLOAT: [-0.0, 1e-45],
    DataType.DOUBLE: [-0.0, 5e-324],
    DataType.VARCHAR: ["", "\x00ä'\"\\%\n😀"],
}


def kinds_schema() -> CollectionSchema:
    """A field of each type that 2.3 has, one more vector left out: it takes one alone."""
    key, _, vector = a_schema().fields
    length = (("max_length", "100"),)
    fields = [key, vector, FieldSchema(field_id=102, name="json", data_type=DataType.JSON)]
    fields += [FieldSchema(field_id=0, name=t.name.lower(), data_type=t, type_params=length) for t in SCALARS]
    fields += [
        FieldSchema(
            field_id=0,
            name=f"array_{element.name.lower()}",
            data_type=DataType.ARRAY,
            element_type=element,
            type_params=(*length, ("max_capacity", "10")),
        )
        for element in ARRAYS
    ]
    numbered = tuple(replace(field, field_id=100 + number) for number, field in enumerate(fields))
    return a_schema(fields=numbered, enable_dynamic_field=True)


def kinds_row(number: int) -> dict[str, Any]:
    return (
        {"id": number, "vec": [-0.0, 1e-45], "json": {"b": [1, 2.5, None], "a": "ä"}, "beyond": {"z": number, "a": []}}
        | {t.name.lower(): values[number] for t, values in SCALARS.items()}
        | {f"array_{t.name.lower()}": values[number] for t, values in ARRAYS.items()}
    )


def kinds_bytes(number: int) -> tuple[bytes, ...]:
    return (
        struct.pack("<2f", -0.0, 1e-45),
        '{"b":[1,2.5,null],"a":"ä"}'.encode(),
        *(encode(t, values[number]) for t, values in SCALARS.items()),
        *(encode_array(t, values[number]) for t, values in ARRAYS.items()),
        json.dumps({"beyond": {"z": number, "a": []}}, separators=(",", ":")).encode(),
    )


def test_values_are_bit_for_bit_what_was_inserted_growing_and_flushed(subject: Subject) -> None:
    ref = subject.create(kinds_schema())
    subject.insert(ref, [kinds_row(0)])
    subject.flush(ref)
    ready(subject, ref)
    subject.insert(ref, [kinds_row(1)])
    found = subject.milvus.query_rows(ref, subject.find(ref).schema, [0, 1, 2])
    names = MilvusRows(subject.milvus, subject.find(ref)).field_names
    assert names[-1] == "$meta"
    for number in range(2):
        assert dict(zip(names, found[number], strict=True)) == dict(zip(names, kinds_bytes(number), strict=True))
    assert found.keys() == {0, 1}


def test_a_row_without_values_outside_the_schema_has_an_empty_object(subject: Subject) -> None:
    schema = a_schema(enable_dynamic_field=True)
    ref = subject.create(schema)
    subject.insert(ref, some_rows(1))
    ready(subject, ref)
    assert subject.milvus.query_rows(ref, schema, [0])[0][-1] == b"{}"


def test_rows_are_read_and_counted_by_partition_and_condition(subject: Subject) -> None:
    ref = subject.create()
    subject.milvus.create_partition(ref, "old")
    subject.insert(ref, some_rows(3))
    subject.insert(ref, some_rows(3, start=10), "old")
    ready(subject, ref)
    assert subject.milvus.query_rows(ref, a_schema(), [0, 10, 11], partition="old").keys() == {10, 11}
    where = filters.equals("title", "title 11")
    assert subject.milvus.query_rows(ref, a_schema(), [0, 10, 11], where=where).keys() == {11}
    assert subject.milvus.count_rows(ref, where=filters.one_of("title", ["title 0", "title 10"])) == 2
    assert subject.milvus.count_rows(ref, "old", filters.one_of("title", ["title 0", "title 10"])) == 1


def test_rows_placed_by_a_key_are_read_as_a_whole(subject: Subject) -> None:
    ref = subject.create(a_key_schema(), num_partitions=3)
    subject.insert(ref, some_rows(4))
    ready(subject, ref)
    assert all_keys(subject, ref) == [0, 1, 2, 3]
    where = filters.equals("title", "title 2")
    assert subject.milvus.query_rows(ref, a_key_schema(), [1, 2], where=where).keys() == {2}
    with pytest.raises(MilvusRefused):
        subject.milvus.query_keys(ref, a_key_schema(), partition="_default_0", after=None, limit=10)
    with pytest.raises(MilvusRefused):
        subject.milvus.query_rows(ref, a_key_schema(), [1], partition="_default_0")


# -- searches ---------------------------------------------------------------------------------------------------------


def test_a_search_finds_the_nearest_first(subject: Subject) -> None:
    ref = subject.create()
    subject.insert(ref, some_rows(5))
    field = a_schema().fields[2]
    vectors = [struct.pack("<2f", 3.2, 1.0), struct.pack("<2f", 0.1, 1.0)]
    with pytest.raises(MilvusRefused):
        subject.milvus.search(ref, field, vectors, metric_type="L2", params={}, limit=2)
    ready(subject, ref)
    found = subject.milvus.search(ref, field, vectors, metric_type="L2", params={}, limit=2)
    assert [[hit.key for hit in hits] for hits in found] == [[3, 4], [0, 1]]
    assert [hit.score for hit in found[0]] == pytest.approx([0.04, 0.64], rel=1e-4)
    everything = subject.milvus.search(ref, field, vectors, metric_type="L2", params={}, limit=100)
    assert [len(hits) for hits in everything] == [5, 5]


def test_a_search_by_bits(subject: Subject) -> None:
    key, title, vector = a_schema().fields
    vector = replace(vector, data_type=DataType.BINARY_VECTOR, type_params=(("dim", "16"),))
    schema = a_schema(fields=(key, title, vector))
    bits = [b"\x00\x00", b"\xff\x00", b"\xff\xff"]
    ref = subject.create(schema)
    subject.insert(ref, [{"id": n, "title": "t", "vec": each} for n, each in enumerate(bits)])
    how = (("index_type", "BIN_FLAT"), ("metric_type", "HAMMING"))
    ready(subject, ref, replace(an_index(), params=how))
    found = subject.milvus.search(ref, vector, [b"\xff\x01"], metric_type="HAMMING", params={}, limit=2)
    assert [(hit.key, hit.score) for hit in found[0]] == [(1, 1.0), (2, 7.0)]
    assert [row[1] for _, row in sorted(subject.milvus.query_rows(ref, schema, [0, 1, 2]).items())] == bits


# -- as a side of a comparison ----------------------------------------------------------------------------------------


def test_a_collection_is_a_source_of_rows(subject: Subject) -> None:
    ref = subject.create()
    subject.insert(ref, [*some_rows(30), *some_rows(3)])
    subject.flush(ref)
    ready(subject, ref)
    rows = MilvusRows(subject.milvus, subject.find(ref))
    assert rows.field_names == ("title", "vec")
    assert ref.name in rows.place
    assert [key for page in rows.keys("_default") for key in page] == list(range(30))
    assert [key for page in rows.keys("_default", after=20) for key in page] == list(range(21, 30))
    assert [key for page in rows.keys(WHOLE) for key in page] == list(range(30))
    expected = {n: (f"title {n}".encode(), struct.pack("<2f", n, 1.0)) for n in (4, 9)}
    assert rows.values(WHOLE, [4, 9, 99]) == expected
    assert rows.prints("_default", [4, 99]) == {4: tuple(map(print_of, expected[4]))}
    assert rows.copies("_default", [0, 4, 99]) == {0: 2, 4: 1}
