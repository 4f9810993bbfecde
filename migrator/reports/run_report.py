"""Everything a report says of one run: its outcome, and when each step was at work, out of plan and journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from migrator.model.timestamps import told_as_utc
from migrator.planning.plan import Action
from migrator.reports.plain import count
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from migrator.planning.plan import Plan, PlannedCollection
    from migrator.reports.summary import CollectionSummary, RunSummary, StepSummary
    from migrator.steps.base import Step

_ENDS = {"finished", "failed", "parked", "renewed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the journal says at one moment; `step_key` is empty for the run as a whole."""

    at: datetime
    step_key: str
    event: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time that a step was at work; `tries` is how often it began anew meanwhile, after errors that pass.

    `outcome` is `finished`, `failed`, `parked`, `renewed`, or `interrupted` where nothing came after its beginning.
    """

    began: datetime
    ended: datetime
    outcome: str
    tries: int = 1

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.began).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step: what it did, and when."""

    key: str
    kind: str
    describe: str
    state: str
    detail: str
    hint: str
    rows: int
    objects: int
    size_bytes: int
    attempts: tuple[Attempt, ...]
    needs: tuple[str, ...]
    follows: tuple[str, ...]
    number: int
    """Its place in the plan."""

    @property
    def seconds(self) -> float:
        """Of all attempts together."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of it."""
        return self.state == "finished"

    @property
    def retries(self) -> int:
        """How often it was tried again."""
        return max(0, sum(attempt.tries for attempt in self.attempts) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionReport:
    """One mapped collection; counts are None where nobody counted."""

    source: str
    target: str | None
    state: str
    verdict: str
    rows_imported: int | None
    source_rows: int | None
    target_rows: int | None
    objects: int
    size_bytes: int
    changed: tuple[str, ...]
    not_carried: tuple[str, ...]
    notices: tuple[str, ...]
    steps: tuple[StepReport, ...]
    as_of: datetime | None = None
    """The moment that its rows are of; None where that is not fixed, or not known."""

    @property
    def seconds(self) -> float:
        """That some step of it was at work, however long the run lay still between its sessions."""
        return _covered(attempt for step in self.steps for attempt in step.attempts)

    @property
    def rows_per_s(self) -> float | None:
        """Imported rows by the time it took as a whole; None where nothing was imported."""
        return self.rows_imported / self.seconds if self.rows_imported and self.seconds else None

    @property
    def retries(self) -> int:
        """Of all its steps."""
        return sum(step.retries for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run, whole."""

    plan: Plan
    run_id: str
    state: str
    dump: str
    began: datetime | None
    ended: datetime | None
    sessions: tuple[Attempt, ...]
    """The times that a process was at it."""
    collections: tuple[CollectionReport, ...]
    steps: tuple[StepReport, ...]
    """Those of the run as a whole."""

    @property
    def outcome(self) -> str:
        """A sentence for the top of a page: what became of the collections, and what is left."""
        total = len(self.collections)
        done = sum(each.state in {"done", "nothing to do"} for each in self.collections)
        if self.is_rolled_back or not total:
            return self.state[0].upper() + self.state[1:]
        if self.state == "finished":
            return "The collection is done" if total == 1 else f"All {total:,} collections are done"
        left = sum(not step.is_over for step in self.every_step)
        every = sum(1 for _ in self.every_step)
        return f"{done:,} of {count(total, 'collection')} done; {left:,} of {count(every, 'step')} left"

    @property
    def is_rolled_back(self) -> bool:
        """Whether what it made is gone, or on the way to it."""
        return "rolled back" in self.state

    @property
    def can_go_on(self) -> bool:
        """Whether `apply --resume` would find something to do."""
        return self.state in {"failed", "unfinished"}

    @property
    def every_step(self) -> Iterator[StepReport]:
        """Of the run, and of all collections."""
        yield from self.steps
        for each in self.collections:
            yield from each.steps

    @property
    def as_of(self) -> tuple[datetime, datetime] | None:
        """The first and the last of the moments that collections' rows are of."""
        known = sorted(each.as_of for each in self.collections if each.as_of is not None)
        return (known[0], known[-1]) if known else None

    @property
    def seconds(self) -> float:
        """That processes were at it."""
        return sum(session.seconds for session in self.sessions)

    @property
    def failures(self) -> tuple[StepReport, ...]:
        """Steps that failed, of collections and of the run."""
        return tuple(step for step in self.every_step if step.state == "failed")


def report_run(plan: Plan, summary: RunSummary, entries: Iterable[Entry], *, notes: Mapping[str, Any]) -> RunReport:
    """Plan, summary and journal to a report; `notes` are those of steps that freeze or verify, by key."""
    listed = list(entries)
    by_step: dict[str, list[Entry]] = {}
    for entry in listed:
        by_step.setdefault(entry.step_key, []).append(entry)
    breaks = _breaks(listed)
    maker = _StepMaker(plan, summary, by_step, breaks)
    sessions = _attempts(by_step.get("", []), breaks)
    return RunReport(
        plan=plan,
        run_id=summary.run_id,
        state=summary.state,
        dump=summary.dump,
        began=listed[0].at if listed else None,
        ended=listed[-1].at if listed else None,
        sessions=sessions,
        collections=tuple(
            _collection(planned, told, maker, notes)
            for planned, told in zip(plan.collections, summary.collections, strict=True)
        ),
        steps=tuple(maker.steps("")),
    )


class _StepMaker:
    """Makes the reports of steps out of what the journal says of each."""

    def __init__(
        self, plan: Plan, summary: RunSummary, by_step: Mapping[str, Sequence[Entry]], breaks: Sequence[_Break]
    ) -> None:
        self._groups: dict[str, list[Step]] = {}
        for step in plan.steps:
            self._groups.setdefault(step.collection, []).append(step)
        self._numbers = {step.key: number for number, step in enumerate(plan.steps)}
        self._told = {step.key: step for step in summary.steps}
        self._by_step = by_step
        self._breaks = breaks

    def steps(self, collection: str) -> list[StepReport]:
        """Those of a collection, or of the run."""
        return [self._one(step, self._told[step.key]) for step in self._groups.get(collection, [])]

    def planned(self, collection: str) -> list[Step]:
        """The same, as they were planned."""
        return self._groups.get(collection, [])

    def _one(self, step: Step, told: StepSummary) -> StepReport:
        entries = self._by_step.get(step.key, [])
        data = entries[-1].data if entries else {}
        return StepReport(
            key=step.key,
            kind=step.kind,
            describe=told.describe,
            state=told.state,
            detail=told.detail,
            hint=told.hint,
            rows=int(data.get("rows", 0)),
            objects=int(data.get("objects", 0)),
            size_bytes=int(data.get("size_bytes", 0)),
            attempts=_attempts(entries, self._breaks),
            needs=step.needs,
            follows=step.follows,
            number=self._numbers[step.key],
        )


@dataclass(frozen=True, slots=True)
class _Break:
    """Where one process ended and another took up the run; `next_began` is None after the last one."""

    last_heard: datetime
    next_began: datetime | None


def _breaks(entries: Sequence[Entry]) -> list[_Break]:
    """Before each beginning of the run as a whole but the first, and at the end."""
    found = [
        _Break(before.at, entry.at)
        for before, entry in pairwise(entries)
        if not entry.step_key and entry.event == "started"
    ]
    return [*found, _Break(entries[-1].at, None)] if entries else []


def _attempts(entries: Sequence[Entry], breaks: Sequence[_Break]) -> tuple[Attempt, ...]:
    """Beginnings and ends in pairs; one that a process left without an end was interrupted."""
    found: list[Attempt] = []
    began: datetime | None = None
    tries = 0

    def cut(now: datetime | None) -> None:
        nonlocal began, tries
        if began is None:
            return
        for each in breaks:
            if each.next_began is None or (began < each.next_began and (now is None or each.next_began <= now)):
                found.append(
                    Attempt(began=began, ended=max(began, each.last_heard), outcome="interrupted", tries=tries)
                )
                began, tries = None, 0
                return

    for entry in entries:
        if entry.event == "started":
            if any(each.next_began and began and began < each.next_began <= entry.at for each in breaks):
                cut(entry.at)
            began, tries = began or entry.at, tries + 1
        elif entry.event in _ENDS and began is not None:
            found.append(Attempt(began=began, ended=entry.at, outcome=entry.event, tries=tries))
            began, tries = None, 0
    cut(None)
    return tuple(found)


def _collection(
    planned: PlannedCollection, told: CollectionSummary, maker: _StepMaker, notes: Mapping[str, Any]
) -> CollectionReport:
    is_done_here = planned.action is Action.MIGRATE
    verify = next((s for s in maker.planned(planned.label) if isinstance(s, VerifyCollection)), None)
    counts = notes.get(verify.key, {}).get("counts") if verify else None
    return CollectionReport(
        source=told.source,
        target=told.target,
        state=told.state,
        verdict=told.verdict or planned.reason,
        rows_imported=told.rows,
        source_rows=_sum(counts, "source_rows"),
        target_rows=_sum(counts, "target_rows"),
        objects=planned.estimate.objects if is_done_here else 0,
        size_bytes=planned.estimate.size_bytes if is_done_here else 0,
        changed=planned.changed,
        not_carried=planned.not_carried,
        notices=planned.notices,
        steps=tuple(maker.steps(planned.label)) if is_done_here else (),
        as_of=next(
            (_as_of(notes.get(s.key, {})) for s in maker.planned(planned.label) if isinstance(s, DumpMeta)), None
        ),
    )


def _as_of(notes: Mapping[str, Any]) -> datetime | None:
    """The moment of the cut, or the one that a backup is of."""
    frozen = notes.get("frozen")
    if not isinstance(frozen, dict):
        return None
    moment = frozen.get("backed_up_ts")
    told = told_as_utc(frozen.get("cut_ts", 0) if moment is None else moment)
    return datetime.fromisoformat(told) if told else None


def _covered(attempts: Iterable[Attempt]) -> float:
    """Seconds in which at least one of the attempts was under way."""
    seconds = 0.0
    until: datetime | None = None
    for each in sorted(attempts, key=lambda attempt: attempt.began):
        began = each.began if until is None else max(each.began, until)
        if each.ended > began:
            seconds += (each.ended - began).total_seconds()
            until = each.ended
    return seconds


def _sum(counts: Any, side: str) -> int | None:  # noqa: ANN401 - as it was noted
    """Of all partitions; None where one was not counted."""
    if not isinstance(counts, list) or not counts:
        return None
    rows = [each.get(side) for each in counts]
    return None if any(each is None for each in rows) else sum(rows)
