"""Delta logs as Milvus 2.3 writes them, which every later version reads; see `adapters.binlogs` for the format."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.model.collection import DataType
    from migrator.model.rows import Key
    from migrator.model.segment import Segment

_MAGIC = struct.pack("<i", 0xFFFABC)
_HEADER = struct.Struct("<Qbii")
_DESCRIPTOR = struct.Struct("<4q2Qi8si")
_SPAN = struct.Struct("<QQ")
_DESCRIPTOR_EVENT, _DELETE_EVENT = 0, 2
_NO_FIELD = -1
_TEXT = 20
"""The type of the payload: each delete is a text."""
_HEADER_LENGTHS = bytes([52, 16, 16, 16, 16, 16, 16, 16])
_COLUMN = "val"


def delta_log(
    deletes: Sequence[tuple[Key, int]], segment: Segment, *, collection_id: int, key_type: DataType, written_ts: int
) -> bytes:
    """A delta log of `segment` with those deletes, each a primary key and its time; times are hybrid timestamps.

    There is one event in it, as Milvus reads no more of a delta log.
    """
    texts = [json.dumps({"pk": pk, "ts": ts, "pkType": int(key_type)}, separators=(",", ":")) for pk, ts in deletes]
    first, last = min(ts for _, ts in deletes), max(ts for _, ts in deletes)
    extras = json.dumps({"original_size": str(sum(map(len, texts)))}, separators=(",", ":")).encode()
    described = _DESCRIPTOR.pack(
        collection_id,
        segment.partition_id,
        segment.segment_id,
        _NO_FIELD,
        first,
        last,
        _TEXT,
        _HEADER_LENGTHS,
        len(extras),
    )
    head = _MAGIC + _event(_DESCRIPTOR_EVENT, described + extras, at=len(_MAGIC), written_ts=written_ts)
    return head + _event(_DELETE_EVENT, _SPAN.pack(first, last) + _parquet(texts), at=len(head), written_ts=written_ts)


def _event(kind: int, body: bytes, *, at: int, written_ts: int) -> bytes:
    length = _HEADER.size + len(body)
    return _HEADER.pack(written_ts, kind, length, at + length) + body


def _parquet(texts: Sequence[str]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    from pyarrow import parquet  # noqa: PLC0415 - as above

    sink = pa.BufferOutputStream()
    schema = pa.schema([pa.field(_COLUMN, pa.string(), nullable=False)])
    table = pa.table({_COLUMN: pa.array(texts, type=pa.string())}, schema=schema)
    parquet.write_table(table, sink, compression="zstd", store_schema=False)
    content: bytes = sink.getvalue().to_pybytes()
    return content
