"""A restore that failed, and what has come into its place before the run is taken up again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import SnapshotFailed, StepInDoubt
from tests.support.builders import BOOKS, a_context, create, run_steps, some_rows
from tests.unit.running.test_rollback_snapshots import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.running.executor import RunResult


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Its first restore fails, and leaves a collection."""
    scene = Scene.make(tmp_path)
    scene.pair.target.snapshots.failure = "the disk is full"
    (error,) = attempt(scene).failures.values()
    assert isinstance(error, SnapshotFailed)
    return scene


def attempt(scene: Scene) -> RunResult:
    pair, state = scene.pair, scene.state
    with (
        state.journal(scene.run, read_only=False) as journal,
        a_context(pair, scene.folder, run_id=scene.run.run_id) as ctx,
    ):
        return run_steps(scene.run.plan.steps, replace(ctx, ledger=journal), journal)


def test_what_it_left_is_dropped_and_restored_anew(scene: Scene) -> None:
    result = attempt(scene)
    assert result.is_complete, result.failures
    assert len(scene.pair.target.rows(BOOKS)) == 5


@pytest.mark.parametrize("has_alias", [True, False])
def test_what_somebody_made_in_its_place_is_not(scene: Scene, has_alias: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """An application that makes its collection where it misses it, and writes."""
    target = scene.pair.target
    target.drop_collection(BOOKS)
    create(target, BOOKS)
    if has_alias:
        target.create_alias(BOOKS, "library")
    else:
        target.insert(BOOKS, some_rows(2, start=900))
    (error,) = attempt(scene).failures.values()
    assert isinstance(error, StepInDoubt)
    assert "somebody else's" in error.message
    assert len(target.rows(BOOKS)) == (0 if has_alias else 2)
