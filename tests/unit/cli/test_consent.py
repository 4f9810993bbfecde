"""What `--yes` does not cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer

from migrator.cli import consent
from migrator.cli.consent import may_replace
from migrator.planning.planner import make_plan
from migrator.reports.to_text import plan_lines
from migrator.running.refresh import refresh
from tests.support.builders import BOOKS, Pair, a_loaded_plan, create, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan


def a_plan(folder: Path, *, exists: bool) -> Plan:
    pair = Pair()
    fill(pair)
    if exists:
        create(pair.target)
        pair.target.create_alias(BOOKS, "shelf")
    loaded = a_loaded_plan(folder, collections="[{source: books, if_exists: replace}]")
    return make_plan(loaded, refresh(loaded, pair.readers(), ()))


def test_where_nothing_is_replaced_nobody_is_asked(tmp_path: Path) -> None:
    assert may_replace(a_plan(tmp_path, exists=False), may_ask=True)


def test_without_a_terminal_it_takes_a_flag_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"the plan replaces books, .* add --allow-replace") as caught:
        may_replace(a_plan(tmp_path, exists=True), may_ask=False)
    assert caught.value.exit_code == 2
    assert "Invalid value" not in caught.value.format_message()


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_is_asked_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> None:
    asked: list[str] = []

    def ask(question: str, *, otherwise: str) -> bool:
        asked.append(f"{question} {otherwise}")
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(consent, "is_wanted", ask)
    assert may_replace(a_plan(tmp_path, exists=True), may_ask=True) is answer
    assert asked == ["Replace books? replace them"]


def test_a_plan_says_what_it_replaces_and_what_that_means(tmp_path: Path) -> None:
    text = "\n".join(line.text for line in plan_lines(a_plan(tmp_path, exists=True)))
    for said in (
        "~ books: replaces collection ",
        " (rows not counted, created 2026-01-01 00:00 UTC), which is kept as books_retired_",
        "~ books → books, in place of the one that is there",
        "~ rename books to books_retired_",
        "note (books): what is written to books until the renames stays with books_retired_",
        "note (books): between two renames, some milliseconds apart, there is no books",
        "note (books): its aliases answer all the time, and follow after the renames: shelf",
    ):
        assert said in text
