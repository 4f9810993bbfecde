"""Every event and every journal entry is of its schema, and the first event tells the format."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from migrator.cli.watching import JsonWatcher
from migrator.errors import ListingOutdated, MilvusUnavailable
from migrator.running.clock import SystemClock
from migrator.running.events import Audience, Progress
from migrator.running.journal import Journal, StepEvent
from migrator.running.track import Track
from migrator.steps.base import Outcome
from tests.support.builders import FakeClock
from tests.support.stage_of_lines import a_plan, play

SCHEMAS = Path(__file__).parents[3] / "schemas"


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / name).read_text()))


def test_events_are_of_their_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = a_plan(tmp_path, 3)
    track = Track(plan, SystemClock())
    watcher = JsonWatcher(track)
    watcher.nothing_to_do(plan)
    watcher.preflight(None)
    watcher.lock_waits("the target", "another")
    watcher.run_waits(MilvusUnavailable("down"), 1.0)
    watcher.run_told("something")
    audience, step = Audience(track, watcher), plan.steps[0]
    play(plan, audience)
    audience.step_started(step)
    audience.step_progressed(step, Progress(message="import 1 of 3, 0 %, job 7", done=1, total=2, unit="rows", jobs=3))
    audience.step_renewed(step, ListingOutdated("it moved", renews=(step.key,)))
    audience.step_blocked(step, "flush")
    audience.step_parked(step)
    audience.step_finished(step, Outcome(rows=1))
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert not [error.message for each in told for error in validator("event.schema.json").iter_errors(each)]
    assert told[0]["format_version"] == 1
    assert {"step_started", "step_waits", "step_progressed", "step_failed", "run_progressed"} <= {
        each["event"] for each in told
    }


@pytest.mark.parametrize(
    "wrong", [{"event": "step_waits", "at": "now"}, {"event": "unheard_of", "at": "now"}, {"at": "now"}]
)
def test_the_schema_refuses_what_is_no_event(wrong: dict[str, str]) -> None:
    assert list(validator("event.schema.json").iter_errors(wrong))


def test_journal_entries_are_of_their_schema(tmp_path: Path) -> None:
    outcome = {"rows": 1, "objects": 2, "size_bytes": 3, "detail": ""}
    with closing(Journal(tmp_path / "journal.db", FakeClock())) as journal:
        told: list[tuple[StepEvent, dict[str, Any]]] = [
            (StepEvent.STARTED, {}),
            (StepEvent.NOTED, {"tags": ["a"]}),
            (StepEvent.FINISHED, outcome),
            (StepEvent.FAILED, {"error": "RunError", "message": "m", "hint": ""}),
            (StepEvent.PARKED, {}),
            (StepEvent.RENEWED, {"reason": "it moved"}),
        ]
        for event, data in told:
            journal.add("flush", event, data)
        entries = journal.records(after=0)
    assert len(entries) == 6
    assert not [e.message for entry in entries for e in validator("journal-entry.schema.json").iter_errors(entry)]
