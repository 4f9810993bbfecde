"""`copy_segments`: bring the binlogs of the frozen listing into the dump."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import DumpDamaged, ListingOutdated, StagedFilesDiffer
from migrator.model.collection import CollectionRef
from migrator.model.segment import LogKind
from migrator.model.shard import Cargo
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.dump_claim import claim_dump
from migrator.steps.dump_meta import dump_key
from migrator.steps.fold_deletes import DeletesWay, fold_deletes
from migrator.steps.in_place import find_routes, settle_routes, stand_ins
from migrator.steps.transfer import PIECES, WAY, Transfer, TransferMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.segment import Binlog, StoredObject
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.store import ObjectReader
    from migrator.steps.base import ReadContext, StepContext

FOLDED = "folded"
_ROUNDS = 3
"""How often what a store copied wrongly is copied again."""


def staged_key(dump_prefix: str, binlog: Binlog) -> str:
    """Where a binlog lies in the dump."""
    return f"{dump_prefix}/binlogs/{binlog.staged_suffix}"


def staged_objects(
    store: ObjectReader, dump_prefix: str, collection_id: int, partition_id: int | None
) -> Iterator[StoredObject]:
    """The dump's objects of a collection or partition, keyed by their suffix below `binlogs/`."""
    binlogs = f"{dump_prefix}/binlogs"
    folder = f"{collection_id}" if partition_id is None else f"{collection_id}/{partition_id}"
    for kind in LogKind:
        for found in store.list_objects(f"{binlogs}/{kind}/{folder}"):
            yield replace(found, key=found.key.removeprefix(f"{binlogs}/"))


def are_deletes_folded(ledger: LedgerReader, source: CollectionRef) -> bool:
    """Whether the deletes of its L0 segments lie in the dump as delta logs of the others; once it is copied."""
    return bool(ledger.notes(copy_key(source)).get(FOLDED))


def copy_key(source: CollectionRef) -> str:
    """The key of the step that copies `source`."""
    return f"{CopySegments.kind}:{source}"


