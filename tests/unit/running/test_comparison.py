"""Source and target compared outside of a run, on a pair in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.memory import MemoryBinlogs
from migrator.model.collection import LoadState
from migrator.model.observed import MigratedRecord
from migrator.running.comparison import Comparer, Comparison, Past
from migrator.running.retry import RetryPolicy
from migrator.steps.create_collection import noted_id
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.import_segments import imported_rows
from migrator.steps.verification import Depth, Level
from migrator.steps.verify_collection import VerifyCollection
from tests.support.builders import BOOKS, Pair, fill, flush, some_rows
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
            yield Past(ledger=stage.ctx.ledger, dump=dump, dump_prefix=step.dump_prefix, shape=shape)

        yield Scene(
            stage,
            Comparer(
                source=pair.source,
                target=pair.target,
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
        assert (stranger.exit_code, stranger.verdict) == (51, "the target is not loaded, so nothing could be compared")


def test_without_a_record_the_source_is_the_measure(scene: Scene) -> None:
    assert scene.compare(records=()).exit_code == 0
    scene.pair.target.create_partition(BOOKS, "new")
    found = scene.compare(records=())
    assert found.exit_code == 50
    assert "partition 'new' is missing at the source" in str(found.differences.shown[0])


def test_counts_and_nothing(scene: Scene) -> None:
    assert scene.compare(depth=Depth(level=Level.COUNTS)).verdict == "equal: 4 rows at both sides"
    nothing = scene.compare(depth=Depth(level=Level.NONE))
    assert (nothing.exit_code, nothing.verdict) == (0, "nothing was compared")
