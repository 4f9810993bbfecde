"""Walking the graph: independent steps side by side, a failure stops only what needs it."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from migrator.errors import Interrupted, MigratorError, Outdated
from migrator.running.current_step import at_step
from migrator.running.events import Progress, StepState
from migrator.running.journal import StepEvent
from migrator.running.retry import Patience
from migrator.running.schedule import Schedule
from migrator.steps.base import Evidence, Outcome, StepContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from migrator.ports.clock import Clock
    from migrator.running.clock import StopSignal
    from migrator.running.events import Watcher
    from migrator.running.journal import Journal
    from migrator.running.retry import RetryPolicy
    from migrator.steps.base import ProgressReport, Step

_LOOK_S = 0.5
MAX_GENERATIONS = 5
"""How often an attempt begins anew what a step stands on, before the step's failure counts."""


@dataclass(slots=True)
class RunResult:
    """How every step came out."""

    states: dict[str, StepState] = field(default_factory=dict)
    failures: dict[str, MigratorError] = field(default_factory=dict)
    bugs: list[Exception] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every step is finished."""
        return all(state is StepState.FINISHED for state in self.states.values())

    @property
    def exit_code(self) -> int:
        """0, or the gravest of what happened: in doubt, failed, differing, moved, stopped."""
        if self.bugs:
            return 1
        codes = {error.exit_code if error.exit_code in {21, 22, 50, 51} else 20 for error in self.failures.values()}
        for code in (22, 21, 20, 50, 51):
            if code in codes:
                return code
        return 0 if self.is_complete else 130


class Executor:
    """One attempt at a run: skips what is finished, probes what was started, applies the rest."""

    def __init__(
        self,
        steps: Sequence[Step],
        journal: Journal,
        make_context: Callable[[ProgressReport], StepContext],
        *,
        clock: Clock,
        stop: StopSignal,
        watcher: Watcher,
        policy: RetryPolicy,
        parallelism: int,
        paths: Mapping[str, float] | None = None,
        passing: frozenset[str] = frozenset(),
    ) -> None:
        self._steps = {step.key: step for step in steps}
        self._journal = journal
        self._make_context = make_context
        self._clock = clock
        self._stop = stop
        self._watcher = watcher
        self._policy = policy
        self._schedule = Schedule(steps, paths=paths or {}, parallelism=parallelism, passing=passing)
        self._result = RunResult()
        self._renewals: Counter[str] = Counter()
        self._moves: SimpleQueue[tuple[str, StepState, tuple[str, ...]]] = SimpleQueue()
        """What became of steps, and what they wait for beside their needs; told by their threads."""
        self._guard = threading.Lock()

    def run(self) -> RunResult:
        """Until nothing more can be done; what steps fail of is in the result.

        Raises:
            RunError: The journal cannot be written: nothing may go on without it.
        """
        finished = self._journal.finished()
        for key in self._steps:
            self._result.states[key] = StepState.WAITING
            if key in finished:
                self._settle(key, StepState.FINISHED)
        with ThreadPoolExecutor(self._schedule.most, thread_name_prefix="step") as pool:
            flying: dict[Future[None], Step] = {}
            while True:
                self._follow_moves()
                if not self._stop.is_asked():
                    for step in self._schedule.take():
                        self._result.states[step.key] = StepState.RUNNING
                        flying[pool.submit(self._attend_named, step)] = step
                if not flying:
                    return self._result
                for future in wait(flying, timeout=_LOOK_S, return_when=FIRST_COMPLETED).done:
                    self._schedule.leave(flying.pop(future))
                    future.result()  # what is not even an Exception ends the attempt

    def _follow_moves(self) -> None:
        """Tell the schedule what its steps told, and mark what waits for something that will not come about."""
        while True:
            try:
                key, state, awaits = self._moves.get_nowait()
            except Empty:
                return
            for blocked, lost in self._schedule.moved(key, state, awaits=awaits):
                self._result.states[blocked] = StepState.BLOCKED
                self._watcher.step_blocked(self._steps[blocked], lost)

    # -- one step ---------------------------------------------------------------------------------------------------

    def _attend_named(self, step: Step) -> None:
        with at_step(step.key):
            self._attend(step)

    def _attend(self, step: Step) -> None:
        """Bring one step to its end, whatever that is, and note it."""
        try:
            outcome = self._apply_with_patience(step)
            self._journal.add(step.key, StepEvent.FINISHED, _outcome_note(outcome))
        except Interrupted:
            self._journal.add(step.key, StepEvent.PARKED)
            self._settle(step.key, StepState.PARKED)
            self._watcher.step_parked(step)
        except Outdated as error:
            if not self._renew(step, error):
                self._fail(step, error)
        except MigratorError as error:
            self._fail(step, error)
        except Exception as error:  # noqa: BLE001 - a bug in one step shall not take its siblings down
            self._result.bugs.append(error)
            self._fail(step, MigratorError(f"{type(error).__name__}: {error}", hint="this is a bug of migrator"))
        else:
            self._settle(step.key, StepState.FINISHED)
            self._watcher.step_finished(step, outcome)

    def _renew(self, step: Step, error: Outdated) -> bool:
        """Begin anew what the step stands on, and then the step; not once something was built on it, nor for ever."""
        built_on = [other.key for other in self._steps.values() if step.key in other.needs]
        if self._renewals[step.key] >= MAX_GENERATIONS or any(map(self._journal.was_started, built_on)):
            return False
        self._renewals[step.key] += 1
        with self._guard:  # two steps may want the same one anew
            finished = [key for key in error.renews if self._result.states[key] is StepState.FINISHED]
            self._journal.renew([*finished, *([step.key] if error.from_nothing else [])], error.message)
            for key in finished:
                self._settle(key, StepState.WAITING)
            self._settle(step.key, StepState.WAITING, awaits=tuple(key for key in error.renews if key != step.key))
        self._watcher.step_renewed(step, error)
        return True

    def _fail(self, step: Step, error: MigratorError) -> None:
        self._result.failures[step.key] = error
        note = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        try:
            self._journal.add(step.key, StepEvent.FAILED, note)
        finally:
            self._settle(step.key, StepState.FAILED)
            self._watcher.step_failed(step, error)

    def _settle(self, key: str, state: StepState, *, awaits: tuple[str, ...] = ()) -> None:
        self._result.states[key] = state
        self._moves.put((key, state, awaits))

    def _apply_with_patience(self, step: Step) -> Outcome:
        """Apply, again after errors that pass: each further attempt probes first, as a resumed run does."""
        patience = Patience(self._policy, self._clock)

        def progress(message: str = "", *, unit: str = "", **numbers: int) -> None:
            self._watcher.step_progressed(step, Progress(message=message, unit=unit, **numbers))

        def attempt() -> Outcome:
            ctx = self._make_context(progress)
            seen_before = self._journal.was_started(step.key)
            self._journal.add(step.key, StepEvent.STARTED)
            evidence = step.probe(ctx.reading()) if seen_before else Evidence.ABSENT
            if evidence is Evidence.DONE:
                return Outcome(detail="found done")
            return step.apply(ctx, evidence)

        self._watcher.step_started(step)
        return patience.call(attempt, on_wait=lambda error, s: self._watcher.step_waits(step, error, s))


def _outcome_note(outcome: Outcome) -> dict[str, int | str]:
    return {
        "rows": outcome.rows,
        "objects": outcome.objects,
        "size_bytes": outcome.size_bytes,
        "detail": outcome.detail,
    }
