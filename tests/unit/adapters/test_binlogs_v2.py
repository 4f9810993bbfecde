"""Binlogs of Milvus 2.6 and 3.0: files of several columns, deletes in columns, and what a server tells of segments."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from migrator.adapters.binlogs import field_ids, read_deletes, read_keys, read_values
from migrator.adapters.milvus_segments import describe_segments
from migrator.errors import BinlogUnreadable, MilvusRefused
from migrator.model.binlog_rows import count_rows
from migrator.model.collection import CollectionRef, DataType
from migrator.model.rows import encode
from migrator.model.segment import LogKind, SegmentLogs
from tests.support.binlog_files import a_binlog_file

KEY = "backup/x/binlogs/insert_log/1/2/3/3/0/4"
BOOKS = CollectionRef("default", "books")


def a_file(**columns: tuple[int | None, Any]) -> bytes:
    """Parquet with columns by name, each with the id of its field."""
    fields = [
        pa.field(name, array.type, metadata=None if number is None else {"PARQUET:field_id": str(number)})
        for name, (number, array) in columns.items()
    ]
    buffer = io.BytesIO()
    table = pa.table([array for _, array in columns.values()], schema=pa.schema(fields))
    parquet.write_table(table, buffer)
    return buffer.getvalue()


GROUP = a_file(
    RowID=(0, pa.array([7, 8])),
    Timestamp=(1, pa.array([5, 6])),
    id=(100, pa.array(["a", "b"])),
    n=(101, pa.array([1, None], pa.int32())),
)


def test_the_columns_of_a_group_are_told_apart_by_their_ids() -> None:
    assert field_ids(GROUP, key=KEY) == (0, 1, 100, 101)
    assert read_keys(GROUP, DataType.VARCHAR, key=KEY, field_id=100) == ["a", "b"]
    assert read_keys(GROUP, DataType.INT64, key=KEY, field_id=1) == [5, 6]
    assert read_values(GROUP, DataType.INT32, key=KEY, field_id=101) == [encode(DataType.INT32, 1), None]
    assert count_rows(GROUP) == 2


@pytest.mark.parametrize(
    ("data_type", "field_id", "said"),
    [
        (DataType.INT64, 102, "it holds no column of field 102"),
        (DataType.VARCHAR, 101, "are stored as int32"),
        (DataType.GEOMETRY, 101, "cannot read values of GEOMETRY"),
    ],
)
def test_a_column_that_is_not_as_it_should_be_is_told(data_type: DataType, field_id: int, said: str) -> None:
    with pytest.raises(BinlogUnreadable, match=said):
        read_values(GROUP, data_type, key=KEY, field_id=field_id)


def test_deletes_in_two_columns_are_read_with_and_without_a_frame() -> None:
    """Milvus 3.0 writes plain Parquet; 2.6 puts it into a frame where it is told to."""
    plain = a_file(pk=(0, pa.array(["a", "b"])), ts=(1, pa.array([3, 4])))
    assert list(read_deletes(plain, key=KEY)) == [("a", 3), ("b", 4)]
    framed = a_binlog_file(LogKind.DELTA, 21, plain, extras='{"version":"MULTI_FIELD"}')
    assert list(read_deletes(framed, key=KEY)) == [("a", 3), ("b", 4)]


@pytest.mark.parametrize(
    "content",
    [
        a_file(key=(0, pa.array([1])), ts=(1, pa.array([3]))),
        a_file(pk=(0, pa.array([1])), ts=(1, pa.array(["x"]))),
        a_file(pk=(0, pa.array([None], pa.int64())), ts=(1, pa.array([3]))),
    ],
)
def test_deletes_of_no_known_form_are_told(content: bytes) -> None:
    with pytest.raises(BinlogUnreadable):
        list(read_deletes(content, key=KEY))


def test_the_valid_logs_are_read_exactly() -> None:
    """Ids are above 2**53; what a server leaves out is empty."""
    number = 449577000000000003
    asked = []

    def ask(path: str, body: dict[str, object]) -> Any:  # noqa: ANN401 - JSON
        asked.append((path, body))
        return {
            "segmentInfos": [
                {
                    "segmentID": number,
                    "vChannel": "dml_0_1v0",
                    "insertLogs": [
                        {"fieldID": 0, "logIDs": [number + 1, number + 2]},
                        {"fieldID": 101, "logIDs": None},
                    ],
                    "deltaLogs": [{"fieldID": 0, "logIDs": [number + 4]}],
                },
                {"segmentID": number + 9},
            ]
        }

    told = describe_segments(ask, BOOKS, 5, [number, number + 9])
    assert asked == [
        (
            "/v2/vectordb/segments/describe",
            {"dbName": "default", "collectionID": 5, "segmentIDs": [number, number + 9]},
        )
    ]
    inserts = frozenset({(0, number + 1), (0, number + 2)})
    assert told[number] == SegmentLogs(inserts=inserts, deltas=frozenset({number + 4}), vchannel="dml_0_1v0")
    assert told[number + 9] == SegmentLogs(inserts=frozenset(), deltas=frozenset())


@pytest.mark.parametrize("data", [None, {}, {"segmentInfos": [{}]}, {"segmentInfos": [{"segmentID": 1.5}]}])
def test_an_answer_of_no_known_form_is_told(data: Any) -> None:  # noqa: ANN401 - JSON
    with pytest.raises(MilvusRefused, match="in a form that this version of migrator does not know"):
        describe_segments(lambda _path, _body: data, BOOKS, 5, [1])
