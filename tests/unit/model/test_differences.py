"""Unequal values as a person reads them, and differences as many as can be kept."""

from __future__ import annotations

import math
import struct

import pytest

from migrator.model.codec import from_plain, to_plain
from migrator.model.collection import DataType, FieldSchema
from migrator.model.difference import KEPT, Difference, DifferenceKind, Differences, show_key
from migrator.model.rows import encode, show_both


def a_field(data_type: DataType) -> FieldSchema:
    return FieldSchema(field_id=1, name="x", data_type=data_type)


@pytest.mark.parametrize(
    ("data_type", "ours", "theirs", "shown"),
    [
        (DataType.INT64, encode(DataType.INT64, 1), encode(DataType.INT64, 2), ("1", "2")),
        (DataType.VARCHAR, b"a", None, ("'a'", "NULL")),
        (DataType.DOUBLE, encode(DataType.DOUBLE, 0.0), encode(DataType.DOUBLE, -0.0), ("0.0", "-0.0")),
        (
            DataType.FLOAT_VECTOR,
            struct.pack("<3f", 1, 2, 3),
            struct.pack("<3f", 1, 2, 4),
            ("3 (component 2)", "4 (component 2)"),
        ),
        (
            DataType.BINARY_VECTOR,
            bytes(20),
            bytes(19) + b"\x01",
            ("0x00 (from byte 19 of 20)", "0x01 (from byte 19 of 20)"),
        ),
    ],
)
def test_unequal_values(data_type: DataType, ours: bytes, theirs: bytes | None, shown: tuple[str, str]) -> None:
    assert show_both(a_field(data_type), ours, theirs) == shown


def test_long_values_are_shown_where_they_differ() -> None:
    ours, theirs = b"x" * 500 + b"one" + b"y" * 500, b"x" * 500 + b"two" + b"y" * 500
    one, two = show_both(a_field(DataType.VARCHAR), ours, theirs)
    assert "one" in one
    assert "two" in two
    assert max(len(one), len(two)) <= 62


def test_values_that_read_the_same_are_told_apart_by_their_bytes() -> None:
    quiet, other = struct.pack("<d", math.nan), b"\x01" + struct.pack("<d", math.nan)[1:]
    one, two = show_both(a_field(DataType.DOUBLE), quiet, other)
    assert one != two


def test_the_first_of_each_kind_are_kept_and_all_are_counted() -> None:
    rows = [Difference(kind=DifferenceKind.MISSING, key=str(n)) for n in range(KEPT + 30)]
    found = Differences().plus(rows).plus([Difference(kind=DifferenceKind.INDEX, field="on 'v'")])
    assert (found.total, len(found.shown)) == (KEPT + 31, KEPT + 1)
    assert found.summary() == "130 missing rows, 1 index"
    assert found.told(2) == (
        "row 0 is missing at the target; index on 'v':  at the source,  at the target; and 129 more differences"
    )
    both = found.and_those_of(found)
    assert (both.total, len(both.shown)) == (2 * KEPT + 62, KEPT + 2)
    assert from_plain(Differences, to_plain(found)) == found


def test_keys_are_shortened() -> None:
    assert show_key(5) == "5"
    assert show_key("a") == "'a'"
    long = show_key("k" * 999 + "end")
    assert len(long) == 121
    assert long.endswith("kkend'"), "keys may begin alike"
