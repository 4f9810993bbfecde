"""Collections that replacements leave at the target: predecessors that were kept, and what was built in vain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from migrator.errors import RunError
from migrator.running.journal import StepEvent
from migrator.running.predecessors import CLEANED
from migrator.steps.create_collection import CreateCollection, noted_id
from migrator.steps.retire_predecessor import RetirePredecessor
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from migrator.model.collection import Collection, CollectionRef
    from migrator.ports.lease import Lease
    from migrator.ports.milvus import MilvusReader, MilvusTarget
    from migrator.running.journal import Journal
    from migrator.running.runs import Run, StateDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A collection that was found; without `drop` it stays, for the reason given."""

    ref: CollectionRef
    reason: str
    drop: Callable[[MilvusTarget, Lease], None] | None = None


def retirements(run: Run) -> list[RetirePredecessor]:
    """The steps of a run that may have left such a collection."""
    return [step for step in run.plan.steps if isinstance(step, RetirePredecessor)]


class Retired:
    """What one run replaced; `runs` are all of its plan: a later one may have replaced what it brought."""

    def __init__(self, state: StateDirectory, runs: Sequence[Run], run: Run) -> None:
        self._state = state
        self._runs = runs
        self._run = run

    def find(self, target: MilvusReader) -> Iterator[Kept]:
        """All that is there."""
        with self._state.journal(self._run) as journal:
            is_undone = journal.rollback() is StepEvent.ROLLED_BACK
            for step in retirements(self._run):
                found = _find(target, step.retired)
                if found is not None and found.collection_id == step.predecessor_id and not is_undone:
                    yield self._kept(step, journal, target)
                found = _find(target, step.temporary)
                if found is not None and is_undone:
                    yield from self._built_in_vain(step, journal, found, target)

    def _kept(self, step: RetirePredecessor, journal: Journal, target: MilvusReader) -> Kept:
        was = f"was {step.target.short} until run {self._run.run_id} replaced it"
        if stays := self._why_it_stays(step, journal, target):
            return Kept(ref=step.retired, reason=f"{was}, {stays}")
        return Kept(ref=step.retired, reason=was, drop=partial(self._drop_retired, step))

    def _why_it_stays(self, step: RetirePredecessor, journal: Journal, target: MilvusReader) -> str:
        run = self._run
        if journal.rollback() is not None:
            return f"which is not rolled back yet: migrator rollback {run.run_id}"
        (planned,) = [each for each in run.plan.collections if each.target == step.target]
        if not all(map(journal.is_finished, run.keys_by_collection()[planned.label])):
            return f"which is unfinished: migrator apply --resume, or migrator rollback {run.run_id}"
        if not any(isinstance(each, VerifyCollection) and each.target == step.temporary for each in run.plan.steps):
            return "which verified nothing (verify: none); drop it by hand"
        return "" if self._has_successor(step, target) else "and what it brought is not there any more"

    def _has_successor(self, step: RetirePredecessor, target: MilvusReader) -> bool:
        """Whether what has the name was brought by this run, or by one that replaced that in turn."""
        found = _find(target, step.target)
        return found is not None and found.collection_id in set(self._brought(step.target))

    def _brought(self, ref: CollectionRef) -> Iterator[int]:
        """The ids that runs, as far as they are not undone, have given the name to."""
        for run in self._runs:
            with self._state.journal(run) as journal:
                own = noted_id(journal, ref)
                if own is not None and journal.rollback() is None:
                    yield own

    def _drop_retired(self, step: RetirePredecessor, target: MilvusTarget, lease: Lease) -> None:
        """Look once more, note it for a rollback, and drop it."""
        lease.require_held(step.target)
        found = _find(target, step.retired)
        if found is None:
            return
        if found.collection_id != step.predecessor_id or not self._has_successor(step, target):
            raise RunError(f"{step.retired.short} or {step.target.short} became another collection meanwhile")
        if found.aliases:
            raise RunError(f"somebody gave it aliases: {', '.join(found.aliases)}; move or drop them first")
        with self._state.journal(self._run, read_only=False) as journal:
            journal.note(step.key, {CLEANED: True})
        target.drop_collection(step.retired)

    def _built_in_vain(
        self, step: RetirePredecessor, journal: Journal, found: Collection, target: MilvusReader
    ) -> Iterator[Kept]:
        """A creation that came about only after its run was rolled back."""
        (create,) = [
            each for each in self._run.plan.steps if isinstance(each, CreateCollection) and each.target == found.ref
        ]
        absent_ts = journal.notes(create.key).get("absent_ts")
        if not isinstance(absent_ts, int):
            return
        try:
            create.require_ours(target, found, absent_ts)
        except RunError as error:
            yield Kept(ref=step.temporary, reason=error.message)
        else:
            reason = f"built for run {self._run.run_id}, which is rolled back"
            yield Kept(ref=step.temporary, reason=reason, drop=partial(_drop_built, found))


def _find(target: MilvusReader, ref: CollectionRef) -> Collection | None:
    return target.find_collection(ref) if ref.database in target.list_databases() else None


def _drop_built(built: Collection, target: MilvusTarget, lease: Lease) -> None:
    lease.require_held(built.ref)
    found = _find(target, built.ref)
    if found is not None and found.collection_id == built.collection_id:
        target.drop_collection(built.ref)
