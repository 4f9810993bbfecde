"""Imports: which requests are made, and what becomes of one that is lost, late, forgotten, failed or wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from migrator.adapters.memory import MemoryMilvus
from migrator.errors import (
    DumpDamaged,
    ImportIncomplete,
    ImportJobFailed,
    ImportsFull,
    ImportStalled,
    Interrupted,
    LockHeld,
    MilvusBusy,
    MilvusUnavailable,
    StagedFilesDiffer,
    StepInDoubt,
)
from migrator.model.capabilities import capabilities
from migrator.model.import_job import ImportJob, ImportState
from migrator.steps import import_segments
from migrator.steps.allowance import Allowance
from migrator.steps.base import Evidence
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.import_segments import ImportSegments, imported_rows
from tests.support.builders import BOOKS, HeldLease, Pair, SetClock, create, fill, flush, some_rows
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.model.collection import CollectionRef
    from migrator.model.segment import SegmentBatch
    from migrator.ports.milvus import MilvusTarget
    from migrator.steps.base import StepContext

SETTLE_S = capabilities("2.3.5").settle_s


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything up to the import is done: books with 3 rows."""
    pair = Pair()
    fill(pair, rows=3)
    with a_stage(tmp_path, pair) as stage:
        stage.apply_before(ImportSegments)
        yield stage


@dataclass
class Altered:
    """The target with some of its methods replaced."""

    target: object
    methods: dict[str, Any]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the target has
        return self.methods.get(name) or getattr(self.target, name)


def with_target(stage: Stage, **methods: Any) -> StepContext:  # noqa: ANN401 - callables of many shapes
    return replace(stage.ctx, target=cast("MilvusTarget", Altered(stage.pair.target, methods)))


def apply(ctx: StepContext, step: ImportSegments) -> int:
    return step.apply(ctx, step.probe(ctx.reading())).rows


def count(stage: Stage) -> int:
    return len(stage.pair.target.rows(BOOKS))


def lose_request(*_: object, **__: object) -> int:
    raise MilvusUnavailable("the connection broke")


def lose_reply(stage: Stage, ctx: StepContext, step: ImportSegments) -> None:
    """Send the request and never hear of it."""

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        stage.pair.target.start_import(*args, **named)
        raise MilvusUnavailable("the connection broke")

    with pytest.raises(MilvusUnavailable):
        step.apply(replace(ctx, target=with_target(stage, start_import=start).target), Evidence.ABSENT)


# -- requests ---------------------------------------------------------------------------------------------------------


def many_segments(folder: Path) -> Iterator[Stage]:
    pair = Pair()
    create(pair.source)
    pair.source.create_partition(BOOKS, "old")
    for start in (0, 10):
        pair.source.insert(BOOKS, some_rows(2, start=start))
        pair.source.insert(BOOKS, some_rows(3, start=start + 5), "old")
        flush(pair.source)
    pair.source.delete(BOOKS, [0])
    with a_stage(folder, pair) as stage:
        stage.apply_before(ImportSegments)
        yield stage


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[Stage]:
    """Two partitions of two segments, one of which has a delete: 10 rows, 9 of them live."""
    yield from many_segments(tmp_path)


def batches(stage: Stage, step: ImportSegments) -> list[SegmentBatch]:
    noted = step._noted_batches(stage.ctx)
    assert noted is not None
    return list(noted)


def test_a_partition_is_one_request(segments: Stage) -> None:
    step = segments.step(ImportSegments)
    assert segments.apply(step).rows == 9
    first, second = batches(segments, step)
    dump = f"backup/a_to_b/binlogs/%s/{step.collection_id}"
    assert (first.partition_name, second.partition_name) == ("_default", "old")
    assert first.entries == (tuple(f"{dump % kind}/{first.partition_id}/" for kind in ("insert_log", "delta_log")),)
    assert second.entries == ((f"{dump % 'insert_log'}/{second.partition_id}/",),)
    assert (first.rows, second.rows) == (4, 6)
    assert (len(first.segment_ids), first.delta_objects, first.objects) == (2, 1, 11)
    assert count(segments) == 9


@pytest.mark.parametrize(("limit", "requests"), [(1, 4), (2, 2), (5, 2)])
def test_segments_per_job_splits_a_partition(segments: Stage, limit: int, requests: int) -> None:
    step = segments.step(ImportSegments, segments_per_job=limit)
    segments.apply(step)
    found = batches(segments, step)
    assert len(found) == requests
    assert [batch.number for batch in found] == list(range(1, requests + 1))
    if limit == 1:
        assert all(batch.entries[0][0].endswith(f"/{batch.segment_ids[0]}/") for batch in found)
        assert sum(batch.has_deletes for batch in found) == 1
    assert count(segments) == 9