def require_staged_exactly(
    ctx: StepContext,
    source: CollectionRef,
    dump_prefix: str,
    collection_id: int,
    partition_id: int | None = None,
    *,
    seen_by: ObjectReader | None = None,
) -> None:
    """See that the dump holds just the frozen binlogs of `source`, delta logs included, as they were copied.

    Staging is asked for it, or who else shall show it.

    Raises:
        StagedFilesDiffer: There is something that this run did not copy.
        DumpDamaged: A copy is missing, or is not what it was.
    """
    staged = chain(
        staged_objects(seen_by or ctx.staging, dump_prefix, collection_id, partition_id),
        stand_ins(ctx.ledger, source, collection_id, partition_id),
    )
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
    deletes: DeletesWay = DeletesWay.AS_THEY_ARE
    """How those of L0 segments, which Milvus has from 2.4 on, come to the target."""
    source_bucket: str | None = None
    """None where the source's files are in none."""
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
        if self.deletes is not DeletesWay.AS_THEY_ARE:
            ctx.ledger.unfold(self.collection_id)
        superseded = ctx.ledger.superseded(self.collection_id)
        ctx.staging.delete(f"{self.dump_prefix}/binlogs/{suffix}" for suffix in superseded)
        self._sweep(ctx)
        self._settle_routes(ctx)
        self._forget_what_is_not_there(ctx)
        transfer = self._transfer(ctx)
        for _ in range(_ROUNDS):
            if not self._copy_all(ctx, transfer) or not self._forget_what_is_not_there(ctx):
                break
        self._require_unchanged(ctx)
        self._sweep(ctx)  # an upload whose beginning was asked for twice, because the reply was lost
        place = partial(staged_key, self.dump_prefix)
        self.note(ctx, **{FOLDED: fold_deletes(ctx, self.source, self.collection_id, self.deletes, place)})
        require_staged_exactly(ctx, self.source, self.dump_prefix, self.collection_id)
        return self._outcome(ctx)

    def _outcome(self, ctx: StepContext) -> Outcome:
        """What was copied, and what was not."""
        totals, way = ctx.ledger.totals(self.collection_id), str(self.notes(ctx).get(WAY, ""))
        if (routes := find_routes(ctx.ledger, self.source)) is None:
            return Outcome(objects=totals.objects, size_bytes=totals.size_bytes, detail=way)
        objects = size_bytes = 0
        for each in stand_ins(ctx.ledger, self.source, self.collection_id):
            objects, size_bytes = objects + 1, size_bytes + each.size_bytes
        return Outcome(
            objects=totals.objects - objects,
            size_bytes=totals.size_bytes - size_bytes,
            detail="; ".join(filter(None, [routes.told(), way])),
        )

    def _settle_routes(self, ctx: StepContext) -> None:
        """With `in_place`: what the target reads where it lies counts as copied."""
        if self.mode is not TransferMode.IN_PLACE:
            return
        folds = self.deletes is not DeletesWay.AS_THEY_ARE
        has_l0 = folds and any(each.segment.is_l0 for each in ctx.ledger.segments(self.collection_id))
        settle_routes(
            ctx,
            self.source,
            self.collection_id,
            root=self.source_root,
            dump_prefix=self.dump_prefix,
            staged=staged_objects(ctx.staging, self.dump_prefix, self.collection_id, None),
            obstacle="deletes in segments of their own, which the target takes in other files only" if has_l0 else "",
        )

    def _sweep(self, ctx: StepContext) -> None:
        """Remove pieces of writes that did not come to their end, where there may be some."""
        if self.notes(ctx).get(PIECES):
            for kind in LogKind:
                ctx.staging.sweep(f"{self.dump_prefix}/binlogs/{kind}/{self.collection_id}")

    def _forget_what_is_not_there(self, ctx: StepContext) -> bool:
        """Whether copies that were made do not lie there as they should: they will be made again."""
        staged = chain(
            staged_objects(ctx.staging, self.dump_prefix, self.collection_id, None),
            stand_ins(ctx.ledger, self.source, self.collection_id),
        )
        return bool(ctx.ledger.compare_staged(self.collection_id, staged, forget_missing=True))

    def _transfer(self, ctx: StepContext) -> Transfer:
        return Transfer(
            ctx=ctx,
            origin=ctx.source_store,
            destination=ctx.staging,
            bucket=self.source_bucket,
            mode=TransferMode.AUTO if self.mode is TransferMode.IN_PLACE else self.mode,
            part_size=self.part_size,
            multipart_threshold=self.multipart_threshold,
            outdated=self._outdated,
            before_pieces=lambda: self.note(ctx, **{PIECES: True}),
        )

    def _copy_all(self, ctx: StepContext, transfer: Transfer) -> bool:
        """Whether there was anything left to copy."""
        first = next(iter(ctx.ledger.uncopied(self.collection_id)), None)
        if first is None:
            return False
        transfer.choose(self._cargo(first))
        totals = ctx.ledger.totals(self.collection_id)

        def told(objects: int, size_bytes: int) -> None:
            ctx.progress(
                "copying",
                done=totals.copied_objects + objects,
                total=totals.objects,
                unit="objects",
                size_bytes=totals.copied_bytes + size_bytes,
                total_bytes=totals.size_bytes,
            )

        try:
            transfer.carry_all(
                ctx.ledger.uncopied(self.collection_id),
                cargo_of=self._cargo,
                concurrency=self.concurrency,
                note=lambda landed: ctx.ledger.note_copied(self.collection_id, landed),
                told=told,
            )
        finally:
            if transfer.in_words != self.notes(ctx).get(WAY, ""):
                self.note(ctx, **{WAY: transfer.in_words})
        return True

    def _cargo(self, binlog: Binlog) -> Cargo:
        return Cargo(binlog.source, staged_key(self.dump_prefix, binlog))

    def _require_unchanged(self, ctx: StepContext) -> None:
        """What was copied is what was frozen: objects of the source that are still there are still the same."""
        if not ctx.ledger.totals(self.collection_id).objects:
            return
        for kind in LogKind:
            folder = f"{self.source_root}/{kind}/{self.collection_id}".lstrip("/")
            changed = ctx.ledger.changed_at_source(self.collection_id, ctx.source_store.list_objects(folder))
            if changed:
                raise self._outdated(changed[0], "changed")

    def _outdated(self, key: str, fate: str) -> ListingOutdated:
        return ListingOutdated(
            f"the source's {key} has {fate} since it was listed",
            renews=(dump_key(self.source),),
            hint="garbage collection at the source is quicker than the copy: raise dataCoord.gc.dropTolerance there"
            if fate == "vanished"
            else "see who writes below the source's root path",
        )
