"""Binlogs as Milvus writes them, made by hand; and a folder of some that a real Milvus 2.3.5 wrote."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from migrator.adapters.memory import MemoryStore
from migrator.model.codec import from_plain
from migrator.model.collection import Collection, DataType
from migrator.model.segment import Binlog, LogKind, parse_binlog

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parent / "binlogs"
ROOT = "files_A"

ARROW_TYPES = {
    DataType.BOOL: pa.bool_(),
    DataType.INT8: pa.int8(),
    DataType.INT16: pa.int16(),
    DataType.INT32: pa.int32(),
    DataType.INT64: pa.int64(),
    DataType.FLOAT: pa.float32(),
    DataType.DOUBLE: pa.float64(),
    DataType.VARCHAR: pa.string(),
    DataType.JSON: pa.binary(),
    DataType.ARRAY: pa.binary(),
    DataType.SPARSE_FLOAT_VECTOR: pa.binary(),
}


@dataclass(frozen=True, slots=True)
class RealDump:
    """What a real server left of one collection."""

    collection: Collection
    cut_ts: int
    store: MemoryStore
    binlogs: tuple[Binlog, ...]


def real_dump(name: str) -> RealDump:
    """One of the collections of `binlogs/README.md`."""
    store, binlogs = MemoryStore(), []
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as archive:
        told = json.loads(archive.read("collection.json"))
        for key in archive.namelist():
            if key.startswith(ROOT):
                store.write(key, archive.read(key))
                found = store.find_object(key)
                assert found is not None
                binlog = parse_binlog(found, ROOT)
                assert binlog is not None
                binlogs.append(binlog)
    return RealDump(from_plain(Collection, told["collection"]), told["cut_ts"], store, tuple(binlogs))


def a_parquet(values: Sequence[Any], arrow_type: Any) -> bytes:  # noqa: ANN401 - pyarrow has no types
    """A parquet file of one column."""
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"val": pa.array(values, type=arrow_type)}), buffer)
    return buffer.getvalue()


def a_binlog_file(kind: LogKind, type_number: int, *payloads: bytes, extras: str = '{"original_size":"1"}') -> bytes:
    """An envelope of format 1 around payloads, an event each."""
    event = 1 if kind is LogKind.INSERT else 2
    lengths = bytes([52, 16, 16, 16, 16, 16, 16, 16])
    description = struct.pack("<4q2Qi8si", 1, 2, 3, 100, 5, 6, type_number, lengths, len(extras)) + extras.encode()
    content = struct.pack("<i", 0xFFFABC) + _event(0, description, at=4)
    for payload in payloads:
        content += _event(event, struct.pack("<QQ", 5, 6) + payload, at=len(content))
    return content


def _event(number: int, body: bytes, *, at: int) -> bytes:
    length = 17 + len(body)
    return struct.pack("<Qbii", 7, number, length, at + length) + body


def an_insert_log(data_type: DataType, *columns: Sequence[Any], arrow_type: Any = None) -> bytes:  # noqa: ANN401 - as above
    """An insert log; each column is an event."""
    stored_as = arrow_type or ARROW_TYPES[data_type]
    return a_binlog_file(LogKind.INSERT, int(data_type), *(a_parquet(column, stored_as) for column in columns))


def a_delta_log(*columns: Sequence[str]) -> bytes:
    """A delta log of text; each column is an event."""
    return a_binlog_file(LogKind.DELTA, 20, *(a_parquet(column, pa.string()) for column in columns))
