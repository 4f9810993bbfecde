"""Users, roles and grants of both sides: what the target lacks is added, and nothing is taken away there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from migrator.model.collection import CollectionRef
from migrator.model.rbac import ANY, BUILT_IN_ROLES, COLLECTION_OBJECT, ROOT, USER_OBJECT
from migrator.planning.plan import Access
from migrator.steps.restore_rbac import RestoreRbac, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from migrator.model.observed import ObservedState
    from migrator.model.rbac import Grant, Rbac
    from migrator.planning.item import PlannedItem
    from migrator.steps.base import Step

ONLY_NOTICE = "users, roles and grants do not come along: --only leaves a part of the plan for later"


def plan_access(observed: ObservedState, items: Sequence[PlannedItem], steps: Iterable[Step]) -> _PlannedAccess | None:
    """What of the source's users, roles and grants the target lacks; None where they were not asked for."""
    if observed.access is None:
        return None
    comparison = _Comparison(observed.access.source, observed.access.target, _Names(observed, items))
    return comparison.planned(tuple(steps), tells_stays=not observed.same_milvus)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlannedAccess:
    """What is told of it, and the step that does it, if there is anything to do."""

    told: Access
    step: RestoreRbac | None


class _Names:
    """What the target holds once the plan is done, and under which names."""

    def __init__(self, observed: ObservedState, items: Sequence[PlannedItem]) -> None:
        there = observed.access.target_names if observed.access else ()
        self._there = {*there, *(item.target for item in items)}
        self.databases = {ANY, *observed.target_databases, *(item.target.database for item in items)}
        self._moved = {item.source: item.target for item in items}
        for item in items:
            self._there |= {CollectionRef(item.target.database, alias) for alias in item.aliases}
            for alias in item.collection.aliases:
                copied = CollectionRef(item.target.database, alias)
                if copied in self._there:
                    self._moved[CollectionRef(item.source.database, alias)] = copied

    def of(self, database: str, name: str) -> Iterator[tuple[str, str]]:
        """Databases and names that a grant on `name` in `database`, or in any, has to be written for; none if lost."""
        if database != ANY:
            ref = CollectionRef(database, name)
            found = self._moved.get(ref, ref)
            if found in self._there:
                yield found.database, found.name
            return
        moved = {target for source, target in self._moved.items() if source.name == name}
        if any(ref.name == name for ref in self._there):
            yield ANY, name
        yield from sorted((ref.database, ref.name) for ref in moved if ref.name != name)


class _Comparison:
    def __init__(self, source: Rbac, target: Rbac, names: _Names) -> None:
        self._source = source
        self._target = target
        self._names = names
        self._users = {ROOT, *target.users}

    def planned(self, steps: tuple[Step, ...], *, tells_stays: bool) -> _PlannedAccess:
        """The difference: told, and as a step that follows all others."""
        written = {grant: tuple(self._written(grant)) for grant in self._source.grants}
        wanted = {new for news in written.values() for new in news}
        needed = {key for step in steps for key in step.needs}
        step = RestoreRbac(
            follows=tuple(step.key for step in steps if step.key not in needed),
            roles=tuple(sorted(set(self._source.roles) - set(self._target.roles))),
            grants=tuple(sorted(wanted - set(self._target.grants))),
            bindings=tuple(
                b for b in self._source.bindings if b not in self._target.bindings and b.user in self._users
            ),
        )
        told = Access(
            added=tuple(name_of(right) for right in step.rights),
            changed=tuple(_renamed(old, news) for old, news in written.items() if news and news != (old,)),
            not_carried=(
                *self._users_left_behind(),
                *(f"{grant}: {self._reason(grant)}" for grant, news in written.items() if not news),
            ),
            stays=tuple(self._stays(wanted)) if tells_stays else (),
        )
        return _PlannedAccess(told=told, step=step if step.rights else None)

    def _written(self, grant: Grant) -> Iterator[Grant]:
        """The grant as the target shall have it; nothing where that makes no sense there."""
        if grant.object_type == COLLECTION_OBJECT and grant.object_name != ANY:
            for database, name in self._names.of(grant.database, grant.object_name):
                yield replace(grant, database=database, object_name=name)
        elif grant.database in self._names.databases and not self._lacks_user(grant):
            yield grant

    def _lacks_user(self, grant: Grant) -> bool:
        return grant.object_type == USER_OBJECT and grant.object_name not in {ANY, *self._users}

    def _reason(self, grant: Grant) -> str:
        if grant.database not in self._names.databases:
            return f"the target has no database {grant.database}"
        if self._lacks_user(grant):
            return f"the target has no user {grant.object_name}"
        return f"no mapping brings {grant.object_name}, and the target has none of that name"

    def _users_left_behind(self) -> Iterator[str]:
        roles: dict[str, list[str]] = defaultdict(list)
        for binding in self._source.bindings:
            roles[binding.user].append(binding.role)
        for user in self._source.users:
            if user not in self._users:
                with_roles = f", with {', '.join(roles[user])}" if user in roles else ""
                yield (
                    f"user {user}{with_roles}: Milvus hands out and takes password hashes from 2.4.9 on, so create it "
                    f"at the target with its password and apply again, which gives it its roles"
                )

    def _stays(self, wanted: set[Grant]) -> Iterator[str]:
        """What only the target has: of roles the source has too, their grants and users as well."""
        yield from (f"user {name}" for name in self._target.users if name not in self._source.users)
        yield from (f"role {name}" for name in self._target.roles if name not in self._source.roles)
        shared = {*self._source.roles, *BUILT_IN_ROLES}
        yield from (str(grant) for grant in self._target.grants if grant.role in shared and grant not in wanted)
        known = set(self._source.bindings)
        yield from (str(each) for each in self._target.bindings if each.role in shared and each not in known)


def _renamed(old: Grant, news: tuple[Grant, ...]) -> str:
    names = ", ".join(f"{new.database}.{new.object_name}" for new in news)
    return f"{old}: granted on {names} at the target"
