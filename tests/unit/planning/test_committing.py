"""Import jobs that wait are committed by one step of the run, before whatever needs rows that are seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.planning.committing import TOGETHER
from migrator.planning.planner import make_plan
from migrator.steps.commit_imports import CommitImports
from migrator.steps.import_segments import ImportSegments
from tests.support.builders import a_collection, a_loaded_plan, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan

BOTH = "['*']"


def plan_into(folder: Path, version: str, *, collections: str = BOTH, more: str = "", forwards: bool = False) -> Plan:
    state = an_observed_state(
        a_collection("books"),
        a_collection("films"),
        source_version="2.6.12",
        target_version=version,
        forwards=forwards,
    )
    return make_plan(a_loaded_plan(folder, collections=collections, more=more), state)


def test_all_imports_are_committed_before_what_needs_one(tmp_path: Path) -> None:
    plan = plan_into(tmp_path, "3.0.0", forwards=True)
    (commit,) = [step for step in plan.steps if isinstance(step, CommitImports)]
    imports = [step for step in plan.steps if isinstance(step, ImportSegments)]
    assert commit.needs == tuple(step.key for step in imports)
    assert all(step.is_committed_later for step in imports)
    needing = {step.kind for step in plan.steps if commit.key in step.needs}
    assert needing == {"create_index", "drop_forwarded"}
    assert not [step.key for step in plan.steps if set(step.needs) & set(commit.needs) and step is not commit]
    keys = [step.key for step in plan.steps]
    assert all(keys.index(need) < keys.index(step.key) for step in plan.steps for need in step.needs)
    assert TOGETHER in plan.notices


def test_a_collection_by_itself_is_not_told_of_others(tmp_path: Path) -> None:
    plan = plan_into(tmp_path, "3.0.0", collections="[books]")
    (commit,) = [step for step in plan.steps if isinstance(step, CommitImports)]
    assert commit.describe() == "let the rows of books be seen"
    assert TOGETHER not in plan.notices


@pytest.mark.parametrize(("level", "compares"), [("counts", True), ("none", False)])
def test_counts_are_compared_where_the_plan_verifies(tmp_path: Path, level: str, *, compares: bool) -> None:
    plan = plan_into(tmp_path, "3.0.0", more=f"options: {{verify: {level}}}\n")
    assert [step.compares_counts for step in plan.steps if isinstance(step, CommitImports)] == [compares]


@pytest.mark.parametrize(("jobs", "together"), [(256, True), (257, False)])
def test_more_jobs_than_half_of_what_the_target_takes_do_not_wait(tmp_path: Path, jobs: int, *, together: bool) -> None:
    """They may be counted among those that it takes, and none is committed before all are in."""
    state = an_observed_state(
        a_collection("books"), a_collection("films"), source_version="2.6.12", target_version="3.0.0"
    )
    many = tuple(replace(each, estimate=replace(each.estimate, import_requests=jobs)) for each in state.source)
    plan = make_plan(a_loaded_plan(tmp_path, collections=BOTH), replace(state, source=many))
    assert any(isinstance(step, CommitImports) for step in plan.steps) is together
    assert {step.is_committed_later for step in plan.steps if isinstance(step, ImportSegments)} == {together}
    assert (TOGETHER in plan.notices) is together
    assert any("takes 1,024 import jobs at a time" in text for text in plan.notices) is not together


def test_other_targets_show_rows_by_themselves(tmp_path: Path) -> None:
    plan = plan_into(tmp_path, "2.6.12")
    assert not any(isinstance(step, CommitImports) for step in plan.steps)
    assert not any(step.is_committed_later for step in plan.steps if isinstance(step, ImportSegments))
