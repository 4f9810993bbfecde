"""Where a run stands for whoever looks from another terminal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from migrator.running.progress_file import find_attempt

if TYPE_CHECKING:
    from migrator.ports.clock import Clock
    from migrator.running.journal import StepEvent
    from migrator.running.progress_file import Attempt
    from migrator.running.runs import Run, StateDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Whether somebody is at a run, what that process last said, and the command that goes on with it.

    `process` is in words, empty where nobody is at it and nobody was killed; `silent_s` is since `attempt` was written.
    """

    age_s: float
    attempt: Attempt | None
    silent_s: float
    process: str
    is_alive: bool
    go_on: str


def situation_of(run: Run, state: StateDirectory, clock: Clock) -> Situation:
    """From the local lock, the progress file and the journal; nothing is written."""
    holder, attempt, rollback = state.find_local_holder(run.plan.name), find_attempt(run.folder), state.rollback_of(run)
    with state.journal(run) as journal:
        is_unfinished = run.is_unfinished(journal)
    is_alive = is_unfinished and rollback is None and holder is not None
    now = clock.now()
    return Situation(
        age_s=(now - datetime.fromisoformat(run.created_at)).total_seconds(),
        attempt=attempt,
        silent_s=0.0 if attempt is None else (now - datetime.fromisoformat(attempt.view.at)).total_seconds(),
        process=_process(attempt, holder) if is_unfinished else "",
        is_alive=is_alive and (attempt is None or attempt.process == holder),
        go_on=_go_on(run, rollback) if is_unfinished and holder is None else "",
    )


def _process(attempt: Attempt | None, holder: str | None) -> str:
    if attempt is not None:
        return f"{attempt.process} is {'alive' if attempt.process == holder else 'gone'}"
    return "" if holder is None else f"{holder} holds the plan"


def _go_on(run: Run, rollback: StepEvent | None) -> str:
    return "migrator apply --resume" if rollback is None else f"migrator rollback {run.run_id}"
