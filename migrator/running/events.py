"""What happens during a run, as it is told to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from migrator.errors import MigratorError, Outdated
    from migrator.steps.base import Outcome, Step


class StepState(StrEnum):
    """Where a step is; `BLOCKED` waits for one that failed."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    PARKED = "parked"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step is; totals of 0 mean unknown."""

    message: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    size_bytes: int = 0
    total_bytes: int = 0
    jobs_done: int = 0
    jobs: int = 0

    @property
    def fraction(self) -> float | None:
        """From 0 to 1, by bytes where they are known: objects differ in size."""
        if self.total_bytes:
            return min(1.0, self.size_bytes / self.total_bytes)
        return min(1.0, self.done / self.total) if self.total else None


class Watcher(Protocol):
    """Told of everything, from any thread."""

    def lock_waits(self, name: str, holder: str) -> None: ...

    def run_waits(self, error: MigratorError, seconds: float) -> None: ...

    def run_told(self, message: str) -> None: ...

    def step_started(self, step: Step) -> None: ...

    def step_progressed(self, step: Step, progress: Progress) -> None: ...

    def step_waits(self, step: Step, error: MigratorError, seconds: float) -> None: ...

    def step_renewed(self, step: Step, error: Outdated) -> None: ...

    def step_finished(self, step: Step, outcome: Outcome) -> None: ...

    def step_failed(self, step: Step, error: MigratorError) -> None: ...

    def step_blocked(self, step: Step, needed: str) -> None: ...

    def step_parked(self, step: Step) -> None: ...


class Audience:
    """Many watchers as one."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def lock_waits(self, name: str, holder: str) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.lock_waits(name, holder)

    def run_waits(self, error: MigratorError, seconds: float) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.run_waits(error, seconds)

    def run_told(self, message: str) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.run_told(message)

    def step_started(self, step: Step) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_started(step)

    def step_progressed(self, step: Step, progress: Progress) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_progressed(step, progress)

    def step_waits(self, step: Step, error: MigratorError, seconds: float) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_waits(step, error, seconds)

    def step_renewed(self, step: Step, error: Outdated) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_renewed(step, error)

    def step_finished(self, step: Step, outcome: Outcome) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_finished(step, outcome)

    def step_failed(self, step: Step, error: MigratorError) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_failed(step, error)

    def step_blocked(self, step: Step, needed: str) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_blocked(step, needed)

    def step_parked(self, step: Step) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.step_parked(step)
