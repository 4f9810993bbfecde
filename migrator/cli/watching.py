"""Watching a run: a live display on a terminal, plain lines on a pipe, one JSON object per event."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from migrator import workflow
from migrator.cli.console import print_lines
from migrator.errors import Interrupted
from migrator.reports.findings import finding_to_plain
from migrator.reports.plain import clean, count, size, to_json
from migrator.reports.to_text import Line, Style
from migrator.running.events import StepState

if TYPE_CHECKING:
    from rich.progress import TaskID

    from migrator.errors import MigratorError, Outdated
    from migrator.model.finding import Finding
    from migrator.planning.plan import Plan
    from migrator.running.events import Progress
    from migrator.running.executor import RunResult
    from migrator.running.runs import Run, StateDirectory
    from migrator.steps.base import Outcome, Step

EVENT_FORMAT_VERSION = 1
_QUIET_S = 10.0
"""Plain output repeats a step's progress no more often than this."""


@contextmanager
def surviving_a_closed_pipe() -> Iterator[None]:
    """A run goes on when nobody reads its output any more (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives


class PlainWatcher:
    """A line when a step ends, waits or fails, and now and then while it runs."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._spoke_at: dict[str, float] = {}
        self._failed_first: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _say(self, text: str, style: Style = Style.PLAIN) -> None:
        with self._guard, surviving_a_closed_pipe():
            print_lines([Line(clean(text), style)])
            sys.stdout.flush()

    def run_started(self, run: "Run") -> None:
        """Say which run it is."""
        self._say(f"Run {run.run_id}: {count(len(run.plan.steps), 'step')}.")

    def lock_waits(self, name: str, holder: str) -> None:
        """For whom it waits, said once for each."""
        if f"{name} {holder}" not in self._spoke_at:
            self._spoke_at[f"{name} {holder}"] = time.monotonic()
            self._say(f"  … waiting for {name}, which is held by {holder}", Style.CHANGED)

    def run_waits(self, error: "MigratorError", seconds: float) -> None:
        """What the run as a whole waits for."""
        self._say(f"  … trying again in {seconds:.0f} s: {error.message}", Style.CHANGED)

    def run_told(self, message: str) -> None:
        """What a person should know of the run as a whole."""
        self._say(f"  … {message}", Style.CHANGED)

    def step_started(self, step: "Step") -> None:
        """Remember when, so that a long step is heard of."""
        self._spoke_at[step.key] = time.monotonic()

    def step_progressed(self, step: "Step", progress: "Progress") -> None:
        """A line now and then."""
        if time.monotonic() - self._spoke_at.get(step.key, 0.0) >= _QUIET_S:
            self._spoke_at[step.key] = time.monotonic()
            self._say(f"  … {step.key}  {progress_text(progress)}", Style.FAINT)

    def step_waits(self, step: "Step", error: "MigratorError", seconds: float) -> None:
        """What it waits for."""
        self._say(f"  … {step.key}  trying again in {seconds:.0f} s: {error.message}", Style.CHANGED)

    def step_renewed(self, step: "Step", error: "Outdated") -> None:
        """Why it is done anew."""
        again = ", ".join(key.partition(":")[0] for key in error.renews)
        self._say(f"  … {step.key}  {error.message}; {again} is done again", Style.CHANGED)

    def step_finished(self, step: "Step", outcome: "Outcome") -> None:
        """What it did."""
        self._say(f"  ✓ {step.key}  {outcome_text(outcome)}".rstrip(), Style.NEW)

    def step_failed(self, step: "Step", error: "MigratorError") -> None:
        """What happened, and what helps; a cause that many steps share is said once."""
        first = self._failed_first.setdefault(f"{error.message}\n{error.hint}", step.key)
        if first != step.key:
            self._say(f"  ✗ {step.key}  the same as {first}", Style.CONFLICT)
            return
        self._say(f"  ✗ {step.key}  {error.message}", Style.CONFLICT)
        if error.hint:
            self._say(f"      hint: {error.hint}", Style.FAINT)

    def step_blocked(self, step: "Step", needed: str) -> None:
        """Not said step by step: what it needs has failed, and the ending says what became of the collection."""

    def step_parked(self, step: "Step") -> None:
        """It goes on when the run is resumed."""
        self._say(f"  - {step.key}  stopped", Style.FAINT)

    def run_ended(self, run: "Run", state: "StateDirectory", result: "RunResult") -> None:
        """Per collection what became of it, and how to go on."""
        with surviving_a_closed_pipe():
            print_lines(ending_lines(run, state, result))


