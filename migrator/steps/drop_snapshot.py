"""`drop_snapshot`: let the source have its snapshot's files back, once the target has its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import SnapshotFailed
from migrator.model.collection import CollectionRef
from migrator.model.segment import LogKind
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.create_collection import noted_id
from migrator.steps.create_snapshot import asked_name
from migrator.steps.restored import restored_rows

if TYPE_CHECKING:
    from migrator.ports.clock import Clock
    from migrator.ports.milvus import MilvusSource
    from migrator.steps.base import ReadContext, StepContext

_TRIES = 10
_PAUSE_S = 1.0


def drop_and_look(source: MilvusSource, ref: CollectionRef, name: str, clock: Clock) -> None:
    """Drop a snapshot, and see that it is gone.

    Raises:
        SnapshotFailed: It is still there.
    """
    for _ in range(_TRIES):
        source.drop_snapshot(ref, name)
        if source.find_snapshot(ref, name) is None:
            return
        clock.sleep(_PAUSE_S)
    raise SnapshotFailed(
        f"the snapshot {name} of {ref.short} is still at the source after it was dropped {_TRIES} times",
        hint="drop it there by hand: it keeps files from the source's garbage collection",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSnapshot(Step):
    """Drop the snapshot of `source` that `target` was restored from, whose files lie below `target_root`."""

    kind: ClassVar[str] = "drop_snapshot"
    source: CollectionRef
    target: CollectionRef
    target_root: str

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"drop the snapshot of {self.source.short} at the source"

    def probe(self, ctx: ReadContext) -> Evidence:
        """One that is gone is dropped again, which does nothing."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """See that the target has files of its own, and drop it."""
        self._require_own_files(ctx)
        name = asked_name(ctx.ledger, self.source)
        if name is not None:
            drop_and_look(ctx.source, self.source, name, ctx.clock)
        return Outcome(detail=name or "")

    def _require_own_files(self, ctx: StepContext) -> None:
        """Whether a restore always copies is not known of every server; one that does not needs the snapshot."""
        if not restored_rows(ctx.ledger, self.target):
            return
        folder = f"{self.target_root}/{LogKind.INSERT}/{noted_id(ctx.ledger, self.target)}".lstrip("/")
        if next(iter(ctx.target_store.list_objects(folder)), None) is None:
            raise SnapshotFailed(
                f"{self.target.short} was restored, and has no files of its own under {folder}/ in "
                f"{ctx.target_store.place}: it seems to read those of the snapshot, which is kept",
                hint="see that target.storage names the target's own bucket and root path, then run migrator apply "
                "--resume",
            )
