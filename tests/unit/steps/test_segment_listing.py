"""What is frozen of sources from Milvus 2.4 on: L0 segments, valid log ids, storage versions, orphans."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import ObjectMissing, RunError, SourceBusy
from migrator.model.segment import ALL_PARTITIONS, LogKind, Segment, SegmentLevel, SegmentLogs
from migrator.steps.dump_meta import MAX_FREEZES, DumpMeta, frozen_dump
from migrator.steps.flush import Flush
from tests.support.builders import BOOKS, Pair, fill
from tests.support.stage import Stage, a_stage
from tests.unit.model.test_binlog_rows import ONE_DELETE
from tests.unit.steps.test_dump_steps import with_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from migrator.model.segment import StoredObject


def of_rows(count: int, *, mark: bytes = b"") -> bytes:
    """A binlog whose frame counts so many rows; `mark` lies where nobody looks."""
    head, event = ONE_DELETE[:107], ONE_DELETE[107:]
    content = head
    for _ in range(count):
        end = len(content) + len(event)
        content += event[:13] + end.to_bytes(4, "little") + event[17:]
    return content.replace(b'"pk":7', b'"pk":' + (mark or b"7")[:1], 1)


@pytest.fixture(params=["2.4.5", "2.5.20"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Books with 3 rows, of which one is deleted by a segment of its own."""
    pair = Pair(versions=(request.param, "2.3.5"))
    fill(pair, rows=3)
    pair.source.delete(BOOKS, [1])
    with a_stage(tmp_path, pair) as stage:
        yield stage


def frozen(stage: Stage) -> list[Segment]:
    """What the ledger holds of the collection."""
    planned = stage.step(DumpMeta).planned
    return [entry.segment for entry in stage.ctx.ledger.segments(planned.collection_id)]


def files(stage: Stage, part: str) -> list[StoredObject]:
    """The source's objects whose key has that part."""
    return [found for found in stage.pair.store.list_objects("files_A") if part in found.key]


def with_logs(stage: Stage, source: Any, **changes: Any) -> Any:  # noqa: ANN401 - a step's context
    """A source that tells what its store holds, as it is now."""
    told = {}
    for segment in stage.pair.source.list_segments(BOOKS):
        own = files(stage, f"/{segment.segment_id}/")
        inserts = {(int(k[-2]), int(k[-1])) for f in own if "insert_log" in f.key for k in [f.key.split("/")]}
        deltas = {int(f.key.split("/")[-1]) for f in own if "delta_log" in f.key}
        told[segment.segment_id] = SegmentLogs(
            inserts=frozenset(inserts), deltas=frozenset(deltas), vchannel="by-dev-rootcoord-dml_0_1v0"
        )

    def describe(_ref: object, _collection_id: int, ids: Sequence[int]) -> dict[int, SegmentLogs]:
        return {each: told[each] for each in ids if each in told}

    return with_source(stage, **{"describe_segments": describe, **source, **changes})