def test_a_partition_too_big_for_one_request_goes_segment_by_segment(
    segments: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {batch.size_bytes for batch in segments.step(ImportSegments)._batches(segments.ctx)}
    monkeypatch.setattr(import_segments, "PARTITION_REQUEST_BYTES", max(sizes) - 1)
    step = segments.step(ImportSegments)
    collection = segments.step(DumpMeta).planned
    found = list(step._expand(segments.ctx, collection))
    assert sorted(len(batch.segment_ids) for batch in found) == [1, 1, 2]
    monkeypatch.setattr(import_segments, "PARTITION_REQUEST_BYTES", max(sizes))
    assert [len(batch.segment_ids) for batch in step._expand(segments.ctx, collection)] == [2, 2]


def test_no_more_than_max_jobs_are_under_way(segments: Stage) -> None:
    step = segments.step(ImportSegments, segments_per_job=1, max_jobs=2)
    most = 0

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        nonlocal most
        job = segments.pair.target.start_import(*args, **named)
        jobs = segments.pair.target.list_import_jobs(BOOKS)
        most = max(most, sum(job.state in {ImportState.PENDING, ImportState.RUNNING} for job in jobs))
        return job

    assert apply(with_target(segments, start_import=start), step) == 9
    assert most == 2


def test_all_collections_of_a_run_share_its_jobs(segments: Stage) -> None:
    step, jobs = segments.step(ImportSegments, segments_per_job=1), Allowance(3)
    most = 0

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        nonlocal most
        most = max(most, jobs.inside)
        return segments.pair.target.start_import(*args, **named)

    with jobs.join() as others:
        others.take_place()
        assert apply(replace(with_target(segments, start_import=start), jobs=jobs), step) == 9
        assert most == 3, "one of which is another collection's"
    assert jobs.inside == 0


def test_a_target_without_room_gets_fewer_jobs(segments: Stage) -> None:
    step, jobs, full = segments.step(ImportSegments, segments_per_job=1), Allowance(8), 1

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        nonlocal full
        found = segments.pair.target.list_import_jobs(BOOKS)
        if full and len(found) == 2:
            full -= 1
            raise ImportsFull("The number of jobs has reached the limit")
        return segments.pair.target.start_import(*args, **named)

    assert apply(replace(with_target(segments, start_import=start), jobs=jobs), step) == 9
    assert full == 0
    assert 4 <= jobs.limit < 8, "halved, for all collections of the run, and more with each that is over"


def test_a_request_carries_tag_and_bound(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    stage.apply(step)
    (job,) = stage.pair.target.list_import_jobs(BOOKS)
    cut_ts = step.notes(stage.ctx)["cut_ts"]
    assert isinstance(cut_ts, int)
    assert dict(job.tags) == {
        "backup": "true",
        "end_ts": str(cut_ts >> 18),
        "mig_run": "run-1",
        "mig_step": "import_segments:default.books:0001",
        "mig_attempt": "1",
    }


def test_batches_are_made_once(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    stage.apply(step)
    noted = stage.ctx.ledger.notes(step.key)
    stage.pair.source.insert(BOOKS, some_rows(3, start=50))
    assert stage.apply(step).rows == 3
    assert stage.ctx.ledger.notes(step.key) == noted
    assert imported_rows(stage.ctx.ledger, BOOKS) == 3
    assert len(stage.pair.target.list_import_jobs(BOOKS)) == 1


# -- requests that are lost -------------------------------------------------------------------------------------------


def test_a_lost_reply_is_found_by_its_tag_and_waited_for(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    lose_reply(stage, stage.ctx, step)
    before = stage.pair.clock.monotonic()
    assert apply(stage.ctx, step) == 3
    assert stage.pair.clock.monotonic() - before < SETTLE_S
    assert count(stage) == 3


def test_a_request_that_never_arrived_is_sent_again_after_the_settle_time(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=lose_request), step)
    before = stage.pair.clock.monotonic()
    assert apply(stage.ctx, step) == 3
    assert stage.pair.clock.monotonic() - before >= SETTLE_S
    (job,) = stage.pair.target.list_import_jobs(BOOKS)
    assert dict(job.tags)["mig_attempt"] == "2"


@pytest.mark.parametrize("late_s", [5.0, 30.0, SETTLE_S - 4])
def test_a_request_that_is_registered_late_is_not_sent_again(stage: Stage, late_s: float) -> None:
    step = stage.step(ImportSegments)
    held_back: list[tuple[Any, Any]] = []

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        held_back.append((args, named))
        raise MilvusUnavailable("the connection broke")

    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=start), step)
    due = stage.pair.clock.monotonic() + late_s

    def listed(*args: Any) -> tuple[ImportJob, ...]:  # noqa: ANN401 - as the port
        if held_back and stage.pair.clock.monotonic() >= due:
            request, options = held_back.pop()
            stage.pair.target.start_import(*request, **options)
        return stage.pair.target.list_import_jobs(*args)

    assert apply(with_target(stage, list_import_jobs=listed), step) == 3
    assert held_back == []
    assert count(stage) == 3


@dataclass(slots=True)
class Clocks:
    """The clocks of this process and of the target, either of which somebody may set."""

    own: SetClock
    target: SetClock


@pytest.fixture
def clocks_and_stage(tmp_path: Path) -> Iterator[tuple[Clocks, Stage]]:
    """Books with 3 rows, all done up to the import, between machines with clocks of their own."""
    pair = Pair()
    clocks = Clocks(SetClock(pair.clock), SetClock(pair.clock))
    pair.target = MemoryMilvus("http://milvus_B:19530", pair.store, "files_B", clocks.target, number=1)
    fill(pair, rows=3)
    with a_stage(tmp_path, pair) as stage:
        stage.apply_before(ImportSegments)
        yield clocks, replace(stage, ctx=replace(stage.ctx, clock=clocks.own))


HOUR_S, DAY_S = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("waited_s", "set_at_s"),
    [(0.0, None), (60.0, None), (0.0, 0.5), (60.0, SETTLE_S - 1)],
    ids=["set at once", "set while it was dead", "set at the first look", "set at the last look"],
)
@pytest.mark.parametrize(
    ("own_s", "target_s"),
    [(jump_s, 0.0) for jump_s in (DAY_S, HOUR_S, 20.0, -20.0, -HOUR_S, -DAY_S)]
    + [(0.0, jump_s) for jump_s in (HOUR_S, 100.0, 20.0, -20.0, -HOUR_S)]
    + [(HOUR_S, -HOUR_S), (-HOUR_S, HOUR_S)],
)
def test_no_clock_that_is_set_brings_the_second_request_forward(
    clocks_and_stage: tuple[Clocks, Stage], own_s: float, target_s: float, set_at_s: float | None, waited_s: float
) -> None:
    """Set while the process was dead, or while it waits for the request to settle."""
    clocks, stage = clocks_and_stage
    step, clock = stage.step(ImportSegments), stage.pair.clock
    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=lose_request), step)
    lost_at = clock.monotonic()
    clock.sleep(waited_s)
    resumed_at, sent_at = clock.monotonic(), []

    def looked(*args: Any) -> tuple[ImportJob, ...]:  # noqa: ANN401 - as the port
        if clock.monotonic() - resumed_at >= (set_at_s or 0.0):
            clocks.own.ahead_s, clocks.target.ahead_s = own_s, target_s
        return stage.pair.target.list_import_jobs(*args)

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        sent_at.append(clock.monotonic())
        return stage.pair.target.start_import(*args, **named)

    if set_at_s is None:
        clocks.own.ahead_s, clocks.target.ahead_s = own_s, target_s
    assert apply(with_target(stage, list_import_jobs=looked, start_import=start), step) == 3
    assert len(sent_at) == 1
    assert sent_at[0] - lost_at >= SETTLE_S
    assert sent_at[0] - resumed_at <= SETTLE_S + 40 + 5  # and nobody waits for ever
    assert count(stage) == 3


