"""Rows that are seen together: where a target's import jobs wait to be committed, that is one step of the whole run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.model.capabilities import capabilities
from migrator.steps.commit_imports import CommitImports, ImportedCollection
from migrator.steps.import_deletes import ImportDeletes
from migrator.steps.import_segments import ImportSegments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.model.observed import ObservedState
    from migrator.planning.item import PlannedItem
    from migrator.steps.base import Step

TOGETHER = (
    "the target shows rows of this run only once all its collections are imported: one that fails holds the others back"
)
APART = (
    "the target shows rows as they are imported, collection by collection: it takes {most:,} import jobs at a time, "
    "and may count those that wait to be committed, of which this run would have about {jobs:,}"
)


def waits_for_all(observed: ObservedState, todo: Sequence[PlannedItem]) -> bool:
    """Whether import jobs wait to be committed together: where they can, and are no more than half of what it takes.

    Whether a job that waits counts among them is known of no release.
    """
    target = capabilities(observed.target_version)
    return target.auto_commit and _jobs(todo) <= target.most_jobs // 2


def committing_notices(observed: ObservedState, todo: Sequence[PlannedItem], steps: Sequence[Step]) -> Iterator[str]:
    """When rows are seen, where the target leaves that to the run."""
    if any(isinstance(step, CommitImports) and len(step.collections) > 1 for step in steps):
        yield TOGETHER
    target = capabilities(observed.target_version)
    imports = any(isinstance(step, ImportSegments) for step in steps)
    if imports and target.auto_commit and not waits_for_all(observed, todo):
        yield APART.format(most=target.most_jobs, jobs=_jobs(todo))


def _jobs(todo: Sequence[PlannedItem]) -> int:
    return sum(item.observed.estimate.import_requests for item in todo if item.snapshot is None)


def commit_together(steps: Sequence[Step], *, compares_counts: bool) -> list[Step]:
    """The steps, with one that commits all imports before whatever needs their rows to be seen.

    That is everything that needed an import: L0 deletes act on rows that are there, an index waits for them.
    """
    imports = [step for step in steps if isinstance(step, ImportSegments) and step.is_committed_later]
    if not imports:
        return list(steps)
    commit = CommitImports(
        needs=tuple(step.key for step in imports),
        collections=tuple(ImportedCollection(source=step.source, target=step.target) for step in imports),
        compares_counts=compares_counts and not any(isinstance(step, ImportDeletes) for step in steps),
    )
    wired = [_wired(step, commit) for step in steps]
    later = {commit.key}
    for step in wired:
        later |= {step.key} if later & set(step.needs) else set()
    before = [step for step in wired if step.key not in later]
    return [*before, commit, *(step for step in wired if step.key in later)]


def _wired(step: Step, commit: CommitImports) -> Step:
    others = tuple(key for key in step.needs if key not in commit.needs)
    return step if others == step.needs else replace(step, needs=(*others, commit.key))
