"""What another terminal is told of a run: who is at it or died of it, how far it is, and how to go on."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from migrator.cli import app
from migrator.errors import MilvusUnavailable
from migrator.planning.planner import make_plan
from migrator.running.clock import SystemClock
from migrator.running.events import Progress
from migrator.running.journal import StepEvent
from migrator.running.progress_file import ProgressFile
from migrator.running.runs import Run, StateDirectory
from migrator.running.track import Track
from tests.support.builders import a_collection, a_loaded_plan, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.steps.base import Step


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state", SystemClock())


def begin(folder: Path, state: StateDirectory, count: int = 1) -> Run:
    names = [f"books_{number}" for number in range(count)]
    observed = an_observed_state(*[a_collection(name, collection_id=100 + i) for i, name in enumerate(names)])
    loaded = a_loaded_plan(folder, collections="['*']")
    return state.begin(loaded, make_plan(loaded, observed))


def invoke(state: StateDirectory, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--state-dir", str(state.folder)])


def indexing_of(run: Run) -> Step:
    return next(step for step in run.plan.steps if step.kind == "create_index")


def waiting_track(run: Run, state: StateDirectory) -> Track:
    """An index is built, and the connection is lost."""
    indexing = indexing_of(run)
    with state.journal(run, read_only=False) as journal:
        journal.add(indexing.key, StepEvent.STARTED)
    track = Track(run.plan, SystemClock())
    track.step_started(indexing)
    track.step_progressed(indexing, Progress(message="target builds indexes", done=7, total=10, unit="rows"))
    return track


def test_of_a_run_under_way_it_is_told_what_it_waits_for(tmp_path: Path, state: StateDirectory) -> None:
    run = begin(tmp_path, state)
    track = waiting_track(run, state)
    with state.exclusive(run.plan.name, timeout_s=0), ProgressFile(run.folder, track) as file:
        said = invoke(state, "status").output
        assert "of plan a-to-b: running\n" in said
        assert f"process {os.getpid()} on " in said
        assert "is alive, heard of " in said
        assert "70 %: target builds indexes, 7 of 10 rows (since " in said
        assert "Go on with it" not in said
        track.step_waits(indexing_of(run), MilvusUnavailable("connection refused"), 30.0)
        file.write()
        told = json.loads(invoke(state, "status", "--format", "json").output)
        assert (told["state"], told["attempt"]["pid"], told["go_on"]) == ("running", os.getpid(), "")
        (step,) = told["attempt"]["running"]
        assert step["words"].startswith("attempt 2 in ")
        assert (run.folder / "progress.json").stat().st_mode & 0o077 == 0
    assert not (run.folder / "progress.json").exists()


def test_of_a_run_that_was_killed_it_is_told_what_it_was_at(tmp_path: Path, state: StateDirectory) -> None:
    run = begin(tmp_path, state)
    ProgressFile(run.folder, waiting_track(run, state)).write()
    said = invoke(state, "status").output
    assert "is gone, heard of " in said
    assert "target builds indexes" in said
    assert said.endswith("\nGo on with it: migrator apply --resume\n")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', '{"format_version": 99}'])
def test_a_progress_file_that_cannot_be_read_is_left_alone(tmp_path: Path, state: StateDirectory, text: str) -> None:
    run = begin(tmp_path, state)
    (run.folder / "progress.json").write_text(text)
    assert "of plan a-to-b: unfinished\n" in invoke(state, "status").output


def test_many_collections_are_counted_and_all_are_listed_if_asked(tmp_path: Path, state: StateDirectory) -> None:
    run = begin(tmp_path, state, 40)
    with state.journal(run, read_only=False) as journal:
        journal.add(run.plan.steps[5].key, StepEvent.FAILED, {"message": "refused", "hint": "mend it"})
    said = invoke(state, "status").output
    assert len(said.splitlines()) < 20
    assert "hint: mend it" in said
    assert "39 collections unfinished" in said
    assert len(invoke(state, "status", "-v").output.splitlines()) > len(run.plan.steps)


def test_runs_are_a_table(tmp_path: Path, state: StateDirectory) -> None:
    runs = [begin(tmp_path, state) for _ in range(2)]
    heading, *rows = invoke(state, "runs").output.splitlines()
    columns = [heading.index(name) for name in ("state", "steps", "collections", "begun")]
    assert [row.split()[0] for row in rows] == [run.run_id for run in runs]
    assert all(row[column - 1] == " " and row[column] != " " for row in rows for column in columns)
