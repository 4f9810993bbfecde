"""What a plan took for granted, looked at again once the leases are held and before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.errors import StalePlan
from migrator.planning.places import claims_folder
from migrator.planning.plan import Action
from migrator.steps.copy_segments import CopySegments
from migrator.steps.dump_claim import read_claims

if TYPE_CHECKING:
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.store import ObjectReader
    from migrator.running.runs import Run

_HINT = "plan again: another run may have been quicker"


def require_premises(run: Run, target: MilvusReader | None, staging: ObjectReader) -> None:
    """See that the names are still free at the target and that nobody else has begun the dump meanwhile.

    Raises:
        StalePlan: The world moved between the plan and the leases.
    """
    if target is not None:
        _require_free(run, target)
    known = {name for step in run.plan.steps if isinstance(step, CopySegments) for name in step.earlier_runs}
    for claim in read_claims(staging, claims_folder(run.loaded)):
        if claim.run_id not in known:
            raise StalePlan(
                f"run {claim.run_id} of plan {claim.plan} has begun the dump {run.plan.dump} since it was planned",
                hint=_HINT,
            )


def _require_free(run: Run, target: MilvusReader) -> None:
    planned = [each.target for each in run.plan.collections if each.action is Action.MIGRATE]
    wanted = [ref for ref in planned if ref is not None]
    existing = set(target.list_databases())
    for database in sorted({ref.database for ref in wanted} & existing):
        taken = {*target.list_collections(database), *target.list_aliases(database)}
        if clash := next((ref for ref in wanted if ref.database == database and ref.name in taken), None):
            raise StalePlan(f"{clash.short} has appeared at the target since it was planned", hint=_HINT)
