"""Insert logs and delta logs, read and written as D.2 describes them; values are those that `values.py` knows."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from tests.doubles.state import ROW_ID, TIMESTAMP, Columns, Key, Message, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MAGIC = 0xFFFABC
_HEADER = struct.Struct("<Qbii")  # timestamp, type, length, next position
_DESCRIPTION = struct.Struct("<4q2Qi")  # collection, partition, segment, field; start and end; payload type
_POST_HEADER = bytes([52, 16, 16, 16, 16, 16, 16, 16])
_DESCRIPTOR, _INSERT, _DELETE = 0, 1, 2
_DELTA_PAYLOAD = 20

_ARROW = {
    1: pa.bool_(),
    2: pa.int8(),
    3: pa.int16(),
    4: pa.int32(),
    5: pa.int64(),
    10: pa.float32(),
    11: pa.float64(),
    20: pa.string(),
    21: pa.string(),
    26: pa.int64(),
}
_BYTES_PER_DIM = {100: 0.125, 101: 4, 102: 2, 103: 2, 105: 1}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose a file is."""

    collection_id: int
    partition_id: int
    segment_id: int


def vector_length(field: Message) -> int | None:
    """Bytes of a vector of that field; None where they differ, or where it is none."""
    if field.data_type not in _BYTES_PER_DIM:
        return None
    return int(dimension(field) * _BYTES_PER_DIM[field.data_type])


def dimension(field: Message) -> int:
    """Its `dim`, 0 without one."""
    return next((int(pair.value) for pair in field.type_params if pair.key == "dim"), 0)


def _arrow_type(field: Message) -> Any:  # noqa: ANN401 - pyarrow has no types
    length = vector_length(field)
    if length is not None and not field.nullable:
        return pa.binary(length)
    return _ARROW.get(field.data_type, pa.binary())


# -- format 1 ---------------------------------------------------------------------------------------------------------


def read_v1(content: bytes) -> tuple[int, list[Any]]:
    """The payload's type, and every value of every event.

    Raises:
        Refusal: It is not of this format.
    """
    number, values = 0, []
    for payload_type, table in _events(content):
        number = payload_type
        values += table.column(0).to_pylist()
    return number, values


def _events(content: bytes) -> Iterator[tuple[int, Any]]:
    if len(content) < 4 or struct.unpack_from("<i", content)[0] != _MAGIC:
        raise Refusal("parse magic number failed, expected: 0xfffabc")
    at, payload_type = 4, 0
    while at < len(content):
        _, kind, length, _ = _HEADER.unpack_from(content, at)
        if kind == _DESCRIPTOR:
            payload_type = _DESCRIPTION.unpack_from(content, at + _HEADER.size)[6]
        else:
            body = content[at + _HEADER.size + 16 : at + length]  # behind its own start and end
            yield payload_type, _table(body)
        at += length


def _table(content: bytes) -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        return parquet.read_table(io.BytesIO(content))
    except pa.ArrowInvalid as error:
        raise Refusal(f"failed to iterate events reader, error: parquet: {error}") from error


def write_v1(origin: Origin, field: Message, values: Sequence[Any], timestamps: Sequence[int]) -> bytes:
    """An insert log of one field."""
    column = pa.array(values, type=_arrow_type(field))
    schema = pa.schema([pa.field("val", column.type, nullable=field.nullable)])
    extras = {"original_size": str(column.nbytes), **({"nullable": True} if field.nullable else {})}
    return _envelope(origin, field.fieldID, field.data_type, _INSERT, _parquet(schema, [column]), timestamps, extras)


def _envelope(  # noqa: PLR0917 - the members of a format
    origin: Origin,
    field_id: int,
    payload_type: int,
    kind: int,
    payload: bytes,
    timestamps: Sequence[int],
    extras: Mapping[str, Any],
) -> bytes:
    first, last = min(timestamps, default=0), max(timestamps, default=0)
    more = json.dumps(extras).encode()
    ids = (origin.collection_id, origin.partition_id, origin.segment_id, field_id)
    head = _DESCRIPTION.pack(*ids, first, last, payload_type) + _POST_HEADER + struct.pack("<i", len(more)) + more
    content = struct.pack("<i", _MAGIC) + _event(_DESCRIPTOR, head, first, at=4)
    return content + _event(kind, struct.pack("<QQ", first, last) + payload, first, at=len(content))


def _event(kind: int, body: bytes, ts: int, *, at: int) -> bytes:
    length = _HEADER.size + len(body)
    return _HEADER.pack(ts, kind, length, at + length) + body


