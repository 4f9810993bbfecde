"""Values between pymilvus's messages and columns.

In a column a JSON text, an array, a vector and a geometry are bytes as a binlog holds them (an array is a message
`ScalarField`, an array of vectors a `VectorField`); all else is as Python has it, and NULL is None.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from tests.doubles.binlogs import dimension, vector_length
from tests.doubles.state import Message, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

BOOL, VARCHAR, ARRAY, JSON, GEOMETRY, TEXT, TIMESTAMPTZ = 1, 21, 22, 23, 24, 25, 26
FLOAT_VECTOR, SPARSE, ARRAY_OF_VECTOR = 101, 104, 106

_SCALARS = {
    BOOL: "bool_data",
    2: "int_data",
    3: "int_data",
    4: "int_data",
    5: "long_data",
    10: "float_data",
    11: "double_data",
    20: "string_data",
    VARCHAR: "string_data",
    TEXT: "string_data",
    ARRAY: "array_data",
    JSON: "json_data",
    GEOMETRY: "geometry_data",
    TIMESTAMPTZ: "timestamptz_data",
}
_PACKED = {
    100: "binary_vector",
    102: "float16_vector",
    103: "bfloat16_vector",
    105: "int8_vector",
}
_ZEROS: dict[int, Any] = {BOOL: False, 10: 0.0, 11: 0.0, 20: "", VARCHAR: "", TEXT: "", JSON: b"", GEOMETRY: b""}


def _zero(field: Message) -> Any:  # noqa: ANN401 - of any type
    return _ZEROS.get(field.data_type, 0)


# -- out of messages --------------------------------------------------------------------------------------------------


def values_from(data: Message, field: Message, rows: int) -> list[Any]:
    """One field of an insert.

    Raises:
        Refusal: It has another number of values, or its vectors another dimension.
    """
    found = _vectors(data.vectors, field) if field.data_type >= 100 else _scalars(data.scalars, field)
    valid = list(data.valid_data)
    if valid and not field.nullable and not all(valid):
        raise Refusal(f"field {field.name} is not nullable: invalid parameter", code=1100)
    if valid and len(found) == sum(valid):
        rest = iter(found)
        found = [next(rest) if is_valid else None for is_valid in valid]
    elif valid:
        found = [value if is_valid else None for value, is_valid in zip(found, valid, strict=True)]
    if len(found) != rows:
        raise Refusal(f"the num_rows ({len(found)}) of field ({field.name}) is not equal to passed num_rows ({rows})")
    if field.data_type == VARCHAR:
        _check_lengths(found, field)
    return found


def _check_lengths(texts: Sequence[Any], field: Message) -> None:
    """In bytes, as measured on 2.3.5."""
    most = next(int(pair.value) for pair in field.type_params if pair.key == "max_length")
    for number, text in enumerate(texts):
        if text is not None and len(text.encode()) > most:
            told = f"the length ({len(text.encode())}) of {number}th string exceeds max length ({most})"
            raise Refusal(f"{told}: invalid parameter", code=1100)


def _scalars(scalars: Message, field: Message) -> list[Any]:
    if field.data_type == GEOMETRY and scalars.HasField("geometry_wkt_data"):
        return [text.encode() for text in scalars.geometry_wkt_data.data]
    holder = getattr(scalars, _SCALARS[field.data_type])
    if field.data_type == ARRAY:
        return [each.SerializeToString() for each in holder.data]
    if field.data_type == TIMESTAMPTZ and scalars.HasField("string_data"):
        return [int(text) for text in scalars.string_data.data]
    return list(holder.data)


def _vectors(vectors: Message, field: Message) -> list[bytes]:
    if field.data_type == SPARSE:
        return list(vectors.sparse_float_vector.contents)
    if field.data_type == ARRAY_OF_VECTOR:
        return [each.SerializeToString() for each in vectors.vector_array.data]
    if vectors.dim != dimension(field):
        told = f"the dim ({vectors.dim}) of field data({field.name}) is not equal to schema dim ({dimension(field)})"
        raise Refusal(f"{told}: invalid parameter", code=1100)
    length = vector_length(field) or 1
    packed = vectors.float_vector if field.data_type == FLOAT_VECTOR else getattr(vectors, _PACKED[field.data_type])
    data = _packed_floats(packed) if field.data_type == FLOAT_VECTOR else packed
    return [data[start : start + length] for start in range(0, len(data), length)]


def _packed_floats(floats: Message) -> bytes:
    """As they came: a Python float may change the bits of a NaN."""
    data: bytes = floats.SerializeToString()
    return data[len(data) - 4 * len(floats.data) :]


# -- into messages ----------------------------------------------------------------------------------------------------


def field_data(field: Message, values: Sequence[Any]) -> Message:
    """One field of a reply: where it may be NULL its scalars are zeros there, and its vectors are left out."""
    told = schema_pb2.FieldData(type=field.data_type, field_name=field.name, field_id=field.fieldID)
    told.is_dynamic = field.is_dynamic
    if field.nullable:
        told.valid_data.extend(value is not None for value in values)
    if field.data_type >= 100:
        _put_vectors(told.vectors, field, [value for value in values if value is not None])
    else:
        _put_scalars(told.scalars, field, values)
    return told


def _put_scalars(scalars: Message, field: Message, values: Sequence[Any]) -> None:
    holder = getattr(scalars, _SCALARS[field.data_type])
    holder.SetInParent()
    if field.data_type == ARRAY:
        holder.element_type = field.element_type
        for value in values:
            holder.data.append(array_of(value))
    else:
        holder.data.extend(_zero(field) if value is None else value for value in values)


def array_of(value: bytes | None) -> Message:
    """The message of an array; an empty one for NULL."""
    return schema_pb2.ScalarField.FromString(value or b"")


def _put_vectors(vectors: Message, field: Message, values: Sequence[bytes]) -> None:
    vectors.dim = dimension(field)
    if field.data_type == SPARSE:
        vectors.sparse_float_vector.contents.extend(values)
        vectors.dim = max((_sparse_dim(value) for value in values), default=0)
        vectors.sparse_float_vector.dim = vectors.dim
    elif field.data_type == ARRAY_OF_VECTOR:
        vectors.vector_array.dim = vectors.dim
        vectors.vector_array.element_type = field.element_type
        vectors.vector_array.data.extend(schema_pb2.VectorField.FromString(value) for value in values)
    elif field.data_type == FLOAT_VECTOR:
        data = b"".join(values)
        vectors.float_vector.MergeFromString(b"\x0a" + _varint(len(data)) + data)
    else:
        setattr(vectors, _PACKED[field.data_type], b"".join(values))


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _sparse_dim(value: bytes) -> int:
    return max((int.from_bytes(value[at : at + 4], "little") + 1 for at in range(0, len(value), 8)), default=0)


# -- values that nobody gave -------------------------------------------------------------------------------------------


def default_of(field: Message) -> Any:  # noqa: ANN401 - of any type
    """What a row has that was written before the field was there: its default value, `{}`, or NULL."""
    if field.HasField("default_value"):
        return _default(field)
    if field.is_dynamic:
        return b"{}"
    return None


def _default(field: Message) -> Any:  # noqa: ANN401 - of any type
    told = field.default_value
    value = getattr(told, told.WhichOneof("data"))
    return value.encode() if field.data_type == JSON and isinstance(value, str) else value


def words(text: str) -> bytes:
    """A sparse vector of how often each word is in a text, which is enough of BM25 here."""
    counts = Counter(zlib.crc32(word.encode()) & 0x7FFFFFFF for word in text.lower().split())
    return b"".join(struct.pack("<If", word, count) for word, count in sorted(counts.items()))


def plain(field: Message, value: Any) -> Any:  # noqa: ANN401 - of any type
    """A value as JSON has it: bytes in hex, JSON texts as text, arrays as lists."""
    if value is None:
        return None
    if field.data_type == JSON:
        return value.decode()
    if field.data_type == ARRAY:
        return elements(value)
    return value.hex() if isinstance(value, bytes) else value


def elements(value: bytes) -> list[Any]:
    """The elements of an array."""
    message = array_of(value)
    kind = message.WhichOneof("data")
    return list(getattr(message, kind).data) if kind else []


def dynamic(value: bytes | None) -> dict[str, Any]:
    """The dynamic fields of a row."""
    told = json.loads(value) if value else {}
    return told if isinstance(told, dict) else {}
