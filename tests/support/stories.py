"""Runs that never were, told by journal entries, for the tests of reports."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from migrator.model.collection import CollectionRef
from migrator.planning.planner import make_plan
from migrator.reports.run_report import Entry, RunReport, report_run
from migrator.reports.summary import summarize
from migrator.running.refresh import refresh
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan

BEGAN = datetime(2026, 11, 22, 23, 0, 0, tzinfo=UTC)
COUNTS = {"counts": [{"partition": "_default", "source_rows": 300, "target_rows": 300}]}
CUT = {"frozen": {"cut_ts": int(BEGAN.timestamp() * 1000) << 18}}
HINT = "make room on the disk of the target, then run migrator apply --resume"
REASON = "import job 7 failed: no room on the disk of the target"
WORDS = {"started": "interrupted"}


def a_plan(folder: Path, *names: str, more: str = "") -> Plan:
    """Of `books`, or of collections of these names."""
    pair = Pair()
    for name in names or ("books",):
        fill(pair, CollectionRef("default", name))
    loaded = a_loaded_plan(folder, collections=f"[{', '.join(names or ('books',))}]", more=more)
    return make_plan(loaded, refresh(loaded, pair.readers(), ()))


class Story:
    """Journal entries, a second or more apart."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._now = BEGAN

    def add(self, key: str, event: str, *, after_s: float = 1, **data: Any) -> Story:  # noqa: ANN401 - as JSON is
        """One more."""
        self._now += timedelta(seconds=after_s)
        self.entries.append(Entry(at=self._now, step_key=key, event=event, data=data))
        return self

    def of(self, plan: Plan, *, notes: dict[str, Any] | None = None, state: str = "") -> RunReport:
        """The report of a run of `plan` that went so; `state` is what a rollback made of it."""
        last = {entry.step_key: entry for entry in self.entries}

        def entry_of(key: str) -> tuple[str, str, dict[str, Any]]:
            found = last.get(key)
            if found is None:
                return "waiting", "", {}
            return WORDS.get(found.event, found.event), found.at.isoformat(), dict(found.data)

        summary = summarize(plan, run_id="a-to-b-1", created_at=BEGAN.isoformat(), entry_of=entry_of)
        summary = replace(summary, state=state) if state else summary
        return report_run(plan, summary, self.entries, notes=notes or {})


def a_finished_run(plan: Plan) -> RunReport:
    """Every step took ten seconds, one after the other."""
    story = Story().add("", "started")
    for step in plan.steps:
        story.add(step.key, "started").add(step.key, "finished", after_s=10, rows=300, detail="fine")
    return story.add("", "finished", exit_code=0).of(plan, notes=notes_of(plan))


def a_failed_run(plan: Plan) -> RunReport:
    """Killed in the middle of a copy and resumed; then the first import that there is failed at its second try."""
    copy, broken = (next(s.key for s in plan.steps if s.kind == kind) for kind in ("copy_segments", "import_segments"))
    story = Story().add("", "started").add(copy, "started").add("", "started", after_s=3600)
    kept_from = {broken}
    for step in plan.steps:
        if step.key == broken:
            story.add(broken, "started").add(broken, "started", after_s=20)
            story.add(broken, "failed", after_s=40, message=REASON, hint=HINT)
        elif kept_from & {*step.needs}:
            kept_from.add(step.key)
        else:
            story.add(step.key, "started").add(step.key, "finished", after_s=9, rows=300)
    return story.add("", "finished", exit_code=20).of(plan, notes=notes_of(plan))


def notes_of(plan: Plan) -> dict[str, Any]:
    """What the steps noted that froze and that compared."""
    found = {step.key: COUNTS for step in plan.steps if step.kind == "verify_collection"}
    return {**found, **{step.key: CUT for step in plan.steps if step.kind == "dump_meta"}}
