"""`verify_collection` at the levels that look at rows, on a pair in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.dump_rows import BinlogDumps
from migrator.errors import Interrupted, MilvusRefused, SourceMoved, VerificationFailed
from migrator.model.codec import from_plain
from migrator.model.collection import CollectionRef, DataType, IndexProgress, LoadState, Partition
from migrator.model.difference import DifferenceKind
from migrator.ports.milvus import Hit
from migrator.steps.base import Evidence
from migrator.steps.comparing import Compared
from migrator.steps.create_index import CreateIndex
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.routing import routing_check
from migrator.steps.verification import Depth, Finding, Level
from migrator.steps.verify_collection import VerifyCollection
from tests.support.builders import (
    BOOKS,
    Pair,
    a_collection,
    a_key_schema,
    an_index,
    create,
    fill,
    flush,
    load,
    some_rows,
)
from tests.support.sides import FakeSide
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from migrator.model.rows import Key, Value

FULL = "options: {transfer: {concurrency: 1}, verify: full}\n"


@contextmanager
def migrated(folder: Path, pair: Pair, more: str = FULL) -> Iterator[Stage]:
    """All but the verification done."""
    with a_stage(folder, pair, more=more) as stage:
        stage.apply_before(VerifyCollection)
        yield stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """5 rows, loaded at both sides."""
    pair = Pair()
    fill(pair, rows=5)
    with migrated(tmp_path, pair) as stage:
        yield stage


def verify(stage: Stage, **changes: Any) -> str:  # noqa: ANN401 - any member of the step
    return stage.apply(stage.step(VerifyCollection, **changes)).detail


def failure(stage: Stage, **changes: Any) -> str:  # noqa: ANN401 - see above
    with pytest.raises(VerificationFailed) as caught:
        verify(stage, **changes)
    assert caught.value.exit_code == 50
    return caught.value.message


def without_pyarrow(stage: Stage) -> Stage:
    @dataclass
    class Nothing:
        missing: str = "binlogs cannot be read without pyarrow"

    return replace(stage, ctx=replace(stage.ctx, dump_reader=Nothing()))  # type: ignore[arg-type]  # never opened


def upsert(milvus: Any, row: dict[str, object]) -> None:  # noqa: ANN401 - a Milvus in memory
    milvus.delete(BOOKS, [row["id"]])
    milvus.insert(BOOKS, [row])


def test_equal_rows_are_said_to_be_equal_and_searched(stage: Stage) -> None:
    said = verify(stage)
    assert said.startswith("source and target are equal: every value of 5 rows; ")
    assert "5 searches by vec found 100% of the nearest 10 at both sides" in said


def test_a_sample_says_what_it_looked_at(stage: Stage) -> None:
    said = verify(stage, depth=Depth(level=Level.SAMPLE, sample=2, seed=1))
    assert "source and target are equal: 5 keys, and every value of " in said


def test_every_difference_is_named(stage: Stage) -> None:
    target = stage.pair.target
    target.delete(BOOKS, [0])
    target.insert(BOOKS, some_rows(1, start=50))
    upsert(target, {**some_rows(1, start=3)[0], "title": "other"})
    said = failure(stage)
    assert "row 0 in partition '_default' is missing at the target" in said
    assert "row 50 in partition '_default' is only at the target" in said
    assert "row 3 in partition '_default': title is 'title 3' at the source, 'other' at the target" in said
    finding = from_plain(Finding, stage.ctx.ledger.notes(stage.step(VerifyCollection).key)["finding"])
    assert finding.differences.total == 3


def test_searches_that_find_others_are_a_difference(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.pair.target, "search", lambda *_, **__: [[Hit(99, -1.0)]] * 5)
    assert "searches by vec: 0% of the nearest 10 are the same, over 5 searches" in failure(stage)


def test_searches_settle_after_a_build(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus 2.3.5 was seen to miss half of the neighbours as long as an index was being built."""
    exact, ready = stage.pair.target.search, stage.pair.clock.monotonic() + 20

    def search(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the real one takes
        return exact(*args, **kwargs) if stage.pair.clock.monotonic() > ready else [[Hit(99, -1.0)]] * 5

    monkeypatch.setattr(stage.pair.target, "search", search)
    assert "5 searches by vec found 100% of the nearest 10 at both sides" in verify(stage)


def test_searches_without_a_whole_index_are_told_and_no_difference(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage.pair.target.index_progress

    def half(ref: CollectionRef) -> tuple[IndexProgress, ...]:
        return tuple(replace(p, pending_rows=1) for p in whole(ref))

    monkeypatch.setattr(stage.pair.target, "search", lambda *_, **__: [[Hit(99, -1.0)]] * 5)
    monkeypatch.setattr(stage.pair.target, "index_progress", half)
    assert "at both sides, as its index is not built to its end at the target" in verify(stage)


def test_a_login_that_may_not_search_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MilvusRefused("the user lacks a privilege (PrivilegeSearch)")

    monkeypatch.setattr(stage.pair.source, "search", refuse)
    said = verify(stage)
    assert said.startswith("source and target are equal: every value of 5 rows; ")
    assert said.endswith("searches were not compared: the user lacks a privilege (PrivilegeSearch)")


def test_a_row_that_is_there_twice_is_named(stage: Stage) -> None:
    stage.pair.target.insert(BOOKS, some_rows(1, start=3))
    assert "row 3 in partition '_default' is there once at the source, 2 times at the target" in failure(stage)


def test_an_index_of_other_parameters_is_named(stage: Stage) -> None:
    wanted = stage.step(VerifyCollection).shape
    assert wanted is not None
    params = (("index_type", "HNSW"), ("metric_type", "COSINE"), ("params", '{"M":8,"efConstruction":200}'))
    said = failure(stage, shape=replace(wanted, indexes=(an_index(params=params),)))
    assert "index on 'vec', M: 8 at the source, 16 at the target" in said


def test_partitions_and_properties_are_compared(stage: Stage) -> None:
    stage.pair.target.create_partition(BOOKS, "new")
    wanted = stage.step(VerifyCollection).shape
    assert wanted is not None
    said = failure(stage, shape=replace(wanted, properties=(("mmap.enabled", "true"),)))
    assert "partition 'new' is missing at the source, there at the target" in said
    assert "property mmap.enabled: true at the source, none at the target" in said


def test_as_many_copies_of_another_key_are_named(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, rows=5)
    pair.source.insert(BOOKS, some_rows(1, start=2))
    with migrated(tmp_path, pair) as stage:
        assert "every value of 5 rows" in verify(stage)
        upsert(pair.target, some_rows(1, start=2)[0])
        pair.target.insert(BOOKS, some_rows(1, start=3))
        said = failure(stage)
    assert "row 2 in partition '_default' is there 2 times at the source, once at the target" in said
    assert "row 3 in partition '_default' is there once at the source, 2 times at the target" in said


def test_a_target_of_other_keys_is_told(stage: Stage) -> None:
    wanted = stage.step(VerifyCollection).shape
    assert wanted is not None
    key, *others = wanted.schema.fields
    text = replace(key, data_type=DataType.VARCHAR)
    said = failure(stage, shape=replace(wanted, schema=replace(wanted.schema, fields=(text, *others))))
    assert "schema field 'id', data_type: VARCHAR at the source, INT64 at the target" in said


def test_a_field_of_another_type_is_told_once_and_the_others_are_compared(stage: Stage) -> None:
    wanted = stage.step(VerifyCollection).shape
    assert wanted is not None
    key, title, vector = wanted.schema.fields
    number = replace(title, data_type=DataType.DOUBLE)
    upsert(stage.pair.target, {**some_rows(1)[0], "title": "no number", "vec": [0.0, 0.5]})
    said = failure(stage, shape=replace(wanted, schema=replace(wanted.schema, fields=(key, number, vector))))
    assert "schema field 'title', data_type: DOUBLE at the source, VARCHAR at the target" in said
    assert "row 0 in partition '_default': vec is" in said
    assert "title is" not in said


# -- what is loaded ---------------------------------------------------------------------------------------------------


def test_a_target_that_comes_up_again_stays_loaded(stage: Stage) -> None:
    stage.pair.target.release(BOOKS)
    stage.pair.target.load(BOOKS, partitions=(), replica_number=1)
    assert stage.pair.target.load_state(BOOKS) is LoadState.LOADING
    verify(stage)
    assert stage.pair.target.load_state(BOOKS) is LoadState.LOADED


# -- which side gives the expected rows -------------------------------------------------------------------------------


def test_an_unloaded_source_is_compared_by_the_dump(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, loaded=False)
    pair.source.delete(BOOKS, [1])
    with migrated(tmp_path, pair) as stage:
        assert verify(stage) == "dump and target are equal: every value of 2 rows; the source is not loaded"
        assert pair.source.load_state(BOOKS) is LoadState.NOT_LOADED
        assert pair.target.load_state(BOOKS) is LoadState.NOT_LOADED
        load(pair.target, pair.clock)
        upsert(pair.target, {**some_rows(1, start=2)[0], "vec": [2.0, 1.5]})
        assert "row 2 in partition '_default': vec is 1 (component 1) at the source, 1.5" in failure(stage)


def test_an_unloaded_source_may_be_loaded_and_is_released(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, loaded=False)
    with migrated(tmp_path, pair, FULL.replace("full", "{level: full, load_source: true}")) as stage:
        assert verify(without_pyarrow(stage)).startswith("source and target are equal: every value of 3 rows")
        assert pair.source.load_state(BOOKS) is LoadState.NOT_LOADED


def test_a_source_that_moved_is_told_and_the_dump_decides(stage: Stage) -> None:
    upsert(stage.pair.source, {**some_rows(1)[0], "title": "later"})  # as many rows as before
    assert verify(stage) == (
        "dump and target are equal: every value of 5 rows; the source has other rows now than at the cut"
    )
    upsert(stage.pair.target, {**some_rows(1)[0], "title": "other"})
    assert "title is 'title 0' at the source, 'other' at the target" in failure(stage)


def test_without_the_dump_a_source_that_moved_cannot_decide(stage: Stage) -> None:
    upsert(stage.pair.source, {**some_rows(1)[0], "title": "later"})
    flush(stage.pair.source)
    with pytest.raises(SourceMoved, match="the source has moved since the cut") as caught:
        verify(without_pyarrow(stage))
    assert caught.value.exit_code == 51


def test_without_the_dump_a_source_that_held_still_decides(stage: Stage) -> None:
    upsert(stage.pair.target, {**some_rows(1)[0], "title": "other"})
    assert "title is 'title 0' at the source, 'other' at the target" in failure(without_pyarrow(stage))


def test_what_could_not_be_compared_is_said(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, loaded=False)
    with migrated(tmp_path, pair) as stage:
        said = verify(without_pyarrow(stage))
    assert said.startswith("no rows were compared; the source is not loaded; binlogs cannot be read without pyarrow; ")
    assert said.endswith("target, import jobs and dump agree")


def test_a_dump_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, loaded=False)
    with migrated(tmp_path, pair) as stage:
        said = verify(replace(stage, ctx=replace(stage.ctx, dump_reader=BinlogDumps())))  # of real binlogs
    assert said.startswith("no rows were compared; the source is not loaded; the binlog backup/a_to_b/binlogs/")
    assert said.endswith("target, import jobs and dump agree")


def test_a_target_without_indexes_is_said_not_to_have_been_queried(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, index=False)
    with migrated(tmp_path, pair) as stage:
        said = verify(stage)
    assert said.startswith("no rows were compared; the target has no vector index")
    assert said.count("no vector index") == 1


@pytest.mark.parametrize("word", ["in", "NOT", "json_contains"])
def test_a_key_that_no_filter_can_name_leaves_counts(stage: Stage, word: str) -> None:
    wanted = stage.step(VerifyCollection).shape
    assert wanted is not None
    key, *others = wanted.schema.fields
    schema = replace(wanted.schema, fields=(replace(key, name=word), *others))
    step = stage.step(VerifyCollection)
    finding = step._verification(  # what stands there is called so too
        stage.ctx,
        frozen_dump(stage.ctx.ledger, BOOKS),
        a_collection(schema=schema),
        {"_default": 5},
        loaded_by_us=False,
    )
    found = replace(finding, shape=replace(wanted, schema=schema)).run()
    assert found.basis is None
    assert found.verdict.endswith(f"by their key {word!r}, which is a word of Milvus's filters")


def test_equality_is_said_of_no_more_than_counts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.steps.verification.can_name", lambda _: False)
    said = verify(stage)
    assert said.startswith("no rows were compared; ")
    assert said.endswith("; the numbers of rows are equal")


def test_rows_that_the_dump_lacks_are_no_excuse(stage: Stage) -> None:
    """The target is the dump's like, and the source counted other rows at the cut."""
    key = f"dump_meta:{BOOKS.database}.{BOOKS.name}"
    frozen = stage.ctx.ledger.notes(key)["frozen"]
    assert isinstance(frozen, dict)
    stage.ctx.ledger.note(key, {"frozen": {**frozen, "rows_at_cut": {"_default": 4}}})
    assert "rows in partition '_default': 4 at the source, 5 at the target" in failure(stage)


# -- interruptions ----------------------------------------------------------------------------------------------------


def test_an_interrupted_comparison_releases_what_it_loaded_and_goes_on(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, loaded=False)
    with migrated(tmp_path, pair) as stage:
        step = stage.step(VerifyCollection)

        def stop(message: str = "", **_: object) -> None:
            if message == "comparing rows":
                raise Interrupted("stopped")

        with pytest.raises(Interrupted):
            step.apply(replace(stage.ctx, progress=stop), Evidence.ABSENT)
        assert pair.target.load_state(BOOKS) is LoadState.NOT_LOADED
        noted = from_plain(Compared, stage.ctx.ledger.notes(step.key)["compared"])
        assert noted.basis.startswith("dump, ")
        assert "every value of 3 rows" in verify(stage)
        assert stage.ctx.ledger.notes(step.key)["compared"] is None


def test_a_failed_comparison_is_begun_anew(stage: Stage) -> None:
    upsert(stage.pair.target, {**some_rows(1)[0], "title": "other"})
    failure(stage)
    upsert(stage.pair.target, some_rows(1)[0])
    assert verify(stage).startswith("source and target are equal")


# -- partition keys ---------------------------------------------------------------------------------------------------


def test_rows_by_partition_key_are_compared_together(tmp_path: Path) -> None:
    pair = Pair()
    create(pair.source, schema=a_key_schema(), num_partitions=4)
    pair.source.insert(BOOKS, some_rows(3), pair.source.list_partitions(BOOKS)[1].name)
    flush(pair.source)
    pair.source.create_index(BOOKS, an_index())
    load(pair.source, pair.clock)
    with migrated(tmp_path, pair) as stage:
        assert "every value of 3 rows; 3 rows were found by their partition key" in verify(stage)


def test_a_row_that_its_partition_key_does_not_lead_to_is_named() -> None:
    """A server that looks for a value in the partition of its hash, and finds row 2 elsewhere."""
    rows = {key: (b"one" if key < 3 else b"two", b"....") for key in range(1, 5)}
    asked: list[str] = []

    class Target:
        def allocate_timestamp(self) -> int:
            return 1

        def query_rows(
            self, _: CollectionRef, __: object, keys: Sequence[Key], *, where: str = "", **___: object
        ) -> Mapping[Key, tuple[Value, ...]]:
            asked.append(where)
            lost = {2} if where else set()
            return {key: rows[int(key)] for key in keys if key not in lost}

    found = a_collection(schema=a_key_schema())
    side = FakeSide({"*": list(rows.items())})
    make = routing_check(Target(), found, Depth(level=Level.FULL), source=Target(), source_is=None)  # type: ignore[arg-type]  # what is asked of it
    assert make is not None
    looked_at, (lost,) = make(side)(side.prints("*", list(rows)))
    assert looked_at == 4
    assert (lost.kind, lost.key, lost.field, lost.source) == (DifferenceKind.ROUTING, "2", "title", "'one'")
    assert [where for where in asked if where] == ['title == "one"', 'title == "two"']
    loaded = a_collection(
        schema=a_key_schema(), partitions=(Partition(1, "_default_0"),), loaded_partitions=("_default_0",)
    )
    alike = routing_check(Target(), found, Depth(level=Level.FULL), source=Target(), source_is=loaded)  # type: ignore[arg-type]  # as above
    assert alike is not None
    assert alike(side)(side.prints("*", list(rows))) == (4, []), "an upsert of 2.3.5 puts rows there at the source too"
    assert routing_check(Target(), a_collection(), Depth(level=Level.FULL), source=Target(), source_is=None) is None  # type: ignore[arg-type]  # as above


def test_the_plan_says_what_is_compared(stage: Stage) -> None:
    assert stage.step(VerifyCollection).describe() == "compare books and books: all keys and all rows"
    assert stage.step(CreateIndex).indexes == (an_index(),)
