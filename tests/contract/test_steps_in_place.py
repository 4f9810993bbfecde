"""A migration that reads in place while the source's files move: killed at every point, with one end.

The first import request meets a compaction that came after the last look: Milvus 2.3 imports both generations of rows,
the collection is dropped, and everything from the listing on is done anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from migrator.model.collection import CollectionRef
from migrator.steps.import_deletes import ImportDeletes
from migrator.steps.registry import STEP_KINDS
from tests.contract.test_steps import OPTIONS, Undisturbed, described, rows_of, strikes
from tests.support.builders import BOOKS, Pair, an_index, create, flush, load, plan_text, some_rows
from tests.support.mortality import Fate

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.segment import SegmentBatch

PLAN = plan_text(collections="[books]", more=OPTIONS % "in_place")


def a_moving_pair() -> Pair:
    """Books in two partitions; one row was deleted, and the compaction takes it for good."""
    pair = Pair()
    create(pair.source)
    pair.source.create_partition(BOOKS, "old")
    pair.source.insert(BOOKS, some_rows(4))
    pair.source.insert(BOOKS, some_rows(3, start=10), "old")
    flush(pair.source)
    pair.source.delete(BOOKS, [1])
    pair.source.create_index(BOOKS, an_index())
    load(pair.source, pair.clock)
    plain, left = pair.target.start_import, [pair.source.compact]

    def start(*args: object, **named: object) -> int:
        if left:
            left.pop()(BOOKS)
        return plain(*args, **named)  # type: ignore[arg-type]  # as it was asked

    pair.target.start_import = start  # type: ignore[method-assign]  # of this one alone
    return pair


def what_is_left(pair: Pair) -> dict[str, object]:
    """The target, and what kinds of things lie in the dump."""
    state: dict[str, object] = {"meta": sorted(pair.keys("backup/a_to_b/meta"))}
    for name in pair.target.list_collections("default"):
        ref = CollectionRef("default", name)
        found = pair.target.find_collection(ref)
        assert found is not None
        state[name] = (described(found), rows_of(pair.target, ref))
    return state


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("moved")
    return Undisturbed.record(folder, a_moving_pair, text=PLAN, state_of=what_is_left)


def test_the_rows_are_those_of_the_source(moved: Undisturbed, tmp_path: Path) -> None:
    world = moved.world(tmp_path)
    before = world.pair.keys("files_A")
    world.require_done(Fate())
    assert rows_of(world.pair.target, BOOKS) == rows_of(world.pair.source, BOOKS)
    assert len(rows_of(world.pair.target, BOOKS)) == 6
    assert before.items() <= world.pair.keys("files_A").items()
    assert any(point.what.endswith("drop_collection") for point in moved.points)


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_killed_at_any_point(kind: str, moved: Undisturbed, tmp_path: Path) -> None:
    for number in strikes(moved, kind):
        world = moved.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None, f"point {number} was not reached"
        world.require_done(Fate())
        assert what_is_left(world.pair) == moved.state, moved.points[number]
        assert rows_of(world.pair.target, BOOKS) == rows_of(world.pair.source, BOOKS), moved.points[number]


# -- deletes in segments of their own ---------------------------------------------------------------------------------


def a_pair_whose_deletes_move() -> Pair:
    """All rows are in when the source's own compaction makes another of its segment of deletes."""
    pair = Pair(versions=("2.5.20", "2.6.12"))
    create(pair.source)
    pair.source.insert(BOOKS, some_rows(4))
    flush(pair.source)
    pair.source.delete(BOOKS, [1])
    flush(pair.source)
    pair.source.create_index(BOOKS, an_index())
    plain, left = pair.target.start_import, [_move_deletes]

    def start(ref: CollectionRef, batch: SegmentBatch, **named: Any) -> int:  # noqa: ANN401 - as it was asked
        if batch.is_l0 and left:
            left.pop()(pair)
        return plain(ref, batch, **named)

    pair.target.start_import = start  # type: ignore[method-assign]  # of this one alone
    return pair


def _move_deletes(pair: Pair) -> None:
    source, held = pair.source, pair.source._get(BOOKS)
    for segment in held.segments:
        if segment.is_l0:
            old = [key for key in pair.keys("files_A/delta_log") if f"/{segment.segment_id}/" in key]
            pair.store.delete(old)
            segment.segment_id, segment.written_deletes = source.allocate_timestamp(), 0
            source._write_logs(held, segment)


def test_a_run_whose_deletes_move_may_be_killed_at_any_point(tmp_path: Path) -> None:
    """What brought the rows is done anew with what brings their deletes, or neither is."""
    folder = tmp_path / "moved"
    moved = Undisturbed.record(folder, a_pair_whose_deletes_move, text=PLAN, state_of=what_is_left)
    assert any(point.what.endswith("drop_collection") for point in moved.points)
    assert len(rows_of(moved.world(tmp_path / "once").pair.source, BOOKS)) == 3
    for number in strikes(moved, ImportDeletes.kind):
        world = moved.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None, f"point {number} was not reached"
        world.require_done(Fate())
        assert what_is_left(world.pair) == moved.state, moved.points[number]
        assert rows_of(world.pair.target, BOOKS) == rows_of(world.pair.source, BOOKS), moved.points[number]
