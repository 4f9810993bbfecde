"""`migrator plan --against`: what has changed since the last run, or since a saved plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from migrator import workflow
from migrator.cli import app
from migrator.planning.planner import make_plan
from migrator.running.journal import StepEvent
from migrator.running.refresh import refresh
from migrator.running.runs import StateDirectory
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan
    from migrator.spec.loaded import LoadedPlan

EDITED = "[{source: books, create: {shards_num: 2}}]"


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    fill(pair)
    return pair


@pytest.fixture
def state(tmp_path: Path, pair: Pair) -> StateDirectory:
    return StateDirectory(tmp_path / "state", pair.clock)


@pytest.fixture(autouse=True)
def _servers_of_memory(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(loaded: LoadedPlan, *_: object, only: str | None = None) -> Plan:
        return make_plan(loaded, refresh(loaded, pair.readers(), ()), only=only)

    monkeypatch.setattr(workflow, "plan", plan)


def plan(state: StateDirectory, *arguments: str) -> Result:
    file = state.folder.parent / "plan.yaml"
    return CliRunner().invoke(app, ["plan", str(file), "--state-dir", str(state.folder), *arguments])


def run_once(folder: Path, state: StateDirectory, pair: Pair) -> str:
    """A run of `[books]`, in which every step took three seconds."""
    loaded = a_loaded_plan(folder)
    run = state.begin(loaded, workflow.plan(loaded, state))
    with state.journal(run, read_only=False) as journal:
        for step in run.plan.steps:
            journal.add(step.key, StepEvent.STARTED)
            pair.clock.sleep(3)
            journal.add(step.key, StepEvent.FINISHED)
    return run.run_id


def save(state: StateDirectory, file: Path) -> None:
    loaded = workflow.load(state.folder.parent / "plan.yaml", variables={}, clusters=None)
    made = workflow.plan(loaded, state)
    file.write_text(workflow.saved(loaded, made, folder=file.parent, variables={}, only=None).to_text(), "utf-8")


def test_the_last_run_is_what_an_edited_plan_is_told_by(tmp_path: Path, state: StateDirectory, pair: Pair) -> None:
    run_id = run_once(tmp_path, state, pair)
    a_loaded_plan(tmp_path, collections=EDITED)
    told = plan(state, "--against", "last").stdout
    assert f"This plan has changed since run {run_id}\n  ~ books: shards 1 → 2\n" in told
    markdown = plan(state, "--against", "last", "--format", "markdown").stdout
    assert "has changed since" in markdown
    assert "- \\~ books: shards 1 → 2" in markdown
    assert "books: shards 1 → 2" in plan(state, "--against", "last", "--format", "html").stdout
    against = json.loads(plan(state, "--against", "last", "--format", "json").stdout)["against"]
    assert against["changed"] == [{"collection": "books", "text": "shards 1 → 2"}]
    assert against["does_the_same"] is False


def test_a_saved_plan_is_told_by_its_file(tmp_path: Path, state: StateDirectory) -> None:
    a_loaded_plan(tmp_path)
    save(state, tmp_path / "reviewed.plan.json")
    told = plan(state, "--against", str(tmp_path / "reviewed.plan.json"))
    assert "This plan does the same as the saved plan" in told.stdout
    assert told.exit_code == 0


def test_what_there_is_nothing_of_is_a_wrong_command_line(tmp_path: Path, state: StateDirectory) -> None:
    a_loaded_plan(tmp_path, name="another")
    save(state, tmp_path / "another.plan.json")
    a_loaded_plan(tmp_path)
    wrong = {
        "last": "holds no run of the plan a-to-b",
        "absent.json": "there is no file absent.json",
        str(tmp_path / "plan.yaml"): "is not a saved plan",
        str(tmp_path / "another.plan.json"): "is a saved plan of another, and this one is a-to-b",
    }
    for against, message in wrong.items():
        found = plan(state, "--against", against)
        assert found.exit_code == 2
        assert message in " ".join(found.stderr.replace("│", " ").split()), against
    graph = plan(state, "--against", "last", "--format", "mermaid")
    assert (graph.exit_code, graph.stdout) == (2, "")


def test_the_time_rests_on_past_runs_and_is_no_part_of_the_plan(
    tmp_path: Path, state: StateDirectory, pair: Pair
) -> None:
    a_loaded_plan(tmp_path)
    before = json.loads(plan(state, "--format", "json").stdout)
    save(state, tmp_path / "before.plan.json")
    assert before["expected"]["rests_on"] == "a guess: no run yet"
    run_once(tmp_path, state, pair)
    now = json.loads(plan(state, "--format", "json").stdout)
    save(state, tmp_path / "now.plan.json")
    assert now["expected"]["rests_on"] == "from 1 past run"
    assert now["expected"]["slow_s"] - now["expected"]["fast_s"] < before["expected"]["slow_s"]
    assert now["digest"] == before["digest"]
    assert (tmp_path / "before.plan.json").read_bytes() == (tmp_path / "now.plan.json").read_bytes()
    assert "(from 1 past run)" in plan(state).stdout
