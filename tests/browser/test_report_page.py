"""The report and the plan's page as a reader has them: in a browser, by keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from migrator.planning.plan import Access
from migrator.reports.to_html import plan_html, run_html
from tests.support.chromium import PHONE
from tests.support.stories import HINT, REASON, Story, a_failed_run, a_finished_run, a_plan

if TYPE_CHECKING:
    from migrator.reports.run_report import RunReport
    from tests.support.chromium import Chromium, Tab

HOSTILE = """</script></style><img src="https://example.com/x.png" onerror="console.error('in')">'"`${1}&lt;"""
CONTRAST = (Path(__file__).parents[1] / "support" / "contrast.js").read_text(encoding="utf-8")
NAMES = "[...document.querySelectorAll('#table > tbody:not([hidden]) th.name')].map((each) => each.dataset.value)"
PAGES = ("finished", "failed", "backup", "rolled-back", "plan", "nothing", "thousand", "hostile")


def _thousand(report: RunReport) -> RunReport:
    """The same with a thousand collections, of names and rows of their own; every hundredth failed."""
    (done,) = report.collections
    failed = replace(done, state="failed", verdict=REASON)
    many = [
        replace(failed if number % 100 == 50 else done, source=f"tenant_{number:04}", source_rows=number * 7)
        for number in range(1000)
    ]
    return replace(report, state="failed", collections=tuple(many))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of written pages, by what they tell of."""
    folder = tmp_path_factory.mktemp("pages")
    plan = a_plan(folder, "books")
    three = a_plan(folder, "books", "papers", "songs")
    access = Access(added=("role reader",), not_carried=("the password of user ada",))
    hostile = replace(plan.collections[0], not_carried=(HOSTILE,), notices=(HOSTILE,), changed=(HOSTILE,))
    bad = replace(plan, description=HOSTILE, collections=(hostile,), notices=(HOSTILE,))
    key = plan.steps[-1].key
    failing = Story().add("", "started").add(key, "started").add(key, "failed", message=HOSTILE, hint=HOSTILE)
    backup = a_plan(folder, "books")
    backup = replace(
        backup, target=None, collections=(replace(backup.collections[0], target=None),), steps=backup.steps[:3]
    )
    written = {
        "finished": run_html(a_finished_run(plan)),
        "failed": run_html(a_failed_run(replace(three, access=access))),
        "backup": run_html(Story().add("", "started").add("", "finished").of(backup)),
        "rolled-back": run_html(Story().add("", "started").of(plan, state="rolled back")),
        "plan": plan_html(three),
        "nothing": plan_html(replace(plan, steps=(), collections=())),
        "thousand": run_html(_thousand(a_finished_run(plan))),
        "hostile": run_html(failing.of(bad)),
    }
    assert tuple(written) == PAGES
    for name, text in written.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in written}


def _width(tab: Tab) -> int:
    width: int = tab.evaluate("document.documentElement.scrollWidth")
    return width


def _is_open(tab: Tab) -> bool:
    return bool(tab.evaluate("document.activeElement.parentElement.open"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_complains_of_nothing_and_fits_a_phone(
    browser: Chromium, pages: dict[str, str], name: str
) -> None:
    tab = browser.open(pages[name], size=PHONE)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")

    assert tab.requests == [pages[name]]
    assert tab.complaints == []
    assert _width(tab) == PHONE[0]
    assert tab.evaluate("document.querySelectorAll('img').length") == 0
    assert tab.evaluate("[document.documentElement.lang, document.querySelectorAll('h1').length]") == ["en", 1]


def test_a_failed_step_and_its_hint_are_seen_before_one_scrolls(browser: Chromium, pages: dict[str, str]) -> None:
    tab = browser.open(pages["failed"])
    shown = tab.evaluate("document.querySelector('.failure').innerText")
    place = tab.evaluate("document.querySelector('.failure .hint').getBoundingClientRect().bottom")

    assert REASON in shown
    assert HINT in shown
    assert place < 900


def test_folds_open_and_close_by_keyboard(browser: Chromium, pages: dict[str, str]) -> None:
    tab = browser.open(pages["failed"])
    tab.evaluate("document.querySelector('#table details:not([open]) summary').focus()")
    seen = [_is_open(tab)]
    for key in ("Enter", "Space"):
        tab.press(key)
        seen.append(_is_open(tab))

    assert seen == [False, True, False]


def test_the_first_tab_leads_past_the_head(browser: Chromium, pages: dict[str, str]) -> None:
    tab = browser.open(pages["finished"])
    tab.press("Tab")
    place = "document.activeElement.getBoundingClientRect().top"

    assert tab.evaluate("document.activeElement.textContent") == "Skip to the collections"
    assert tab.evaluate(place) >= 0
    tab.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"


def test_a_head_sorts_by_keyboard_and_says_so(browser: Chromium, pages: dict[str, str]) -> None:
    tab = browser.open(pages["thousand"])
    before = tab.evaluate(NAMES)
    tab.evaluate("document.querySelectorAll('#table thead button')[2].focus()")
    tab.press("Enter")
    most_rows_first = tab.evaluate(NAMES)
    sorts = tab.evaluate("[...document.querySelectorAll('#table th')].map((each) => each.ariaSort).filter(Boolean)")
    tab.press("Enter")

    assert before[:2] == ["tenant_0050", "tenant_0150"]  # what failed
    assert most_rows_first[:2] == ["tenant_0999", "tenant_0998"]
    assert sorts == ["descending"]
    assert tab.evaluate(NAMES)[:2] == ["tenant_0000", "tenant_0001"]
    assert tab.evaluate("document.getElementById('told').innerText") == "Sorted by source rows, ascending."


def test_a_thousand_collections_open_in_seconds_and_are_found(browser: Chromium, pages: dict[str, str]) -> None:
    began = time.monotonic()
    tab = browser.open(pages["thousand"])
    took = time.monotonic() - began

    def choose(box: str, value: str, event: str) -> None:
        tab.evaluate(
            f"{{ const box = document.getElementById('{box}'); box.value = '{value}'; "
            f"box.dispatchEvent(new Event('{event}')); }}"
        )

    choose("filter", "TENANT_07", "input")
    by_name = len(tab.evaluate(NAMES))
    choose("state", "failed", "change")

    assert took < 10
    assert by_name == 100
    assert tab.evaluate(NAMES) == ["tenant_0750"]
    assert tab.evaluate("document.getElementById('told').innerText") == "1 of 1,000 shown."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["failed", "finished", "plan", "rolled-back"])
def test_every_text_stands_out_from_what_is_behind_it(
    browser: Chromium, pages: dict[str, str], name: str, scheme: str
) -> None:
    tab = browser.open(pages[name], scheme=scheme)
    is_dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    told = tab.evaluate(CONTRAST)

    assert is_dark == (scheme == "dark")
    assert told["texts"] > 40
    assert told["found"] == []


def test_what_is_drawn_is_told_in_words_too(browser: Chromium, pages: dict[str, str]) -> None:
    tab = browser.open(pages["failed"])
    named = "each.ariaLabel || document.getElementById(each.getAttribute('aria-labelledby'))"
    unnamed = f"[...document.querySelectorAll('[role=img], [role=region], section')].filter((each) => !({named}))"
    words = tab.evaluate("[...document.querySelectorAll('.words')].map((each) => each.textContent)")

    assert tab.evaluate(f"{unnamed}.length") == 0
    assert len(words) == 2
    assert "interrupted" in words[0]
    assert "import segments: failed; after copy segments, create collection" in words[1]


def test_on_paper_everything_is_unfolded_and_nothing_is_dark(browser: Chromium, pages: dict[str, str]) -> None:
    tab = browser.open(pages["failed"], scheme="dark")
    tab.prefer("dark", media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    folded = tab.evaluate("document.querySelectorAll('details:not([open])').length")
    told = tab.evaluate(CONTRAST)

    assert folded == 0
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert told["found"] == []
