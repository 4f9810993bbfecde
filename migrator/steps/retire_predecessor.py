"""`retire_predecessor`: the collection that was built under a temporary name takes the place of the one it replaces.

Milvus renames by name and keeps the id: so which id stands under which name tells, after whatever happened, how far
this is. Aliases point at a collection and not at its name: they answer all the time, from the old one until they move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, StepInDoubt
from migrator.model.collection import CollectionRef
from migrator.steps.base import GIVE_UP, Evidence, Outcome, Step
from migrator.steps.create_collection import create_key, noted_id, require_own

if TYPE_CHECKING:
    from migrator.model.collection import Collection
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.milvus import MilvusReader, MilvusTarget
    from migrator.steps.base import ReadContext, StepContext


def rename(target: MilvusTarget, ref: CollectionRef, to: CollectionRef, collection_id: int) -> None:
    """Rename; a refusal is none where an earlier request, whose reply was lost, has done it meanwhile."""
    try:
        target.rename_collection(ref, to.name)
    except MilvusRefused:
        if not stands(target, to, collection_id):
            raise


def stands(target: MilvusReader, ref: CollectionRef, collection_id: int | None) -> bool:
    """Whether the collection of that id has the name."""
    found = target.find_collection(ref)
    return found is not None and found.collection_id == collection_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirePredecessor(Step):
    """Rename `target` to `retired` and `temporary` to `target`; then the aliases of the old one follow."""

    kind: ClassVar[str] = "retire_predecessor"
    target: CollectionRef
    temporary: CollectionRef
    retired: CollectionRef
    predecessor_id: int

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return (
            f"rename {self.target.short} to {self.retired.short}, and {self.temporary.short} to {self.target.short}; "
            f"aliases follow"
        )

    def was_asked(self, ledger: LedgerReader) -> bool:
        """Whether a rename may have been requested."""
        return self.asked_ts(ledger) is not None

    def asked_ts(self, ledger: LedgerReader) -> int | None:
        """When the renames were requested last, by the target's clock."""
        noted = ledger.notes(self.key).get("asked_ts")
        return noted if isinstance(noted, int) else None

    def aliases(self, ledger: LedgerReader) -> tuple[str, ...]:
        """Those that the predecessor had right before the renames."""
        noted = ledger.notes(self.key).get("aliases")
        return tuple(map(str, noted)) if isinstance(noted, list) else ()

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when this run's collection has the name, that is noted, and no alias is left to follow."""
        own = noted_id(ctx.ledger, self.temporary)
        if own is None or noted_id(ctx.ledger, self.target) != own or not stands(ctx.target, self.target, own):
            return Evidence.ABSENT
        return Evidence.ABSENT if self._left(ctx) else Evidence.DONE

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Exchange the names, unless they are exchanged, and bring the aliases."""
        own = noted_id(ctx.ledger, self.temporary)
        if own is None or not stands(ctx.target, self.target, own):
            self._exchange(ctx, require_own(ctx, self.temporary).collection_id)
        ctx.ledger.note(create_key(self.target), {"collection_id": own})
        require_own(ctx, self.target)
        for alias in self._left(ctx):
            ctx.lease.require_held(self.target)
            ctx.target.alter_alias(self.target, alias)
        kept = stands(ctx.target, self.retired, self.predecessor_id)
        return Outcome(
            detail=f"the old one is kept as {self.retired.short}"
            if kept
            else f"somebody had dropped or renamed the old one, collection {self.predecessor_id}"
        )

    def _exchange(self, ctx: StepContext, own: int) -> None:
        """Look who has which name, note what is asked for, and ask for it; nothing lies between the two renames."""
        old, kept = ctx.target.find_collection(self.target), ctx.target.find_collection(self.retired)
        if old is not None:
            self._require_replaceable(old, kept)
        aliases = self.aliases(ctx.ledger) if old is None else old.aliases
        ctx.lease.require_held(self.target)
        self.note(ctx, aliases=list(aliases), asked_ts=ctx.target.allocate_timestamp())
        if old is not None:
            rename(ctx.target, self.target, self.retired, self.predecessor_id)
        rename(ctx.target, self.temporary, self.target, own)

    def _require_replaceable(self, old: Collection, kept: Collection | None) -> None:
        """The one that was planned to be replaced, and a free name to keep it under."""
        if old.collection_id != self.predecessor_id:
            raise StepInDoubt(
                f"{self.target.short} is another collection than the one that this run was to replace",
                hint=f"see who created it; rename it at the target, then run migrator apply --resume; {GIVE_UP}",
            )
        if kept is not None:
            raise StepInDoubt(
                f"{self.target.short} cannot be kept as {self.retired.short}: somebody else's collection has that name",
                hint=f"rename {self.retired.short} at the target, then run migrator apply --resume",
            )

    def _left(self, ctx: ReadContext | StepContext) -> list[str]:
        """The aliases that still point at the predecessor; one that somebody moved or dropped is theirs."""
        old = ctx.target.find_collection(self.retired)
        if old is None or old.collection_id != self.predecessor_id:
            return []
        return [alias for alias in self.aliases(ctx.ledger) if alias in old.aliases]
