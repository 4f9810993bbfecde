"""What two versions come to together: told in the plan before anything is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import PlanError
from migrator.planning.planner import make_plan
from migrator.planning.reproducible import irreproducible
from tests.support.builders import (
    a_collection,
    a_loaded_plan,
    a_schema,
    an_estimate,
    an_index,
    an_observed_state,
    plan_text,
)

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


@pytest.mark.parametrize(
    ("objects", "target", "more", "is_refused"),
    [
        (5_001, "2.3.5", "", True),
        (5_000, "2.3.5", "", False),
        (5_001, "2.3.5", "options: {import: {segments_per_job: 1}}\n", False),
        (5_001, "2.5.20", "", False),
    ],
)
def test_what_old_servers_do_not_see_of_azure_is_asked_for_by_segments(
    tmp_path: Path, objects: int, target: str, more: str, *, is_refused: bool
) -> None:
    azure = "{provider: azure, account: acc, bucket: container, root_path: files_B, credentials: "
    azure += "{type: shared_key, account_key: {env: SECRET}}}"
    lines = plan_text(more=more).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("target:"))
    lines[place] = f"target: {{milvus: {{uri: http://milvus_B:19530}}, storage: {azure}}}"
    staging = "staging: {root_path: staged, storage: " + azure.replace("root_path: files_B, ", "") + "}"
    loaded = a_loaded_plan(tmp_path, text="\n".join([*lines, staging]))
    state = an_observed_state(a_collection(), target_version=target)
    (one,) = state.source
    state = replace(state, source=(replace(one, estimate=replace(an_estimate(), objects=objects)),))
    if not is_refused:
        make_plan(loaded, state)
        return
    with pytest.raises(PlanError) as caught:
        make_plan(loaded, state)
    (complaint,) = caught.value.complaints
    assert complaint.field == "options.import.segments_per_job"
    assert "books has more than 5,000 files" in complaint.message


def test_what_only_gpus_build_is_told(tmp_path: Path) -> None:
    index = an_index(params=(("index_type", "GPU_CAGRA"), ("metric_type", "L2")))
    state = an_observed_state(a_collection(indexes=(index,)), target_version="2.5.20")
    (item,) = make_plan(a_loaded_plan(tmp_path, collections="[books]"), state).collections
    assert item.notices == ("index GPU_CAGRA L2 on vec is built only where the target has GPUs",)


def test_values_beyond_the_schema_do_not_go_where_they_may_not_be_null() -> None:
    dynamic = a_collection(schema=a_schema(enable_dynamic_field=True))
    (reason,) = irreproducible(dynamic, "2.6.7", "2.6.8")
    assert "only from 2.6.8 on servers read that" in reason
    assert irreproducible(dynamic, "2.6.8", "2.6.20") == []
    assert irreproducible(dynamic, "2.6.0", "2.6.7") == []
    assert irreproducible(a_collection(), "2.6.7", "2.6.8") == []
