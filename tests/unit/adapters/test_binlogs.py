"""Binlogs by the letter of their format: what was put in comes out, and what is damaged is said to be."""

from __future__ import annotations

import json
import math
import struct
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus.grpc_gen import schema_pb2

from migrator.adapters.binlogs import read_deletes, read_keys, read_values
from migrator.errors import BinlogUnreadable
from migrator.model.collection import DataType
from migrator.model.rows import encode, encode_array
from migrator.model.segment import LogKind
from tests.support.binlog_files import a_binlog_file, a_delta_log, a_parquet, an_insert_log

KEY = "backup/my_backup/binlogs/insert_log/1/2/3/3/100/4"
WHOLE = an_insert_log(DataType.INT64, [1, 2, 3])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.BOOL: st.booleans(),
    DataType.INT8: st.integers(-(2**7), 2**7 - 1),
    DataType.INT16: st.integers(-(2**15), 2**15 - 1),
    DataType.INT32: st.integers(-(2**31), 2**31 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.FLOAT: st.floats(width=32),
    DataType.DOUBLE: st.floats(),
    DataType.VARCHAR: texts,
}
columns = st.sampled_from(sorted(SCALARS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.lists(SCALARS[kind], min_size=1), min_size=1, max_size=3))
)


@given(columns)
def test_every_scalar_comes_out_as_it_was_put_in_however_many_events_hold_it(
    column: tuple[DataType, list[list[Any]]],
) -> None:
    data_type, events = column
    put_in = [encode(data_type, value) for event in events for value in event]
    assert read_values(an_insert_log(data_type, *events), data_type, key=KEY) == put_in


@given(st.lists(st.none() | st.integers(-128, 127), min_size=1))
def test_null_is_none(values: list[int | None]) -> None:
    found = read_values(an_insert_log(DataType.INT8, values), DataType.INT8, key=KEY)
    assert found == [None if value is None else encode(DataType.INT8, value) for value in values]


@pytest.mark.parametrize(
    "data_type",
    [DataType.FLOAT_VECTOR, DataType.BINARY_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR],
)
def test_vectors_are_their_bytes(data_type: DataType) -> None:
    vectors = [bytes(range(n, n + 8)) for n in range(5)]
    assert read_values(an_insert_log(data_type, vectors, arrow_type=pa.binary(8)), data_type, key=KEY) == vectors


@pytest.mark.parametrize("data_type", [DataType.JSON, DataType.SPARSE_FLOAT_VECTOR])
def test_what_has_no_fixed_length_is_its_bytes(data_type: DataType) -> None:
    values = [b'{"a":  1.50}', b"", b"\x00\xff"]
    assert read_values(an_insert_log(data_type, values), data_type, key=KEY) == values


def test_arrays_are_their_elements() -> None:
    stored = [
        schema_pb2.ScalarField(int_data=schema_pb2.IntArray(data=[-1, 2])).SerializeToString(),
        schema_pb2.ScalarField(int_data=schema_pb2.IntArray()).SerializeToString(),
        b"",
    ]
    found = read_values(an_insert_log(DataType.ARRAY, stored), DataType.ARRAY, element_type=DataType.INT8, key=KEY)
    assert found == [encode_array(DataType.INT8, [-1, 2]), b"", b""]


def test_a_damaged_array_is_told() -> None:
    content = an_insert_log(DataType.ARRAY, [b"\xff\xff"])
    with pytest.raises(BinlogUnreadable, match="an array in it is damaged"):
        read_values(content, DataType.ARRAY, element_type=DataType.INT8, key=KEY)


def test_not_a_number_and_minus_zero_stay_what_they_are() -> None:
    values = read_values(an_insert_log(DataType.DOUBLE, [math.nan, -0.0]), DataType.DOUBLE, key=KEY)
    assert values == [struct.pack("<d", math.nan), struct.pack("<d", -0.0)]


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1) | texts, st.integers(0, 2**63 - 1)), min_size=1))
def test_deletes_are_read_in_their_json_form(deletes: list[tuple[int | str, int]]) -> None:
    written = [json.dumps({"pk": pk, "ts": ts, "pkType": 5 if isinstance(pk, int) else 21}) for pk, ts in deletes]
    assert list(read_deletes(a_delta_log(written, written), key=KEY)) == [*deletes, *deletes]


def test_deletes_are_read_in_their_oldest_form() -> None:
    assert list(read_deletes(a_delta_log(["5,449"], ["-6,450"]), key=KEY)) == [(5, 449), (-6, 450)]


@pytest.mark.parametrize(
    "text", ["", "5", "5,6,7", "a,b", f"{2**63},1", f"1,{2**63}", "{", '{"pk": 5}', '{"pk": 1.5, "ts": 2}', "[1, 2]"]
)
def test_a_delete_of_no_known_form_is_told(text: str) -> None:
    with pytest.raises(BinlogUnreadable, match="a delete in it reads"):
        list(read_deletes(a_delta_log([text]), key=KEY))


@settings(max_examples=200)
@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_off_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(BinlogUnreadable, match=KEY):
        read_values(WHOLE[:cut], DataType.INT64, key=KEY)


@settings(max_examples=300)
@given(st.integers(0, 110), st.integers(1, 255))
def test_a_bent_envelope_is_refused_or_does_no_harm(at: int, bits: int) -> None:
    bent = bytearray(WHOLE)
    bent[at] ^= bits
    with suppress(BinlogUnreadable):
        assert read_keys(bytes(bent), DataType.INT64, key=KEY) == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (a_parquet([1], pa.int64()), "does not tell which field it is of"),
        (b"\0" * 500, "does not begin as a binlog does"),
        (a_delta_log(["5,6"]), "an event of kind 2, which no insert_log has"),
        (an_insert_log(DataType.VARCHAR, ["a"]), "its field is INT64"),
        (an_insert_log(DataType.INT64, ["a"], arrow_type=pa.string()), "are stored as string"),
        (a_binlog_file(LogKind.INSERT, 5, b"PAR1 not really PAR1"), "its parquet part is damaged"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(content: bytes, why: str) -> None:
    with pytest.raises(BinlogUnreadable, match=why) as caught:
        read_values(content, DataType.INT64, key=KEY)
    assert KEY in caught.value.message
