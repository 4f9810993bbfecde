"""Rows that are seen together: where a target's import jobs wait to be committed, that is one step of the whole run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.steps.commit_imports import CommitImports, ImportedCollection
from migrator.steps.import_deletes import ImportDeletes
from migrator.steps.import_segments import ImportSegments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.steps.base import Step

TOGETHER = (
    "the target shows rows of this run only once all its collections are imported: one that fails holds the others back"
)


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
