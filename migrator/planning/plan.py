"""The plan: steps, the state they were made for, and a digest; its JSON form is versioned and deterministic."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from migrator.errors import RunError
from migrator.model.codec import from_json, from_plain, to_plain
from migrator.model.collection import CollectionRef
from migrator.model.observed import Estimate
from migrator.planning.json_pieces import canonical
from migrator.planning.replacing import Predecessor
from migrator.steps.base import Step
from migrator.steps.registry import STEP_KINDS
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.seal_dump import SealDump

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT_VERSION = 1
_KIND = re.compile(r'\{"kind": "(\w+)"')


class Action(StrEnum):
    """What a plan does with a mapped collection."""

    MIGRATE = "migrate"
    DONE = "done"
    """This plan migrated and verified it before."""
    SKIP = "skip"
    """`if_exists: skip`, and it exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A cluster as the plan saw it; or a backup, whose name is `backup`, and whose `uri` is where it lies."""

    uri: str
    version: str
    bucket: str
    root_path: str
    backup: str = ""
    made_at: str = ""
    """Of a backup: UTC in ISO format, empty where it is not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCollection:
    """One mapped collection, for people: what comes along, what is changed by the plan, what does not come along."""

    source: CollectionRef
    target: CollectionRef | None
    """None where the plan makes a backup and nothing else."""
    action: Action
    estimate: Estimate
    carried: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    not_carried: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    reason: str = ""
    """Why there is nothing to do."""
    replaces: Predecessor | None = None

    @property
    def label(self) -> str:
        """What its steps are grouped under."""
        return (self.target or self.source).short

    @property
    def built_as(self) -> CollectionRef | None:
        """The name that steps act on, and note under, until it is given its own."""
        return self.target if self.replaces is None else self.replaces.temporary


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Users, roles and grants, for people; `stays` is what only the target has."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    not_carried: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be done; equal inputs give equal plans, byte for byte."""

    name: str
    description: str
    source: Side
    target: Side | None
    """None where the plan makes a backup and nothing else."""
    dump: str
    """`<bucket>/<root_path>/<backup_name>`, for people."""
    collections: tuple[PlannedCollection, ...]
    notices: tuple[str, ...]
    steps: tuple[Step, ...]
    digest: str
    access: Access | None = None
    """None where `rbac` is off, or `--only` leaves a part of the plan out."""

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.steps)


def has_dump(plan: Plan) -> bool:
    """Whether any collection goes, or would go, by way of one."""
    kinds = {step.kind for step in plan.steps}
    return RestoreSnapshot.kind not in kinds or SealDump.kind in kinds


def digest_of(parts: Mapping[str, object]) -> str:
    """The SHA-256 of the parts' canonical JSON; an iterator counts as a list, and is never held as one."""
    found = hashlib.sha256()
    for text in canonical(parts):
        found.update(text.encode())
    return found.hexdigest()


def step_to_plain(step: Step) -> dict[str, Any]:
    """A step with its kind and key, as JSON data."""
    return {"kind": step.kind, "key": step.key, "describe": step.describe(), **to_plain(step)}


def step_from_plain(plain: Mapping[str, Any]) -> Step:
    """The step that `step_to_plain` wrote."""
    return from_plain(_kind(plain["kind"]), plain)


def step_from_json(text: str) -> Step:
    """The same of its JSON, which begins with its kind."""
    found = _KIND.match(text)
    return step_from_plain(json.loads(text)) if found is None else from_json(_kind(found[1]), text)


def _kind(name: str) -> type[Step]:
    kind = STEP_KINDS.get(name)
    if kind is None:
        raise RunError(
            f"the run has a step of kind {name!r}, which this version of migrator does not know",
            hint="use the version of migrator that began the run, or a newer one",
        )
    return kind


def plan_to_plain(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data, without secrets: none ever enters one."""
    parts = plan_parts(plan)
    return parts | {name: list(parts[name]) for name in ("collections", "steps")}


def plan_parts(plan: Plan) -> dict[str, Any]:
    """The same with iterators for its collections and steps, which are made while they are written."""
    return {
        "format_version": FORMAT_VERSION,
        "name": plan.name,
        "description": plan.description,
        "digest": plan.digest,
        "source": to_plain(plan.source),
        "target": None if plan.target is None else to_plain(plan.target),
        "dump": plan.dump,
        "has_changes": plan.has_changes,
        "notices": list(plan.notices),
        "collections": map(to_plain, plan.collections),
        "access": None if plan.access is None else to_plain(plan.access),
        "steps": map(step_to_plain, plan.steps),
    }


def plan_from_plain(plain: Mapping[str, Any]) -> Plan:
    """The plan that `plan_to_plain` wrote."""
    collections = from_plain(tuple[PlannedCollection, ...], plain["collections"])
    return plan_of(plain, collections=collections, steps=map(step_from_plain, plain["steps"]))


def plan_of(plain: Mapping[str, Any], *, collections: Iterable[PlannedCollection], steps: Iterable[Step]) -> Plan:
    """The same of values that were read already."""
    if plain["format_version"] > FORMAT_VERSION:
        raise RunError(
            f"the plan has format {plain['format_version']}, and this version of migrator reads up to {FORMAT_VERSION}",
            hint="use the version of migrator that wrote it, or a newer one",
        )
    return Plan(
        name=plain["name"],
        description=plain["description"],
        digest=plain["digest"],
        source=from_plain(Side, plain["source"]),
        target=None if plain["target"] is None else from_plain(Side, plain["target"]),
        dump=plain["dump"],
        notices=tuple(plain["notices"]),
        collections=tuple(collections),
        steps=tuple(steps),
        access=from_plain(Access, plain["access"]) if plain.get("access") else None,
    )
