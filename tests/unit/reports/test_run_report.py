"""A run's report: what its page says, that it needs nothing else, and that foreign words stay words."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.reports.to_html import run_html
from tests.support.stories import HINT, REASON, Story, a_failed_run, a_finished_run, a_plan

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202e\"onload='x'"


def test_a_finished_run_tells_counts_of_both_sides_and_how_long_it_took(tmp_path: Path) -> None:
    report = a_finished_run(a_plan(tmp_path))
    (books,) = report.collections
    assert (books.source_rows, books.target_rows, books.rows_imported) == (300, 300, 300)
    assert report.state == "finished"
    assert all(step.seconds == 10 for step in books.steps)
    page = run_html(report)
    assert "What failed" not in page
    assert page.count('class="bar ') == len(a_plan(tmp_path).steps)
    assert "the source's rows of 2026-11-22 23:00:00 UTC" in page
    assert re.search(r'data-label="source rows" data-value="300">300<', page)


def test_a_failed_step_stands_first_with_its_hint(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    broken = next(step for step in plan.steps if step.kind == "import_segments")
    story = Story().add("", "started").add(broken.key, "started")
    story.add(broken.key, "failed", message="import job 7 failed: no room", hint="make room").add("", "finished")
    page = run_html(story.of(plan))
    head, _, rest = page.partition('<h2 id="collections"')
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


def test_a_resumed_run_took_the_time_of_its_work_and_not_that_of_the_night_between(tmp_path: Path) -> None:
    report = a_failed_run(a_plan(tmp_path))
    (books,) = report.collections
    assert 60 < books.seconds < 200
    page = run_html(report)
    assert REASON in page
    assert HINT in page
    assert "migrator apply --resume" in page.partition("<main")[0]


def test_a_run_that_was_rolled_back_says_so_first_and_offers_no_resume(tmp_path: Path) -> None:
    page = run_html(Story().add("", "started").of(a_plan(tmp_path), state="rolled back"))
    head = page.partition("<main")[0]
    assert "was removed" in head
    assert "--resume" not in head


def test_the_page_needs_nothing_but_itself_and_allows_nothing_else(tmp_path: Path) -> None:
    page = run_html(a_finished_run(a_plan(tmp_path)))
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#)""", page)
    assert not re.findall(r"@import|url\((?!#)", page)
    assert not re.findall(r"""\s(?:style|on\w+)\s*=\s*["']""", page)  # the policy would refuse them
    assert "unsafe-inline" not in page


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
    assert page.count("<tbody data-state") == 1000
    assert page.count('class="lane"') < 50
    assert len(page) < 3_000_000