def test_deletes_of_their_own_segment_are_frozen(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    outcome = stage.apply(stage.step(DumpMeta))
    l0, data = frozen(stage)
    assert (l0.partition_id, l0.level, l0.num_rows) == (ALL_PARTITIONS, SegmentLevel.L0, 0)
    assert (data.is_l0, data.num_rows, outcome.rows) == (False, 3, 3)
    assert frozen_dump(stage.ctx.ledger, BOOKS).raw_rows == 3
    suffixes = [b.staged_suffix for b in stage.ctx.ledger.binlogs(stage.step(DumpMeta).planned.collection_id)]
    assert sum(suffix.startswith(LogKind.DELTA) for suffix in suffixes) == 1


def test_an_empty_segment_is_no_segment_of_deletes(stage: Stage) -> None:
    """The first releases with L0 segments do not tell which those are."""
    stage.apply(stage.step(Flush))
    listed = stage.pair.source.list_segments(BOOKS)
    empty = Segment(77, listed[-1].partition_id, 0)
    folder = f"files_A/insert_log/{stage.step(DumpMeta).planned.collection_id}/{empty.partition_id}/77"
    stage.pair.store.write(f"{folder}/0/78", b"[]")
    ctx = with_source(stage, list_segments=lambda _: (*listed, empty))
    if stage.pair.source.capabilities.reports_level:
        listed = tuple(segment for segment in listed if segment.is_l0 or segment.num_rows)
        ctx = with_source(stage, list_segments=lambda _: listed)
    stage.step(DumpMeta).apply(ctx, stage.step(DumpMeta).probe(ctx.reading()))
    assert 77 not in {segment.segment_id for segment in frozen(stage)}
    assert sum(segment.is_l0 for segment in frozen(stage)) == 1


def test_only_the_files_that_the_source_names_are_frozen(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    if not stage.pair.source.capabilities.segments_describe:
        return
    ctx = with_logs(stage, {})
    (one,) = files(stage, "/101/")
    stage.pair.store.write(f"{one.key}7", b"[]")
    step = stage.step(DumpMeta)
    outcome = step.apply(ctx, step.probe(ctx.reading()))
    assert "1 files that belong to no segment stay out" in outcome.detail
    assert frozen_dump(ctx.ledger, BOOKS).orphans == 1
    assert f"{one.key}7" not in {b.source.key for b in ctx.ledger.binlogs(step.planned.collection_id)}
    assert {segment.vchannel for segment in frozen(stage)} == {"by-dev-rootcoord-dml_0_1v0"}


def test_a_file_that_the_source_names_and_the_store_lacks_is_missed(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    if not stage.pair.source.capabilities.segments_describe:
        return
    ctx = with_logs(stage, {})
    (deltas,) = files(stage, "delta_log")
    stage.pair.store.write(f"{deltas.key}1", stage.pair.store.read(deltas.key))
    ctx_of_two = with_logs(stage, {})
    stage.pair.store.delete([deltas.key])
    step = stage.step(DumpMeta)
    with pytest.raises(ObjectMissing, match="has 2 valid binlogs, as the source says, and 1 of them lie in its store"):
        step.apply(ctx_of_two, step.probe(ctx.reading()))


def test_a_segment_of_a_partition_that_is_not_there_stays_out(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    listed = stage.pair.source.list_segments(BOOKS)
    homeless = replace(listed[0], partition_id=999)
    others = tuple(each for each in listed if each is not listed[0])
    ctx = with_source(stage, list_segments=lambda _: (homeless, *others))
    step = stage.step(DumpMeta)
    outcome = step.apply(ctx, step.probe(ctx.reading()))
    assert "1 segments of partitions that are not there stay out" in outcome.detail
    assert homeless.segment_id not in {segment.segment_id for segment in frozen(stage)}


def test_a_segment_that_vanished_makes_the_list_stale(stage: Stage) -> None:
    """A compaction of deletes between the list and the files must not lose them."""
    stage.apply(stage.step(Flush))
    listed = stage.pair.source.list_segments(BOOKS)
    gone = Segment(5, ALL_PARTITIONS, 0, level=SegmentLevel.L0)
    lists: list[tuple[Segment, ...]] = [tuple(sorted((gone, *listed))), listed]
    ctx = with_source(stage, list_segments=lambda _: lists.pop(0) if len(lists) > 1 else lists[0])
    step = stage.step(DumpMeta)
    step.apply(ctx, step.probe(ctx.reading()))
    assert [segment.segment_id for segment in frozen(stage)] == sorted(
        (segment.segment_id for segment in listed), key=lambda number: number != frozen(stage)[0].segment_id
    )
    stubborn = with_source(stage, list_segments=lambda _: tuple(sorted((gone, *listed))))
    if stage.pair.source.capabilities.reports_level:
        with pytest.raises(SourceBusy, match=f"segment 5 of books .* {MAX_FREEZES}|segment 5 of books is listed"):
            step.apply(stubborn, step.probe(ctx.reading()))


@pytest.mark.parametrize(("version", "said"), [(3, "only a manifest names"), (9, "storage version 9")])
def test_files_that_no_import_reads_are_refused(stage: Stage, version: int, said: str) -> None:
    stage.apply(stage.step(Flush))
    listed = tuple(replace(s, storage_version=version) for s in stage.pair.source.list_segments(BOOKS))
    ctx = with_source(stage, list_segments=lambda _: listed)
    step = stage.step(DumpMeta)
    with pytest.raises(RunError, match=said) as caught:
        step.apply(ctx, step.probe(ctx.reading()))
    assert "snapshots" in caught.value.hint


# -- orphans ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def uploaded(tmp_path: Path) -> Iterator[Stage]:
    """Books in three binlogs per field whose frames count one row each."""
    pair = Pair(versions=("2.4.5", "2.3.5"))
    fill(pair, rows=3)
    with a_stage(tmp_path, pair) as stage:
        stage.apply(stage.step(Flush))
        for found in files(stage, "insert_log"):
            folder, _, log_id = found.key.rpartition("/")
            stage.pair.store.delete([found.key])
            for number, rows in enumerate((1, 2)):
                stage.pair.store.write(f"{folder}/{int(log_id) + number}", of_rows(rows))
        yield stage


def test_what_a_retried_upload_left_behind_stays_out(uploaded: Stage) -> None:
    title = files(uploaded, "/101/")[-1]
    orphan = f"{title.key}0"
    uploaded.pair.store.write(orphan, of_rows(5))
    outcome = uploaded.apply(uploaded.step(DumpMeta))
    kept = {b.source.key for b in uploaded.ctx.ledger.binlogs(uploaded.step(DumpMeta).planned.collection_id)}
    assert (orphan in kept, len(kept), outcome.objects) == (False, 10, 10)
    assert "1 files that belong to no segment stay out" in outcome.detail


def test_a_whole_upload_that_was_made_twice_comes_once(uploaded: Stage) -> None:
    for found in files(uploaded, "insert_log"):
        uploaded.pair.store.write(f"{found.key}0", uploaded.pair.store.read(found.key))
    assert uploaded.apply(uploaded.step(DumpMeta)).objects == 10


def test_files_that_may_be_either_are_refused(uploaded: Stage) -> None:
    title = files(uploaded, "/101/")[-1]
    uploaded.pair.store.write(f"{title.key}0", of_rows(2, mark=b"8"))
    with pytest.raises(RunError, match="of field 101 several choices fit") as caught:
        uploaded.apply(uploaded.step(DumpMeta))
    assert "compact the collection" in caught.value.hint


def test_columns_of_storage_v2_are_looked_for_by_groups(uploaded: Stage) -> None:
    planned = uploaded.step(DumpMeta).planned
    listed = tuple(replace(s, storage_version=2) for s in uploaded.pair.source.list_segments(BOOKS))
    for found in files(uploaded, "insert_log"):
        if "/0/" not in found.key and "/102/" not in found.key:
            uploaded.pair.store.delete([found.key])
    ctx = with_source(uploaded, list_segments=lambda _: listed)
    step = uploaded.step(DumpMeta)
    assert step.apply(ctx, step.probe(ctx.reading())).objects == 4
    assert [entry.segment.storage_version for entry in ctx.ledger.segments(planned.collection_id)] == [2]
    for found in files(uploaded, "/102/"):
        uploaded.pair.store.delete([found.key])
    with pytest.raises(ObjectMissing, match="has no binlogs of column group 102"):
        step.apply(ctx, step.probe(ctx.reading()))
