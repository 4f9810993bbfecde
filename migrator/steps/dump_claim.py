"""Whose a dump is: one small object per run that copied into it, beside the dump and outside of every root path.

The dump's own folder holds nothing but what milvus-backup knows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import StagedFilesDiffer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.steps.base import StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpClaim:
    """What a run says of a dump; `since` is UTC in ISO format."""

    run_id: str
    plan: str
    since: str


def read_claims(store: ObjectReader, folder: str) -> Iterator[DumpClaim]:
    """The runs that copied into the dump whose claims lie in `folder`."""
    for entry in store.list_objects(folder):
        yield DumpClaim(**json.loads(store.read(entry.key)))


def drop_claim(store: ObjectStore, folder: str, run_id: str) -> None:
    """Take a run's claim away, once nothing of it lies in the dump."""
    store.delete([_key(folder, run_id)])


def claim_dump(
    ctx: StepContext, *, plan: str, dump_prefix: str, claims_folder: str, earlier_runs: tuple[str, ...]
) -> None:
    """Make sure that the dump is this run's, or one that `earlier_runs` of the plan made; say so beside it.

    The lease of the dump is held, so nobody else claims it between the look and the claim.

    Raises:
        StagedFilesDiffer: Somebody else's files lie there.
    """
    ctx.lease.require_dump_held()
    claims = list(read_claims(ctx.staging, claims_folder))
    if any(claim.run_id == ctx.run_id for claim in claims):
        return
    known = {*earlier_runs, ctx.run_id}
    hint = "choose another staging.backup_name: migrator rollback gives this run up"
    if stranger := next((claim for claim in claims if claim.run_id not in known), None):
        raise StagedFilesDiffer(
            f"the dump {dump_prefix} belongs to run {stranger.run_id} of plan {stranger.plan}", hint=hint
        )
    if not known - {ctx.run_id} and (found := next(iter(ctx.staging.list_objects(dump_prefix)), None)):
        raise StagedFilesDiffer(f"the dump holds {found.key}, which this run did not put there", hint=hint)
    claim = {"run_id": ctx.run_id, "plan": plan, "since": ctx.clock.now().isoformat()}
    ctx.staging.write(_key(claims_folder, ctx.run_id), json.dumps(claim).encode())


def _key(folder: str, run_id: str) -> str:
    return f"{folder}/{run_id}.json"