@pytest.mark.parametrize(("own_s", "target_s"), [(HOUR_S, 0.0), (-HOUR_S, 0.0), (0.0, HOUR_S)])
def test_a_request_that_is_registered_late_is_found_whatever_clock_was_set(
    clocks_and_stage: tuple[Clocks, Stage], own_s: float, target_s: float
) -> None:
    clocks, stage = clocks_and_stage
    step, clock = stage.step(ImportSegments), stage.pair.clock
    held_back: list[tuple[Any, Any]] = []

    def start(*args: Any, **named: Any) -> int:  # noqa: ANN401 - as the port
        held_back.append((args, named))
        raise MilvusUnavailable("the connection broke")

    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=start), step)
    due = clock.monotonic() + SETTLE_S - 4
    clocks.own.ahead_s, clocks.target.ahead_s = own_s, target_s

    def listed(*args: Any) -> tuple[ImportJob, ...]:  # noqa: ANN401 - as the port
        if held_back and clock.monotonic() >= due:
            request, options = held_back.pop()
            stage.pair.target.start_import(*request, **options)
        return stage.pair.target.list_import_jobs(*args)

    assert apply(with_target(stage, list_import_jobs=listed), step) == 3
    assert held_back == []
    assert count(stage) == 3


def test_a_request_that_the_target_had_no_room_for_is_sent_again_at_once(stage: Stage) -> None:
    step = stage.step(ImportSegments)

    def is_busy(*_: Any, **__: Any) -> int:  # noqa: ANN401 - as the port
        raise MilvusBusy("rate limit exceeded")

    with pytest.raises(MilvusBusy):
        apply(with_target(stage, start_import=is_busy), step)
    before = stage.pair.clock.monotonic()
    apply(stage.ctx, step)
    assert stage.pair.clock.monotonic() - before < SETTLE_S
    assert len(stage.pair.target.list_import_jobs(BOOKS)) == 1


