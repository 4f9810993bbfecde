"""`switch_alias`: the source's aliases, last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.model.collection import CollectionRef
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.create_collection import require_own

if TYPE_CHECKING:
    from migrator.steps.base import ReadContext, StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchAlias(Step):
    """Give `target` the `aliases`, which were free at the target when the plan was made; none is taken from another."""

    kind: ClassVar[str] = "switch_alias"
    target: CollectionRef
    aliases: tuple[str, ...]

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"create the alias{'es' if len(self.aliases) > 1 else ''} {', '.join(self.aliases)}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when each points at the target."""
        found = ctx.target.find_collection(self.target)
        return Evidence.DONE if found and set(self.aliases) <= set(found.aliases) else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Create those that are missing."""
        found = require_own(ctx, self.target)
        for alias in self.aliases:
            if alias not in found.aliases:
                ctx.target.create_alias(self.target, alias)
        return Outcome(detail=", ".join(self.aliases))
