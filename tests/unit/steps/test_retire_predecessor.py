"""What others do while a predecessor is retired: ids decide, and nothing of others is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import LockHeld, MilvusRefused, StepInDoubt
from migrator.model.collection import CollectionRef
from migrator.steps.base import Evidence
from migrator.steps.retire_predecessor import RetirePredecessor
from tests.support.builders import BOOKS, HeldLease, Pair, create, fill, some_rows
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = CollectionRef("default", "other")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """All built and verified; the names are to be exchanged."""
    pair = Pair()
    fill(pair, rows=4)
    create(pair.target)
    pair.target.insert(BOOKS, some_rows(2, start=100))
    pair.target.create_alias(BOOKS, "shelf")
    with a_stage(tmp_path, pair, collections="[{source: books, if_exists: replace}]") as stage:
        stage.apply_before(RetirePredecessor)
        yield stage


def rows(stage: Stage, ref: CollectionRef) -> int:
    return len(stage.pair.target.rows(ref))


def test_rows_written_until_the_renames_stay_with_the_old_one(stage: Stage) -> None:
    stage.pair.target.insert(BOOKS, some_rows(3, start=200))
    step = stage.step(RetirePredecessor)
    assert stage.apply(step).detail == f"the old one is kept as {step.retired.name}"
    assert (rows(stage, BOOKS), rows(stage, step.retired)) == (4, 5)
    assert step.probe(stage.ctx.reading()) is Evidence.DONE


def test_one_that_is_gone_leaves_its_name(stage: Stage) -> None:
    stage.pair.target.drop_collection(BOOKS)
    assert "somebody had dropped or renamed the old one" in stage.apply(stage.step(RetirePredecessor)).detail
    assert rows(stage, BOOKS) == 4
    assert stage.pair.target.list_collections("default") == ("books",)


def test_another_one_of_the_name_is_not_replaced(stage: Stage) -> None:
    stage.pair.target.drop_collection(BOOKS)
    create(stage.pair.target)
    before = stage.pair.target.list_collections("default")
    with pytest.raises(StepInDoubt, match="books is another collection than the one that this run was to replace"):
        stage.apply(stage.step(RetirePredecessor))
    assert stage.pair.target.list_collections("default") == before


def test_a_name_that_somebody_took_in_the_gap_is_theirs_until_they_give_it_back(stage: Stage) -> None:
    target, step = stage.pair.target, stage.step(RetirePredecessor)

    class Quick:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the port has
            return getattr(target, name)

        def rename_collection(self, ref: CollectionRef, name: str) -> None:
            target.rename_collection(ref, name)
            if ref == BOOKS:
                create(target)

    with pytest.raises(MilvusRefused, match="duplicated"):
        step.apply(replace(stage.ctx, target=Quick()), Evidence.ABSENT)
    with pytest.raises(StepInDoubt, match="is another collection"):
        stage.apply(step)
    target.rename_collection(BOOKS, "theirs")
    stage.apply(step)
    assert (rows(stage, BOOKS), rows(stage, step.retired)) == (4, 2)


def test_a_name_to_keep_it_under_that_is_taken_stops_it(stage: Stage) -> None:
    step = stage.step(RetirePredecessor)
    create(stage.pair.target, step.retired)
    with pytest.raises(StepInDoubt, match="somebody else's collection has that name"):
        stage.apply(step)
    assert rows(stage, BOOKS) == 2


def test_what_was_built_has_to_be_this_runs(stage: Stage) -> None:
    step = stage.step(RetirePredecessor)
    stage.pair.target.drop_collection(step.temporary)
    with pytest.raises(StepInDoubt, match="is gone"):
        stage.apply(step)
    assert rows(stage, BOOKS) == 2


def test_without_the_lease_nothing_is_renamed(stage: Stage) -> None:
    lost = replace(stage.ctx, lease=HeldLease(LockHeld("lost")))
    with pytest.raises(LockHeld):
        stage.step(RetirePredecessor).apply(lost, Evidence.ABSENT)
    assert rows(stage, BOOKS) == 2


def test_an_alias_that_somebody_moved_meanwhile_is_theirs(stage: Stage) -> None:
    create(stage.pair.target, OTHER)
    step = stage.step(RetirePredecessor)
    stage.apply(step)
    stage.pair.target.alter_alias(OTHER, "shelf")
    stage.apply(step)
    found = stage.pair.target.find_collection(OTHER)
    assert found is not None
    assert found.aliases == ("shelf",)
