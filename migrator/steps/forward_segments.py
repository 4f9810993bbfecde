"""`forward_segments`: bring staged binlogs to the target's own store, where its imports can read them.

Milvus imports from its own bucket alone. Where the dump lies in another, each run has a folder of its own in the
target's, outside of every root path, and empties it after the import.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import DumpDamaged, StagedFilesDiffer
from migrator.model.collection import CollectionRef
from migrator.model.segment import LogKind, StoredObject
from migrator.model.shard import Cargo
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.copy_segments import copy_key, require_staged_exactly, staged_key, staged_objects
from migrator.steps.transfer import PIECES, WAY, Transfer, TransferMode

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from migrator.model.segment import Binlog
    from migrator.steps.base import ReadContext, StepContext


def forward_key(source: CollectionRef) -> str:
    """The key of the step that brings the files of `source` to the target's store."""
    return f"{ForwardSegments.kind}:{source}"


def forwarded_prefix(imports_folder: str, run_id: str) -> str:
    """What a run brings into the target's store lies below this, as the dump's files lie below the dump's prefix."""
    return f"{imports_folder}/{run_id}"


def forwarded_folders(imports_folder: str, run_id: str, collection_id: int) -> tuple[str, ...]:
    """The folders of one collection in it."""
    return tuple(f"{forwarded_prefix(imports_folder, run_id)}/binlogs/{kind}/{collection_id}" for kind in LogKind)


def require_forwarded_exactly(
    ctx: StepContext,
    source: CollectionRef,
    imports_folder: str,
    collection_id: int,
    partition_id: int | None = None,
) -> None:
    """See that the target's store holds just the frozen binlogs of `source` for this run, delta logs included.

    Raises:
        StagedFilesDiffer: There is something that this run did not bring.
        DumpDamaged: A file is missing, or has another size.
    """
    prefix = forwarded_prefix(imports_folder, ctx.run_id)
    found = staged_objects(ctx.target_store, prefix, collection_id, partition_id)
    differences = ctx.ledger.compare_forwarded(collection_id, found, partition_id=partition_id)
    if not differences:
        return
    first = next((d for d in differences if d.wanted_bytes is None), differences[0])
    place = f"{prefix}/binlogs/{first.suffix} in {ctx.target_store.place}"
    if first.wanted_bytes is None:
        raise StagedFilesDiffer(
            f"there is {place}, which this run did not put there",
            hint="see who writes there, remove it, then run migrator apply --resume",
        )
    had = "is missing" if first.found_bytes is None else f"has {first.found_bytes:,} bytes"
    raise DumpDamaged(
        f"{place} {had}, and the dump's has {first.wanted_bytes:,}",
        renews=(forward_key(source),),
        hint="somebody else writes there; see who, then run migrator apply --resume",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardSegments(Step):
    """Bring the staged binlogs of `source` to the target's store, leaving alone what is there already.

    Objects are written as a whole or not at all, and the folder is the run's own: what has the right size is done.
    """

    kind: ClassVar[str] = "forward_segments"
    source: CollectionRef
    collection_id: int
    dump_prefix: str
    imports_folder: str
    staging_bucket: str | None
    """None where the dump is in none."""
    target_bucket: str | None
    mode: TransferMode = TransferMode.AUTO
    concurrency: int = 64
    part_size: int = 64 * 1024**2
    multipart_threshold: int = 512 * 1024**2

    @property
    def key(self) -> str:
        """By the source collection."""
        return forward_key(self.source)

    def describe(self) -> str:
        """What it does, in a few words."""
        where = "/".join(part for part in (self.target_bucket or "", self.imports_folder) if part)
        return f"bring the staged segments of {self.source.short} to {where}/ for the import"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Always looked at again by `apply`, which brings only what is not there."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Bring what is not there, then hold what is against the frozen listing.

        Raises:
            DumpDamaged: A staged file has vanished, or has another size.
        """
        prefix = forwarded_prefix(self.imports_folder, ctx.run_id)
        require_staged_exactly(ctx, self.source, self.dump_prefix, self.collection_id)
        if self.notes(ctx).get(PIECES):
            for folder in forwarded_folders(self.imports_folder, ctx.run_id, self.collection_id):
                ctx.target_store.sweep(folder)
        superseded = ctx.ledger.superseded(self.collection_id)
        ctx.target_store.delete(f"{prefix}/binlogs/{suffix}" for suffix in superseded)
        self._bring_all(ctx, prefix)
        require_forwarded_exactly(ctx, self.source, self.imports_folder, self.collection_id)
        totals = ctx.ledger.totals(self.collection_id)
        detail = str(self.notes(ctx).get(WAY, ""))
        return Outcome(objects=totals.objects, size_bytes=totals.size_bytes, detail=detail)

    def _bring_all(self, ctx: StepContext, prefix: str) -> None:
        with closing(self._missing(ctx, prefix)) as missing:
            if (first := next(missing, None)) is not None:
                self._bring(ctx, prefix, first, missing)

    def _bring(self, ctx: StepContext, prefix: str, first: Binlog, others: Iterator[Binlog]) -> None:
        transfer = self._transfer(ctx)
        transfer.choose(self._cargo(prefix, first))
        totals = ctx.ledger.totals(self.collection_id)

        def told(objects: int, size_bytes: int) -> None:
            ctx.progress(
                "bringing files to the target",
                done=objects,
                total=totals.objects,
                unit="objects",
                size_bytes=size_bytes,
                total_bytes=totals.size_bytes,
            )

        try:
            transfer.carry_all(
                chain([first], others),
                cargo_of=lambda binlog: self._cargo(prefix, binlog),
                concurrency=self.concurrency,
                note=lambda _: None,
                told=told,
            )
        finally:
            if transfer.in_words != self.notes(ctx).get(WAY, ""):
                self.note(ctx, **{WAY: transfer.in_words})

    def _missing(self, ctx: StepContext, prefix: str) -> Generator[Binlog]:
        return ctx.ledger.unforwarded(
            self.collection_id, staged_objects(ctx.target_store, prefix, self.collection_id, None)
        )

    def _cargo(self, prefix: str, binlog: Binlog) -> Cargo:
        staged = StoredObject(staged_key(self.dump_prefix, binlog), binlog.source.size_bytes, None)
        return Cargo(staged, staged_key(prefix, binlog))

    def _transfer(self, ctx: StepContext) -> Transfer:
        return Transfer(
            ctx=ctx,
            origin=ctx.staging,
            destination=ctx.target_store,
            bucket=self.staging_bucket,
            mode=self.mode,
            part_size=self.part_size,
            multipart_threshold=self.multipart_threshold,
            outdated=self._damaged,
            before_pieces=lambda: self.note(ctx, **{PIECES: True}),
        )

    def _damaged(self, key: str, fate: str) -> DumpDamaged:
        return DumpDamaged(
            f"the dump's {key} has {fate} since it was copied",
            renews=(copy_key(self.source),),
            hint="somebody else writes into the dump; see who, then run migrator apply --resume",
        )
