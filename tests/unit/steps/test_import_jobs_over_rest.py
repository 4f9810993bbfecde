"""Imports into Milvus 2.4 and later: jobs of many segments that tell no tags, and servers that say no."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import (
    ImportsFull,
    ImportStalled,
    Interrupted,
    MilvusRefused,
    MilvusUnavailable,
    StepInDoubt,
    TooManyFiles,
)
from migrator.model.capabilities import capabilities
from migrator.model.import_job import ImportState, ImportTag
from migrator.model.timestamps import END_OF_TIME
from migrator.steps.import_segments import ImportSegments
from tests.support.builders import BOOKS, Pair, create, flush, some_rows
from tests.support.stage import Stage, a_stage
from tests.unit.steps.test_import_segments import apply, lose_reply, lose_request, with_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.model.segment import SegmentBatch

TARGET = capabilities("2.6.12")
SEGMENTS, ROWS = 5, 10


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything up to the import is done: one partition of five segments with two rows each."""
    pair = Pair(versions=("2.5.20", "2.6.12"))
    create(pair.source)
    for first in range(0, ROWS, 2):
        pair.source.insert(BOOKS, some_rows(2, start=first))
        flush(pair.source)
    with a_stage(tmp_path, pair) as stage:
        stage.apply_before(ImportSegments)
        yield stage


def entries_of(stage: Stage) -> list[int]:
    """How many entries each job had that brought something."""
    jobs = [each for each in stage.pair.target._jobs.values() if each.job.state is ImportState.COMPLETED]
    every = [entry for each in jobs for entry in each.entries]
    assert len(every) == len(set(every)), "a segment was asked for twice"
    return sorted(len(each.entries) for each in jobs)


def rows_of(stage: Stage) -> list[object]:
    return sorted(row["id"] for row in stage.pair.target.rows(BOOKS))  # type: ignore[type-var]


def no_more_than(stage: Stage, most: int, *, dies_after: int | None = None) -> Any:  # noqa: ANN401 - as the port
    """A target's `start_import` that takes so many entries in a request, and ends the process after some."""
    asked: list[int] = []

    def start(ref: object, batch: SegmentBatch, **named: Any) -> int:  # noqa: ANN401 - as the port
        asked.append(len(batch.entries))
        if len(asked) == dies_after:
            raise Interrupted("stop")
        if len(batch.entries) > most:
            raise TooManyFiles(f"The max number of import files should not exceed {most}")
        return stage.pair.target.start_import(ref, batch, **named)  # type: ignore[arg-type]

    return start


# -- too much ---------------------------------------------------------------------------------------------------------


def test_a_partition_is_one_job_of_many_segments(stage: Stage) -> None:
    assert apply(stage.ctx, stage.step(ImportSegments)) == ROWS
    assert entries_of(stage) == [SEGMENTS]


@pytest.mark.parametrize(("most", "jobs"), [(4, [2, 3]), (2, [1, 2, 2]), (1, [1] * SEGMENTS)])
def test_a_request_of_too_many_files_is_halved_until_it_is_taken(stage: Stage, most: int, jobs: list[int]) -> None:
    ctx = with_target(stage, start_import=no_more_than(stage, most))
    assert apply(ctx, stage.step(ImportSegments)) == ROWS
    assert entries_of(stage) == jobs
    assert rows_of(stage) == list(range(ROWS))


@pytest.mark.parametrize("dies_after", range(1, 10))
def test_halves_are_kept_by_a_run_that_dies_among_them(stage: Stage, dies_after: int) -> None:
    step = stage.step(ImportSegments)
    with pytest.raises(Interrupted):
        apply(with_target(stage, start_import=no_more_than(stage, 1, dies_after=dies_after)), step)
    assert apply(with_target(stage, start_import=no_more_than(stage, 1)), step) == ROWS
    assert entries_of(stage) == [1] * SEGMENTS
    assert rows_of(stage) == list(range(ROWS))


def test_a_segment_that_is_too_much_by_itself_is_told(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    with pytest.raises(TooManyFiles, match="should not exceed 0"):
        apply(with_target(stage, start_import=no_more_than(stage, 0)), step)
    assert apply(stage.ctx, step) == ROWS


# -- no room ----------------------------------------------------------------------------------------------------------


def test_a_target_with_little_room_is_given_one_job_at_a_time(stage: Stage) -> None:
    stage.pair.target.room_for_jobs = 1
    step = stage.step(ImportSegments, segments_per_job=1)
    assert apply(stage.ctx, step) == ROWS
    assert entries_of(stage) == [1] * SEGMENTS


def test_others_that_have_all_the_room_are_waited_for(stage: Stage) -> None:
    target, clock, told = stage.pair.target, stage.pair.clock, []
    full_until = clock.monotonic() + 100

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        if clock.monotonic() < full_until:
            raise ImportsFull("The number of jobs has reached the limit")
        return target.start_import(*args, **named)

    ctx = replace(with_target(stage, start_import=start), progress=lambda message="", **_: told.append(message))
    assert apply(ctx, stage.step(ImportSegments)) == ROWS
    assert "waiting for other imports at the target" in told
    assert full_until <= clock.monotonic() < full_until + 30


def test_room_that_never_comes_up_ends_the_run_and_nothing_is_looked_for_later(stage: Stage) -> None:
    stage.pair.target.room_for_jobs = 0
    step = stage.step(ImportSegments)
    with pytest.raises(ImportStalled, match="no room came up at the target"):
        apply(stage.ctx, step)
    stage.pair.target.room_for_jobs = 9
    began = stage.pair.clock.monotonic()
    assert apply(stage.ctx, step) == ROWS
    assert stage.pair.clock.monotonic() - began < TARGET.settle_s


# -- no ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["quota exceeded[reason=disk quota exceeded]", "PrivilegeImport: permission deny to anna"]
)
def test_a_refusal_that_is_meant_fails_and_a_resume_asks_once(stage: Stage, said: str) -> None:
    step, asked = stage.step(ImportSegments), []

    def refuse(*_: Any, **__: Any) -> int:  # noqa: ANN401 - as the port
        asked.append(said)
        raise MilvusRefused(said)

    with pytest.raises(MilvusRefused, match=said[:10]):
        apply(with_target(stage, start_import=refuse), step)
    assert len(asked) == 1
    assert apply(stage.ctx, step) == ROWS
    assert entries_of(stage) == [SEGMENTS]


