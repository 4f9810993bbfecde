"""A dump with L0 segments: told in its meta files as milvus-backup reads them, and read back the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.backup import BackupMilvus
from migrator.errors import ObjectMissing
from migrator.model.segment import ALL_PARTITIONS, Segment, SegmentLevel, SegmentState
from migrator.steps.backup_tree import binlogs_root, find_files
from migrator.steps.copy_segments import CopySegments
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.flush import Flush
from migrator.steps.seal_dump import SealDump
from tests.support.builders import BOOKS, Pair, create, flush, some_rows
from tests.support.go_reader import read_as_go
from tests.support.stage import Stage, a_stage
from tests.unit.steps.test_dump_steps import with_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DUMP = "backup/a_to_b"


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Stage]:
    """Books with one L0 segment of all partitions, and one of `_default`; dumped."""
    pair = Pair(versions=("2.6.12", "2.3.5"))
    create(pair.source)
    pair.source.insert(BOOKS, some_rows(3))
    flush(pair.source)
    for key in (1, 2):
        pair.source.delete(BOOKS, [key])
    flush(pair.source)
    with a_stage(tmp_path, pair) as stage:
        stage.apply(stage.step(Flush))
        ctx = with_source(stage, list_segments=lambda _: listed(stage))
        step = stage.step(DumpMeta)
        step.apply(ctx, step.probe(ctx.reading()))
        stage.apply(stage.step(CopySegments))
        stage.apply(stage.step(SealDump))
        yield stage


def listed(stage: Stage) -> tuple[Segment, ...]:
    """As the source lists it, with the second L0 segment moved to a partition."""
    found = list(stage.pair.source.list_segments(BOOKS))
    (data,) = (segment for segment in found if not segment.is_l0)
    last = max(segment for segment in found if segment.is_l0)
    store = stage.pair.store
    for key, content in stage.pair.keys("files_A/delta_log").items():
        if f"/{ALL_PARTITIONS}/{last.segment_id}/" in key:
            store.write(key.replace(f"/{ALL_PARTITIONS}/", f"/{data.partition_id}/"), content)
            store.delete([key])
    moved = replace(last, partition_id=data.partition_id, vchannel="by-dev-rootcoord-dml_0_1v0")
    return tuple(sorted(moved if each == last else replace(each, is_sorted=True) for each in found))


def read_back(stage: Stage) -> list[Segment]:
    backup = BackupMilvus(stage.pair.staging, DUMP)
    return find_files(stage.pair.staging, binlogs_root(DUMP), backup.get_backup(BOOKS)).segments


def test_milvus_backup_can_read_it(sealed: Stage) -> None:
    files = {key.removeprefix(f"{DUMP}/"): content for key, content in sealed.pair.keys(DUMP).items()}
    (entry,) = read_as_go(files).collections.values()
    (of_all,) = entry["l0_segments"]
    (of_one,) = (s for p in entry["partition_backups"] for s in p["segment_backups"] if s.get("is_l0"))
    assert (of_all["partition_id"], of_all["is_l0"]) == (ALL_PARTITIONS, True)
    assert (of_one["group_id"], of_one["v_channel"]) == (of_one["segment_id"], "by-dev-rootcoord-dml_0_1v0")


def test_it_is_read_back_as_it_was_frozen(sealed: Stage) -> None:
    planned = sealed.step(DumpMeta).planned
    frozen = [replace(e.segment, is_sorted=False) for e in sealed.ctx.ledger.segments(planned.collection_id)]
    assert sorted(read_back(sealed)) == sorted(frozen)
    shown = BackupMilvus(sealed.pair.staging, DUMP).list_segments(BOOKS)
    assert [segment.level for segment in shown].count(SegmentLevel.L0) == 2
    assert {segment.state for segment in shown} == {SegmentState.FLUSHED}


def test_deletes_that_are_gone_are_missed(sealed: Stage) -> None:
    sealed.pair.staging.delete(sealed.pair.keys(f"{DUMP}/binlogs/delta_log"))
    with pytest.raises(ObjectMissing, match=r"delta_log/.* and it is not there"):
        read_back(sealed)
