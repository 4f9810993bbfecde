"""What the plan asks for, held against both sides as far as they answer: by refresh and planner themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from migrator.errors import MigratorError, MilvusError, PlanError, StoreError
from migrator.planning.plan import Action
from migrator.planning.planner import make_plan, mapped
from migrator.running.preflight_stores import free_bytes
from migrator.running.refresh import Readers, refresh, source_names
from migrator.running.standins import EmptyMilvus, EmptyStore
from migrator.steps.create_collection import CreateCollection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from migrator.model.finding import Finding
    from migrator.model.observed import MigratedRecord
    from migrator.planning.plan import Plan
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.store import ObjectReader
    from migrator.running.doors import StorePlace
    from migrator.running.findings import Findings
    from migrator.spec.loaded import LoadedPlan

_STAND_IN_VERSION = "2.3.5"
"""Of a target that does not answer: one that this tool writes to, so that only the plan itself is complained about."""
_USUAL_SHARDS = 16
"""What Milvus allows unless its proxy.maxShardNum says otherwise, which it does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The parts that work; None is one that does not, or that the plan does not have."""

    source: MilvusReader | None
    target: MilvusReader | None
    source_store: ObjectReader | None
    target_store: ObjectReader | None
    staging: ObjectReader | None


def look_at_plan(
    loaded: LoadedPlan,
    whole: Whole,
    migrated: Sequence[MigratedRecord],
    findings: Findings,
    *,
    earlier: Iterable[Finding],
    reads_dumps: bool,
) -> Plan | None:
    """The plan that could be made; None where none can, and then why is a finding.

    Fields that have failed in `earlier` are not complained about once more, nor what stands on a part that is broken.
    """
    if whole.source is None:
        findings.skip("plan", "collections", "what the mappings select is not known: the source does not answer")
        return None
    broken = _broken(loaded, whole)
    failed = [found.field for found in earlier if found.exit_code]
    try:
        observed = refresh(loaded, _readers(loaded, whole), migrated)
        plan = make_plan(loaded, replace(observed, reads_dumps=reads_dumps))
    except PlanError as error:
        unknown = ["options.transfer.mode"] if {"source.storage", "staging"}.intersection(broken) else []
        _tell(error, findings, ignored=[*broken, *failed, *map(_storage_of, failed), *unknown])
        if whole.target is not None:
            _tell_swapped(loaded, error, whole.target, findings)
        return None
    except MigratorError as error:
        findings.error("plan", "source.milvus" if isinstance(error, MilvusError) else "source.storage", error)
        return None
    finally:
        for field in broken:
            findings.skip("plan", field, "what the plan asks of it: see what failed there")
    _tell_plan(plan, findings, is_whole=not broken)
    _look_at_shards(loaded, plan, findings)
    return plan


def _readers(loaded: LoadedPlan, whole: Whole) -> Readers:
    empty = EmptyStore()
    stand_in = None if loaded.target is None else cast("MilvusReader", EmptyMilvus(_STAND_IN_VERSION))
    if whole.source is None:
        raise AssertionError("a plan is looked at with its source")
    return Readers(
        source=whole.source,
        target=whole.target or stand_in,
        source_store=whole.source_store or empty,
        target_store=whole.target_store,
        staging=whole.staging or empty,
    )


def _broken(loaded: LoadedPlan, whole: Whole) -> list[str]:
    """The parts that do not work, by their field."""
    has_target = loaded.target is not None
    parts = (
        ("source.storage", whole.source_store is None),
        ("target.milvus", has_target and whole.target is None),
        ("target.storage", has_target and whole.target_store is None),
        ("staging", whole.staging is None),
    )
    return [field for field, is_broken in parts if is_broken]


def _storage_of(field: str) -> str:
    """The storage that a field belongs to, or the field: with a wrong bucket, nothing is known of its root path."""
    head, storage, _ = field.partition(".storage")
    return f"{head}{storage}" if storage else field


def _tell(error: PlanError, findings: Findings, *, ignored: Sequence[str]) -> None:
    """All complaints but those that follow from what is told already."""
    told = 0
    for complaint in error.complaints:
        field = complaint.field
        if not any(field == part or field.startswith(f"{part}.") for part in ignored):
            findings.complaint(_check_of(field), complaint, error.exit_code)
            told += 1
    if not told:
        findings.skip("plan", "", "whether a plan can be made: see what failed above")


def _tell_swapped(loaded: LoadedPlan, error: PlanError, target: MilvusReader, findings: Findings) -> None:
    """What the source does not have, the target may: then the two addresses are swapped."""
    fields = {complaint.field for complaint in error.complaints}
    wanted = [mapping for mapping in loaded.mappings if f"{mapping.field}.source" in fields]
    there = (ref for ref in source_names(target) if any(mapping.wants(ref) for mapping in wanted))
    found = next(there, None) if wanted else None
    if found is not None and loaded.source is not None:
        message = f"the target has {found.short}, which the source lacks: the two addresses may be swapped"
        findings.warn("plan.swapped", "source.milvus.uri", message, "compare source.milvus.uri and target.milvus.uri")


def _check_of(field: str) -> str:
    """The last word of the field: `plan.target`, `plan.backup_name`."""
    return f"plan.{field.rpartition('.')[2].partition('[')[0] or 'whole'}"


def _tell_plan(plan: Plan, findings: Findings, *, is_whole: bool) -> None:
    todo = [each for each in plan.collections if each.action is Action.MIGRATE]
    rest = len(plan.collections) - len(todo)
    done = f", {rest} with nothing to do" if rest else ""
    so_far = "" if is_whole else "as far as it was looked at, "
    verb = "bring over" if plan.target is not None else "back up"
    number = f"{len(todo)} of {len(plan.collections)}"
    findings.ok("plan", f"{so_far}a plan can be made: {number} collections to {verb}{done}")


def _look_at_shards(loaded: LoadedPlan, plan: Plan, findings: Findings) -> None:
    """Milvus does not tell its limit: the canary asks for as many, and this is what can be said without it."""
    for field, shards in wanted_shards(loaded, plan):
        if shards > _USUAL_SHARDS:
            message = f"{shards} shards: Milvus takes {_USUAL_SHARDS} at most, unless its proxy.maxShardNum says more"
            findings.warn("plan.shards_num", field, message, f"set it to {_USUAL_SHARDS} or less; --canary finds out")


def wanted_shards(loaded: LoadedPlan, plan: Plan) -> list[tuple[str, int]]:
    """The shards that each collection to be created asks for, with the field to change, most first."""
    creates = {step.target: step.shards_num for step in plan.steps if isinstance(step, CreateCollection)}
    mappings = {item.source: item.mapping for item in mapped(loaded, [each.source for each in plan.collections])}
    found: dict[str, int] = {}
    for planned in plan.collections:
        if planned.built_as in creates and planned.action is Action.MIGRATE:
            mapping = mappings[planned.source]
            key = "source" if mapping.create.shards_num is None else "create.shards_num"
            field, shards = f"{mapping.field}.{key}", creates[planned.built_as]
            found[field] = max(shards, found.get(field, 0))
    return sorted(found.items(), key=lambda each: -each[1])


def look_at_room(plan: Plan, place: StorePlace, findings: Findings, *, may_link: bool) -> None:
    """Whether the dump fits; nobody tells it of a bucket. Links, which local copies are on one disk, take no room."""
    wanted = sum(each.estimate.size_bytes for each in plan.collections if each.action is Action.MIGRATE)
    free = free_bytes(place)
    mib = max(1, wanted / 1024**2)
    if free is None:
        findings.unknown(
            "staging.room", place.field, f"no service tells how much room there is; {mib:,.0f} MiB are needed"
        )
    elif free < wanted:
        message = f"the dump needs {mib:,.0f} MiB, and {free / 1024**2:,.0f} MiB are free"
        if may_link:
            hint = "make room, unless source and dump lie on one disk"
            findings.warn("staging.room", place.root_field, message, hint)
            return
        findings.fail(
            "staging.room",
            place.root_field,
            message,
            "make room, or choose another place",
            exit_code=StoreError.exit_code,
        )
    else:
        findings.ok("staging.room", f"{mib:,.0f} MiB are needed, {free / 1024**2:,.0f} MiB are free")
