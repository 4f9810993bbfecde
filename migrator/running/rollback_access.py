"""Undoing what a run added to users, roles and grants: all of it is noted, and nothing else is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import RunError
from migrator.model.rbac import Binding, Grant
from migrator.steps.restore_rbac import RestoreRbac, Right, is_own_right, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.rbac import Rbac
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.milvus import MilvusTarget
    from migrator.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleShare:
    """What a run added to one role, as far as it is there; `foreign` is what others gave to a role of the run's own."""

    role: str
    is_own: bool
    """Whether the run created the role."""
    found: tuple[Right, ...] = ()
    foreign: tuple[Right, ...] = ()

    @property
    def in_words(self) -> str:
        """What would go."""
        grants = sum(isinstance(right, Grant) for right in self.found)
        users = sum(isinstance(right, Binding) for right in self.found)
        return f"{_counted(grants, 'grant')} and {_counted(users, 'user')}"

    @property
    def foreign_in_words(self) -> str:
        """What others gave to it."""
        listed = ", ".join(map(name_of, self.foreign[:3]))
        return listed + (f" and {len(self.foreign) - 3} more" if len(self.foreign) > 3 else "")


class AccessShare:
    """What a run added at the target; its journal tells it."""

    def __init__(self, steps: Iterable[Step], ledger: LedgerReader) -> None:
        rights = [right for step in steps if isinstance(step, RestoreRbac) for right in step.rights]
        self._own = [right for right in rights if is_own_right(ledger, right)]

    def shares(self, target: MilvusTarget) -> list[RoleShare]:
        """Role by role, those too of which nothing is left."""
        roles = sorted({_role_of(right) for right in self._own})
        if not roles:
            return []
        found = target.read_rbac()
        return [self._share(role, found) for role in roles]

    def remove(self, target: MilvusTarget, role: str, *, force: bool) -> None:
        """Take back what the run gave, and drop the role if it is the run's; by force with all that others gave to it.

        Raises:
            RunError: Others gave something to it meanwhile.
        """
        share = next(share for share in self.shares(target) if share.role == role)
        if share.foreign and not force:
            raise RunError(f"role {role} got {share.foreign_in_words} meanwhile")
        grants = [right for right in (*self._own, *share.foreign) if isinstance(right, Grant) and right.role == role]
        if not share.is_own or role in share.found:
            for grant in grants:  # seen or not: one in a database that is gone is not told, and would outlive the role
                target.revoke(grant)
            for binding in share.found:
                if isinstance(binding, Binding):
                    target.remove_from_role(binding)
        if role in share.found:
            target.drop_role(role)

    def _share(self, role: str, found: Rbac) -> RoleShare:
        rights: tuple[Right, ...] = (*found.roles, *found.grants, *found.bindings)
        there = [right for right in rights if _role_of(right) == role]
        is_own = role in self._own
        return RoleShare(
            role=role,
            is_own=is_own,
            found=tuple(right for right in there if right in self._own),
            foreign=tuple(right for right in there if right not in self._own) if is_own else (),
        )


def _role_of(right: Right) -> str:
    return right if isinstance(right, str) else right.role


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
