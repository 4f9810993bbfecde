"""How fast earlier runs were, as their journals tell."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from migrator.planning.pace import MOST_RUNS, Pace, Stretch, measure, works_of
from migrator.running.journal import StepEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.planning.pace import Measured
    from migrator.planning.plan import Plan
    from migrator.running.runs import Run, StateDirectory


def past_pace(state: StateDirectory, plan: Plan) -> Pace:
    """The pace of the latest runs between the same two servers, of whatever plan; a guess where there was none."""
    measured: list[dict[str, Measured]] = []
    for run in state.latest_runs():
        if _is_like(run.plan, plan) and (found := _measured(state, run)):
            measured.append(found)
        if len(measured) == MOST_RUNS:
            break
    return Pace.of_runs(measured[::-1])


def _is_like(past: Plan, plan: Plan) -> bool:
    """Whether both have the same source and target."""
    places = [(each.source.uri, None if each.target is None else each.target.uri) for each in (past, plan)]
    return places[0] == places[1]


def _measured(state: StateDirectory, run: Run) -> dict[str, Measured]:
    with state.journal(run) as journal:
        return measure(works_of(run.plan), stretches_of(journal.moments()))


def stretches_of(moments: Iterable[tuple[str, StepEvent, str]]) -> dict[str, Stretch]:
    """When each finished step was worked at, by its key: its last attempt, from its start to its end."""
    began: dict[str, float] = {}
    found: dict[str, Stretch] = {}
    for key, event, at in moments:
        at_s = datetime.fromisoformat(at).timestamp()
        if event is StepEvent.STARTED:
            began[key] = at_s
        elif key in began:
            found[key] = Stretch(began_s=began[key], ended_s=max(at_s, began[key]))
    return found
