"""What a plan took for granted, looked at again once the leases are held and before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.errors import StalePlan
from migrator.planning.places import claims_folder
from migrator.planning.plan import Action
from migrator.steps.copy_segments import CopySegments
from migrator.steps.dump_claim import read_claims
from migrator.steps.retire_predecessor import stands

if TYPE_CHECKING:
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.store import ObjectReader
    from migrator.running.runs import Run

_HINT = "plan again: another run may have been quicker"


def require_premises(run: Run, target: MilvusReader | None, staging: ObjectReader) -> None:
    """See that the names are still free at the target, or those of what is to be replaced, and the dump nobody else's.

    Raises:
        StalePlan: The world moved between the plan and the leases.
    """
    if target is not None:
        _require_free(run, target)
    copies = [step for step in run.plan.steps if isinstance(step, CopySegments)]
    known = {name for step in copies for name in step.earlier_runs}
    for claim in read_claims(staging, claims_folder(run.loaded)) if copies else ():
        if claim.run_id not in known:
            raise StalePlan(
                f"run {claim.run_id} of plan {claim.plan} has begun the dump {run.plan.dump} since it was planned",
                hint=_HINT,
            )


def _require_free(run: Run, target: MilvusReader) -> None:
    todo = [planned for planned in run.plan.collections if planned.action is Action.MIGRATE]
    for planned in todo:
        name, old = planned.target, planned.replaces
        if name is not None and old is not None and not stands(target, name, old.collection_id):
            raise StalePlan(f"{name.short} is not what it was when it was planned to replace it", hint=_HINT)
    names = [planned.built_as for planned in todo]
    names += [planned.replaces.retired for planned in todo if planned.replaces is not None]
    wanted = [name for name in names if name is not None]
    existing = set(target.list_databases())
    for database in sorted({ref.database for ref in wanted} & existing):
        taken = {*target.list_collections(database), *target.list_aliases(database)}
        if clash := next((ref for ref in wanted if ref.database == database and ref.name in taken), None):
            raise StalePlan(f"{clash.short} has appeared at the target since it was planned", hint=_HINT)
