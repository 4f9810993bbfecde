"""What a plan took for granted, looked at again before its first step."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import StalePlan
from migrator.model.collection import CollectionRef
from migrator.planning.places import claims_folder
from migrator.planning.planner import make_plan
from migrator.running.premises import require_premises
from migrator.running.refresh import refresh
from migrator.running.runs import Run
from migrator.steps.copy_segments import CopySegments
from migrator.steps.restore_rbac import RestoreRbac
from tests.support.builders import BOOKS, Pair, a_loaded_plan, create, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILMS = CollectionRef("db1", "films")


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    fill(pair, BOOKS)
    fill(pair, FILMS)
    return pair


def a_run(folder: Path, pair: Pair, *earlier_runs: str) -> Run:
    """Planned and not begun."""
    loaded = a_loaded_plan(folder, collections="[books, db1.films]")
    plan = make_plan(loaded, refresh(loaded, pair.readers(), ()))
    steps = tuple(
        replace(step, earlier_runs=earlier_runs) if isinstance(step, CopySegments) else step for step in plan.steps
    )
    plan = replace(plan, steps=steps)
    return Run(run_id="run-1", created_at="", loaded=loaded, plan=plan, folder=folder)


def claim(pair: Pair, run: Run, run_id: str) -> None:
    content = {"run_id": run_id, "plan": "weekly", "since": "2026-01-01T00:00:00+00:00"}
    pair.store.write(f"{claims_folder(run.loaded)}/{run_id}.json", json.dumps(content).encode())


def alias(pair: Pair) -> None:
    create(pair.target, CollectionRef("default", "other"))
    pair.target.create_alias(CollectionRef("default", "other"), "books")


def unrelated(pair: Pair) -> None:
    create(pair.target, CollectionRef("default", "other"))
    create(pair.target, CollectionRef("db1", "books"))
    create(pair.target, CollectionRef("db2", "films"))


@pytest.mark.parametrize("happens", [lambda _: None, unrelated], ids=["nothing", "something else"])
def test_what_holds_still_holds(tmp_path: Path, pair: Pair, happens: Callable[[Pair], None]) -> None:
    run = a_run(tmp_path, pair)
    happens(pair)
    require_premises(run, pair.target, pair.store)


@pytest.mark.parametrize(
    ("happens", "named"),
    [
        (lambda pair: create(pair.target, BOOKS), "books"),
        (lambda pair: create(pair.target, FILMS), "db1.films"),
        (alias, "books"),
    ],
    ids=["a collection", "in a database that was not there", "an alias"],
)
def test_a_name_that_was_taken_meanwhile_is_refused(
    tmp_path: Path, pair: Pair, happens: Callable[[Pair], None], named: str
) -> None:
    run = a_run(tmp_path, pair)
    happens(pair)
    with pytest.raises(StalePlan, match=f"^{named} has appeared at the target since it was planned") as caught:
        require_premises(run, pair.target, pair.store)
    assert caught.value.exit_code == 12
    assert "plan again" in caught.value.hint


def test_a_dump_that_somebody_else_began_meanwhile_is_refused(tmp_path: Path, pair: Pair) -> None:
    run = a_run(tmp_path, pair, "run-0")
    claim(pair, run, "run-0")
    require_premises(run, pair.target, pair.store)
    claim(pair, run, "run-9")
    with pytest.raises(StalePlan, match=r"^run run-9 of plan weekly has begun the dump .*backup/a_to_b since"):
        require_premises(run, pair.target, pair.store)


def test_a_run_that_copies_nothing_does_not_mind_the_claims_of_a_dump(tmp_path: Path, pair: Pair) -> None:
    run = a_run(tmp_path, pair)
    claim(pair, run, "run-0")
    access = replace(run, plan=replace(run.plan, steps=(RestoreRbac(roles=("reader",)),), collections=()))
    require_premises(access, pair.target, pair.store)
