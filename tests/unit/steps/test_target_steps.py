"""The target's side: create, index, load, verify, alias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from migrator.errors import (
    LockHeld,
    MilvusRefused,
    RunError,
    SchemaDiffers,
    SourceMoved,
    StepInDoubt,
    VerificationFailed,
)
from migrator.model.collection import CollectionRef, LoadState
from migrator.steps.base import Evidence
from migrator.steps.create_collection import CreateCollection, noted_id
from migrator.steps.create_database import CreateDatabase
from migrator.steps.create_index import CreateIndex
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.switch_alias import SwitchAlias
from migrator.steps.verification import Depth, Level
from migrator.steps.verify_collection import VerifyCollection
from tests.support.builders import (
    BOOKS,
    HeldLease,
    Pair,
    a_schema,
    an_index,
    create,
    fill,
    flush,
    load,
    some_rows,
)
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.model.collection import IndexProgress
    from migrator.ports.milvus import MilvusTarget
    from migrator.steps.base import StepContext


@pytest.fixture
def pair() -> Pair:
    """Books with 3 rows and an alias at the source."""
    pair = Pair()
    fill(pair, rows=3)
    pair.source.create_alias(BOOKS, "library")
    return pair


@pytest.fixture
def stage(tmp_path: Path, pair: Pair) -> Iterator[Stage]:
    """All planned and nothing done."""
    with a_stage(tmp_path, pair) as stage:
        yield stage


@dataclass
class Altered:
    """A port with some of its methods replaced."""

    port: object
    methods: dict[str, Any]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the port has
        return self.methods.get(name) or getattr(self.port, name)


def with_target(stage: Stage, **methods: Any) -> StepContext:  # noqa: ANN401 - callables of many shapes
    return replace(stage.ctx, target=cast("MilvusTarget", Altered(stage.pair.target, methods)))


# -- create_database --------------------------------------------------------------------------------------------------


def test_a_database_that_appeared_meanwhile_serves_as_well(stage: Stage) -> None:
    step = CreateDatabase(name="db1")
    assert step.probe(stage.ctx.reading()) is Evidence.ABSENT
    stage.apply(step)
    assert step.probe(stage.ctx.reading()) is Evidence.DONE
    step.apply(stage.ctx, Evidence.ABSENT)
    assert stage.pair.target.list_databases() == ("db1", "default")


# -- create_collection ------------------------------------------------------------------------------------------------


def test_a_collection_is_created_and_its_id_noted(stage: Stage) -> None:
    step = stage.step(CreateCollection, partitions=("_default", "old"))
    stage.apply(step)
    found = stage.pair.target.find_collection(BOOKS)
    assert found is not None
    assert noted_id(stage.ctx.ledger, BOOKS) == found.collection_id
    assert [partition.name for partition in found.partitions] == ["_default", "old"]
    assert found.schema == step.schema
    assert step.probe(stage.ctx.reading()) is Evidence.DONE


def test_a_collection_of_others_is_never_taken(stage: Stage) -> None:
    create(stage.pair.target)
    with pytest.raises(StepInDoubt, match="is at the target, and this run did not create it"):
        stage.apply(stage.step(CreateCollection))


def test_one_that_appeared_between_look_and_request_is_never_taken(stage: Stage) -> None:
    """Its rows tell: what this run created is empty."""

    def create_first(*args: Any, **named: Any) -> None:  # noqa: ANN401 - as the port
        create(stage.pair.target)
        stage.pair.target.insert(BOOKS, some_rows(1))
        flush(stage.pair.target)
        stage.pair.target.create_collection(*args, **named)

    step = stage.step(CreateCollection)
    with pytest.raises(StepInDoubt, match="is not the one this run asked for"):
        step.apply(with_target(stage, create_collection=create_first), Evidence.ABSENT)
    assert noted_id(stage.ctx.ledger, BOOKS) is None


def test_one_that_is_older_than_the_noted_absence_is_never_taken(stage: Stage) -> None:
    step = stage.step(CreateCollection)
    create(stage.pair.target)
    stage.ctx.ledger.note(step.key, {"absent_ts": stage.pair.target.allocate_timestamp()})
    with pytest.raises(StepInDoubt, match="is not the one this run asked for"):
        stage.apply(step)


def test_another_schema_than_asked_for_is_told(stage: Stage) -> None:
    def create_other(ref: CollectionRef, *_: Any, **named: Any) -> None:  # noqa: ANN401 - as the port
        fields = a_schema().fields
        stage.pair.target.create_collection(ref, a_schema(fields=(fields[1], fields[0], fields[2])), **named)

    step = stage.step(CreateCollection)
    with pytest.raises(SchemaDiffers, match="field 'id', id 100, became 'title', id 100"):
        step.apply(with_target(stage, create_collection=create_other), Evidence.ABSENT)


def test_a_refusal_that_created_nothing_is_told(stage: Stage) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MilvusRefused("quota")

    with pytest.raises(MilvusRefused, match="quota"):
        stage.step(CreateCollection).apply(with_target(stage, create_collection=refuse), Evidence.ABSENT)


def test_nothing_is_created_without_the_lease(stage: Stage) -> None:
    ctx = replace(stage.ctx, lease=HeldLease(LockHeld("somebody else has it")))
    with pytest.raises(LockHeld):
        stage.step(CreateCollection).apply(ctx, Evidence.ABSENT)
    assert stage.pair.target.list_collections("default") == ()


def test_a_collection_that_is_gone_is_not_created_again(stage: Stage) -> None:
    """Rows may have been in it: a person has to look."""
    step = stage.step(CreateCollection)
    stage.apply(step)
    stage.pair.target.drop_collection(BOOKS)
    assert step.probe(stage.ctx.reading()) is Evidence.ABSENT
    with pytest.raises(StepInDoubt, match="is gone"):
        stage.apply(step)


# -- create_index -----------------------------------------------------------------------------------------------------


def test_an_index_is_done_when_every_row_is_in_it_and_not_before(stage: Stage) -> None:
    stage.apply_before(CreateIndex)
    step = stage.step(CreateIndex)
    stage.pair.target.create_index(BOOKS, step.indexes[0])
    assert step.probe(stage.ctx.reading()) is Evidence.RUNNING
    before = stage.pair.clock.monotonic()
    assert stage.apply(step).rows == 3
    assert stage.pair.clock.monotonic() > before
    assert step.probe(stage.ctx.reading()) is Evidence.DONE


def test_an_index_with_other_parameters_is_told(stage: Stage) -> None:
    stage.apply_before(CreateIndex)
    stage.pair.target.create_index(BOOKS, an_index(params=(("index_type", "FLAT"), ("metric_type", "L2"))))
    with pytest.raises(SchemaDiffers, match="an index 'vec_idx' with other parameters"):
        stage.apply(stage.step(CreateIndex))


def test_parameters_in_another_order_are_the_same(stage: Stage) -> None:
    stage.apply_before(CreateIndex)
    stage.pair.target.create_index(BOOKS, an_index(params=tuple(reversed(an_index().params))))
    stage.apply(stage.step(CreateIndex))


def test_what_the_source_never_built_either_is_left_to_the_server(stage: Stage) -> None:
    """Milvus 2.3.5 accepts a kind that it cannot build, tries for ever, and loads the rows without it."""
    stage.apply_before(CreateIndex)

    def stuck(ref: CollectionRef) -> tuple[IndexProgress, ...]:
        found = stage.pair.target.index_progress(ref)
        return tuple(replace(p, indexed_rows=0, total_rows=3, pending_rows=3) for p in found)

    step, ctx = stage.step(CreateIndex), with_target(stage, index_progress=stuck)
    with pytest.raises(RunError, match=r"target builds indexes has not moved for 30 minutes \(0 of 3 rows\)"):
        step.apply(ctx, Evidence.ABSENT)
    stage.pair.source.index_progress = stuck  # type: ignore[method-assign]  # as it is from now on
    before = stage.pair.clock.monotonic()
    detail = step.apply(ctx, Evidence.ABSENT).detail
    assert detail == "1 index; not built to its end, as at the source: that on vec"
    assert 120 <= stage.pair.clock.monotonic() - before < 150


def test_a_build_that_fails_is_told(stage: Stage) -> None:
    stage.apply_before(CreateIndex)

    def fail(ref: CollectionRef) -> tuple[IndexProgress, ...]:
        return tuple(replace(p, failure="out of memory") for p in stage.pair.target.index_progress(ref))

    with pytest.raises(RunError, match="the index 'vec_idx' of books cannot be built: out of memory"):
        stage.step(CreateIndex).apply(with_target(stage, index_progress=fail), Evidence.ABSENT)


# -- load and alias ---------------------------------------------------------------------------------------------------


def test_loading_waits_until_it_is_loaded(stage: Stage) -> None:
    stage.apply_before(LoadCollection)
    step = stage.step(LoadCollection)
    assert step.probe(stage.ctx.reading()) is Evidence.ABSENT
    stage.apply(step)
    assert stage.pair.target.load_state(BOOKS) is LoadState.LOADED
    assert step.probe(stage.ctx.reading()) is Evidence.DONE


def test_an_alias_that_was_taken_meanwhile_stays_with_its_owner(stage: Stage) -> None:
    stage.apply_before(SwitchAlias)
    other = CollectionRef("default", "other")
    create(stage.pair.target, other)
    stage.pair.target.create_alias(other, "library")
    with pytest.raises(MilvusRefused, match="library is already"):
        stage.apply(stage.step(SwitchAlias))
    found = stage.pair.target.find_collection(other)
    assert found is not None
    assert found.aliases == ("library",)


def test_aliases_that_are_there_are_left_alone(stage: Stage) -> None:
    stage.apply_before(SwitchAlias)
    step = stage.step(SwitchAlias, aliases=("library", "shelf"))
    stage.pair.target.create_alias(BOOKS, "library")
    assert step.probe(stage.ctx.reading()) is Evidence.ABSENT
    stage.apply(step)
    assert step.probe(stage.ctx.reading()) is Evidence.DONE


# -- verify_collection ------------------------------------------------------------------------------------------------


def verify(stage: Stage) -> str:
    return stage.apply(stage.step(VerifyCollection, depth=Depth(level=Level.COUNTS))).detail


def test_equal_sides_are_said_to_be_equal(stage: Stage) -> None:
    stage.apply_before(VerifyCollection)
    assert verify(stage) == "source and target are equal"


def test_rows_that_others_wrote_to_the_target_are_a_difference(stage: Stage) -> None:
    stage.apply_before(VerifyCollection)
    stage.pair.target.insert(BOOKS, some_rows(1, start=50))
    with pytest.raises(VerificationFailed, match="holds 4 rows, and the import jobs of this run brought 3") as caught:
        verify(stage)
    assert caught.value.exit_code == 50


def test_rows_that_are_missing_are_a_difference(stage: Stage) -> None:
    stage.apply_before(VerifyCollection)
    stage.pair.target.delete(BOOKS, [0])
    with pytest.raises(VerificationFailed, match="holds 2 rows"):
        verify(stage)


def bring_less(stage: Stage) -> None:
    """The jobs brought 2 of 3 rows, and the target holds those 2."""
    stage.apply_before(VerifyCollection)
    stage.pair.target.delete(BOOKS, [0])
    stage.ctx.ledger.note(f"{stage.step(ImportSegments).key}:0001", {"rows": 2})


def test_rows_lost_on_the_way_are_a_difference(stage: Stage) -> None:
    bring_less(stage)
    with pytest.raises(
        VerificationFailed, match="partition '_default': 3 rows at the source, 2 at the target"
    ) as caught:
        verify(stage)
    assert caught.value.exit_code == 50


def test_a_source_that_moved_is_said_to_have_moved(stage: Stage) -> None:
    bring_less(stage)
    stage.pair.source.insert(BOOKS, some_rows(1, start=50))
    with pytest.raises(SourceMoved) as caught:
        verify(stage)
    assert caught.value.exit_code == 51


def test_a_source_that_moved_without_a_difference_is_fine(stage: Stage) -> None:
    stage.apply_before(VerifyCollection)
    stage.pair.source.insert(BOOKS, some_rows(1, start=50))
    assert verify(stage) == "source and target are equal"


def test_a_source_that_lost_deletes_by_itself_is_no_difference(stage: Stage) -> None:
    bring_less(stage)
    key = f"dump_meta:{BOOKS.database}.{BOOKS.name}"
    frozen = stage.ctx.ledger.notes(key)["frozen"]
    assert isinstance(frozen, dict)
    stage.ctx.ledger.note(key, {"frozen": {**frozen, "left_behind": 1, "held_still": False}})
    assert verify(stage).startswith("the source lost deletes in a compaction, which were applied to the target; ")


def unloaded(folder: Path, pair: Pair, *, index: bool = True) -> Iterator[Stage]:
    fill(pair, index=index, loaded=False)
    with a_stage(folder, pair) as stage:
        stage.apply_before(VerifyCollection)
        yield stage


def test_an_unloaded_source_is_not_loaded_and_the_target_is_released_again(tmp_path: Path) -> None:
    for stage in unloaded(tmp_path, Pair()):
        assert "the source is not loaded" in verify(stage)
        assert stage.pair.source.load_state(BOOKS) is LoadState.NOT_LOADED
        assert stage.pair.target.load_state(BOOKS) is LoadState.NOT_LOADED


def test_what_cannot_be_loaded_is_said_not_to_have_been_queried(tmp_path: Path) -> None:
    for stage in unloaded(tmp_path, Pair(), index=False):
        assert "its rows could not be queried" in verify(stage)


def test_a_verification_that_was_interrupted_while_the_target_was_loaded_releases_it_in_the_end(tmp_path: Path) -> None:
    for stage in unloaded(tmp_path, Pair()):

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stage.step(VerifyCollection).apply(with_target(stage, release=die, count_rows=die), Evidence.ABSENT)
        verify(stage)
        assert stage.pair.target.load_state(BOOKS) is LoadState.NOT_LOADED


def test_a_partly_loaded_source_is_not_said_to_be_equal_as_a_whole(tmp_path: Path) -> None:
    pair = Pair()
    create(pair.source)
    pair.source.create_partition(BOOKS, "old")
    pair.source.insert(BOOKS, some_rows(2))
    pair.source.insert(BOOKS, some_rows(3, start=10), "old")
    pair.source.create_index(BOOKS, an_index())
    load(pair.source, pair.clock, BOOKS, "old")
    with a_stage(tmp_path, pair) as stage:
        stage.apply_before(VerifyCollection)
        said = verify(stage)
        assert said != "source and target are equal", "2 of its 5 rows were compared with nothing"
