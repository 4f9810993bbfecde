"""A run as its journal tells it: what became of each collection and each step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migrator.planning.plan import Action
from migrator.steps.clean_staging import DELETED, CleanStaging
from migrator.steps.restored import RESTORE_SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from migrator.planning.plan import Plan, PlannedCollection


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """One step: its state, and what its last entry says."""

    key: str
    describe: str
    collection: str
    state: str
    at: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSummary:
    """One mapped collection; `rows` are those the import jobs brought, None as long as that is not known."""

    source: str
    target: str | None
    """None where the run makes a backup and nothing else."""
    state: str
    rows: int | None
    verdict: str

    @property
    def arrow(self) -> str:
        """`coll → coll_bak`."""
        return self.source if self.target is None else f"{self.source} → {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run as a whole."""

    run_id: str
    plan: str
    created_at: str
    state: str
    dump: str
    """Empty where the run deleted it."""
    collections: tuple[CollectionSummary, ...]
    steps: tuple[StepSummary, ...]


Entry = tuple[str, str, "Mapping[str, Any]"]
"""State, time, and data of a step's last entry."""


def summarize(plan: Plan, *, run_id: str, created_at: str, entry_of: Callable[[str], Entry]) -> RunSummary:
    """Plan and journal to a summary; `entry_of` gives a step's last entry by its key."""
    steps = tuple(_step(step.key, step.describe(), step.collection, entry_of(step.key)) for step in plan.steps)
    own: dict[str, list[StepSummary]] = defaultdict(list)
    for step in steps:
        own[step.collection].append(step)
    collections = tuple(_collection(planned, own[planned.label], entry_of) for planned in plan.collections)
    states = {step.state for step in steps}
    state = "finished" if states <= {"finished"} else "failed" if "failed" in states else "unfinished"
    is_deleted = any(
        isinstance(each, CleanStaging) and entry_of(each.key)[2].get("detail") == DELETED for each in plan.steps
    )
    return RunSummary(
        run_id=run_id,
        plan=plan.name,
        created_at=created_at,
        state=state,
        dump="" if is_deleted else plan.dump,
        collections=collections,
        steps=steps,
    )


def _step(key: str, describe: str, collection: str, entry: Entry) -> StepSummary:
    state, at, data = entry
    return StepSummary(
        key=key,
        describe=describe,
        collection=collection,
        state=state,
        at=at,
        detail=_detail(data),
        hint=str(data.get("hint", "")) if state == "failed" else "",
    )


def _detail(data: Mapping[str, Any]) -> str:
    if "message" in data:
        return str(data["message"])
    parts = [f"{data[name]:,} {name}" for name in ("rows", "objects") if data.get(name)]
    return "; ".join([*parts, *filter(None, [str(data.get("detail", ""))])])


def _collection(
    planned: PlannedCollection, own: list[StepSummary], entry_of: Callable[[str], Entry]
) -> CollectionSummary:
    failed = next((step for step in own if step.state == "failed"), None)
    verified = next((step for step in own if step.key.startswith("verify_collection:")), None)
    if planned.action is not Action.MIGRATE:
        state, verdict = "nothing to do", ""
    elif failed is not None:
        state, verdict = "failed", failed.detail
    elif planned.target is None:
        state, verdict = ("done" if all(step.state == "finished" for step in own) else "unfinished"), ""
    elif all(step.state == "finished" for step in own):
        state = "done"
        verdict = str(entry_of(verified.key)[2].get("detail", "")) if verified else "not verified (verify: none)"
    else:
        state, verdict = "unfinished", ""
    found = (entry_of(f"{kind}:{planned.built_as}")[2].get("rows") for kind in ("import_segments", RESTORE_SNAPSHOT))
    rows = next((each for each in found if each is not None), None)
    return CollectionSummary(
        source=planned.source.short,
        target=None if planned.target is None else planned.target.short,
        state=state,
        rows=rows if isinstance(rows, int) else None,
        verdict=verdict,
    )
