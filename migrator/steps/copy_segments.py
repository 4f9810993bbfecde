"""`copy_segments`: bring the binlogs of the frozen listing into the dump."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import (
    DumpDamaged,
    ListingOutdated,
    ObjectMissing,
    StagedFilesDiffer,
    StoreRefused,
    StoreUnavailable,
)
from migrator.model.collection import CollectionRef
from migrator.model.segment import LogKind
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.dump_claim import claim_dump
from migrator.steps.dump_meta import dump_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from migrator.model.segment import Binlog, StoredObject
    from migrator.ports.store import ObjectReader
    from migrator.steps.base import ReadContext, StepContext

_NOTE_EVERY_S = 0.1
_READ_BYTES = 1024**2
_ROUNDS = 3
"""How often what a store copied wrongly is copied again."""
_LARGEST_SERVER_SIDE_COPY = 5 * 1024**3
"""Bytes; S3 copies no larger object by one request."""
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
"""An ETag of this form is the content's MD5 at most stores; at some, or encrypted, it is not."""


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


def copy_key(source: CollectionRef) -> str:
    """The key of the step that copies `source`."""
    return f"{CopySegments.kind}:{source}"


def require_staged_exactly(
    ctx: StepContext, source: CollectionRef, dump_prefix: str, collection_id: int, partition_id: int | None = None
) -> None:
    """See that the dump holds just the frozen binlogs of `source`, delta logs included, as they were copied.

    Raises:
        StagedFilesDiffer: There is something that this run did not copy.
        DumpDamaged: A copy is missing, or is not what it was.
    """
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
    raise DumpDamaged(
        f"the dump's {dump_prefix}/binlogs/{first.suffix} {had}; the source's has {first.wanted_bytes:,} bytes",
        renews=(copy_key(source),),
        hint="somebody else writes into the dump; see who, then run migrator apply --resume",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySegments(Step):
    """Copy the frozen binlogs of `source` under `dump_prefix`, leaving alone what this run copied before.

    `part_size` and `multipart_threshold` are bytes and hold for streamed objects. The dump is this run's, or one that
    `earlier_runs` of the plan made; whose it is, is said in `claims_folder`.
    """

    kind: ClassVar[str] = "copy_segments"
    source: CollectionRef
    collection_id: int
    source_root: str
    dump_prefix: str
    plan: str
    claims_folder: str
    earlier_runs: tuple[str, ...] = ()
    mode: TransferMode = TransferMode.AUTO
    concurrency: int = 64
    part_size: int = 64 * 1024**2
    multipart_threshold: int = 512 * 1024**2

    @property
    def key(self) -> str:
        """By the source collection."""
        return copy_key(self.source)

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"copy the segments of {self.source.short} to {self.dump_prefix}/"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Always looked at again by `apply`, which copies only what is not noted and there."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Copy what is not noted as copied, then hold the dump's listing against the frozen one.

        Raises:
            ListingOutdated: A frozen object has vanished from the source, or is another one now.
        """
        claim_dump(
            ctx,
            plan=self.plan,
            dump_prefix=self.dump_prefix,
            claims_folder=self.claims_folder,
            earlier_runs=self.earlier_runs,
        )
        superseded = ctx.ledger.superseded(self.collection_id)
        ctx.staging.delete(f"{self.dump_prefix}/binlogs/{suffix}" for suffix in superseded)
        for kind in LogKind:
            ctx.staging.sweep(f"{self.dump_prefix}/binlogs/{kind}/{self.collection_id}")
        self._forget_what_is_not_there(ctx)
        for _ in range(_ROUNDS):
            self._copy_all(ctx, self._way(ctx))
            if not self._forget_what_is_not_there(ctx):
                break
        self._require_unchanged(ctx)
        require_staged_exactly(ctx, self.source, self.dump_prefix, self.collection_id)
        totals = ctx.ledger.totals(self.collection_id)
        return Outcome(objects=totals.objects, size_bytes=totals.size_bytes)

    def _forget_what_is_not_there(self, ctx: StepContext) -> bool:
        """Whether copies that were made do not lie there as they should: they will be made again."""
        staged = _staged_objects(ctx.staging, self.dump_prefix, self.collection_id, None)
        return bool(ctx.ledger.compare_staged(self.collection_id, staged, forget_missing=True))

    # -- which way --------------------------------------------------------------------------------------------------

    def _way(self, ctx: StepContext) -> Callable[[StepContext, Binlog], None]:
        """The service copies where staging shows the very objects the source shows; else they stream through us.

        Evidence is an object of the source seen through staging's client with the same size and ETag: keys carry ids
        that no two clusters share, and each copy is held against the frozen size in the end.
        """
        if self.mode is TransferMode.STREAM:
            return self._stream
        first = next(iter(ctx.ledger.uncopied(self.collection_id)), None)
        if first is None:
            return self._copy_inside
        self._require_frozen(ctx.source_store, first)
        if self._is_shared(ctx.staging, first):
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
        except ObjectMissing:
            raise self._outdated(binlog.source.key, "vanished") from None
        except StoreRefused:  # for want of a permission, or between two file systems
            if self.mode is TransferMode.SERVER_SIDE:
                raise
            self._stream(ctx, binlog)

    def _stream(self, ctx: StepContext, binlog: Binlog) -> None:
        """Read and write through us; bytes that a network bent on the way in or out are noticed, and sent again."""
        self._require_frozen(ctx.source_store, binlog)
        key = staged_key(self.dump_prefix, binlog)
        try:
            read = self._send(ctx, binlog, key)
        except ObjectMissing:
            raise self._outdated(binlog.source.key, "vanished") from None
        self._require_arrived(ctx, key, read)

    def _send(self, ctx: StepContext, binlog: Binlog, key: str) -> _Hashed:
        read = _Hashed(self._read(ctx, binlog))
        ctx.staging.write_stream(
            key,
            read,
            multipart=binlog.source.size_bytes >= min(self.multipart_threshold, self.part_size),
            part_size=self.part_size,
        )
        if read.size_bytes != binlog.source.size_bytes:
            raise StoreUnavailable(
                f"{ctx.source_store.place} sent {read.size_bytes:,} of {binlog.source.size_bytes:,} bytes of "
                f"{binlog.source.key}"
            )
        if _may_differ(binlog.source.etag, read) and read.md5 != _md5_of(self._read(ctx, binlog)):
            raise StoreUnavailable(f"{ctx.source_store.place} sent other bytes of {binlog.source.key} when asked again")
        return read

    def _read(self, ctx: StepContext, binlog: Binlog) -> Iterator[bytes]:
        return ctx.source_store.stream(binlog.source.key, part_size=_READ_BYTES)

    def _require_arrived(self, ctx: StepContext, key: str, sent: _Hashed) -> None:
        staged = ctx.staging.find_object(key)
        is_whole = staged is not None and staged.size_bytes == sent.size_bytes
        if staged is None or not is_whole:
            raise StoreUnavailable(f"{ctx.staging.place} does not hold {key} as it was written")
        if _may_differ(staged.etag, sent) and sent.md5 != _md5_of(ctx.staging.stream(key, part_size=_READ_BYTES)):
            raise StoreUnavailable(f"{ctx.staging.place} holds other bytes of {key} than were written")

    def _require_unchanged(self, ctx: StepContext) -> None:
        """What was copied is what was frozen: objects of the source that are still there are still the same."""
        for kind in LogKind:
            folder = f"{self.source_root}/{kind}/{self.collection_id}".lstrip("/")
            changed = ctx.ledger.changed_at_source(self.collection_id, ctx.source_store.list_objects(folder))
            if changed:
                raise self._outdated(changed[0], "changed")

    def _require_frozen(self, source: ObjectReader, binlog: Binlog) -> None:
        """See that the source's object is the one that was frozen."""
        found = source.find_object(binlog.source.key)
        if found != binlog.source:
            raise self._outdated(binlog.source.key, "vanished" if found is None else "changed")

    def _outdated(self, key: str, fate: str) -> ListingOutdated:
        return ListingOutdated(
            f"the source's {key} has {fate} since it was listed",
            renews=(dump_key(self.source),),
            hint="garbage collection at the source is quicker than the copy: raise dataCoord.gc.dropTolerance there"
            if fate == "vanished"
            else "see who writes below the source's root path",
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


class _Hashed:
    """Parts that pass by, with their length and MD5."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._md5.update(part)
            self.size_bytes += len(part)
            yield part

    @property
    def md5(self) -> str:
        """In hex, of what has passed so far."""
        return self._md5.hexdigest()


def _md5_of(parts: Iterable[bytes]) -> str:
    hashed = _Hashed(parts)
    for _ in hashed:
        pass
    return hashed.md5


def _may_differ(etag: str | None, content: _Hashed) -> bool:
    """Whether the ETag looks like an MD5 and is not the content's: bent bytes, or a store with ETags of its own."""
    found = _MD5.fullmatch(etag or "")
    return found is not None and found[1] != content.md5
