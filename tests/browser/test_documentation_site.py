"""The documentation's site as a reader has it: nothing comes from elsewhere, a phone shows it, the search finds."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import PHONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.chromium import Chromium

ROOT = Path(__file__).parents[2]
PAGES = ("", "plan-file/", "examples/", "ci/", "cli/", "compatibility/", "reliability/", "troubleshooting/")
QUIET = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address on loopback."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env=QUIET, timeout=120, check=True)  # noqa: S603 - ours
    handler = functools.partial(_Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_phone_and_asks_nobody_else(browser: Chromium, site: str, page: str) -> None:
    tab = browser.open(site + page, size=PHONE)

    assert [address for address in tab.requests if not address.startswith((site, "data:"))] == []
    assert tab.complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    assert tab.evaluate("[...document.images].filter((each) => !each.alt).length") == 0


def test_the_first_page_shows_a_plan_and_the_report_of_the_readers_scheme(browser: Chromium, site: str) -> None:
    seen = "[...document.images].filter((each) => each.checkVisibility()).map((each) => each.src.split('/').pop())"
    for scheme in ("light", "dark"):
        tab = browser.open(site, scheme=scheme)
        tab.evaluate("Promise.all([...document.images].map((each) => each.decode()))")

        assert tab.evaluate(seen) == ["plan.svg", f"report-{scheme}.webp#only-{scheme}"]


def test_the_search_finds(browser: Chromium, site: str) -> None:
    tab = browser.open(site)
    tab.evaluate("document.querySelector('.md-search__input').focus()")
    tab.evaluate(
        "{ const box = document.querySelector('.md-search__input'); box.value = 'canary'; "
        "box.dispatchEvent(new Event('keyup')); }"
    )
    ends_at, found = time.monotonic() + 15, 0
    while not found and time.monotonic() < ends_at:
        time.sleep(0.1)
        found = tab.evaluate("document.querySelectorAll('.md-search-result__item').length")

    assert found
