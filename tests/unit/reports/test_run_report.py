"""A run's report: what its page says, that it needs nothing else, and that foreign words stay words."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from migrator.planning.planner import make_plan
from migrator.reports.run_report import Entry, RunReport, report_run
from migrator.reports.summary import summarize
from migrator.reports.to_html import run_html
from migrator.running.refresh import refresh
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan

BEGAN = datetime(2026, 11, 22, 23, 0, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\"onload='x'"
COUNTS = {"counts": [{"partition": "_default", "source_rows": 300, "target_rows": 300}]}


def a_plan(folder: Path) -> Plan:
    pair = Pair()
    fill(pair)
    loaded = a_loaded_plan(folder, collections="[books]")
    return make_plan(loaded, refresh(loaded, pair.readers(), ()))


class Story:
    """Journal entries, a second or more apart."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._now = BEGAN

    def add(self, key: str, event: str, *, after_s: float = 1, **data: Any) -> Story:  # noqa: ANN401 - as JSON is
        self._now += timedelta(seconds=after_s)
        self.entries.append(Entry(at=self._now, step_key=key, event=event, data=data))
        return self

    def of(self, plan: Plan, *, notes: dict[str, Any] | None = None) -> RunReport:
        """The report of a run of `plan` that went so."""
        last = {entry.step_key: entry for entry in self.entries}
        words = {"started": "interrupted"}

        def entry_of(key: str) -> tuple[str, str, dict[str, Any]]:
            found = last.get(key)
            if found is None:
                return "waiting", "", {}
            return words.get(found.event, found.event), found.at.isoformat(), dict(found.data)

        summary = summarize(plan, run_id="a-to-b-1", created_at=BEGAN.isoformat(), entry_of=entry_of)
        return report_run(plan, summary, self.entries, notes=notes or {})


def a_finished_run(plan: Plan) -> RunReport:
    story = Story().add("", "started")
    for step in plan.steps:
        story.add(step.key, "started").add(step.key, "finished", after_s=10, rows=300, detail="fine")
    verify = next(step.key for step in plan.steps if step.kind == "verify_collection")
    return story.add("", "finished", exit_code=0).of(plan, notes={verify: COUNTS})


def test_a_finished_run_tells_counts_of_both_sides_and_how_long_it_took(tmp_path: Path) -> None:
    report = a_finished_run(a_plan(tmp_path))
    (books,) = report.collections
    assert (books.source_rows, books.target_rows, books.rows_imported) == (300, 300, 300)
    assert report.state == "finished"
    assert all(step.seconds == 10 for step in books.steps)
    page = run_html(report)
    assert "What failed" not in page
    assert page.count('class="bar ') == len(a_plan(tmp_path).steps)
    assert re.search(r'data-label="source rows" data-value="300">300<', page)


def test_a_failed_step_stands_first_with_its_hint(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    broken = next(step for step in plan.steps if step.kind == "import_segments")
    story = Story().add("", "started").add(broken.key, "started")
    story.add(broken.key, "failed", message="import job 7 failed: no room", hint="make room").add("", "finished")
    page = run_html(story.of(plan))
    head, _, rest = page.partition('id="collections"')
    assert "import job 7 failed: no room" in head
    assert "<b>Hint:</b> make room" in head
    assert "<details open>" in rest


def test_a_killed_session_ends_where_it_was_last_heard_of(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    key = next(step.key for step in plan.steps if step.kind == "copy_segments")
    story = Story().add("", "started").add(key, "started").add(key, "started", after_s=4)
    story.add("", "started", after_s=36_000).add(key, "started").add(key, "finished", after_s=5).add("", "finished")
    report = story.of(plan)
    step = next(step for each in report.collections for step in each.steps if step.key == key)
    assert [(a.outcome, a.seconds, a.tries) for a in step.attempts] == [("interrupted", 4, 2), ("finished", 5, 1)]
    assert step.retries == 2
    assert [session.outcome for session in report.sessions] == ["interrupted", "finished"]
    assert report.seconds < 60  # and not ten hours


def test_a_step_that_waits_for_its_first_try_has_none(tmp_path: Path) -> None:
    report = Story().add("", "started").of(a_plan(tmp_path))
    assert all(not step.attempts and step.retries == 0 for step in report.collections[0].steps)
    assert "waiting" in run_html(report)


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    page = run_html(a_finished_run(a_plan(tmp_path)))
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#)""", page)
    assert not re.findall(r"@import|url\((?!#)", page)


def test_words_of_others_cannot_leave_their_place(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    hostile = replace(plan.collections[0], not_carried=(HOSTILE,), notices=(HOSTILE,), changed=(HOSTILE,))
    plan = replace(plan, description=HOSTILE, collections=(hostile,), notices=(HOSTILE,))
    key = plan.steps[-1].key
    story = Story().add("", "started").add(key, "started").add(key, "failed", message=HOSTILE, hint=HOSTILE)
    page = run_html(story.of(plan))
    assert page.count("<script>") == 1  # ours
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_thousand_collections_are_one_page_that_can_be_read(tmp_path: Path) -> None:
    report = a_finished_run(a_plan(tmp_path))
    many = replace(report, collections=report.collections * 1000)
    page = run_html(many)
    assert page.count("<tbody>") == 1000
    assert page.count('class="lane"') < 50
    assert len(page) < 3_000_000