def _parquet(schema: Any, columns: Sequence[Any]) -> bytes:  # noqa: ANN401 - pyarrow has no types
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(list(columns), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


# -- format 2: a parquet file per column group -------------------------------------------------------------------------


def read_v2(content: bytes) -> Columns:
    """Every column by its field id.

    Raises:
        Refusal: It is no parquet file, or its columns carry no ids.
    """
    table = _table(content)
    columns: Columns = {}
    for number, column in enumerate(table.schema):
        field_id = (column.metadata or {}).get(b"PARQUET:field_id")
        if field_id is None:
            raise Refusal(f"no field id in the metadata of column {column.name}")
        columns[int(field_id)] = table.column(number).to_pylist()
    return columns


def write_v2(fields: Sequence[Message], columns: Columns) -> bytes:
    """One file of a column group."""
    schema = pa.schema(
        pa.field(
            field.name,
            _arrow_type(field),
            nullable=field.nullable,
            metadata={b"PARQUET:field_id": str(field.fieldID).encode()},
        )
        for field in fields
    )
    arrays = [pa.array(columns[field.fieldID], type=_arrow_type(field)) for field in fields]
    return _parquet(schema, arrays)


def column_groups(fields: Sequence[Message]) -> dict[int, list[Message]]:
    """Group 0 has the system fields and the narrow ones; each vector has a group called by its own id (D.2)."""
    groups: dict[int, list[Message]] = {0: []}
    for field in fields:
        if field.data_type >= 100:
            groups[field.fieldID] = [field]
        else:
            groups[0].append(field)
    return groups


# -- deletes ----------------------------------------------------------------------------------------------------------


def read_deltas(content: bytes, *, plain_too: bool) -> list[tuple[Key, int]]:
    """Every key with its timestamp.

    Args:
        content: A delta log.
        plain_too: 3.0 reads a parquet file of keys and timestamps where the envelope is none (D.2).

    Raises:
        Refusal: It is neither.
    """
    if plain_too and content[:4] == b"PAR1":
        return _pairs(_table(content))
    found: list[tuple[Key, int]] = []
    for _, table in _events(content):
        if table.num_columns > 1:  # written with MULTI_FIELD
            found += _pairs(table)
        else:
            found += map(_delete, table.column(0).to_pylist())
    return found


def _pairs(table: Any) -> list[tuple[Key, int]]:  # noqa: ANN401 - pyarrow has no types
    return list(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))


def _delete(text: str) -> tuple[Key, int]:
    if text.startswith("{"):
        told = json.loads(text)
        return told["pk"], told["ts"]
    key, _, ts = text.rpartition(",")  # very old files
    return int(key), int(ts)


def write_deltas(origin: Origin, deletes: Sequence[tuple[Key, int]], *, plain: bool, multi_field: bool) -> bytes:
    """A delta log: the envelope with JSON, or with two columns; or plain parquet, as 3.0 writes it."""
    timestamps = [ts for _, ts in deletes]
    if plain:
        return _two_columns(deletes)
    if multi_field:
        content, extras = _two_columns(deletes), {"original_size": str(16 * len(deletes)), "version": "MULTI_FIELD"}
        return _envelope(origin, -1, _DELTA_PAYLOAD, _DELETE, content, timestamps, extras)
    lines = [_delete_line(key, ts) for key, ts in deletes]
    schema = pa.schema([pa.field("val", pa.string(), nullable=False)])
    payload = _parquet(schema, [pa.array(lines, type=pa.string())])
    extras = {"original_size": str(sum(map(len, lines)))}
    return _envelope(origin, -1, _DELTA_PAYLOAD, _DELETE, payload, timestamps, extras)


def _two_columns(deletes: Sequence[tuple[Key, int]]) -> bytes:
    is_text = bool(deletes) and isinstance(deletes[0][0], str)
    types = {"pk": pa.string() if is_text else pa.int64(), "ts": pa.int64()}
    columns = zip(*deletes, strict=True)
    arrays = [pa.array(each, type=kind) for each, kind in zip(columns, types.values(), strict=True)]
    return _parquet(pa.schema(types.items()), arrays)


def _delete_line(key: Key, ts: int) -> str:
    told = {"pk": key, "ts": ts, "pkType": 21 if isinstance(key, str) else 5}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False)


SYSTEM_FIELDS = ((ROW_ID, "RowID"), (TIMESTAMP, "Timestamp"))
