"""How far a run is, kept from what is told of it; for a display, for events, and for whoever looks from elsewhere."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migrator.planning.pace import Pace, Stretch, measure, works_of
from migrator.planning.plan import Action
from migrator.running.events import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from migrator.errors import MigratorError, Outdated
    from migrator.planning.pace import Expected
    from migrator.planning.plan import Plan
    from migrator.ports.clock import Clock
    from migrator.steps.base import Outcome, Step

_RATE_OVER_S = 15.0
"""A rate is that of the last so many seconds."""
_SAMPLE_S = 0.5
_FORECAST_EVERY_S = 2.0
_FORECAST_EACH_S = 0.001
"""And so much later for each step: what is left is summed up over all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """What is waited out before something is tried again; `attempt` is the number of that try."""

    message: str
    attempt: int
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A step under way; `since` is UTC in ISO format, rates are per second, None where they are not known."""

    key: str
    describe: str
    collection: str
    since: str
    elapsed_s: float
    progress: Progress
    units_per_s: float | None
    bytes_per_s: float | None
    pause: Pause | None
    retries: int
    share: float
    """Of the whole collection, from 0 to 1; of the step where it is the run's."""
    number: int
    steps: int
    """It is the collection's `number`-th step of so many; 0 of 0 where it is the run's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run at one moment; totals are of this attempt, `at` is UTC in ISO format."""

    at: str
    elapsed_s: float
    steps: int
    steps_done: int
    collections: int
    collections_done: int
    collections_failed: int
    share: float
    fast_s: float | None
    slow_s: float | None
    """How long it still takes, as a range; None as long as nothing can be said."""
    rows: int
    objects: int
    size_bytes: int
    bytes_per_s: float | None
    retries: int
    waiting_for: str
    """What the run as a whole waits for; empty where it does not."""
    running: tuple[StepView, ...]


@dataclass(slots=True)
class _Tally:
    """One collection, or the run itself under the empty label."""

    weight: float = 0.0
    weight_done: float = 0.0
    steps: int = 0
    done: int = 0
    failed: bool = False


@dataclass(slots=True)
class _Live:
    """One step under way."""

    step: Step
    since: str
    began_s: float
    progress: Progress = field(default_factory=Progress)
    samples: deque[tuple[float, int, int]] = field(default_factory=deque)
    error: str = ""
    again_at: float = 0.0

    def hear(self, progress: Progress, now: float) -> None:
        if progress.unit != self.progress.unit or progress.done < self.progress.done:
            self.samples.clear()  # another phase of the step
        self.progress, self.error = progress, ""
        if not self.samples or now - self.samples[-1][0] >= _SAMPLE_S:
            self.samples.append((now, progress.done, progress.size_bytes))
        while now - self.samples[0][0] > _RATE_OVER_S and len(self.samples) > 2:
            self.samples.popleft()

    def rates(self, now: float) -> tuple[float | None, float | None]:
        """Units and bytes per second; a percentage has none."""
        if not self.samples or self.progress.unit == "%" or now - self.samples[0][0] < 1.0:
            return None, None
        at, done, size_bytes = self.samples[0]
        span = now - at
        return (self.progress.done - done) / span or None, (self.progress.size_bytes - size_bytes) / span or None


