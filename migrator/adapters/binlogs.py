"""Milvus's binlogs as values: of storage v1, which Milvus up to 2.5 writes, and of v2, which 2.6 writes.

A binlog of v1 is an envelope of events, little endian throughout: a magic number; a descriptor (whose rows these are,
and of which type); then data events, each with a parquet file of one column. One of v2 is a parquet file of several
columns, each with the id of its field. What does not fit together is refused.
"""

from __future__ import annotations

import json
import struct
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from migrator.adapters.binlog_writer import delta_log as write_deletes
from migrator.errors import BinlogUnreadable
from migrator.model.collection import DataType
from migrator.model.rows import encode_array
from migrator.model.segment import LogKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.rows import Key, Value

__all__ = ["field_ids", "missing", "read_deletes", "read_keys", "read_values", "write_deletes"]
_MAGIC = struct.Struct("<i")
_MAGIC_NUMBER = 0xFFFABC
_PARQUET = b"PAR1"
_HEADER = struct.Struct("<Qbii")
"""Timestamp, type of event, its length with this header, and where the next begins."""
_DESCRIPTOR = struct.Struct("<4q2Qi8si")
"""Collection, partition, segment and field; first and last timestamp; type of the payload; lengths of event headers;
length of the JSON that follows."""
_SPAN = struct.Struct("<QQ")
"""First and last timestamp of a data event, before its payload."""
_BATCH = 10_000
_DESCRIPTOR_EVENT = 0
_DATA_EVENT = {LogKind.INSERT: 1, LogKind.DELTA: 2}
_DELTA_TYPES = {20, 21}
"""What delta logs say of their column: text."""
_INTEGERS = {DataType.INT8: "int8", DataType.INT16: "int16", DataType.INT32: "int32", DataType.INT64: "int64"}
_COLUMNS = {
    **_INTEGERS,
    DataType.BOOL: "bool",
    DataType.FLOAT: "float",
    DataType.DOUBLE: "double",
    DataType.VARCHAR: "string",
    DataType.ARRAY: "binary",
    DataType.JSON: "binary",
    DataType.SPARSE_FLOAT_VECTOR: "binary",
    DataType.FLOAT_VECTOR: "fixed_size_binary",
    DataType.BINARY_VECTOR: "fixed_size_binary",
    DataType.FLOAT16_VECTOR: "fixed_size_binary",
    DataType.BFLOAT16_VECTOR: "fixed_size_binary",
    DataType.INT8_VECTOR: "fixed_size_binary",
}
"""Parquet columns, by arrow's names of their types; what is not here is not read."""
_FIELD_ID = b"PARQUET:field_id"
_DELETES = ("pk", "ts")
"""The columns of delta logs that hold no JSON."""


def missing() -> str:
    """What has to be installed before binlogs can be read; empty if nothing."""
    if find_spec("pyarrow") is None:  # an extra; slow to import, and a plan only asks whether it is there
        return 'binlogs cannot be read without pyarrow: pip install "migrator[binlogs]"'
    return ""


def read_values(
    content: bytes, data_type: DataType, *, key: str, element_type: DataType | None = None, field_id: int = -1
) -> list[Value]:
    """The values of an insert log row by row, as exact bytes (`model.rows`); `key` is its name in messages.

    Of a file with several columns, those of the field `field_id`.

    Raises:
        BinlogUnreadable: It is damaged, of another format, or holds another type.
    """
    columns = _insert_columns(content, data_type, key, field_id)
    return [value for column in columns for value in _bytes(column, element_type, key)]


def read_keys(content: bytes, data_type: DataType, *, key: str, field_id: int = -1) -> list[Key]:
    """The same of integers and text, as Python has them."""
    return [value for column in _insert_columns(content, data_type, key, field_id) for value in column.to_pylist()]


def field_ids(content: bytes, *, key: str) -> tuple[int, ...]:
    """The ids of the fields that a parquet file of storage v2 holds columns of."""
    return tuple(_id_of(field, key) for field in _parquet(memoryview(content), key).schema)


