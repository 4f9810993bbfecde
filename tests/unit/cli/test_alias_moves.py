"""Taking an alias from another collection needs a word of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer

from migrator.cli import alias_moves
from migrator.model.collection import CollectionRef
from migrator.planning.planner import make_plan
from tests.support.builders import a_collection, a_loaded_plan, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan

LIBRARY = CollectionRef("default", "library")


def a_plan(folder: Path, words: str = "aliases: move") -> Plan:
    state = an_observed_state(
        a_collection(aliases=("library",)), target_aliases=(LIBRARY,), alias_owners=((LIBRARY, "old"),)
    )
    return make_plan(a_loaded_plan(folder, collections=f"[{{source: books, {words}}}]"), state)


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *, there_is_one: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: there_is_one, raising=False)


@pytest.mark.parametrize(("may_ask", "there_is_one"), [(True, False), (False, True)])
def test_without_a_terminal_the_aliases_and_the_flag_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, may_ask: bool, there_is_one: bool
) -> None:
    at_a_terminal(monkeypatch, there_is_one=there_is_one)
    with pytest.raises(typer.BadParameter) as caught:
        alias_moves.may_move_aliases(a_plan(tmp_path), may_ask=may_ask)
    assert caught.value.message == (
        "the plan moves the alias library from old to books, which --yes does not cover: add --allow-alias-move"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_a_person_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> None:
    at_a_terminal(monkeypatch, there_is_one=True)
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr("typer.confirm", confirm)
    assert alias_moves.may_move_aliases(a_plan(tmp_path), may_ask=True) is answer
    assert asked == ["\nMove the alias library from old to books?"]


def test_a_plan_that_moves_none_asks_nothing(tmp_path: Path) -> None:
    assert alias_moves.may_move_aliases(a_plan(tmp_path, "aliases: copy"), may_ask=False)