def test_both_clocks_set_together_do_not_bring_it_forward(clocks_and_stage: tuple[Clocks, Stage]) -> None:
    """One machine for all, set by minutes while it runs: its steady clock knows better."""
    clocks, stage = clocks_and_stage
    clocks.own.boot_id = "the same boot"
    step, clock = stage.step(ImportSegments), stage.pair.clock
    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=lose_request), step)
    lost_at = clock.monotonic()
    clocks.own.ahead_s = clocks.target.ahead_s = 600.0
    apply(stage.ctx, step)
    assert clock.monotonic() - lost_at >= SETTLE_S
    assert len(stage.pair.target.list_import_jobs(BOOKS)) == 1


def test_a_target_whose_clock_says_that_it_forgot_leaves_it_to_a_person(
    clocks_and_stage: tuple[Clocks, Stage],
) -> None:
    clocks, stage = clocks_and_stage
    step = stage.step(ImportSegments)
    with pytest.raises(MilvusUnavailable):
        apply(with_target(stage, start_import=lose_request), step)
    clocks.target.ahead_s = DAY_S
    with pytest.raises(StepInDoubt, match="no longer remembers"):
        apply(stage.ctx, step)
    assert stage.pair.target.list_import_jobs(BOOKS) == ()


def test_a_request_too_old_to_be_remembered_is_in_doubt(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    lose_reply(stage, stage.ctx, step)
    stage.pair.clock.sleep(25 * 3600)
    with pytest.raises(StepInDoubt, match="no longer remembers the import of books"):
        apply(stage.ctx, step)
    assert count(stage) == 3


def test_a_job_that_is_gone_is_in_doubt(stage: Stage) -> None:
    step = stage.step(ImportSegments)

    with pytest.raises(StepInDoubt, match="attempt 1"):
        apply(with_target(stage, find_import_job=lambda *_: None), step)
    assert len(stage.pair.target.list_import_jobs(BOOKS)) == 1


def test_a_process_that_died_while_waiting_waits_on(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    stage.pair.clock.error = Interrupted("stop")
    with pytest.raises(Interrupted):
        stage.apply(step)
    stage.pair.clock.error = None
    assert step.probe(stage.ctx.reading()) is Evidence.RUNNING
    assert apply(stage.ctx, step) == 3
    assert step.probe(stage.ctx.reading()) is Evidence.DONE
    assert count(stage) == 3


# -- jobs that fail ---------------------------------------------------------------------------------------------------


def test_a_job_lost_to_a_restart_is_sent_again(stage: Stage) -> None:
    step, target = stage.step(ImportSegments), stage.pair.target
    restarts = iter([True, True])

    def look(ref: CollectionRef, job_id: int) -> ImportJob | None:
        job = target.find_import_job(ref, job_id)
        if job is not None and job.state is ImportState.RUNNING and next(restarts, False):
            target.restart()
        return target.find_import_job(ref, job_id)

    assert apply(with_target(stage, find_import_job=look), step) == 3
    assert [job.state for job in target.list_import_jobs(BOOKS)] == [
        ImportState.FAILED,
        ImportState.FAILED,
        ImportState.COMPLETED,
    ]
    assert count(stage) == 3


def failed(failure: str, stage: Stage) -> StepContext:
    def look(ref: CollectionRef, job_id: int) -> ImportJob | None:
        job = stage.pair.target.find_import_job(ref, job_id)
        return None if job is None else replace(job, state=ImportState.FAILED, failure=failure)

    return with_target(stage, find_import_job=look)


def test_a_job_that_fails_for_a_reason_fails_the_step(stage: Stage) -> None:
    reason = "the field 103 has no binlog file"
    with pytest.raises(ImportJobFailed, match=reason) as caught:
        apply(failed(reason, stage), stage.step(ImportSegments))
    assert caught.value.exit_code == 20
    assert len(stage.pair.target.list_import_jobs(BOOKS)) == 1


def test_a_job_that_is_lost_over_and_over_fails_the_step(stage: Stage) -> None:
    with pytest.raises(ImportJobFailed, match="timed out"):
        apply(failed("the import task has timed out", stage), stage.step(ImportSegments))
    assert len(stage.pair.target.list_import_jobs(BOOKS)) == import_segments.MAX_TRANSIENT_FAILURES + 1


def test_an_import_that_found_no_files_is_incomplete_and_is_sent_again_on_resume(stage: Stage) -> None:
    """2.3 completes a prefix it cannot see with no rows: the target uses another bucket."""
    step = stage.step(ImportSegments)

    def start(ref: Any, batch: SegmentBatch, **named: Any) -> int:  # noqa: ANN401 - as the port
        elsewhere = replace(batch, entries=((f"nowhere/{batch.entries[0][0]}",),))
        return stage.pair.target.start_import(ref, elsewhere, **named)

    with pytest.raises(ImportIncomplete, match="completed with 0 of 3 rows") as caught:
        apply(with_target(stage, start_import=start), step)
    assert "target.storage.bucket" in caught.value.hint
    assert apply(stage.ctx, step) == 3
    assert count(stage) == 3


def test_more_rows_than_there_were_are_in_doubt(stage: Stage) -> None:
    def look(ref: CollectionRef, job_id: int) -> ImportJob | None:
        job = stage.pair.target.find_import_job(ref, job_id)
        return None if job is None else replace(job, rows=job.rows * 2)

    with pytest.raises(StepInDoubt, match="completed with 6 of 3 rows"):
        apply(with_target(stage, find_import_job=look), stage.step(ImportSegments))


def test_a_stalled_import_ends_the_run_and_is_never_sent_again(stage: Stage) -> None:
    step = stage.step(ImportSegments, stall_timeout_s=600.0)

    def look(ref: CollectionRef, job_id: int) -> ImportJob | None:
        job = stage.pair.target.find_import_job(ref, job_id)
        return None if job is None else replace(job, state=ImportState.RUNNING, progress_percent=50, rows=0)

    with pytest.raises(ImportStalled, match="has not moved for 10 minutes"):
        apply(with_target(stage, find_import_job=look), step)
    assert len(stage.pair.target.list_import_jobs(BOOKS)) == 1
    assert apply(stage.ctx, step) == 3
    assert count(stage) == 3


# -- before a request leaves ------------------------------------------------------------------------------------------


def test_nothing_is_sent_when_the_dump_is_not_as_it_was_copied(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    first = next(stage.pair.store.list_objects("backup/a_to_b/binlogs/insert_log"))
    stage.pair.store.write(first.key, b"[]")
    with pytest.raises(DumpDamaged, match="is not what was copied") as caught:
        apply(stage.ctx, step)
    assert caught.value.renews == ("copy_segments:default.books",)
    assert stage.pair.target.list_import_jobs(BOOKS) == ()


def test_nothing_is_sent_when_a_stranger_lies_in_the_dump(stage: Stage) -> None:
    step = stage.step(ImportSegments)
    first = next(stage.pair.store.list_objects("backup/a_to_b/binlogs/insert_log"))
    stage.pair.store.write(f"{first.key}0", b"[]")
    with pytest.raises(StagedFilesDiffer, match="which this run did not put there"):
        apply(stage.ctx, step)
    assert stage.pair.target.list_import_jobs(BOOKS) == ()


def test_nothing_is_sent_once_the_lease_is_lost(stage: Stage) -> None:
    ctx = replace(stage.ctx, lease=HeldLease(LockHeld("somebody else has it")))
    with pytest.raises(LockHeld):
        apply(ctx, stage.step(ImportSegments))
    assert stage.pair.target.list_import_jobs(BOOKS) == ()


def test_nothing_is_sent_into_a_collection_of_others(stage: Stage) -> None:
    stage.pair.target.drop_collection(BOOKS)
    create(stage.pair.target)
    with pytest.raises(StepInDoubt, match="is another collection now"):
        apply(stage.ctx, stage.step(ImportSegments))
    stage.pair.target.drop_collection(BOOKS)
    with pytest.raises(StepInDoubt, match="is gone"):
        apply(stage.ctx, stage.step(ImportSegments))