class TerminalWatcher(PlainWatcher):
    """The same lines, with a live row below them for every step that runs."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._console = Console(highlight=False, soft_wrap=True)
        self._display = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._total = self._display.add_task("all steps", total=None, note="")
        self._done = 0

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    def _say(self, text: str, style: Style = Style.PLAIN) -> None:
        from rich.text import Text  # noqa: PLC0415 - only on a terminal

        self._console.print(Text(clean(text), style=style.value))

    def run_started(self, run: "Run") -> None:
        """Say which run it is, and how long it is."""
        super().run_started(run)
        self._display.update(self._total, total=len(run.plan.steps))

    def step_started(self, step: "Step") -> None:
        """A row of its own."""
        self._tasks[step.key] = self._display.add_task(clean(step.key), total=None, note="")

    def step_progressed(self, step: "Step", progress: "Progress") -> None:
        """Move its row."""
        if step.key in self._tasks:
            total = progress.total or None
            note = clean(progress_text(progress))
            self._display.update(self._tasks[step.key], completed=progress.done, total=total, note=note)

    def _close(self, step: "Step", *, done: bool) -> None:
        if step.key in self._tasks:
            self._display.remove_task(self._tasks.pop(step.key))
        if done:
            self._done += 1
            self._display.update(self._total, completed=self._done)

    def step_finished(self, step: "Step", outcome: "Outcome") -> None:
        """Its row becomes a line."""
        self._close(step, done=True)
        super().step_finished(step, outcome)

    def step_renewed(self, step: "Step", error: "Outdated") -> None:
        """Its row becomes a line, and it will have another."""
        self._close(step, done=False)
        self._done -= len(error.renews)
        super().step_renewed(step, error)

    def step_failed(self, step: "Step", error: "MigratorError") -> None:
        """Its row becomes a line."""
        self._close(step, done=False)
        super().step_failed(step, error)

    def step_parked(self, step: "Step") -> None:
        """Its row becomes a line."""
        self._close(step, done=False)
        super().step_parked(step)


class JsonWatcher:
    """One JSON object per line; the first carries `format_version`."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._spoke_at: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _emit(self, event: str, **values: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        entry = {"event": event, "at": datetime.now(tz=UTC).isoformat(), **values}
        with self._guard, surviving_a_closed_pipe():
            print(to_json(entry), flush=True)

    def nothing_to_do(self, plan: "Plan | None" = None) -> None:
        """The plan has no steps, or there is no run to go on with."""
        name = {} if plan is None else {"plan": plan.name, "digest": plan.digest}
        self._emit("nothing_to_do", format_version=EVENT_FORMAT_VERSION, **name)

    def preflight(self, findings: "tuple[Finding, ...] | None") -> None:
        """What the preflight before a run found; without findings, where it was green a short while ago."""
        told = None if findings is None else [finding_to_plain(found) for found in findings]
        self._emit("preflight", format_version=EVENT_FORMAT_VERSION, findings=told)

    def run_started(self, run: "Run") -> None:
        """Which run, of which plan."""
        self._emit(
            "run_started",
            format_version=EVENT_FORMAT_VERSION,
            run_id=run.run_id,
            plan=run.plan.name,
            digest=run.plan.digest,
            steps=len(run.plan.steps),
        )

    def lock_waits(self, name: str, holder: str) -> None:
        """Another run holds what this one needs; said once for each."""
        if f"{name} {holder}" not in self._spoke_at:
            self._spoke_at[f"{name} {holder}"] = time.monotonic()
            self._emit("lock_waits", lease=name, holder=holder)

    def run_waits(self, error: "MigratorError", seconds: float) -> None:
        """What the run as a whole waits for."""
        self._emit("run_waits", seconds=round(seconds, 1), message=error.message)

    def run_told(self, message: str) -> None:
        """What a person should know of the run as a whole."""
        self._emit("run_told", message=message)

    def step_started(self, step: "Step") -> None:
        """A step begins, or is taken up."""
        self._emit("step_started", step=step.key, collection=step.collection, describe=step.describe())

    def step_progressed(self, step: "Step", progress: "Progress") -> None:
        """How far it is, at most once a second."""
        now = time.monotonic()
        if now - self._spoke_at.get(step.key, 0.0) >= 1.0 or (progress.total and progress.done == progress.total):
            self._spoke_at[step.key] = now
            self._emit(
                "step_progressed",
                step=step.key,
                message=progress.message,
                done=progress.done,
                total=progress.total,
                unit=progress.unit,
                size_bytes=progress.size_bytes,
            )

    def step_waits(self, step: "Step", error: "MigratorError", seconds: float) -> None:
        """It will be tried again."""
        self._emit("step_waits", step=step.key, seconds=round(seconds, 1), message=error.message)

    def step_renewed(self, step: "Step", error: "Outdated") -> None:
        """It begins anew, with what it stands on."""
        self._emit("step_renewed", step=step.key, renews=list(error.renews), message=error.message)

    def step_finished(self, step: "Step", outcome: "Outcome") -> None:
        """It is done."""
        self._emit(
            "step_finished",
            step=step.key,
            rows=outcome.rows,
            objects=outcome.objects,
            size_bytes=outcome.size_bytes,
            detail=outcome.detail,
        )

    def step_failed(self, step: "Step", error: "MigratorError") -> None:
        """It failed."""
        self._emit("step_failed", step=step.key, error=type(error).__name__, message=error.message, hint=error.hint)

    def step_blocked(self, step: "Step", needed: str) -> None:
        """It was not tried."""
        self._emit("step_blocked", step=step.key, needs=needed)

    def step_parked(self, step: "Step") -> None:
        """It was stopped."""
        self._emit("step_parked", step=step.key)

    def run_ended(self, run: "Run", state: "StateDirectory", result: "RunResult") -> None:
        """How it ended, per collection."""
        summary = workflow.summary(run, state)
        self._emit(
            "run_ended",
            run_id=run.run_id,
            exit_code=result.exit_code,
            report=str(run.report_file) if run.report_file.exists() else None,
            collections=[
                {"source": c.source, "target": c.target, "state": c.state, "rows": c.rows, "verdict": c.verdict}
                for c in summary.collections
            ],
        )


