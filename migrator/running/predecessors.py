"""Undoing replacements: the collection that a run retired gets its name and its aliases back.

The run's own collection first gets the temporary name back under which it was built; then it goes, or stays, like any
other. Which id stands under which name tells how far this is, so it can be killed and done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import RunError
from migrator.model.timestamps import physical_ms
from migrator.steps.create_collection import noted_id
from migrator.steps.retire_predecessor import RetirePredecessor, rename

if TYPE_CHECKING:
    from migrator.model.collection import Collection, CollectionRef
    from migrator.ports.clock import Clock
    from migrator.ports.lease import Lease
    from migrator.ports.milvus import MilvusTarget
    from migrator.running.journal import Journal
    from migrator.running.runs import Run

RENAME_SETTLES_S = 30.0
"""How long a rename that was under way when the run was killed may still come about."""
CLEANED = "cleaned"
"""The note that `clean` has deleted a predecessor, made before it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heritage:
    """Who stands under which name: the predecessor and the run's own collection, None where they are not found."""

    old: Collection | None
    own: Collection | None
    holder: Collection | None
    """What has the target's name, whoever it is."""

    @property
    def is_undone(self) -> bool:
        """Whether the predecessor has its name."""
        return self.old is not None and self.old == self.holder

    @property
    def is_done(self) -> bool:
        """Whether the run's own collection has it."""
        return self.own is not None and self.own == self.holder


class Predecessors:
    """What one run replaced."""

    def __init__(self, run: Run, journal: Journal, target: MilvusTarget, *, lease: Lease, clock: Clock) -> None:
        self._journal = journal
        self._target = target
        self._lease = lease
        self._clock = clock
        self._steps = {step.temporary: step for step in run.plan.steps if isinstance(step, RetirePredecessor)}

    def asked(self) -> list[RetirePredecessor]:
        """Those of which the run may have requested a rename."""
        return [step for step in self._steps.values() if step.was_asked(self._journal)]

    def name_of(self, built_as: CollectionRef) -> CollectionRef:
        """The name that the collection gets in the end."""
        step = self._steps.get(built_as)
        return built_as if step is None else step.target

    def place(self, built_as: CollectionRef) -> CollectionRef:
        """Where the collection that the run built under that name stands now, if it stands anywhere."""
        step = self._steps.get(built_as)
        own = noted_id(self._journal, built_as)
        found = None if step is None or own is None else self._find(step.target)
        return built_as if found is None or found.collection_id != own else found.ref

    def followed(self, built_as: CollectionRef) -> frozenset[str]:
        """The aliases that came from the predecessor, and go back to it."""
        step = self._steps.get(built_as)
        return frozenset(step.aliases(self._journal) if step else ())

    def heritage(self, step: RetirePredecessor) -> Heritage:
        """Look."""
        own_id = noted_id(self._journal, step.temporary)
        refs = (step.target, step.temporary, step.retired)
        found = {ref: each for ref in refs if (each := self._find(ref)) is not None}
        by_id = {each.collection_id: each for each in found.values()}
        own = None if own_id is None else by_id.get(own_id)
        return Heritage(old=by_id.get(step.predecessor_id), own=own, holder=found.get(step.target))

    def _find(self, ref: CollectionRef) -> Collection | None:
        """Milvus refuses to look into a database that is not there."""
        return self._target.find_collection(ref) if ref.database in self._target.list_databases() else None

    def loss(self, built_as: CollectionRef) -> str:
        """Why nothing would be left in the place of the run's collection; empty where its predecessor is there."""
        step = self._steps.get(built_as)
        if step is None or not step.was_asked(self._journal) or self.heritage(step).old is not None:
            return ""
        return f"it replaced a collection that {self.fate(step)}: nothing would be left under {step.target.short}"

    def fate(self, step: RetirePredecessor) -> str:
        """What became of a predecessor that is not there any more."""
        is_cleaned = self._journal.notes(step.key).get(CLEANED) is True
        return "migrator clean has deleted" if is_cleaned else "somebody has dropped or renamed"

    def unsettled_s(self, step: RetirePredecessor) -> float:
        """Seconds until a rename that was requested cannot come about any more; 0 where none is under way."""
        asked_ts = step.asked_ts(self._journal)
        if asked_ts is None or self._journal.is_finished(step.key) or self.heritage(step).is_done:
            return 0.0
        age_ms = physical_ms(self._target.allocate_timestamp()) - physical_ms(asked_ts)
        return max(0.0, RENAME_SETTLES_S - age_ms / 1000)

    def missing_aliases(self, step: RetirePredecessor, found: Heritage) -> list[str]:
        """Those that the predecessor had and that went with its name: on the run's collection, or gone with it."""
        wanted = [alias for alias in step.aliases(self._journal) if found.old and alias not in found.old.aliases]
        if found.own is not None:
            return [alias for alias in wanted if alias in found.own.aliases]
        there = self._target.list_aliases(step.target.database)
        return [alias for alias in wanted if alias not in there]

    def restore(self, step: RetirePredecessor) -> None:
        """Give the predecessor its name and its aliases back; the run's own collection has its temporary one then.

        Raises:
            RunError: Another collection has the name.
        """
        found = self.heritage(step)
        if found.old is None:
            raise RunError(f"{step.retired.short} is gone")
        if found.holder is not None and found.holder not in (found.old, found.own):
            raise RunError(f"{step.target.short} is another collection now: rename that at the target, then repeat")
        self._lease.require_held(step.target)
        if found.own is not None and found.is_done:
            rename(self._target, step.target, step.temporary, found.own.collection_id)
        if not found.is_undone:
            rename(self._target, step.retired, step.target, step.predecessor_id)
        for alias in self.missing_aliases(step, self.heritage(step)):
            if found.own is not None:
                self._target.alter_alias(step.target, alias)
            else:
                self._target.create_alias(step.target, alias)
