"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.spec.fault import Fault
from migrator.spec.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("90s", 90),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("1m500ms", 60.5),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "5 minutes", "1m1h", "-1s", "1e3s", "30M", "1d", " 1s", "1s\n", "٣s"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(Fault, match="not a duration") as caught:
        parse_duration(text)
    assert "30m" in caught.value.hint


def test_a_duration_finer_than_a_millisecond_is_refused() -> None:
    with pytest.raises(Fault, match="finer than a millisecond"):
        parse_duration("0.0001s")


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 67108864), ("1GB", 10**9), ("1.5KiB", 1536), ("7B", 7), ("0B", 0), ("2 TiB", 2 * 1024**4)],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64", "64M", "64mb", "-1MiB", "1PiB", "MiB", "1.1B", "0.3KiB", "1  MB", "1MB\n"])
def test_other_texts_are_no_sizes(text: str) -> None:
    with pytest.raises(Fault, match="is not a"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=366 * 24 * 3600 * 1000))
def test_a_duration_survives_being_written_and_read(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(min_value=0, max_value=2**62))
def test_a_size_survives_being_written_and_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(("size", "text"), [(67108864, "64MiB"), (1000, "1000B"), (0, "0B"), (1024**4, "1TiB")])
def test_a_size_is_written_in_its_largest_unit(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(1800, "30m"), (5400.5, "1h30m500ms"), (0, "0s"), (59, "59s")])
def test_a_duration_is_written_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