def progress_text(progress: "Progress") -> str:
    """`copying 24 of 120 objects, 1.2 MiB`."""
    parts = [progress.message]
    if progress.total and progress.unit == "%":
        parts.append(f"{progress.done} %")
    elif progress.total:
        parts.append(f"{progress.done:,} of {progress.total:,} {progress.unit}")
    text = " ".join(part for part in parts if part)
    return f"{text}, {size(progress.size_bytes)}" if progress.size_bytes else text


def outcome_text(outcome: "Outcome") -> str:
    """`6,000 rows, 24 objects, 256 KiB; 2 requests`."""
    parts = []
    if outcome.rows:
        parts.append(count(outcome.rows, "row"))
    if outcome.objects:
        parts.append(count(outcome.objects, "object"))
    if outcome.size_bytes:
        parts.append(size(outcome.size_bytes))
    return "; ".join(text for text in (", ".join(parts), outcome.detail) if text)


def ending_lines(run: "Run", state: "StateDirectory", result: "RunResult") -> list[Line]:
    """The outcome: each collection, where the dump is, and the command that goes on."""
    summary = workflow.summary(run, state)
    lines = [Line()]
    said: dict[str, str] = {}
    for c in summary.collections:
        rows = "" if c.rows is None else f"  {count(c.rows, 'row')}"
        style = {"done": Style.NEW, "nothing to do": Style.SAME}.get(c.state, Style.CONFLICT)
        first = said.setdefault(c.verdict, c.source) if c.state == "failed" else c.source
        verdict = f": {clean(c.verdict)}" if c.verdict else ""
        verdict = verdict if first == c.source else f": the same as {clean(first)}"
        lines.append(Line(f"{clean(c.arrow)}{rows}  {c.state}{verdict}", style))
    if result.is_complete:
        dump = f"{clean(summary.dump)}/" if summary.dump else "deleted (staging.keep: false)"
        lines.append(Line(f"Dump: {dump}", Style.PLAIN))
        lines += _report_lines(run)
        lines.append(Line(f"Run {run.run_id} is done.", Style.TITLE))
        return lines
    left = sum(value is not StepState.FINISHED for value in result.states.values())
    how = "was stopped" if result.exit_code == Interrupted.exit_code else "is not done"
    lines.append(Line(f"Run {run.run_id} {how}: {count(left, 'step')} left of {len(run.plan.steps)}.", Style.TITLE))
    lines.append(Line(f"Look at it: migrator status {run.run_id}"))
    lines += _report_lines(run)
    lines.append(Line("Go on with it: migrator apply --resume"))
    return lines


def _report_lines(run: "Run") -> list[Line]:
    return [Line(f"Report: {run.report_file}")] if run.report_file.exists() else []