def read_deletes(content: bytes, *, key: str) -> Iterator[tuple[Key, int]]:
    """The deletes of a delta log: primary key and timestamp (hybrid)."""
    if content.startswith(_PARQUET):
        yield from _pairs(_parquet(memoryview(content), key), key)
        return
    found, payloads = _open(content, LogKind.DELTA, key)
    if found not in _DELTA_TYPES:
        raise _unreadable(key, f"it holds values of type number {found}, not deletes")
    for payload in payloads:
        table = _parquet(payload, key)
        if table.num_columns > 1:
            yield from _pairs(table, key)
            continue
        column = table.column(0).combine_chunks()
        if str(column.type) != "string" or column.null_count:
            raise _unreadable(key, f"its deletes are of type {column.type}")
        for text in column.to_pylist():
            yield _delete(text, key)


def _pairs(table: Any, key: str) -> Iterator[tuple[Key, int]]:  # noqa: ANN401 - pyarrow has no types
    """Keys and timestamps in a column each, as Milvus 3.0 writes them, and 2.6 where it is told to."""
    names = tuple(name.lower() for name in table.column_names)
    if names != _DELETES or str(table.column(1).type) not in {"int64", "uint64"}:
        raise _unreadable(key, f"its deletes are in columns {', '.join(table.column_names)}, which is no known form")
    for batch in table.to_batches(max_chunksize=_BATCH):
        pks, stamps = batch.column(0), batch.column(1)
        if pks.null_count or stamps.null_count:
            raise _unreadable(key, "a delete in it lacks its key or its time")
        yield from zip(pks.to_pylist(), stamps.to_pylist(), strict=True)


def _delete(text: str, key: str) -> tuple[Key, int]:
    """`{"pk": …, "ts": …}`; Milvus before it knew text keys wrote `pk,ts`."""
    try:
        if text.startswith("{"):
            told = json.loads(text)
            pk, ts = told["pk"], told["ts"]
        else:
            pk, ts = map(int, text.split(","))
    except (ValueError, KeyError):
        raise _unreadable(key, f"a delete in it reads {text[:60]!r}") from None
    if not isinstance(pk, int | str) or not isinstance(ts, int) or not all(map(_is_number, (pk, ts))):
        raise _unreadable(key, f"a delete in it reads {text[:60]!r}")
    return pk, ts


def _is_number(value: int | str) -> bool:
    """Whether it is of 64 bits, or no number at all."""
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _unreadable(key: str, what: str) -> BinlogUnreadable:
    return BinlogUnreadable(
        f"the binlog {key} cannot be read: {what}", hint="see whether the source's own file is the same"
    )


# -- the envelope -----------------------------------------------------------------------------------------------------


def _open(content: bytes, kind: LogKind, key: str) -> tuple[int, list[memoryview]]:
    """The number of the payload's type, and the payloads of all events."""
    view = memoryview(content)
    if _take(_MAGIC, view, 0, key)[0] != _MAGIC_NUMBER:
        raise _unreadable(key, "it does not begin as a binlog does")
    data_type, at = _descriptor(view, key)
    payloads = []
    while at < len(view):
        _, event, length, _ = _take(_HEADER, view, at, key)
        if event != _DATA_EVENT[kind]:
            raise _unreadable(key, f"it holds an event of kind {event}, which no {kind} has")
        begin, end = at + _HEADER.size + _SPAN.size, at + length
        if not begin < end <= len(view):
            raise _cut(key)
        payloads.append(view[begin:end])
        at = end
    if not payloads:
        raise _cut(key)
    return data_type, payloads


def _descriptor(view: memoryview, key: str) -> tuple[int, int]:
    """The number of the payload's type, and where the first data event begins."""
    at = _MAGIC.size
    _, event, length, _ = _take(_HEADER, view, at, key)
    told = _take(_DESCRIPTOR, view, at + _HEADER.size, key)
    if event != _DESCRIPTOR_EVENT or length != _HEADER.size + _DESCRIPTOR.size + told[-1]:
        raise _unreadable(key, "its description does not fit together")
    return told[6], at + length


