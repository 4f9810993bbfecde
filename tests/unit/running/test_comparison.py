"""Source and target compared outside of a run, on a pair in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.memory import MemoryBinlogs
from migrator.model.collection import CollectionRef, LoadState
from migrator.model.observed import MigratedRecord
from migrator.running.comparison import Comparer, Comparison, Past
from migrator.running.retry import RetryPolicy
from migrator.running.standing import Standing
from migrator.steps.create_collection import noted_id
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.import_segments import imported_rows
from migrator.steps.load_collection import LoadCollection
from migrator.steps.verification import Depth, Level
from migrator.steps.verify_collection import VerifyCollection
from tests.support.builders import BOOKS, Pair, a_key_schema, an_index, create, fill, flush, load, some_rows
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Nothing:
    """Reads no dumps."""

    missing: str = "binlogs cannot be read without pyarrow"


@dataclass
class Scene:
    """A migrated pair, and what compares it."""

    stage: Stage
    comparer: Comparer

    @property
    def pair(self) -> Pair:
        """Both sides."""
        return self.stage.pair

    def compare(self, **changes: Any) -> Comparison:  # noqa: ANN401 - any member
        """With members of the comparer changed."""
        return replace(self.comparer, **changes).compare((BOOKS, BOOKS))


def record_of(stage: Stage) -> MigratedRecord:
    dump = frozen_dump(stage.ctx.ledger, BOOKS)
    return MigratedRecord(
        source=BOOKS,
        target=BOOKS,
        source_collection_id=dump.collection.collection_id,
        target_collection_id=noted_id(stage.ctx.ledger, BOOKS) or 0,
        raw_rows=dump.raw_rows,
        rows_at_cut=tuple(dump.rows_at_cut.items()),
        held_still=dump.held_still,
        verified=True,
        dump="bucket_A/backup/x",
        rows=imported_rows(stage.ctx.ledger, BOOKS),
        run_id="run-1",
    )


@contextmanager
def a_scene(folder: Path, *, loaded: bool = True) -> Iterator[Scene]:
    pair = Pair()
    fill(pair, rows=4, loaded=loaded)
    with a_stage(folder, pair) as stage:
        stage.apply_before(VerifyCollection)
        step = stage.step(VerifyCollection)
        assert step.shape is not None
        shape = step.shape

        @contextmanager
        def open_past(_: MigratedRecord) -> Iterator[Past]:
            dump = frozen_dump(stage.ctx.ledger, BOOKS)
            load = next((each for each in stage.plan.steps if isinstance(each, LoadCollection)), None)
            standing = Standing(aliases=("live",), loads=load)
            yield Past(ledger=stage.ctx.ledger, dump=dump, dump_prefix=step.dump_prefix, shape=shape, standing=standing)

        pair.target.create_alias(BOOKS, "live")  # in a run after the verification
        yield Scene(
            stage,
            Comparer(
                source=pair.source,
                target=pair.target,
                source_store=pair.store,
                staging=pair.store,
                dump_reader=BinlogDumps(MemoryBinlogs()),
                clock=pair.clock,
                depth=Depth(level=Level.FULL),
                records=(record_of(stage),),
                open_past=open_past,
                policy=RetryPolicy(max_elapsed_s=5, max_backoff_s=1),
                tell=lambda _: None,
            ),
        )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """4 rows, loaded at both sides."""
    with a_scene(tmp_path) as scene:
        yield scene


def test_equal_sides(scene: Scene) -> None:
    found = scene.compare()
    assert (found.exit_code, found.compared_with, found.keys, found.rows_compared) == (0, "source", 4, 4)
    assert found.source_digest == found.target_digest != ""
    assert found.verdict.startswith("source and target are equal: every value of 4 rows; ")


def test_a_difference_is_told_with_both_values(scene: Scene) -> None:
    scene.pair.target.delete(BOOKS, [1])
    scene.pair.target.insert(BOOKS, [{**some_rows(1, start=1)[0], "title": "other"}])
    found = scene.compare()
    (difference,) = found.differences.shown
    assert found.exit_code == 50
    assert found.verdict == "dump and target differ: 1 value"  # the source might have moved: the dump decided
    assert (difference.key, difference.field) == ("1", "title")
    assert (difference.source, difference.target) == ("'title 1'", "'other'")


def test_a_source_that_moved_is_compared_by_the_dump(scene: Scene) -> None:
    scene.pair.source.insert(BOOKS, some_rows(1, start=70))
    found = scene.compare()
    assert (found.exit_code, found.compared_with) == (0, "dump")
    assert "the source has other rows now than at the cut" in found.verdict


def test_a_backup_is_read_where_it_lies(scene: Scene) -> None:
    """Its copy may have been deleted, with `keep: false`."""
    scene.pair.store.delete(list(scene.pair.keys("backup")))

    @contextmanager
    def open_past(record: MigratedRecord) -> Iterator[Past]:
        with scene.comparer.open_past(record) as past:
            yield replace(past, dump=replace(past.dump, backed_up_ts=0))

    assert scene.compare(source=None).exit_code == 51
    found = scene.compare(source=None, open_past=open_past)
    assert (found.exit_code, found.compared_with) == (0, "dump")
    scene.pair.target.delete(BOOKS, [1])
    found = scene.compare(source=None, open_past=open_past)
    assert (found.exit_code, messages(found)) == (50, ["row 1 in partition '_default' is missing at the target"])


def test_a_source_that_moved_cannot_be_told_without_its_dump(scene: Scene) -> None:
    scene.pair.source.insert(BOOKS, some_rows(1, start=70))
    assert scene.compare(dump_reader=Nothing()).exit_code == 51
    scene.pair.store.delete([key for key in scene.pair.keys("backup") if "/insert_log/" in key])
    found = scene.compare()
    assert found.exit_code == 51
    assert "the dump is not whole any more" in found.verdict
    assert [str(each) for each in found.differences.shown] == [
        "row 70 in partition '_default' is missing at the target"
    ]


def test_a_target_that_lost_a_row_is_a_difference_though_the_source_moved_too(scene: Scene) -> None:
    scene.pair.source.insert(BOOKS, some_rows(1, start=70))
    scene.pair.target.delete(BOOKS, [1])
    found = scene.compare(dump_reader=Nothing())
    assert (found.exit_code, "rows: 4 were imported, 3 are at the target" in messages(found)) == (50, True)


def test_rows_that_may_have_expired_are_told(scene: Scene) -> None:
    held = scene.pair.target._get(BOOKS)
    held.base = replace(held.base, properties=(("collection.ttl.seconds", "60"),))
    assert "expire" not in scene.compare().verdict
    scene.pair.target.delete(BOOKS, [1])
    said = "rows of the target expire 60 s after they were imported, which may be why"
    assert said in scene.compare().verdict


def test_a_source_that_held_still_decides_without_the_dump(scene: Scene) -> None:
    scene.pair.target.delete(BOOKS, [1])
    flush(scene.pair.target)
    assert scene.compare(dump_reader=Nothing()).exit_code == 50


def test_an_unloaded_pair_is_compared_by_the_dump_and_only_the_target_is_loaded(tmp_path: Path) -> None:
    with a_scene(tmp_path, loaded=False) as scene:
        found = scene.compare()
        assert (found.exit_code, found.compared_with) == (0, "dump")
        assert scene.pair.source.load_state(BOOKS) is LoadState.NOT_LOADED
        assert scene.pair.target.load_state(BOOKS) is LoadState.NOT_LOADED
        assert scene.compare(dump_reader=Nothing()).exit_code == 51
        stranger = scene.compare(records=())
        assert (stranger.exit_code, stranger.verdict) == (51, "no rows were compared; the target is not loaded")


def test_without_a_record_the_source_is_the_measure(scene: Scene) -> None:
    assert scene.compare(records=()).exit_code == 0
    scene.pair.target.create_partition(BOOKS, "new")
    found = scene.compare(records=())
    assert found.exit_code == 50
    assert "partition 'new' is missing at the source" in str(found.differences.shown[0])


def messages(found: Comparison) -> list[str]:
    return [str(each) for each in found.differences.shown]


def test_a_target_that_lost_its_index_is_told_though_its_rows_cannot_be_read(scene: Scene) -> None:
    scene.pair.target.release(BOOKS)
    scene.pair.target._get(BOOKS).indexes.clear()
    found = scene.compare()
    assert found.exit_code == 50
    assert "index on 'vec': HNSW COSINE on vec at the source, none at the target" in messages(found)
    assert "load state: loaded by the run, not loaded now" in messages(found)
    assert "the target has no vector index, so its rows could not be queried" in found.verdict


def test_a_released_target_is_told_and_its_rows_are_compared(scene: Scene) -> None:
    scene.pair.target.release(BOOKS)
    found = scene.compare()
    assert (found.exit_code, found.rows_compared, found.compared_with) == (50, 4, "source")
    assert messages(found) == ["load state: loaded by the run, not loaded now"]
    assert scene.pair.target.load_state(BOOKS) is LoadState.NOT_LOADED


def test_an_alias_that_points_elsewhere_is_told(scene: Scene) -> None:
    target = scene.pair.target
    create(target, CollectionRef("default", "others"))
    target.alter_alias(CollectionRef("default", "others"), "live")
    assert messages(scene.compare()) == ["alias 'live' points at others at the target, and not at books"]
    target.drop_alias(CollectionRef("default", "others"), "live")
    target.create_alias(BOOKS, "of_somebody_else")
    assert messages(scene.compare()) == ["alias 'live' points at no collection at the target, and not at books"]


def test_a_source_that_is_gone_is_replaced_by_the_dump(scene: Scene) -> None:
    scene.pair.source.drop_collection(BOOKS)
    found = scene.compare()
    assert (found.exit_code, found.compared_with) == (0, "dump")
    assert "dump and target are equal: every value of 4 rows; the source is gone" in found.verdict
    counted = scene.compare(depth=Depth(level=Level.COUNTS))
    assert counted.verdict == "4 rows at the target, as many as were imported; the source is gone"
    scene.pair.target.delete(BOOKS, [1])
    assert messages(scene.compare()) == ["row 1 in partition '_default' is missing at the target"]
    without = scene.compare(dump_reader=Nothing())
    assert (without.exit_code, messages(without)) == (50, ["rows: 4 were imported, 3 are at the target"])
    assert scene.compare(records=()).verdict == "books is gone from the source"


def test_a_source_that_cannot_be_reached_is_replaced_by_the_dump(scene: Scene) -> None:
    found = scene.compare(source=None)
    assert (found.exit_code, found.compared_with) == (0, "dump")
    assert found.verdict.endswith("every value of 4 rows; the source cannot be reached")
    scene.pair.target.insert(BOOKS, some_rows(1, start=70))
    assert messages(scene.compare(source=None)) == ["row 70 in partition '_default' is only at the target"]
    assert scene.compare(source=None, dump_reader=Nothing()).exit_code == 50, "one row more than was imported"


def test_counts_tell_a_target_that_was_changed_from_a_source_that_moved(scene: Scene) -> None:
    scene.pair.source.insert(BOOKS, some_rows(1, start=70))
    assert scene.compare(depth=Depth(level=Level.COUNTS)).exit_code == 51
    scene.pair.target.delete(BOOKS, [1])
    found = scene.compare(depth=Depth(level=Level.COUNTS))
    assert (found.exit_code, "books holds 3 rows, and run run-1 imported 4" in found.verdict) == (50, True)


def test_where_no_partition_can_be_compared_nothing_is_said_to_be_equal(scene: Scene) -> None:
    pair = scene.pair
    pair.target.release(BOOKS)
    pair.target.create_partition(BOOKS, "new")
    load(pair.target, pair.clock, BOOKS, "new")
    found = scene.compare(records=())
    assert (found.exit_code, found.compared_with, found.rows_compared) == (50, "", 0)
    assert messages(found) == ["partition 'new' is missing at the source, there at the target"]
    assert found.verdict.endswith("the target holds none of the partitions loaded: _default")


def test_a_target_of_another_kind_is_told(scene: Scene) -> None:
    pair = scene.pair
    pair.target.drop_collection(BOOKS)
    create(pair.target, schema=a_key_schema(), num_partitions=4)
    pair.target.create_index(BOOKS, an_index())
    load(pair.target, pair.clock)
    found = scene.compare()
    assert found.exit_code == 50
    assert "schema field 'title', is_partition_key: False at the source, True at the target" in messages(found)


def test_a_target_that_somebody_loads_is_left_to_them(scene: Scene) -> None:
    target = scene.pair.target
    target.release(BOOKS)
    target.load(BOOKS, partitions=(), replica_number=1)
    assert target.load_state(BOOKS) is LoadState.LOADING
    assert scene.compare().exit_code == 0
    assert target.load_state(BOOKS) is LoadState.LOADED


def test_counts_and_nothing(scene: Scene) -> None:
    assert scene.compare(depth=Depth(level=Level.COUNTS)).verdict == "equal: 4 rows at both sides"
    nothing = scene.compare(depth=Depth(level=Level.NONE))
    assert (nothing.exit_code, nothing.verdict) == (0, "nothing was compared")
