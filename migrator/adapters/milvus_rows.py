"""Rows in Milvus's messages to exact bytes (`model.rows`), and pages of keys that lose none and repeat none."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from migrator.adapters.milvus_messages import common_pb2
from migrator.errors import MilvusRefused, MilvusUnavailable
from migrator.model import filters
from migrator.model.collection import DYNAMIC_FIELD, DataType, FieldSchema
from migrator.model.rows import encode_array
from migrator.ports.milvus import Hit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from migrator.adapters.milvus_values import Message
    from migrator.model.collection import CollectionSchema
    from migrator.model.rows import Key, Value

_LENGTHS = {DataType.FLOAT: 4, DataType.DOUBLE: 8}
_PACKED_VECTORS = {
    DataType.BINARY_VECTOR: "binary_vector",
    DataType.FLOAT16_VECTOR: "float16_vector",
    DataType.BFLOAT16_VECTOR: "bfloat16_vector",
    DataType.INT8_VECTOR: "int8_vector",
}
_BITS = {
    DataType.BINARY_VECTOR: 1,
    DataType.FLOAT16_VECTOR: 16,
    DataType.BFLOAT16_VECTOR: 16,
    DataType.INT8_VECTOR: 8,
}
"""Of one dimension."""
_SCALARS = {
    DataType.BOOL: "bool_data",
    DataType.INT8: "int_data",
    DataType.INT16: "int_data",
    DataType.INT32: "int_data",
    DataType.INT64: "long_data",
    DataType.FLOAT: "float_data",
    DataType.DOUBLE: "double_data",
    DataType.VARCHAR: "string_data",
    DataType.JSON: "json_data",
    DataType.ARRAY: "array_data",
}
LARGEST_LIMIT = 16_384
"""What 2.3 takes. Without a limit it loses keys of growing segments that have some of them several times."""


# -- values -----------------------------------------------------------------------------------------------------------


def _slices(data: bytes, length: int) -> list[bytes]:
    return [data[start : start + length] for start in range(0, len(data), length)] if length else []


def _packed(message: Message, length: int) -> bytes:
    """The numbers of a FloatArray or DoubleArray as they came: a Python float may change the bits of a NaN."""
    size = len(message.data) * length
    data: bytes = message.SerializeToString()
    return data[len(data) - size :]


def _scalar_bytes(data_type: DataType, message: Message) -> list[bytes]:
    """The values of a ScalarField that holds `data_type`; an empty one may hold nothing at all."""
    holder = getattr(message, _SCALARS[data_type])
    if length := _LENGTHS.get(data_type):
        return _slices(_packed(holder, length), length)
    if data_type is DataType.VARCHAR:
        return [text.encode() for text in holder.data]
    if data_type is DataType.JSON:
        return [bytes(text) for text in holder.data]
    return _slices(struct.pack(f"<{len(holder.data)}q", *holder.data), 8)


def _array_bytes(element_type: DataType, message: Message) -> bytes:
    if element_type in _LENGTHS:  # as `encode_array` does it, without a Python float in between
        parts = _scalar_bytes(element_type, message)
        return b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    return encode_array(element_type, getattr(message, _SCALARS[element_type]).data)


def _vector_bytes(data_type: DataType, message: Message) -> list[bytes]:
    if data_type is DataType.SPARSE_FLOAT_VECTOR:
        return [bytes(content) for content in message.sparse_float_vector.contents]
    if data_type is DataType.FLOAT_VECTOR:
        return _slices(_packed(message.float_vector, 4), message.dim * 4)
    length = message.dim * _BITS[data_type] // 8
    return _slices(getattr(message, _PACKED_VECTORS[data_type]), length)


def _values(field: FieldSchema, message: Message) -> Sequence[Value]:
    """One field of all rows."""
    if field.data_type.is_vector:
        found: list[bytes] = _vector_bytes(field.data_type, message.vectors)
    elif field.data_type is DataType.ARRAY:
        element_type = field.element_type or DataType.VARCHAR
        found = [_array_bytes(element_type, each) for each in message.scalars.array_data.data]
    else:
        found = _scalar_bytes(field.data_type, message.scalars)
    return _with_nulls(found, message.valid_data) if len(message.valid_data) else found


def _with_nulls(values: list[bytes], valid: Sequence[bool]) -> list[Value]:
    """NULL where a value is not valid: it has a place among the values, except in vectors."""
    if len(values) == len(valid):
        return [value if is_valid else None for value, is_valid in zip(values, valid, strict=True)]
    rest = iter(values)
    return [next(rest) if is_valid else None for is_valid in valid]


# -- replies ----------------------------------------------------------------------------------------------------------


def _columns(reply: Message) -> dict[str, Message]:
    return {DYNAMIC_FIELD.name if each.is_dynamic else each.field_name: each for each in reply.fields_data}


def _keys(field: FieldSchema, message: Message) -> list[Key]:
    return list(getattr(message.scalars, _SCALARS[field.data_type]).data)


def keys_from(reply: Message, schema: CollectionSchema) -> list[Key]:
    """The keys of a reply to a query."""
    message = _columns(reply).get(schema.primary_field.name)
    return [] if message is None else _keys(schema.primary_field, message)


def rows_from(reply: Message, schema: CollectionSchema) -> dict[Key, tuple[Value, ...]]:
    """The rows of a reply to a query, which has to have every field."""
    columns = _columns(reply)
    if lost := [field.name for field in schema.value_fields if field.name not in columns]:
        raise MilvusRefused(f"a query was answered without the field {lost[0]!r}, which was asked for")
    found = [_values(field, columns[field.name]) for field in schema.value_fields]
    keys = keys_from(reply, schema)
    return dict(zip(keys, zip(*found, strict=True), strict=True)) if found else dict.fromkeys(keys, ())


def hits_from(reply: Message) -> tuple[tuple[Hit, ...], ...]:
    """The hits of each vector, best first."""
    results = reply.results
    keys = results.ids.str_id.data or results.ids.int_id.data
    hits = [Hit(key, score) for key, score in zip(keys, results.scores, strict=True)]
    ends = [sum(results.topks[: number + 1]) for number in range(len(results.topks))]
    return tuple(tuple(hits[end - size : end]) for size, end in zip(results.topks, ends, strict=True))


def placeholders(field: FieldSchema, vectors: Sequence[bytes]) -> bytes:
    """Vectors as a search takes them; types of vectors have the same numbers there."""
    value = common_pb2.PlaceholderValue(tag="$0", type=int(field.data_type), values=vectors)
    return bytes(common_pb2.PlaceholderGroup(placeholders=[value]).SerializeToString())


def search_params(field: FieldSchema, metric_type: str, params: Mapping[str, Any], limit: int) -> dict[str, str]:
    """What a search wants to be told besides its vectors."""
    return {
        "anns_field": field.name,
        "metric_type": metric_type,
        "params": json.dumps(dict(params)),
        "topk": str(limit),
        "round_decimal": "-1",
    }


# -- pages of keys ----------------------------------------------------------------------------------------------------


def next_keys(
    field: FieldSchema,
    after: Key | None,
    limit: int,
    read: Callable[[str, int], Iterable[Key]],
    count: Callable[[str], int],
) -> list[Key]:
    """The next keys behind `after`, about `limit`; empty only at the end.

    What a `limit` means where a key is there several times differs from version to version: replies come too short,
    too long, or with gaps. So a reply tells only how far to look; that it has every key up to there is counted, and
    where the count differs the keys are read again, as far as all their rows are within a limit.

    Raises:
        MilvusUnavailable: Rows are counted that no query gives out.
    """
    rest = filters.behind(field.name, after, text=field.data_type is DataType.VARCHAR)
    found = sorted(set(read(rest, limit)))
    while len(found) > 1:
        span = filters.both(rest, filters.up_to(field.name, found[-1]))
        rows = count(span)
        if rows == len(found):
            return found
        if rows <= LARGEST_LIMIT:
            return sorted(set(read(span, LARGEST_LIMIT))) or next_keys(field, found[-1], limit, read, count)
        found = found[: len(found) // 2]
    return found or _last_keys(field, count(rest), count)  # the first of all is right however long a reply is


def _last_keys(field: FieldSchema, rows: int, count: Callable[[str], int]) -> list[Key]:
    """The largest number, which Milvus counts and never gives out, or nothing."""
    if not rows:
        return []
    if field.data_type is DataType.INT64 and rows == count(filters.equals(field.name, filters.LARGEST_INT64)):
        return [filters.LARGEST_INT64]
    raise MilvusUnavailable(f"{rows:,} rows are counted behind the last key that a query gives out: they are changing")
