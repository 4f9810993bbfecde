"""What two versions come to together: told in the plan before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.planning.planner import make_plan
from migrator.planning.reproducible import irreproducible
from tests.support.builders import a_collection, a_loaded_plan, a_schema, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan

TTL = (("collection.ttl.seconds", "3600"),)


def planned(folder: Path, source: str, target: str) -> Plan:
    state = an_observed_state(a_collection(properties=TTL), source_version=source, target_version=target)
    return make_plan(a_loaded_plan(folder, collections="[books]"), state)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("2.5.20", "2.5.8", ["an older patch of the source's line (2.5.20)"]),
        ("2.6.12", "2.6.10", ["an older patch of the source's line", "milvus-io/milvus#47762"]),
        ("2.5.20", "2.6.3", ["milvus-io/milvus#47762"]),
        ("2.3.5", "2.6.3", []),
        ("2.5.20", "2.6.12", []),
        ("2.5.8", "2.5.20", []),
    ],
)
def test_a_pair_is_told_of(tmp_path: Path, source: str, target: str, said: list[str]) -> None:
    notices = planned(tmp_path, source, target).notices
    found = [each for each in notices if "older patch" in each or "47762" in each]
    assert len(found) == len(said)
    assert all(words in each for words, each in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("2.3.5", "counts anew from the import"),
        ("2.4.4", "counts anew from the import"),
        ("2.4.5", "gone as soon as they are imported"),
        ("2.6.12", "gone as soon as they are imported"),
        ("3.0.0", "counts anew from the import"),
    ],
)
def test_what_becomes_of_a_limited_life(tmp_path: Path, target: str, said: str) -> None:
    (item,) = planned(tmp_path, "2.3.5", target).collections
    assert any(said in notice for notice in item.notices)


def test_values_beyond_the_schema_do_not_go_where_they_may_not_be_null() -> None:
    dynamic = a_collection(schema=a_schema(enable_dynamic_field=True))
    (reason,) = irreproducible(dynamic, "2.6.7", "2.6.8")
    assert "only from 2.6.8 on servers read that" in reason
    assert irreproducible(dynamic, "2.6.8", "2.6.20") == []
    assert irreproducible(dynamic, "2.6.0", "2.6.7") == []
    assert irreproducible(a_collection(), "2.6.7", "2.6.8") == []
