"""What `rollback`, `clean` and `apply` say of a run that is given up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from migrator import workflow
from migrator.cli import app
from migrator.cli.rollback import _closing_lines, _ending_lines, _remnant_lines
from migrator.errors import RunError
from migrator.planning.planner import make_plan
from migrator.running.journal import StepEvent
from migrator.running.refresh import refresh
from migrator.running.rollback import Ending, Fate, Kind, Remnant, Verdict
from migrator.running.runs import Run, StateDirectory
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.spec.loaded import LoadedPlan

OURS = Remnant(kind=Kind.COLLECTION, name="books", verdict=Verdict.REMOVE, reason="5 rows", aliases=("library",))
THEIRS = Remnant(kind=Kind.COLLECTION, name="films", verdict=Verdict.FORCE, reason="somebody wrote 2 rows to it")
DUMP = Remnant(kind=Kind.DUMP, name="bucket_A/backup/a_to_b", verdict=Verdict.KEEP, reason="it is finished")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state", Pair().clock)


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedPlan:
    return a_loaded_plan(tmp_path)


@pytest.fixture
def run(state: StateDirectory, loaded: LoadedPlan) -> Run:
    pair = Pair()
    fill(pair)
    return state.begin(loaded, make_plan(loaded, refresh(loaded, pair.readers(), ())))


def note(run: Run, state: StateDirectory, *events: StepEvent) -> None:
    with state.journal(run, read_only=False) as journal:
        journal.add(run.plan.steps[0].key, StepEvent.STARTED)
        for event in events:
            journal.add("", event)


def invoke(state: StateDirectory, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--state-dir", str(state.folder)])


@pytest.mark.parametrize(
    "arguments", [("rollback", "nobody"), ("rollback", "a-to-b", "--format", "json"), ("rollback", "")]
)
def test_a_wrong_command_line_is_said_before_anything_is_opened(
    state: StateDirectory, arguments: tuple[str, ...]
) -> None:
    assert invoke(state, *arguments).exit_code == 2


def test_a_run_that_is_rolled_back_is_so_already(run: Run, state: StateDirectory) -> None:
    note(run, state, StepEvent.ROLLBACK_STARTED, StepEvent.ROLLED_BACK)
    said = invoke(state, "rollback", run.run_id)
    assert (said.exit_code, said.output) == (0, f"Run {run.run_id} is rolled back already.\n")
    told = json.loads(invoke(state, "rollback", run.run_id, "--yes", "--format", "json").output)
    assert (told["state"], told["run_id"]) == ("rolled back", run.run_id)


@pytest.mark.parametrize(
    ("events", "word"),
    [
        ((), "unfinished"),
        ((StepEvent.ROLLBACK_STARTED,), "being rolled back"),
        ((StepEvent.ROLLBACK_STARTED, StepEvent.ROLLED_BACK), "rolled back"),
    ],
)
def test_runs_and_status_say_how_far_it_is(
    run: Run, state: StateDirectory, events: tuple[StepEvent, ...], word: str
) -> None:
    note(run, state, *events)
    assert f"  {word}  " in invoke(state, "runs").output
    assert f"of plan a-to-b: {word}\n" in invoke(state, "status").output


def test_an_unfinished_run_names_both_ways_on(run: Run, state: StateDirectory, loaded: LoadedPlan) -> None:
    note(run, state)
    with pytest.raises(RunError) as error:
        workflow.plan(loaded, state)
    assert f"migrator apply {loaded.path} --resume" in error.value.hint
    assert f"migrator rollback {run.run_id}" in error.value.hint


def test_a_run_whose_rollback_was_begun_does_not_go_on(run: Run, state: StateDirectory, loaded: LoadedPlan) -> None:
    note(run, state, StepEvent.ROLLBACK_STARTED)
    for refused in (lambda: workflow.plan(loaded, state), lambda: workflow.find_resumable(state, None)):
        with pytest.raises(RunError, match=r"is being rolled back, and cannot go on") as error:
            refused()
        assert f"migrator rollback {run.run_id}" in error.value.hint


def test_a_run_that_is_rolled_back_is_nothing_to_resume(run: Run, state: StateDirectory) -> None:
    note(run, state, StepEvent.ROLLBACK_STARTED, StepEvent.ROLLED_BACK)
    assert workflow.find_resumable(state, None) is None


def test_without_runs_there_is_nothing_to_clean(state: StateDirectory) -> None:
    said = invoke(state, "clean")
    assert (said.exit_code, said.output) == (0, "Nothing to delete.\n")
    assert not state.folder.exists()


@pytest.mark.parametrize(
    ("force", "sign", "sum_"),
    [
        (False, "!", "1 to drop, 1 left alone (--force drops them too)."),
        (True, "-", "2 to drop, 1 of them by --force."),
    ],
)
def test_the_list_says_what_goes_and_what_does_not(run: Run, sign: str, sum_: str, *, force: bool) -> None:
    assert [line.text for line in _remnant_lines(run, [OURS, THEIRS, DUMP], force=force)] == [
        f"What run {run.run_id} created at http://milvus_B:19530:",
        "",
        "  - collection books  5 rows",
        "      - alias library",
        f"  {sign} collection films  somebody wrote 2 rows to it",
        "  = dump bucket_A/backup/a_to_b  kept: it is finished",
        "",
        sum_,
    ]


def test_a_run_without_effects_has_an_empty_list(run: Run) -> None:
    assert [line.text for line in _remnant_lines(run, [], force=False)] == [f"Run {run.run_id} has created nothing."]


def test_each_end_has_its_line() -> None:
    ends = {
        Fate.REMOVED: ["  ✓ collection books  dropped"],
        Fate.FAILED: ["  ✗ collection books  no answer"],
        Fate.GONE: [],
    }
    for fate, lines in ends.items():
        ending = Ending(remnant=OURS, fate=fate, message="no answer" if fate is Fate.FAILED else "")
        assert [line.text for line in _ending_lines(ending)] == lines


def test_what_is_left_is_said_with_the_way_on(run: Run) -> None:
    done = [Ending(remnant=OURS, fate=Fate.REMOVED), Ending(remnant=DUMP, fate=Fate.KEPT)]
    assert [line.text for line in _closing_lines(run, done)] == [f"Run {run.run_id} is rolled back."]
    left = [*done, Ending(remnant=THEIRS, fate=Fate.LEFT_ALONE)]
    assert [line.text for line in _closing_lines(run, left)] == [
        f"Run {run.run_id} is not rolled back yet.",
        f"  to keep what was left alone, rename it at the target, then repeat: migrator rollback {run.run_id}",
        f"  to drop it: migrator rollback {run.run_id} --force",
    ]
