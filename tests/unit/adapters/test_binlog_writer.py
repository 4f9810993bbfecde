"""Delta logs that are written here are those that a real Milvus writes, to the byte but for its Parquet library's."""

from __future__ import annotations

import json
import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from migrator.adapters.binlog_writer import delta_log
from migrator.adapters.binlogs import read_deletes
from migrator.model.collection import DataType
from migrator.model.segment import Segment
from tests.support.binlog_files import real_dump

SEGMENT = Segment(3, 2, 10)
keys = st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def parts(content: bytes) -> tuple[bytes, bytes, bytes]:
    """The descriptor event, the head of the data event without its lengths, and the Parquet file."""
    (length,) = struct.unpack_from("<i", content, 13)
    event = content[4 + length :]
    return content[: 4 + length], event[:9] + event[17:33], event[33:]


def column(content: bytes) -> tuple[Any, Any, str]:
    """What a Parquet file says of its column."""
    file = parquet.ParquetFile(pa.BufferReader(content))
    return file.schema_arrow, file.read().column(0).to_pylist(), file.metadata.row_group(0).column(0).compression


@pytest.mark.parametrize("name", ["kinds", "coded"])
def test_what_a_real_server_wrote_is_written_again(name: str) -> None:
    dump = real_dump(name)
    key_type = dump.collection.schema.primary_field.data_type
    found = [log for log in dump.binlogs if log.field_id is None]
    assert found
    for log in found:
        real = dump.store.read(log.source.key)
        (written_ts,) = struct.unpack_from("<Q", real, 4)
        segment = Segment(log.segment_id, log.partition_id, 1)
        deletes = list(read_deletes(real, key="a real one"))
        ours = delta_log(deletes, segment, collection_id=log.collection_id, key_type=key_type, written_ts=written_ts)
        texts = column(parts(real)[2])[1]
        if all(text.isascii() for text in texts):
            assert parts(ours)[:2] == parts(real)[:2]
        assert column(parts(ours)[2])[::2] == column(parts(real)[2])[::2]
        assert [json.loads(text) for text in column(parts(ours)[2])[1]] == [json.loads(text) for text in texts]


@settings(deadline=None)
@given(st.lists(st.tuples(keys, st.integers(0, 2**63 - 1)), min_size=1))
def test_deletes_are_read_as_they_were_written(deletes: list[tuple[int | str, int]]) -> None:
    content = delta_log(deletes, SEGMENT, collection_id=1, key_type=DataType.VARCHAR, written_ts=7)
    assert list(read_deletes(content, key="ours")) == deletes
