"""`restore_rbac`: roles, grants and users' roles that the target lacks; nothing is taken away there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, RunError
from migrator.model.rbac import Binding, Grant
from migrator.steps.base import Evidence, Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.model.rbac import Rbac
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.milvus import MilvusTarget
    from migrator.steps.base import ReadContext, StepContext

Right = str | Grant | Binding
"""One thing that can be added: a role, by its name, a grant to a role, or a role of a user."""
_FEW = 20


def name_of(right: Right) -> str:
    """What it is called in notes and for people."""
    return f"role {right}" if isinstance(right, str) else str(right)


def is_own_right(ledger: LedgerReader, right: Right) -> bool:
    """Whether this run asked for it, and it was not there before."""
    return ledger.notes(RestoreRbac.kind).get(name_of(right)) is True


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRbac(Step):
    """Add what the target lacks of `roles`, `grants` and `bindings`, one request each; users have to be there."""

    kind: ClassVar[str] = "restore_rbac"
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    bindings: tuple[Binding, ...] = ()

    @property
    def key(self) -> str:
        """One per run."""
        return self.kind

    def describe(self) -> str:
        """What it does, in a few words."""
        counts = (("role", self.roles), ("grant", self.grants), ("user-role binding", self.bindings))
        parts = [f"{len(found)} {noun}{'' if len(found) == 1 else 's'}" for noun, found in counts if found]
        return f"add {', '.join(parts)}"

    @property
    def rights(self) -> tuple[Right, ...]:
        """All of it, each after what it stands on."""
        return (*self.roles, *self.grants, *self.bindings)

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when nothing is missing."""
        return Evidence.ABSENT if self._missing(ctx.target.read_rbac()) else Evidence.DONE

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Add what is missing; what is refused does not keep the rest from being added, and fails the step after it."""
        refusals = list(self._add_all(ctx))
        found = ctx.target.read_rbac()
        if left := self._missing(found):
            why = f": {refusals[0]}" if refusals else ""
            raise RunError(
                f"{len(left)} of {len(self.rights)} roles and grants are missing at the target, such as "
                f"{name_of(left[0])}{why}",
                hint="see that the target knows them and its login may manage roles, then run migrator apply --resume",
            )
        added = [right for right in self.rights if is_own_right(ctx.ledger, right)]
        detail = f"added {len(added)}: {_listed(added)}" if added else "all there"
        inherited = [grant for grant in found.grants if grant.role in added and grant not in self.grants]
        more = f"; there of earlier roles of the same name: {_listed(inherited)}" if inherited else ""
        return Outcome(detail=detail + more)

    def _missing(self, found: Rbac) -> list[Right]:
        there: set[Right] = {*found.roles, *found.grants, *found.bindings}
        return [right for right in self.rights if right not in there]

    def _add_all(self, ctx: StepContext) -> Iterator[str]:
        """Each is noted before it is asked for, so that a rollback knows it for this run's own; yields refusals."""
        missing = self._missing(ctx.target.read_rbac())
        for number, right in enumerate(missing, start=1):
            ctx.lease.require_dump_held()
            self.note(ctx, **{name_of(right): True})
            try:
                _add(ctx.target, right)
            except MilvusRefused as error:  # not known there, or somebody was quicker
                self.note(ctx, **{name_of(right): False})
                yield error.message
            ctx.progress(done=number, total=len(missing), unit="rights")


def _listed(rights: Sequence[Right]) -> str:
    more = f" and {len(rights) - _FEW} more" if len(rights) > _FEW else ""
    return ", ".join(map(name_of, rights[:_FEW])) + more


def _add(target: MilvusTarget, right: Right) -> None:
    if isinstance(right, str):
        target.create_role(right)
    elif isinstance(right, Grant):
        target.grant(right)
    else:
        target.add_to_role(right)
