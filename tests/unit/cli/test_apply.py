"""What `migrator apply` leaves behind when it comes to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator import workflow
from migrator.cli import apply as command
from migrator.cli.options import Format
from migrator.errors import Interrupted, LockHeld, MilvusUnavailable, StalePlan
from migrator.planning.planner import make_plan
from migrator.running.events import StepState
from migrator.running.executor import RunResult
from migrator.running.journal import StepEvent
from migrator.running.refresh import refresh
from migrator.running.runs import Run, StateDirectory
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.errors import MigratorError


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state", Pair().clock)


@pytest.fixture
def run(tmp_path: Path, state: StateDirectory) -> Run:
    pair = Pair()
    fill(pair)
    loaded = a_loaded_plan(tmp_path)
    return state.begin(loaded, make_plan(loaded, refresh(loaded, pair.readers(), ())))


def execute(run: Run, state: StateDirectory) -> int:
    return command._execute(run, state, Format.JSON, 1, 0.0)


@pytest.fixture(autouse=True)
def _hear_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_listen", lambda _: None)


@pytest.mark.parametrize(
    ("started", "is_kept"), [(False, False), (True, True)], ids=["before the first step", "in a step"]
)
def test_a_stop_leaves_a_run_only_if_there_is_something_to_resume(
    run: Run, state: StateDirectory, monkeypatch: pytest.MonkeyPatch, *, started: bool, is_kept: bool
) -> None:
    def stopped(*_: object, **__: object) -> RunResult:
        with state.journal(run, read_only=False) as journal:
            journal.add("", StepEvent.STARTED)
            if started:
                journal.add(run.plan.steps[0].key, StepEvent.STARTED)
                journal.add(run.plan.steps[0].key, StepEvent.PARKED)
        return RunResult(states={step.key: StepState.WAITING for step in run.plan.steps})

    monkeypatch.setattr(workflow, "apply", stopped)
    assert execute(run, state) == 130
    assert state.unfinished() == ([run] if is_kept else [])


@pytest.mark.parametrize(
    "error",
    [LockHeld("held"), StalePlan("moved"), MilvusUnavailable("down"), Interrupted("stopped")],
    ids=lambda error: type(error).__name__,
)
def test_a_run_that_could_not_begin_is_none(
    run: Run, state: StateDirectory, monkeypatch: pytest.MonkeyPatch, error: MigratorError
) -> None:
    def refuse(*_: object, **__: object) -> RunResult:
        raise error

    monkeypatch.setattr(workflow, "apply", refuse)
    with pytest.raises(type(error)):
        execute(run, state)
    assert list(state.runs()) == []
