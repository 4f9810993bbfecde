"""What each release can do: the steps between releases, where a mistake would lose or double rows."""

from __future__ import annotations

import pytest

from migrator.model.capabilities import (
    BoundUnit,
    Capabilities,
    DescribeCall,
    ImportApi,
    capabilities,
    comes_with,
    parse_version,
    version_text,
)
from migrator.model.collection import DataType


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.3.5", (2, 3, 5)),
        ("v2.3.5", (2, 3, 5)),
        ("v2.3.5-lite", (2, 3, 5)),
        ("2.3.10.1", (2, 3, 10)),
        ("2.6-20260801-abc", (2, 6, 9999)),
        ("2.6.0-rc1", None),
        ("v2.6.0-beta", None),
        ("2.3", None),
        ("2.3.x", None),
        ("master-20260801-abc", None),
        ("", None),
    ],
)
def test_versions_are_three_numbers_or_a_build_of_a_line(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


def test_versions_are_shown_short() -> None:
    assert version_text("v2.3.5-lite") == "2.3.5"
    assert version_text("2.6-20260801-abc") == "2.6-20260801-abc"
    assert version_text("v2.6.0-rc1") == "2.6.0-rc1"


@pytest.mark.parametrize(
    ("version", "unit"),
    [
        ("2.3.5", BoundUnit.MILLISECONDS),
        ("2.4.23", BoundUnit.MILLISECONDS),
        ("2.4.24", BoundUnit.HYBRID),
        ("2.5.5", BoundUnit.MILLISECONDS),
        ("2.5.6", BoundUnit.HYBRID),
        ("2.6.0", BoundUnit.HYBRID),
        ("3.0.0", BoundUnit.HYBRID),
    ],
)
def test_the_unit_of_bounds_changes_twice(version: str, unit: BoundUnit) -> None:
    assert capabilities(version).end_ts_unit is unit


def test_imports_by_version() -> None:
    assert capabilities("2.3.5").import_api is ImportApi.GRPC
    assert capabilities("2.4.0").import_api is ImportApi.REST
    assert capabilities("2.4.12").describe_call is DescribeCall.GET_PROGRESS
    assert capabilities("2.5.0").describe_call is DescribeCall.DESCRIBE
    assert [capabilities(v).imports_l0 for v in ("2.3.5", "2.4.4", "2.4.5", "2.6.12", "3.0.0")] == [
        *(False, False, True, True, False)
    ]
    assert [capabilities(v).l0_segments_per_job for v in ("2.4.5", "2.6.4", "2.6.5", "3.0.0")] == [1, 1, 1024, 0]
    assert not capabilities("2.6.20").auto_commit
    assert capabilities("3.0.0").auto_commit


def test_what_cannot_be_read_is_taken_for_the_newest() -> None:
    assert capabilities("dev") == capabilities("3.0-20260801-abc")


def test_where_a_capability_begins() -> None:
    assert comes_with("nullable_fields") == "2.5"
    assert comes_with("data_types", lambda types: DataType.TEXT in types) == "3.0"


def test_steps_go_up_and_each_changes_something() -> None:
    for row in Capabilities.rows():
        sinces = [step.since for step in row.steps]
        assert sinces == sorted(set(sinces)), row.name
        for before, after in zip(row.steps, row.steps[1:], strict=False):
            assert before.value != after.value, row.name