class Track:
    """A watcher that knows how far everything is; `finished` are steps of earlier attempts."""

    def __init__(
        self, plan: Plan, clock: Clock, *, finished: Iterable[str] = (), pace: Pace | None = None, parallelism: int = 4
    ) -> None:
        self._clock = clock
        self._parallelism = parallelism
        self._pace = pace or Pace()
        self._works = works_of(plan)
        self._guard = threading.RLock()
        self._began_s = clock.monotonic()
        self._weights = {key: self._weight(key) for key in self._works}
        self._tallies = {each.label: _Tally() for each in plan.collections if each.action is Action.MIGRATE}
        self._tallies[""] = _Tally()
        for step in plan.steps:
            tally = self._tallies.setdefault(step.collection, _Tally())
            tally.weight += self._weights[step.key]
            tally.steps += 1
        self._live: dict[str, _Live] = {}
        self._retries: Counter[str] = Counter()
        self._done: dict[str, Stretch | None] = {}
        self._totals = {"rows": 0, "objects": 0, "size_bytes": 0}
        self._waiting_for = ""
        self._highest = 0.0
        self._forecast_every_s = max(_FORECAST_EVERY_S, _FORECAST_EACH_S * len(self._works))
        self._forecast: tuple[float, Expected | None] = (-self._forecast_every_s, None)
        steps = {step.key: step for step in plan.steps}
        for key in finished:
            self._close(steps[key])

    def _weight(self, key: str) -> float:
        """Seconds that a step is expected to take: what its share of a bar is."""
        return max(0.1, sum(self._pace.alone(self._works[key])) / 2)

    # -- what is told -----------------------------------------------------------------------------------------------

    def lock_waits(self, name: str, holder: str) -> None:
        """For whom it waits."""
        self._waiting_for = f"{name}, which is held by {holder}"

    def run_waits(self, error: MigratorError, seconds: float) -> None:
        """What the run as a whole waits for."""
        self._waiting_for = f"another try in {seconds:.0f} s: {error.message}"

    def run_told(self, message: str) -> None:
        """Of no matter here."""

    def step_started(self, step: Step) -> None:
        """It is under way from now on."""
        with self._guard:
            self._waiting_for = ""
            now = self._clock.monotonic()
            self._live[step.key] = _Live(step, self._clock.now().isoformat(), now)

    def step_progressed(self, step: Step, progress: Progress) -> None:
        """How far it is."""
        with self._guard:
            if step.key in self._live:
                self._live[step.key].hear(progress, self._clock.monotonic())

    def step_waits(self, step: Step, error: MigratorError, seconds: float) -> None:
        """It will be tried again."""
        with self._guard:
            self._retries[step.key] += 1
            if step.key in self._live:
                live = self._live[step.key]
                live.error, live.again_at = error.message, self._clock.monotonic() + seconds

    def step_renewed(self, step: Step, error: Outdated) -> None:
        """What it stands on is not done any more."""
        with self._guard:
            self._live.pop(step.key, None)
            for key in error.renews:
                if key in self._done:
                    del self._done[key]
                    tally = self._tallies[step.collection]
                    tally.done -= 1
                    tally.weight_done -= self._weights[key]
            self._highest = 0.0

    def step_finished(self, step: Step, outcome: Outcome) -> None:
        """It is done; of copies the bytes count, of imports the rows: else everything would count twice."""
        with self._guard:
            self._close(step)
            if step.kind in {"copy_segments", "forward_segments"}:
                self._totals["objects"] += outcome.objects
                self._totals["size_bytes"] += outcome.size_bytes
            if step.kind in {"import_segments", "restore_snapshot"}:
                self._totals["rows"] += outcome.rows

    def _close(self, step: Step) -> None:
        live = self._live.pop(step.key, None)
        began = None if live is None else live.began_s
        self._done[step.key] = None if began is None else Stretch(began_s=began, ended_s=self._clock.monotonic())
        tally = self._tallies[step.collection]
        tally.done += 1
        tally.weight_done += self._weights[step.key]

    def step_failed(self, step: Step, error: MigratorError) -> None:  # noqa: ARG002 - as every watcher
        """It is over."""
        with self._guard:
            self._live.pop(step.key, None)
            self._tallies[step.collection].failed = True

    def step_blocked(self, step: Step, needed: str) -> None:
        """What it needs has failed, and that is counted."""

    def step_parked(self, step: Step) -> None:
        """It is over."""
        with self._guard:
            self._live.pop(step.key, None)

    # -- what is seen -----------------------------------------------------------------------------------------------

    def is_over(self, collection: str) -> bool:
        """Whether all steps of a collection are done."""
        with self._guard:
            tally = self._tallies[collection]
            return tally.done == tally.steps

    def retries(self, step: Step) -> int:
        """How often a step was tried again in this attempt."""
        return self._retries[step.key]

    def view(self) -> RunView:
        """The run as it is now."""
        with self._guard:
            now = self._clock.monotonic()
            running = tuple(self._step_view(live, now) for live in self._live.values())
            named = [tally for label, tally in self._tallies.items() if label]
            expected = self._expected(now)
            rates = [step.bytes_per_s for step in running if step.bytes_per_s is not None]
            return RunView(
                at=self._clock.now().isoformat(),
                elapsed_s=now - self._began_s,
                steps=len(self._works),
                steps_done=len(self._done),
                collections=len(named),
                collections_done=sum(tally.done == tally.steps for tally in named),
                collections_failed=sum(tally.failed for tally in named),
                share=self._share(),
                fast_s=None if expected is None else expected.fast_s,
                slow_s=None if expected is None else expected.slow_s,
                rows=self._totals["rows"] + self._under_way("import_segments", "done"),
                objects=self._totals["objects"] + self._under_way("copy_segments", "done"),
                size_bytes=self._totals["size_bytes"] + self._under_way("copy_segments", "size_bytes"),
                bytes_per_s=sum(rates) if rates else None,
                retries=self._retries.total(),
                waiting_for=self._waiting_for,
                running=running,
            )

    def _under_way(self, kind: str, what: str) -> int:
        return sum(getattr(live.progress, what) for live in self._live.values() if live.step.kind == kind)

    def _step_view(self, live: _Live, now: float) -> StepView:
        step, tally = live.step, self._tallies[live.step.collection]
        units_per_s, bytes_per_s = live.rates(now)
        weight = self._weights[step.key] * (live.progress.fraction or 0.0)
        whole = tally.weight if step.collection else self._weights[step.key]
        done = tally.weight_done if step.collection else 0.0
        pause = None
        if live.error:
            left = max(0.0, live.again_at - now)
            pause = Pause(message=live.error, attempt=self._retries[step.key] + 1, seconds_left=left)
        return StepView(
            key=step.key,
            describe=step.describe(),
            collection=step.collection,
            since=live.since,
            elapsed_s=now - live.began_s,
            progress=live.progress,
            units_per_s=units_per_s,
            bytes_per_s=bytes_per_s,
            pause=pause,
            retries=self._retries[step.key],
            share=min(1.0, (done + weight) / whole),
            number=tally.done + 1 if step.collection else 0,
            steps=tally.steps if step.collection else 0,
        )

    def _share(self) -> float:
        """By expected time; it never goes back, but when something is done anew."""
        whole = sum(tally.weight for tally in self._tallies.values())
        done = sum(tally.weight_done for tally in self._tallies.values())
        done += sum(self._weights[key] * (live.progress.fraction or 0.0) for key, live in self._live.items())
        self._highest = max(self._highest, done / whole if whole else 0.0)
        return self._highest

    def _expected(self, now: float) -> Expected | None:
        """From this run so far, and past ones; made anew every few seconds."""
        made_at, found = self._forecast
        if now - made_at >= self._forecast_every_s:
            shares = {key: live.progress.fraction or 0.0 for key, live in self._live.items()}
            pace = self._pace.after(measure(self._works, self._stretches(now, shares)))
            shares |= dict.fromkeys(self._done, 1.0)
            found = pace.left(self._works, shares, parallelism=self._parallelism) if self._done else None
            self._forecast = (now, found)
        return found

    def _stretches(self, now: float, shares: Mapping[str, float]) -> dict[str, Stretch]:
        found = {key: stretch for key, stretch in self._done.items() if stretch is not None}
        for key, live in self._live.items():
            if shares[key]:
                found[key] = Stretch(began_s=live.began_s, ended_s=now, share=shares[key])
        return found
