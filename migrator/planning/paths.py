"""Which step the end of a run waits for: the longest path through the graph, and what most of the time goes to."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from migrator.planning.pace import Pace, works_of
from migrator.steps.import_segments import ImportSegments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from migrator.planning.plan import Plan
    from migrator.steps.base import Step


def longest_paths(steps: Sequence[Step], seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds from the beginning of each step to the end of all that needs it; `steps` come after what they need."""
    found: dict[str, float] = {}
    behind: dict[str, float] = defaultdict(float)
    for step in reversed(steps):
        found[step.key] = seconds.get(step.key, 0.0) + behind[step.key]
        for needed in step.needs:
            behind[needed] = max(behind[needed], found[step.key])
    return found


def paths_of(plan: Plan, pace: Pace | None = None) -> dict[str, float]:
    """The same of a plan's steps, as long as they are expected to take."""
    return longest_paths(plan.steps, (pace or Pace()).middles(works_of(plan)))


def empty_imports(plan: Plan) -> frozenset[str]:
    """The keys of imports of collections that were empty when they were planned: those are over in a moment."""
    works = works_of(plan).items()
    empty = {key for key, work in works if not (work.rows or work.objects or work.requests)}
    return frozenset(step.key for step in plan.steps if isinstance(step, ImportSegments) and step.key in empty)