# -- lost, late and forgotten -----------------------------------------------------------------------------------------


def test_a_lost_reply_is_waited_for_until_its_job_tells_its_paths(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    lose_reply(stage, stage.ctx, step)
    (job,) = stage.pair.target.list_import_jobs(BOOKS)
    assert (job.state, job.paths, job.tags) == (ImportState.PENDING, (), ())
    assert apply(stage.ctx, step) == ROWS
    assert entries_of(stage) == [SEGMENTS]


@pytest.mark.parametrize("late_s", [1.0, 290.0])
def test_a_creation_that_timed_out_and_comes_about_later_is_found(stage: Stage, late_s: float) -> None:
    """As from 2.6 on, where the request goes through the log."""
    step, target, clock = stage.step(ImportSegments), stage.pair.target, stage.pair.clock
    due = clock.monotonic() + late_s
    held: list[tuple[Any, Any]] = []

    def time_out(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        held.append((args, named))
        raise MilvusUnavailable("the server timed out")

    def listed(ref: Any) -> Any:  # noqa: ANN401 - as the port
        if held and clock.monotonic() >= due:
            args, named = held.pop()
            target.start_import(*args, **named)
        return target.list_import_jobs(ref)

    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=time_out), step)
    assert apply(with_target(stage, list_import_jobs=listed), step) == ROWS
    assert held == []
    assert entries_of(stage) == [SEGMENTS]


def foreign(stage: Stage, batch: SegmentBatch) -> int:
    """Somebody else lets other files be imported into the run's collection."""
    pair = stage.pair
    for key, content in pair.keys("backup/a_to_b/binlogs").items():
        pair.store.write(key.replace("backup/a_to_b", "elsewhere"), content)
    entries = tuple(tuple(path.replace("backup/a_to_b", "elsewhere") for path in entry) for entry in batch.entries)
    tag = ImportTag(run_id="", batch_key="", attempt=1)
    return pair.target.start_import(BOOKS, replace(batch, entries=entries), end_ts=END_OF_TIME >> 1, tag=tag)


def lost_beside_a_foreign_one(stage: Stage, step: ImportSegments) -> int:
    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=lose_request), step)
    (batch,) = step._noted_batches(stage.ctx) or ()
    return foreign(stage, batch)


def test_a_job_of_files_that_the_run_did_not_ask_for_is_left_to_a_person(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    job_id = lost_beside_a_foreign_one(stage, step)
    with pytest.raises(StepInDoubt, match=f"{job_id} into books is of files that this run did not ask for"):
        apply(stage.ctx, step)
    assert len(stage.pair.target._jobs) == 1


def test_a_job_that_never_tells_its_paths_is_never_taken_for_the_runs_nor_for_anothers(stage: Stage) -> None:
    """It may be the one that was asked for: nothing is sent as long as nobody can say."""
    step, target = stage.step(ImportSegments), stage.pair.target
    job_id = lost_beside_a_foreign_one(stage, step)
    silent = replace(target._jobs[job_id].job, paths=())
    methods = {"find_import_job": lambda *_: silent, "list_import_jobs": lambda *_: (silent,)}
    with pytest.raises(ImportStalled, match="does not tell which files it is of"):
        apply(with_target(stage, **methods), step)
    assert len(target._jobs) == 1


@pytest.mark.parametrize("is_heard_of", [True, False])
def test_a_job_that_is_forgotten_after_its_retention_is_never_sent_again(stage: Stage, *, is_heard_of: bool) -> None:
    step, clock = stage.step(ImportSegments), stage.pair.clock
    if is_heard_of:
        clock.error = Interrupted("stop")
        with pytest.raises(Interrupted):
            apply(stage.ctx, step)
        clock.error = None
    else:
        lose_reply(stage, stage.ctx, step)
    clock.sleep(TARGET.job_retention_s + 60)
    with pytest.raises(StepInDoubt, match="no longer remembers the import of books"):
        apply(stage.ctx, step)
    assert len(stage.pair.target._jobs) == 1
    assert rows_of(stage) == list(range(ROWS))