def _take(layout: struct.Struct, view: memoryview, at: int, key: str) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(view, at)
    except struct.error:
        raise _cut(key) from None


def _cut(key: str) -> BinlogUnreadable:
    return _unreadable(key, "it is cut off")


# -- the columns ------------------------------------------------------------------------------------------------------


def _insert_columns(content: bytes, data_type: DataType, key: str, field_id: int) -> Iterator[Any]:
    """The arrow arrays of an insert log, each of the type that a field of `data_type` is stored as."""
    if data_type not in _COLUMNS:
        raise _unreadable(key, f"this version of migrator cannot read values of {data_type.name}")
    for column in _raw_columns(content, data_type, key, field_id):
        if not str(column.type).startswith(_COLUMNS[data_type]):
            raise _unreadable(key, f"its values of {data_type.name} are stored as {column.type}")
        yield column


def _raw_columns(content: bytes, data_type: DataType, key: str, field_id: int) -> Iterator[Any]:
    if content.startswith(_PARQUET):
        yield _column_of(_parquet(memoryview(content), key), field_id, key)
        return
    found, payloads = _open(content, LogKind.INSERT, key)
    if found != data_type:
        raise _unreadable(key, f"it holds values of type number {found}, and its field is {data_type.name}")
    for payload in payloads:
        table = _parquet(payload, key)
        if table.num_columns != 1:
            raise _unreadable(key, f"it holds {table.num_columns} columns, not one")
        yield table.column(0).combine_chunks()


def _column_of(table: Any, field_id: int, key: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    """The column of a field, in a file of several."""
    for number, field in enumerate(table.schema):
        if _id_of(field, key) == field_id:
            return table.column(number).combine_chunks()
    raise _unreadable(key, f"it holds no column of field {field_id}")


def _id_of(field: Any, key: str) -> int:  # noqa: ANN401 - as above
    told = (field.metadata or {}).get(_FIELD_ID, b"")
    if not told.isdigit():
        raise _unreadable(key, f"its column {field.name!r} does not tell which field it is of")
    return int(told)


def _parquet(payload: memoryview, key: str) -> Any:  # noqa: ANN401 - as above
    import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    from pyarrow import parquet  # noqa: PLC0415 - as above

    try:
        return parquet.ParquetFile(pa.BufferReader(payload)).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(key, f"its parquet part is damaged ({str(error).splitlines()[0][:80]})") from error


def _bytes(column: Any, element_type: DataType | None, key: str) -> list[Value]:  # noqa: ANN401 - as above
    """A column's values as exact bytes, None for NULL."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    kind = str(column.type)
    if kind == "string":
        return list(column.cast(pa.binary()).to_pylist())
    if kind == "binary":
        values: list[Value] = list(column.to_pylist())
        return values if element_type is None else _arrays(values, element_type, key)
    if kind == "bool":
        column = column.cast(pa.int8())
    cut = _slices(column.cast(pa.int64()) if pa.types.is_integer(column.type) else column)
    if column.null_count:
        return [value if there else None for value, there in zip(cut, column.is_valid().to_pylist(), strict=True)]
    return cut


def _slices(column: Any) -> list[Value]:  # noqa: ANN401 - as above
    """Values of one width, cut from their buffer: much faster than one by one."""
    width = column.type.bit_width // 8
    raw = column.buffers()[1].to_pybytes()
    first = column.offset * width
    return [raw[at : at + width] for at in range(first, first + len(column) * width, width)]


def _arrays(values: list[Value], element_type: DataType, key: str) -> list[Value]:
    """ARRAYs, which are stored as protobuf messages."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - see below

    from migrator.adapters.milvus_messages import schema_pb2  # noqa: PLC0415 - slow to import

    def exact(value: bytes) -> bytes:
        message = schema_pb2.ScalarField.FromString(value)
        held = message.WhichOneof("data")
        return encode_array(element_type, getattr(message, held).data if held else ())

    try:
        return [None if value is None else exact(value) for value in values]
    except DecodeError:
        raise _unreadable(key, "an array in it is damaged") from None
