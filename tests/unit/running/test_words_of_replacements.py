"""A collection replaced and an alias taken from a third one, by one mapping: and all of it undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.model.collection import CollectionRef
from migrator.steps.switch_alias import AliasMove, SwitchAlias
from tests.support.builders import BOOKS, Pair, create, fill
from tests.unit.running.test_rollback import Scene

if TYPE_CHECKING:
    from pathlib import Path

OLD = CollectionRef("default", "old")


def a_pair() -> Pair:
    """Books at both sides; there the alias `shelf` is theirs, and `library` another collection's."""
    pair = Pair()
    fill(pair)
    for alias in ("library", "shelf"):
        pair.source.create_alias(BOOKS, alias)
    create(pair.target)
    pair.target.create_alias(BOOKS, "shelf")
    create(pair.target, OLD)
    pair.target.create_alias(OLD, "library")
    return pair


def owners(pair: Pair) -> dict[str, str | None]:
    return {alias: pair.target.find_alias(CollectionRef("default", alias)) for alias in ("library", "shelf")}


@pytest.mark.parametrize(
    ("words", "moves", "owner"),
    [
        ("aliases: move", (AliasMove(alias="library", owner="old"),), "books"),
        ("aliases: copy", (), "old"),
        ("aliases: none", (), "old"),
        ("aliases: [shelf]", (), "old"),
    ],
)
def test_aliases_of_what_is_replaced_follow_without_being_moved(
    tmp_path: Path, words: str, moves: tuple[AliasMove, ...], owner: str
) -> None:
    scene = Scene.make(tmp_path, pair=a_pair(), collections=f"[{{source: books, if_exists: replace, {words}}}]")
    (told,) = scene.run.plan.collections
    assert [step.moves for step in scene.run.plan.steps if isinstance(step, SwitchAlias)] == ([moves] if moves else [])
    assert not any("shelf" in text for text in (*told.not_carried, *told.changed))
    before = scene.pair.target.find_collection(BOOKS)
    scene.apply()
    assert owners(scene.pair) == {"library": owner, "shelf": "books"}
    assert len(scene.pair.target.rows(BOOKS)) == 3
    scene.roll_back()
    assert owners(scene.pair) == {"library": "old", "shelf": "books"}
    assert scene.pair.target.find_collection(BOOKS) == before
    assert scene.pair.target.list_collections("default") == ("books", "old")
