"""Undoing a run whose import jobs wait to be committed: they are aborted, and their rows are nobody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.model.import_job import ImportState
from migrator.running.rollback import Fate, Verdict
from tests.support.builders import BOOKS, Pair, fill, some_rows
from tests.support.mortality import Fate as Doom
from tests.unit.running.test_rollback import NOTHING, Scene, attempt

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import CollectionRef


def a_scene(folder: Path) -> Scene:
    """A run that has imported, and committed nothing."""
    pair = Pair(versions=("2.6.12", "3.0.0"))
    fill(pair, BOOKS, rows=5)
    scene = Scene.make(folder, pair=pair, collections="[books]")
    scene.apply(until="commit_imports")
    return scene


def states(scene: Scene) -> list[ImportState]:
    return [each.job.state for each in scene.pair.target._jobs.values()]


def test_jobs_that_wait_are_aborted_before_their_collection_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = a_scene(tmp_path)
    seen: list[list[ImportState]] = []
    drop = scene.pair.target.drop_collection

    def seeing(ref: CollectionRef) -> None:
        seen.append(states(scene))
        drop(ref)

    monkeypatch.setattr(scene.pair.target, "drop_collection", seeing)
    assert scene.survey()["books"].reason == "0 rows, as this run left it"
    assert states(scene) == [ImportState.UNCOMMITTED]
    assert scene.roll_back()["books"].fate is Fate.REMOVED
    assert seen == [[ImportState.FAILED]]
    assert scene.own_things() == NOTHING


def test_it_may_be_killed_at_any_point(tmp_path: Path) -> None:
    whole, undisturbed = a_scene(tmp_path / "whole"), Doom()
    assert attempt(whole, undisturbed)
    assert "abort_import" in {point.what for point in undisturbed.points}
    for number in range(len(undisturbed.points)):
        scene = a_scene(tmp_path / f"{number}")
        assert not attempt(scene, Doom(strike_at=number))
        attempt(scene, Doom())
        assert scene.own_things() == NOTHING, undisturbed.points[number]


def test_rows_that_somebody_else_wrote_meanwhile_go_only_by_force(tmp_path: Path) -> None:
    scene = a_scene(tmp_path)
    scene.pair.target.insert(BOOKS, some_rows(2, start=50))
    found = scene.survey()["books"]
    assert found.verdict is Verdict.FORCE
    assert found.reason == "somebody wrote 2 rows to it beside the 0 of this run, which would be lost"


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_rows_that_were_committed_unseen_are_the_runs_if_their_job_is_known(
    tmp_path: Path, *, is_forgotten: bool
) -> None:
    """The run died right after its request to commit."""
    scene = a_scene(tmp_path)
    target = scene.pair.target
    (job_id,) = target._jobs
    target.commit_import(BOOKS, job_id)
    scene.pair.clock.sleep(5)
    if is_forgotten:
        del target._jobs[job_id]
    assert (scene.survey()["books"].verdict is Verdict.FORCE) is is_forgotten
