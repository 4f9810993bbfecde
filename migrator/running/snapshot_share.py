"""A run's share of snapshots: what it took at the source, and what it asked the target to restore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.timestamps import physical_ms
from migrator.running.journal import StepEvent
from migrator.steps.create_snapshot import CreateSnapshot, asked_name
from migrator.steps.drop_snapshot import DropSnapshot
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.restored import ROWS, restored_rows
from migrator.steps.sent_jobs import settle_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.model.collection import CollectionRef
    from migrator.model.snapshot import RestoreJob
    from migrator.ports.clock import Clock
    from migrator.ports.milvus import MilvusReader
    from migrator.running.journal import Journal
    from migrator.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenSnapshot:
    """A snapshot that the run may have taken; `may_come` if its creation was under way when the run was killed."""

    source: CollectionRef
    name: str
    may_come: bool

    @property
    def label(self) -> str:
        """As people are told of it."""
        return f"{self.name} of {self.source.short}"


class SnapshotShare:
    """What the journal of a run says of its snapshots."""

    def __init__(self, steps: Sequence[Step], journal: Journal) -> None:
        self._journal = journal
        self._creations = [step for step in steps if isinstance(step, CreateSnapshot)]
        self._restores = {step.target: step for step in steps if isinstance(step, RestoreSnapshot)}
        self._dropped = {
            step.source for step in steps if isinstance(step, DropSnapshot) and journal.is_finished(step.key)
        }

    def taken(self) -> Iterator[TakenSnapshot]:
        """Those that it asked for, and has not dropped itself."""
        for step in self._creations:
            name, last = asked_name(self._journal, step.planned.ref), self._journal.last_event(step.key)
            if name is not None and step.planned.ref not in self._dropped:
                was_killed = last is not None and last.event is StepEvent.STARTED
                yield TakenSnapshot(source=step.planned.ref, name=name, may_come=was_killed)

    def is_restored(self, target: CollectionRef) -> bool:
        """Whether it comes by a snapshot."""
        return target in self._restores

    def brought(self, target: CollectionRef) -> int:
        """The rows that came with it; as many as the snapshot had where the restore was not seen to its end."""
        step = self._restores[target]
        if ROWS in self._journal.notes(step.key):
            return restored_rows(self._journal, target)
        return frozen_dump(self._journal, step.source).raw_rows

    def under_way(self, target: MilvusReader) -> list[RestoreJob]:
        """Its restores that are not over, a lost one among them."""
        return [job for step in self._asked() for job in self._jobs(step, target) if not job.state.is_over]

    def unsettled_s(self, target: MilvusReader, clock: Clock) -> float:
        """How long a restore whose reply was lost may still turn up."""
        left = [0.0]
        for step in self._asked():
            notes = self._journal.notes(step.key)
            intent_at, intent_ts = notes.get("intent_at"), notes.get("intent_ts")
            if notes.get("job_id") is not None or not isinstance(intent_at, float) or not isinstance(intent_ts, int):
                continue
            if any(self._jobs(step, target)):
                continue
            by_target = (physical_ms(target.allocate_timestamp()) - physical_ms(intent_ts)) / 1000
            age_s, patience_s = min(by_target, clock.now().timestamp() - intent_at), settle_s(target)
            left.append(min(patience_s, patience_s - age_s))
        return max(left)

    def _asked(self) -> list[RestoreSnapshot]:
        """Those whose request may have left, and whose end was not seen."""
        steps = ((step, self._journal.notes(step.key)) for step in self._restores.values())
        return [step for step, notes in steps if notes.get("is_sent") and ROWS not in notes]

    def _jobs(self, step: RestoreSnapshot, target: MilvusReader) -> Iterator[RestoreJob]:
        notes = self._journal.notes(step.key)
        job_id, known = notes.get("job_id"), notes.get("known_ids")
        if isinstance(job_id, int):
            found = target.find_restore(job_id)
            yield from [] if found is None else [found]
            return
        before = set(known if isinstance(known, list) else ())
        yield from (job for job in target.list_restores(step.target) if job.job_id not in before)
