"""`copy_segments`: bring the binlogs of the frozen listing into the dump."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import ObjectChanged, ObjectMissing, StagedFilesDiffer, StoreRefused
from migrator.model.collection import CollectionRef
from migrator.model.segment import LogKind
from migrator.steps.base import Evidence, Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from migrator.model.segment import Binlog, StoredObject
    from migrator.ports.store import ObjectReader
    from migrator.steps.base import ReadContext, StepContext

_NOTE_EVERY_S = 0.1
_READ_BYTES = 1024**2
_LARGEST_SERVER_SIDE_COPY = 5 * 1024**3
"""Bytes; S3 copies no larger object by one request."""


class TransferMode(StrEnum):
    """How binlogs travel."""

    AUTO = "auto"
    SERVER_SIDE = "server_side"
    STREAM = "stream"


def staged_key(dump_prefix: str, binlog: Binlog) -> str:
    """Where a binlog lies in the dump."""
    return f"{dump_prefix}/binlogs/{binlog.staged_suffix}"


def _staged_objects(
    store: ObjectReader, dump_prefix: str, collection_id: int, partition_id: int | None
) -> Iterator[StoredObject]:
    """The dump's objects of a collection or partition, keyed by their suffix below `binlogs/`."""
    binlogs = f"{dump_prefix}/binlogs"
    folder = f"{collection_id}" if partition_id is None else f"{collection_id}/{partition_id}"
    for kind in LogKind:
        for found in store.list_objects(f"{binlogs}/{kind}/{folder}"):
            yield replace(found, key=found.key.removeprefix(f"{binlogs}/"))


