"""Rows out of Milvus's messages, and pages of keys whatever a limit means; what 2.3.5 has is in the contract tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from migrator.adapters import milvus_rows as rows
from migrator.adapters.memory_rows import condition
from migrator.errors import MilvusRefused, MilvusUnavailable
from migrator.model import filters
from migrator.model.collection import DataType, FieldSchema
from migrator.ports.milvus import Hit
from tests.support.builders import a_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.adapters.milvus_values import Message
    from migrator.model.rows import Key, Value

ID, TITLE, VECTOR = a_schema().fields


def a_reply(keys: list[int], *fields: Message) -> Message:
    ids = schema_pb2.FieldData(field_name="id", scalars={"long_data": {"data": keys}})
    return milvus_pb2.QueryResults(fields_data=[*fields, ids])


def values_of(data_type: DataType, message: Message) -> list[Value]:
    """The values of the one field that `message` tells of."""
    schema = a_schema(fields=(ID, replace(VECTOR, data_type=data_type, name="value")))
    message.field_name = "value"
    return [row[0] for row in rows.rows_from(a_reply([1, 2, 3], message), schema).values()]


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data_type", "name", "dim", "length"),
    [
        (DataType.BINARY_VECTOR, "binary_vector", 16, 2),
        (DataType.FLOAT16_VECTOR, "float16_vector", 2, 4),
        (DataType.BFLOAT16_VECTOR, "bfloat16_vector", 2, 4),
    ],
)
def test_packed_vectors_are_cut(data_type: DataType, name: str, dim: int, length: int) -> None:
    data = bytes(range(3 * length))
    message = schema_pb2.FieldData(vectors={"dim": dim, name: data})
    assert values_of(data_type, message) == [data[:length], data[length : 2 * length], data[2 * length :]]


def test_sparse_vectors_are_as_long_as_they_are() -> None:
    contents = [b"12345678", b"", b"12345678abcdefgh"]
    message = schema_pb2.FieldData(vectors={"dim": 7, "sparse_float_vector": {"contents": contents}})
    assert values_of(DataType.SPARSE_FLOAT_VECTOR, message) == contents


def test_bits_of_no_number_are_kept() -> None:
    """A signalling NaN is what a Python float makes another one of."""
    bits = struct.pack("<6I", 0x7F800001, 0x80000000, 1, 0x7FC12345, 0xFF800000, 0x3F800000)
    floats = schema_pb2.FloatArray.FromString(b"\x0a" + bytes([len(bits)]) + bits)
    message = schema_pb2.FieldData(vectors={"dim": 2, "float_vector": floats})
    assert values_of(DataType.FLOAT_VECTOR, message) == [bits[:8], bits[8:16], bits[16:]]


def test_null_is_none_and_has_a_place_among_scalars() -> None:
    message = schema_pb2.FieldData(scalars={"string_data": {"data": ["a", "", ""]}}, valid_data=[True, False, True])
    assert values_of(DataType.VARCHAR, message) == [b"a", None, b""]


def test_null_has_no_place_among_vectors() -> None:
    vectors = {"dim": 8, "binary_vector": b"\x01\x02"}
    message = schema_pb2.FieldData(vectors=vectors, valid_data=[True, False, True])
    assert values_of(DataType.BINARY_VECTOR, message) == [b"\x01", None, b"\x02"]


def test_a_field_that_is_not_answered_is_refused() -> None:
    with pytest.raises(MilvusRefused, match="'title'"):
        rows.rows_from(a_reply([1]), a_schema())


def test_hits_are_told_apart_by_their_vectors() -> None:
    results = {"topks": [2, 0, 1], "scores": [0.5, 0.25, 1.0], "ids": {"str_id": {"data": ["a", "b", "c"]}}}
    reply = milvus_pb2.SearchResults(results=results)
    assert rows.hits_from(reply) == ((Hit("a", 0.5), Hit("b", 0.25)), (), (Hit("c", 1.0),))


# -- pages of keys ----------------------------------------------------------------------------------------------------

SEGMENTS = (
    [n for n in range(0, 300, 2) for _ in range(5)],
    list(range(1000, 1200)),
    [7, 7, 7, 1100, 1100, 250],
    list(range(100, 120)),
)
EVERY = sorted({key for segment in SEGMENTS for key in segment})


def smallest_rows(limit: int, parts: list[list[int]]) -> list[int]:
    """What 2.3.5 does: the limit is of rows, before a key that is there several times is made one."""
    return sorted(key for part in parts for key in part)[:limit]


def smallest_keys(limit: int, parts: list[list[int]]) -> list[int]:
    """What a limit ought to mean."""
    return sorted({key for part in parts for key in part})[:limit]


def smallest_rows_of_each(limit: int, parts: list[list[int]]) -> list[int]:
    """Each segment gives so many rows, duplicates among them, and gaps come of it."""
    return smallest_keys(limit, [part[:limit] for part in parts])


def all_of_each(limit: int, parts: list[list[int]]) -> list[int]:
    """The same, and nothing is left out in the end."""
    return smallest_keys(10**9, [part[:limit] for part in parts])


def until_one_is_drained(limit: int, parts: list[list[int]]) -> list[int]:
    """Too short a reply, without gaps."""
    given = [part[:limit] for part in parts if part]
    return [key for key in smallest_keys(limit, given) if key <= min(part[-1] for part in given)]


@dataclass(slots=True)
class Server:
    """A Milvus that understands a limit its own way."""

    meaning: Callable[[int, list[list[int]]], list[int]]

    def read(self, where: str, limit: int) -> list[Key]:
        fits = condition(where)
        parts = [sorted(key for key in segment if fits({"id": key})) for segment in SEGMENTS]
        found = self.meaning(limit, parts)
        return list(found)

    def count(self, where: str) -> int:
        fits = condition(where)
        return sum(fits({"id": key}) for segment in SEGMENTS for key in segment)


@pytest.mark.parametrize(
    "meaning", [smallest_rows, smallest_keys, smallest_rows_of_each, all_of_each, until_one_is_drained]
)
@pytest.mark.parametrize("limit", [1, 10, 64, 5000])
def test_no_key_is_lost_or_repeated_whatever_a_limit_means(
    meaning: Callable[[int, list[list[int]]], list[int]], limit: int
) -> None:
    server = Server(meaning)
    found: list[int] = []
    after: Key | None = None
    while page := rows.next_keys(ID, after, limit, server.read, server.count):
        found += [int(key) for key in page]
        after = page[-1]
    assert found == EVERY


def test_rows_that_are_counted_and_never_come_are_not_the_end() -> None:
    with pytest.raises(MilvusUnavailable, match="3 rows"):
        rows.next_keys(ID, None, 10, lambda _where, _limit: [], lambda where: 0 if "==" in where else 3)


def test_keys_deleted_between_two_looks_are_not_the_end() -> None:
    looks = iter([[1, 2], [], [3, 4]])
    counts = iter([0, 2])
    assert rows.next_keys(ID, None, 2, lambda _where, _limit: next(looks), lambda _where: next(counts)) == [3, 4]


# -- conditions -------------------------------------------------------------------------------------------------------


def test_the_smallest_number_is_written_as_a_difference() -> None:
    """The parser of 2.3.5 reads a minus before a number that is too large for it."""
    assert filters.one_of("id", [-(2**63), 3]) == "id in [-9223372036854775807 - 1, 3]"
    assert filters.behind("id", -(2**63), text=False) == "id > -9223372036854775807 - 1"


def test_a_text_cannot_end_its_quotes() -> None:
    assert filters.equals("id", 'a"\\\n\x00ä') == 'id == "a\\"\\\\\\n\\u0000ä"'


def test_conditions_are_joined_where_there_are_two() -> None:
    assert filters.both("a == 1", "") == filters.both("", "a == 1") == "a == 1"
    assert filters.both("a == 1", "b == 2") == "(a == 1) and (b == 2)"


def test_a_field_of_floats_may_be_empty() -> None:
    message = schema_pb2.FieldData(field_name="value", scalars={"float_data": {"data": []}})
    field = FieldSchema(field_id=101, name="value", data_type=DataType.FLOAT)
    assert rows.rows_from(a_reply([], message), a_schema(fields=(ID, field))) == {}
