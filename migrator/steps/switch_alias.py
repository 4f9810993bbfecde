"""`switch_alias`: the aliases of the target, last; one that another collection has is moved, and noted before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import RunError
from migrator.model.collection import CollectionRef
from migrator.steps.base import GIVE_UP, Evidence, Outcome, Step
from migrator.steps.create_collection import require_own

if TYPE_CHECKING:
    from migrator.ports.ledger import JsonValue, LedgerReader
    from migrator.steps.base import ReadContext, StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """An alias that another collection of the database, `owner`, has when the plan is made."""

    alias: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerOwner:
    """The collection that an alias was taken from; `collection_id` tells it from a later one of its name."""

    ref: CollectionRef
    collection_id: int


def former_owners(ledger: LedgerReader, target: CollectionRef) -> dict[str, FormerOwner]:
    """The aliases that this run took, or was about to take, for `target`, each with whose it was."""
    noted = ledger.notes(f"{SwitchAlias.kind}:{target}")
    found = {}
    for key, value in noted.items():
        if key.startswith(_MOVED) and isinstance(value, dict):
            name, number = value["owner"], value["collection_id"]
            if isinstance(name, str) and isinstance(number, int):
                ref = CollectionRef(target.database, name)
                found[key.removeprefix(_MOVED)] = FormerOwner(ref=ref, collection_id=number)
    return found


_MOVED = "moved:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchAlias(Step):
    """Give `target` the `aliases`: those in `moves` from the owner they had when the plan was made, the others new."""

    kind: ClassVar[str] = "switch_alias"
    target: CollectionRef
    aliases: tuple[str, ...]
    moves: tuple[AliasMove, ...] = ()

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        moved = {move.alias for move in self.moves}
        new = [alias for alias in self.aliases if alias not in moved]
        parts = [f"create the alias{'es' if len(new) > 1 else ''} {', '.join(new)}"] if new else []
        parts += [f"move the alias {move.alias} from {move.owner} to {self.target.name}" for move in self.moves]
        return " and ".join(parts)

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when each points at the target."""
        found = ctx.target.find_collection(self.target)
        return Evidence.DONE if found and set(self.aliases) <= set(found.aliases) else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Create those that are missing, move those that others have."""
        found = require_own(ctx, self.target)
        owners = {move.alias: move.owner for move in self.moves}
        for alias in self.aliases:
            if alias in found.aliases:
                continue
            ctx.lease.require_held(self.target)
            if alias in owners and self._is_there(ctx, alias, owners[alias]):
                ctx.target.alter_alias(self.target, alias)
            else:
                ctx.target.create_alias(self.target, alias)
        return Outcome(detail=", ".join(self.aliases))

    def _is_there(self, ctx: StepContext, alias: str, owner: str) -> bool:
        """Whether the alias still is, and with its owner, which is noted: a rollback gives it back.

        Raises:
            RunError: It points at yet another collection now.
        """
        ref = CollectionRef(self.target.database, alias)
        now = ctx.target.find_alias(ref)
        if now is None:
            return False
        before = ctx.target.find_collection(CollectionRef(self.target.database, now))
        if now != owner or before is None:
            raise RunError(
                f"the alias {ref.short} pointed at {owner} when this was planned, and points at {now} now",
                hint=f"let it point at {owner} again and resume; {GIVE_UP}",
            )
        noted: dict[str, JsonValue] = {"owner": owner, "collection_id": before.collection_id}
        self.note(ctx, **{f"{_MOVED}{alias}": noted})
        return True
