"""Deletes of L0 segments for targets that would get them wrong: as delta logs of the segments they apply to.

Some versions compare a delete with the time of the import, and some heed no time bound for L0 segments. Delta logs of a
segment are right everywhere. They are made while staging, and lie beside the segment's own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from migrator.errors import RunError
from migrator.model.segment import Binlog, LogKind, StoredObject
from migrator.ports.rows import L0Deletes
from migrator.steps.dump_meta import frozen_dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.model.collection import CollectionRef
    from migrator.model.segment import Segment
    from migrator.ports.rows import FoldedDeletes
    from migrator.steps.base import StepContext


class DeletesWay(StrEnum):
    """How deletes of L0 segments come to the target."""

    AS_THEY_ARE = "as_they_are"
    """They are staged, and imported as L0 segments."""
    FOLDED = "folded"
    FOLDED_IF_LATE = "folded_if_late"
    """Folded where some are newer than the cut: the target heeds no bound for L0 segments."""


def fold_deletes(
    ctx: StepContext, source: CollectionRef, collection_id: int, way: DeletesWay, place: Callable[[Binlog], str]
) -> bool:
    """Whether the deletes of the frozen L0 segments were folded; `place` tells where a frozen binlog lies in staging.

    Raises:
        RunError: What reads binlogs is not installed.
        BinlogUnreadable: Deletes or keys are of a form that is not known here.
    """
    l0 = [entry.segment for entry in ctx.ledger.segments(collection_id) if entry.segment.is_l0]
    if not l0 or way is DeletesWay.AS_THEY_ARE:
        return False
    if ctx.dump_reader.missing:
        raise RunError(
            f"{source.short} has deletes in L0 segments, which the target would get wrong as they are, and "
            f"{ctx.dump_reader.missing}",
            hint="install it, then run migrator apply --resume",
        )
    dump = frozen_dump(ctx.ledger, source)
    deletes = L0Deletes(
        schema=dump.collection.schema,
        store=ctx.staging,
        binlogs=_logs_of(ctx, collection_id, l0),
        key_of=place,
        end_ts=dump.cut_ts,
    )
    with ctx.dump_reader.fold(deletes) as folded:
        if way is DeletesWay.FOLDED_IF_LATE and not folded.later:
            return False
        _Folding(ctx, collection_id, folded, place, dump.cut_ts).fold()
    return True


def _logs_of(ctx: StepContext, collection_id: int, segments: list[Segment]) -> Iterator[Binlog]:
    for segment in segments:
        yield from ctx.ledger.binlogs(collection_id, segment_id=segment.segment_id)


class _Folding:
    """The delta logs of one collection's segments while they are made."""

    def __init__(
        self,
        ctx: StepContext,
        collection_id: int,
        folded: FoldedDeletes,
        place: Callable[[Binlog], str],
        cut_ts: int,
    ) -> None:
        self._ctx = ctx
        self._collection_id = collection_id
        self._folded = folded
        self._place = place
        self._cut_ts = cut_ts

    def fold(self) -> None:
        """Segment by segment; what is written is announced before, so that a kill leaves no stranger in the dump."""
        totals = self._ctx.ledger.totals(self._collection_id)
        made: list[Binlog] = []
        for done, entry in enumerate(self._ctx.ledger.segments(self._collection_id), start=1):
            made += [] if entry.segment.is_l0 else self._fold_into(entry.segment)
            self._ctx.progress("folding deletes", done=done, total=totals.segments, unit="segments")
            self._ctx.clock.sleep(0)  # where a person's wish to stop is heard
        self._ctx.ledger.note_folded(self._collection_id, made)

    def _fold_into(self, segment: Segment) -> list[Binlog]:
        binlogs = list(self._ctx.ledger.binlogs(self._collection_id, segment_id=segment.segment_id))
        log_ids = {binlog.log_id for binlog in binlogs}
        made = []
        for content in self._folded.logs_of(segment, binlogs, written_ts=self._cut_ts):
            log_id = max(log_ids) + 1
            log_ids.add(log_id)
            made.append(self._write(segment, log_id, content))
        return made

    def _write(self, segment: Segment, log_id: int, content: bytes) -> Binlog:
        binlog = Binlog(
            kind=LogKind.DELTA,
            collection_id=self._collection_id,
            partition_id=segment.partition_id,
            segment_id=segment.segment_id,
            field_id=None,
            log_id=log_id,
            source=StoredObject("", len(content)),
        )
        self._ctx.ledger.note_folding(self._collection_id, binlog)
        self._ctx.staging.write(self._place(binlog), content)
        return binlog