def require_staged_exactly(
    ctx: StepContext, dump_prefix: str, collection_id: int, partition_id: int | None = None
) -> None:
    """Raise `StagedFilesDiffer` unless the dump holds just the frozen binlogs, delta logs included, as they were."""
    staged = _staged_objects(ctx.staging, dump_prefix, collection_id, partition_id)
    differences = ctx.ledger.compare_staged(collection_id, staged, partition_id=partition_id)
    if not differences:
        return
    strangers = [d for d in differences if d.wanted_bytes is None]
    if strangers:
        raise StagedFilesDiffer(
            f"the dump holds {dump_prefix}/binlogs/{strangers[0].suffix}, which this run did not put there",
            hint="choose another staging.backup_name, or remove what is not of this run",
        )
    first = differences[0]
    had = "is missing" if first.found_bytes is None else f"is not what was copied ({first.found_bytes:,} bytes)"
    raise StagedFilesDiffer(
        f"the dump's {dump_prefix}/binlogs/{first.suffix} {had}; the source's has {first.wanted_bytes:,} bytes",
        hint="somebody else writes into the dump; see who, then run migrator apply --resume",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySegments(Step):
    """Copy the frozen binlogs of `source` under `dump_prefix`, leaving alone what this run copied before.

    `part_size` and `multipart_threshold` are bytes and hold for streamed objects.
    """

    kind: ClassVar[str] = "copy_segments"
    source: CollectionRef
    collection_id: int
    dump_prefix: str
    mode: TransferMode = TransferMode.AUTO
    concurrency: int = 64
    part_size: int = 64 * 1024**2
    multipart_threshold: int = 512 * 1024**2

    @property
    def key(self) -> str:
        """By the source collection."""
        return f"{self.kind}:{self.source}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"copy the segments of {self.source.short} to {self.dump_prefix}/"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Always looked at again by `apply`, which copies only what is not noted and there."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Copy what is not noted as copied, then hold the dump's listing against the frozen one."""
        for kind in LogKind:
            ctx.staging.sweep(f"{self.dump_prefix}/binlogs/{kind}/{self.collection_id}")
        staged = _staged_objects(ctx.staging, self.dump_prefix, self.collection_id, None)
        ctx.ledger.compare_staged(self.collection_id, staged, forget_missing=True)
        self._copy_all(ctx, self._way(ctx))
        require_staged_exactly(ctx, self.dump_prefix, self.collection_id)
        totals = ctx.ledger.totals(self.collection_id)
        return Outcome(objects=totals.objects, size_bytes=totals.size_bytes)

    # -- which way --------------------------------------------------------------------------------------------------

    def _way(self, ctx: StepContext) -> Callable[[StepContext, Binlog], None]:
        """The service copies where staging shows the very objects the source shows; else they stream through us.

        Evidence is an object of the source seen through staging's client with the same size and ETag: keys carry ids
        that no two clusters share, and each copy is held against the frozen size in the end.
        """
        if self.mode is TransferMode.STREAM:
            return self._stream
        first = next(iter(ctx.ledger.uncopied(self.collection_id)), None)
        if first is None or self._is_shared(ctx.staging, first):
            return self._copy_inside
        if self.mode is TransferMode.SERVER_SIDE:
            raise StoreRefused(
                f"{ctx.staging.place} does not hold the source's {first.source.key}, so it cannot copy it by itself",
                hint="set options.transfer.mode to auto or stream",
            )
        ctx.progress("source and staging are different stores: streaming")
        return self._stream

    def _is_shared(self, staging: ObjectReader, binlog: Binlog) -> bool:
        try:
            found = staging.find_object(binlog.source.key)
        except StoreRefused:
            return False
        return found == binlog.source

    def _copy_inside(self, ctx: StepContext, binlog: Binlog) -> None:
        if binlog.source.size_bytes > _LARGEST_SERVER_SIDE_COPY:
            self._stream(ctx, binlog)
            return
        try:
            ctx.staging.copy_inside(binlog.source.key, staged_key(self.dump_prefix, binlog))
        except StoreRefused:  # for want of a permission, or between two file systems
            if self.mode is TransferMode.SERVER_SIDE:
                raise
            self._stream(ctx, binlog)

    def _stream(self, ctx: StepContext, binlog: Binlog) -> None:
        found = ctx.source_store.find_object(binlog.source.key)
        if found is None:
            raise ObjectMissing(f"the source's {binlog.source.key} has vanished since it was listed")
        if found != binlog.source:
            raise ObjectChanged(f"the source's {binlog.source.key} has changed since it was listed")
        ctx.staging.write_stream(
            staged_key(self.dump_prefix, binlog),
            ctx.source_store.stream(binlog.source.key, part_size=_READ_BYTES),
            multipart=binlog.source.size_bytes >= min(self.multipart_threshold, self.part_size),
            part_size=self.part_size,
        )

    # -- many at once -----------------------------------------------------------------------------------------------

    def _copy_all(self, ctx: StepContext, copy: Callable[[StepContext, Binlog], None]) -> None:
        """Keep `concurrency` copies in flight and note them in groups; a stop notes what was in flight too."""
        totals = ctx.ledger.totals(self.collection_id)
        done, size_bytes = totals.copied_objects, totals.copied_bytes
        todo = ctx.ledger.uncopied(self.collection_id)
        flying: dict[Future[None], Binlog] = {}
        landed: list[Binlog] = []
        noted_at = ctx.clock.monotonic()
        try:
            while True:
                for binlog in islice(todo, self.concurrency - len(flying)):
                    flying[ctx.workers.submit(copy, ctx, binlog)] = binlog
                if not flying:
                    break
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    binlog = flying.pop(future)
                    future.result()
                    landed.append(binlog)
                    done, size_bytes = done + 1, size_bytes + binlog.source.size_bytes
                if len(landed) >= self.concurrency or ctx.clock.monotonic() - noted_at >= _NOTE_EVERY_S:
                    self._note_landed(ctx, landed)
                    noted_at = ctx.clock.monotonic()
                ctx.progress("copying", done=done, total=totals.objects, unit="objects", size_bytes=size_bytes)
                ctx.clock.sleep(0)  # where a person's wish to stop is heard
        finally:
            landed.extend(_land(flying))
            self._note_landed(ctx, landed)

    def _note_landed(self, ctx: StepContext, landed: list[Binlog]) -> None:
        ctx.ledger.note_copied(self.collection_id, landed)
        landed.clear()


def _land(flying: Mapping[Future[None], Binlog]) -> Iterator[Binlog]:
    """Wait for what is in flight; the copies that succeed, for the others are made again next time."""
    for future, binlog in flying.items():
        if not future.cancel() and future.exception() is None:
            yield binlog
