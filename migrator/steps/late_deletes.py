"""Deletes that Milvus 2.2 writes long after the flush that should have: a dump without them brings rows back.

2.2 writes a delete of a flushed row only when its buffer is old enough (dataNode.segment.syncPeriod, 600 s by
default), and no call tells whether one is left. So its files are held against what it shows, or the time is waited out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migrator.errors import BinlogUnreadable, ObjectMissing
from migrator.model import filters
from migrator.model.segment import LogKind, parse_binlog
from migrator.model.timestamps import physical_ms
from migrator.ports.rows import Dump
from migrator.steps.counting import WHOLE
from migrator.steps.milvus_rows import MilvusRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.collection import Collection
    from migrator.model.rows import Key
    from migrator.model.segment import Binlog
    from migrator.ports.rows import RowSource
    from migrator.steps.base import StepContext

LATE_S = 660.0
"""Counted from the cut: longer than a server of 2.2 with its defaults keeps a delete to itself."""
_LOOK_S = 5.0


def wait_for_late_deletes(ctx: StepContext, collection: Collection, *, source_root: str, cut_ts: int) -> int:
    """Return once the deletes up to the cut are in the source's files, as far as can be told.

    Only the partitions of `collection` are looked at, which are those that come along.

    Returns:
        How many rows the files hold at last that the source does not show: rows that were deleted after the cut, or
        whose deletes take longer than its defaults allow.
    """
    if ctx.source.writes_deletes_at_flush:
        return 0
    return _LateDeletes(ctx, collection, source_root, cut_ts).wait()


@dataclass(slots=True)
class _LateDeletes:
    ctx: StepContext
    collection: Collection
    source_root: str
    cut_ts: int
    looked_at: set[str] = field(default_factory=set)
    """The delta logs there were at the last look."""

    def wait(self) -> int:
        """Look, and look again when there are new delta logs, until nothing is late or the time is over."""
        late = self._look()
        while late != 0 and (left_s := self._left_s()) > 0:
            what = "all that may be left" if late is None else f"those of {late:,} {'row' if late == 1 else 'rows'}"
            self.ctx.progress(
                f"{self.collection.ref.short}: Milvus 2.2 writes deletes late, waiting for {what}: at most "
                f"{left_s / 60:.0f} min"
            )
            self.ctx.clock.sleep(min(_LOOK_S, left_s))
            if late is not None and self._delta_keys() != self.looked_at:
                late = self._look()
        return late or 0

    def _left_s(self) -> float:
        """By the server's clock, which gave the cut."""
        passed_ms = physical_ms(self.ctx.source.allocate_timestamp()) - physical_ms(self.cut_ts)
        return LATE_S - passed_ms / 1000

    def _look(self) -> int | None:
        """How many rows are in the files and not to be seen; None where that cannot be told."""
        now = self._find()
        if self.ctx.dump_reader.missing or now is None or len(now.loaded_partitions) < len(now.partitions):
            return None
        if not filters.can_name(now.schema.primary_field.name):
            return None
        self.looked_at = self._delta_keys()
        try:
            return self._held_against_files(now)
        except (BinlogUnreadable, ObjectMissing):  # a source that moves: files come field by field, and go
            return None

    def _find(self) -> Collection | None:
        now = self.ctx.source.find_collection(self.collection.ref)
        if now is None or now.schema.has_partition_key:
            return now
        return now.only([partition.name for partition in self.collection.partitions])

    def _held_against_files(self, now: Collection) -> int:
        dump = Dump(
            collection=now,
            place=self.ctx.source_store.place,
            store=self.ctx.source_store,
            binlogs=self._binlogs(),
            key_of=lambda binlog: binlog.source.key,
            end_ts=self.cut_ts,
        )
        names = [WHOLE] if now.schema.has_partition_key else [partition.name for partition in now.partitions]
        with self.ctx.dump_reader.open(dump, wants=lambda _: False, report=self._report) as files:
            shown = MilvusRows(self.ctx.source, now)
            return sum(_count_missing(files, shown, name) for name in names)

    def _report(self, done: int, total: int) -> None:
        self.ctx.progress("reading the keys in the source's files", done=done, total=total, unit="objects")
        self.ctx.clock.sleep(0)  # where a person's wish to stop is heard

    def _binlogs(self) -> Iterator[Binlog]:
        chosen = {partition.partition_id for partition in self.collection.partitions}
        segments = self.ctx.source.list_segments(self.collection.ref)
        live = {segment.segment_id for segment in segments if segment.partition_id in chosen}
        for kind in LogKind:
            yield from (binlog for binlog in self._listed(kind) if binlog.segment_id in live)

    def _delta_keys(self) -> set[str]:
        return {binlog.source.key for binlog in self._listed(LogKind.DELTA)}

    def _listed(self, kind: LogKind) -> Iterator[Binlog]:
        folder = f"{self.source_root}/{kind}/{self.collection.collection_id}".lstrip("/")
        for found in self.ctx.source_store.list_objects(folder):
            if (binlog := parse_binlog(found, self.source_root)) is not None:
                yield binlog


def _count_missing(files: RowSource, shown: RowSource, partition: str) -> int:
    """The rows of `files` that `shown` lacks; both tell their keys in ascending order.

    2.2 cannot count, and shows a key once: one that the files have twice was deleted and written again, and what takes
    the first row out is still to come.
    """
    visible = (key for page in shown.keys(partition) for key in page)
    at: Key | None = next(visible, None)
    missing = 0
    for page in files.keys(partition):
        missing += files.count(partition, page) - len(page)
        for key in page:
            while at is not None and at < key:  # type: ignore[operator]  # keys of one collection are of one type
                at = next(visible, None)
            missing += at != key
    return missing
