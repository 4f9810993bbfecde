"""A source that keeps deletes to itself after a flush, as Milvus 2.2 does."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.memory import MemoryMilvus
from migrator.errors import BinlogUnreadable, Interrupted, ObjectMissing, SourceBusy
from migrator.model.segment import LogKind, SegmentState
from migrator.steps.dump_meta import DumpMeta, frozen_dump
from migrator.steps.late_deletes import LATE_S
from tests.support.builders import BOOKS, Pair, fill, flush, load, some_rows
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.adapters.memory import _Held, _Segment
    from migrator.model.collection import CollectionRef
    from migrator.ports.milvus import FlushResult

NEVER = 1e9


class OldMilvus(MemoryMilvus):
    """Writes deletes of flushed rows only when its clock says `writes_at_s`."""

    can_count = False
    writes_deletes_at_flush = False
    writes_at_s = 0.0

    def _write_logs(self, held: _Held, segment: _Segment) -> None:
        if segment.state is not SegmentState.FLUSHED or self._clock.monotonic() >= self.writes_at_s:
            super()._write_logs(held, segment)

    def is_flushed(self, ref: CollectionRef, flush: FlushResult) -> bool:
        """Whether the rows are written; nobody knows of the deletes."""
        super().is_flushed(ref, flush)
        return all(segment.state is SegmentState.FLUSHED for segment in self._get(ref).persistent())

    def allocate_timestamp(self) -> int:
        """As time goes by, deletes are written."""
        if self._clock.monotonic() >= self.writes_at_s:
            self.writes_at_s = NEVER
            for names in self._databases.values():
                for held in names.values():
                    for segment in held.segments:
                        if segment.state is SegmentState.FLUSHED:
                            super()._write_logs(held, segment)
        return super().allocate_timestamp()


@dataclass(slots=True)
class OldPair(Pair):
    """Its source is an old one."""

    old: OldMilvus = field(init=False)

    def __post_init__(self) -> None:
        """Start both."""
        super(OldPair, self).__post_init__()
        self.old = OldMilvus("http://milvus_A:19530", self.store, "files_A", self.clock)
        self.source = self.old


@contextmanager
def staged(folder: Path, pair: OldPair, collections: str = "[books]") -> Iterator[Stage]:
    """Everything before the dump's listing is done."""
    with a_stage(folder, pair, collections=collections) as stage:
        stage.apply_before(DumpMeta)
        yield stage


def old_books(*, loaded: bool = True, writes_after_s: float = NEVER) -> OldPair:
    """Seven flushed rows."""
    pair = OldPair()
    fill(pair, rows=7, loaded=loaded)
    pair.old.writes_at_s = pair.clock.monotonic() + writes_after_s
    return pair


def dumped(folder: Path, pair: OldPair, collections: str = "[books]") -> tuple[float, int, int]:
    """How many seconds it took, how many rows are said to be late, and how many delta logs were listed."""
    with staged(folder, pair, collections) as stage:
        began = pair.clock.monotonic()
        step = stage.step(DumpMeta)
        stage.apply(step)
        found = stage.journal.binlogs(step.planned.collection_id)
        late = frozen_dump(stage.ctx.ledger, BOOKS).late_deletes
        return pair.clock.monotonic() - began, late, sum(log.kind is LogKind.DELTA for log in found)


def test_late_deletes_are_waited_for(tmp_path: Path) -> None:
    pair = old_books(writes_after_s=100)
    pair.source.delete(BOOKS, [1, 2])
    took_s, late, delta_logs = dumped(tmp_path, pair)
    assert 90 < took_s < 130
    assert (late, delta_logs) == (0, 1)


def test_a_row_that_was_written_again_is_waited_for_too(tmp_path: Path) -> None:
    pair = old_books(writes_after_s=100)
    pair.source.delete(BOOKS, [1])
    pair.source.insert(BOOKS, some_rows(1, start=1))
    took_s, late, delta_logs = dumped(tmp_path, pair)
    assert 90 < took_s < 130
    assert (late, delta_logs) == (0, 1)


def test_nothing_is_waited_for_where_nothing_was_deleted(tmp_path: Path) -> None:
    took_s, late, delta_logs = dumped(tmp_path, old_books())
    assert took_s < 10
    assert (late, delta_logs) == (0, 0)


def test_nothing_is_waited_for_in_partitions_that_stay(tmp_path: Path) -> None:
    pair = old_books()
    pair.source.create_partition(BOOKS, "east")
    pair.source.insert(BOOKS, some_rows(3, start=100), "east")
    flush(pair.source)
    load(pair.source, pair.clock)
    pair.source.delete(BOOKS, [1, 2])
    took_s, late, delta_logs = dumped(tmp_path, pair, "[{source: books, partitions: [east]}]")
    assert took_s < 10
    assert (late, delta_logs) == (0, 0)


def test_deletes_that_never_come_are_named(tmp_path: Path) -> None:
    pair = old_books()
    pair.source.delete(BOOKS, [1, 2])
    took_s, late, delta_logs = dumped(tmp_path, pair)
    assert LATE_S <= took_s < LATE_S + 60
    assert (late, delta_logs) == (2, 0)


@pytest.mark.parametrize("error", [BinlogUnreadable("half of it is there"), ObjectMissing("gone")])
def test_files_that_come_or_go_meanwhile_tell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(BinlogDumps, "open", fail)
    took_s, late, _ = dumped(tmp_path, old_books())
    assert LATE_S <= took_s < LATE_S + 60
    assert late == 0


def test_a_source_that_is_written_to_all_the_time_is_given_up(tmp_path: Path) -> None:
    pair = old_books(loaded=False)
    with staged(tmp_path, pair) as stage:
        step, rows = stage.step(DumpMeta), itertools.count(100)

        def write(message: str = "", **_: object) -> None:
            if "writes deletes late" in message:
                pair.source.insert(BOOKS, some_rows(1, start=next(rows)))
                flush(pair.source)

        with pytest.raises(SourceBusy, match="was written to each of the 3 times"):
            step.apply(replace(stage.ctx, progress=write), step.probe(stage.ctx.reading()))


@pytest.mark.parametrize("why", ["not loaded", "no pyarrow"])
def test_where_rows_cannot_be_held_against_files_the_time_is_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    pair = old_books(loaded=why != "not loaded", writes_after_s=300)
    pair.source.delete(BOOKS, [1])
    if why == "no pyarrow":
        monkeypatch.setattr(BinlogDumps, "missing", "install pyarrow")
    took_s, late, delta_logs = dumped(tmp_path, pair)
    assert LATE_S <= took_s < LATE_S + 60
    assert (late, delta_logs) == (0, 1)


def test_a_wish_to_stop_is_heard_meanwhile(tmp_path: Path) -> None:
    pair = old_books()
    pair.source.delete(BOOKS, [1])
    with staged(tmp_path, pair) as stage:

        def report(message: str = "", **_: object) -> None:
            if "writes deletes late" in message:
                pair.clock.error = Interrupted("stopped")

        with pytest.raises(Interrupted):
            stage.step(DumpMeta).apply(
                replace(stage.ctx, progress=report), stage.step(DumpMeta).probe(stage.ctx.reading())
            )
