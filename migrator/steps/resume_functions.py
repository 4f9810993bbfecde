"""`resume_functions`: let the functions of a collection run again, which its import had to do without.

Functions that ask a model are checked when a collection is made, against a service that the target need not reach, and
an import brings what they computed. So the collection is made with a property that turns the check off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.model.collection import CollectionRef
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.create_collection import UNCHECKED_FUNCTIONS, noted_id, require_own

if TYPE_CHECKING:
    from migrator.steps.base import ReadContext, StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeFunctions(Step):
    """Take the property from `target` that turned the check of its functions off."""

    kind: ClassVar[str] = "resume_functions"
    target: CollectionRef

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"let the functions of {self.target.short} run"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when the property is not there."""
        found = ctx.target.find_collection(self.target)
        is_own = found is not None and found.collection_id == noted_id(ctx.ledger, self.target)
        if found is None or not is_own or UNCHECKED_FUNCTIONS in dict(found.properties):
            return Evidence.ABSENT
        return Evidence.DONE

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Drop it; one that is gone already stays so."""
        require_own(ctx, self.target)
        ctx.target.drop_property(self.target, UNCHECKED_FUNCTIONS)
        return Outcome()
