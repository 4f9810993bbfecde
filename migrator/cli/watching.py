"""Watching a run: a live display on a terminal, plain lines on a pipe, one JSON object per event."""

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from migrator import workflow
from migrator.cli.board import board, progress_text
from migrator.cli.console import print_lines
from migrator.errors import Interrupted
from migrator.planning.plan import Action, has_dump
from migrator.reports import events
from migrator.reports.findings import finding_to_plain
from migrator.reports.plain import clean, count, duration, size, to_json
from migrator.reports.to_text import Line, Style
from migrator.running.events import StepState

if TYPE_CHECKING:
    from rich.console import Console, Group

    from migrator.errors import MigratorError, Outdated
    from migrator.model.finding import Finding
    from migrator.planning.plan import Plan
    from migrator.running.events import Progress
    from migrator.running.executor import RunResult
    from migrator.running.runs import Run, StateDirectory
    from migrator.running.track import Track
    from migrator.steps.base import Outcome, Step

_QUIET_S = 10.0
"""Plain output repeats a step's progress no more often than this."""
_EVERY_S = 5.0
"""Events tell of the run as a whole no more often than this."""
_FRAMES_PER_S = 5


@contextmanager
def surviving_a_closed_pipe() -> Iterator[None]:
    """A run goes on when nobody reads its output any more (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives


class PlainWatcher:
    """A line when a step begins, ends, waits or fails, and now and then while it runs; no control characters."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._spoke_at: dict[str, float] = {}
        self._failed_first: dict[str, str] = {}
        self._retries: Counter[str] = Counter()

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
        """What it is about to do."""
        self._spoke_at[step.key] = time.monotonic()
        self._say(f"  > {step.key}  {step.describe()}", Style.FAINT)

    def step_progressed(self, step: "Step", progress: "Progress") -> None:
        """A line now and then."""
        if time.monotonic() - self._spoke_at.get(step.key, 0.0) >= _QUIET_S:
            self._spoke_at[step.key] = time.monotonic()
            self._say(f"  … {step.key}  {progress_text(progress)}", Style.FAINT)

    def step_waits(self, step: "Step", error: "MigratorError", seconds: float) -> None:
        """What it waits for."""
        self._retries[step.key] += 1
        attempt = self._retries[step.key] + 1
        self._say(f"  … {step.key}  attempt {attempt} in {seconds:.0f} s: {error.message}", Style.CHANGED)

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
    """A live board of what is under way; above it a line for each collection that is done, and for each failure."""

    def __init__(self, track: "Track", console: "Console | None" = None) -> None:
        super().__init__()
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.live import Live  # noqa: PLC0415 - as above

        self._track = track
        self._names: dict[str, str] = {}
        self._began_at: dict[str, float] = {}
        self._rows: dict[str, int] = {}
        self._console = console or Console(highlight=False)
        self._display = Live(
            get_renderable=self._board, console=self._console, transient=True, refresh_per_second=_FRAMES_PER_S
        )

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    def _board(self) -> "Group":
        from rich.console import Group  # noqa: PLC0415 - only on a terminal

        width, height = self._console.size
        ascii_only = not self._console.encoding.startswith("utf")
        return Group(*board(self._track.view(), self._names, width=width, height=height, ascii_only=ascii_only))

    def _say(self, text: str, style: Style = Style.PLAIN) -> None:
        from rich.padding import Padding  # noqa: PLC0415 - only on a terminal
        from rich.text import Text  # noqa: PLC0415 - as above

        indent = len(text) - len(text.lstrip())
        self._console.print(Padding(Text(clean(text.lstrip()), style=style.value), (0, 0, 0, indent), expand=False))

    def run_started(self, run: "Run") -> None:
        """Say which run it is, and learn what its collections are called."""
        super().run_started(run)
        for planned in run.plan.collections:
            target = planned.label
            self._names[target] = target if planned.source.short == target else f"{planned.source.short} → {target}"

    def run_waits(self, error: "MigratorError", seconds: float) -> None:
        """On the board."""

    def lock_waits(self, name: str, holder: str) -> None:
        """On the board."""

    def step_started(self, step: "Step") -> None:
        """On the board."""
        self._began_at.setdefault(step.collection, time.monotonic())

    def step_progressed(self, step: "Step", progress: "Progress") -> None:
        """On the board."""

    def step_waits(self, step: "Step", error: "MigratorError", seconds: float) -> None:  # noqa: ARG002 - as others
        """On the board; how often it was, is said with the collection."""
        self._retries[step.collection] += 1

    def step_finished(self, step: "Step", outcome: "Outcome") -> None:
        """A line for what belongs to the run, and for a collection once all of it is done."""
        if not step.collection:
            super().step_finished(step, outcome)
            return
        if step.kind in {"import_segments", "restore_snapshot"}:
            self._rows[step.collection] = outcome.rows
        if self._track.is_over(step.collection):
            self._say(f"  ✓ {self._collection_words(step.collection)}", Style.NEW)

    def _collection_words(self, label: str) -> str:
        rows = count(self._rows[label], "row") if label in self._rows else ""
        took = duration(time.monotonic() - self._began_at[label])
        retries = count(self._retries[label], "retry", "retries") if self._retries[label] else ""
        return f"{self._names.get(label, label)}  {', '.join(filter(None, [rows, took, retries]))}"

    def step_parked(self, step: "Step") -> None:
        """The ending says what is left."""


class JsonWatcher:
    """One JSON object per line; the first carries `format_version`."""

    def __init__(self, track: "Track | None" = None) -> None:
        self._track = track
        self._guard = threading.Lock()
        self._spoke_at: dict[str, float] = {}
        self._retries: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _emit(self, event: events.Event) -> None:
        with self._guard, surviving_a_closed_pipe():
            print(to_json(event.model_dump(mode="json")), flush=True)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._spoke_at.get(what, float("-inf")) < every_s:
            return False
        self._spoke_at[what] = now
        return True

    def nothing_to_do(self, plan: "Plan | None" = None) -> None:
        """The plan has no steps, or there is no run to go on with."""
        name, digest = (None, None) if plan is None else (plan.name, plan.digest)
        self._emit(events.NothingToDo(at=_now(), plan=name, digest=digest))

    def preflight(self, findings: "tuple[Finding, ...] | None") -> None:
        """What the preflight before a run found; without findings, where it was green a short while ago."""
        told = None if findings is None else [finding_to_plain(found) for found in findings]
        self._emit(events.PreflightDone(at=_now(), findings=told))

    def run_started(self, run: "Run") -> None:
        """Which run, of which plan."""
        self._emit(
            events.RunStarted(
                at=_now(),
                run_id=run.run_id,
                plan=run.plan.name,
                digest=run.plan.digest,
                steps=len(run.plan.steps),
                collections=sum(each.action is Action.MIGRATE for each in run.plan.collections),
            )
        )

    def lock_waits(self, name: str, holder: str) -> None:
        """Another run holds what this one needs; said once for each."""
        if self._is_due(f"{name} {holder}", float("inf")):
            self._emit(events.LockWaits(at=_now(), lease=name, holder=holder))

    def run_waits(self, error: "MigratorError", seconds: float) -> None:
        """What the run as a whole waits for."""
        self._emit(events.RunWaits(at=_now(), seconds=round(seconds, 1), message=error.message))

    def run_told(self, message: str) -> None:
        """What a person should know of the run as a whole."""
        self._emit(events.RunTold(at=_now(), message=message))

    def _tell_of_the_run(self) -> None:
        if self._track is None or not self._is_due("", _EVERY_S):
            return
        view = self._track.view()
        left = None if view.fast_s is None or view.slow_s is None else (round(view.fast_s, 1), round(view.slow_s, 1))
        self._emit(
            events.RunProgressed(
                at=_now(),
                percent=round(view.share * 100, 1),
                steps=view.steps,
                steps_done=view.steps_done,
                collections=view.collections,
                collections_done=view.collections_done,
                collections_failed=view.collections_failed,
                rows=view.rows,
                objects=view.objects,
                size_bytes=view.size_bytes,
                bytes_per_s=view.bytes_per_s,
                retries=view.retries,
                seconds_left=left,
                running=[step.key for step in view.running],
            )
        )

    def step_started(self, step: "Step") -> None:
        """A step begins, or is taken up."""
        self._emit(events.StepStarted(at=_now(), step=step.key, collection=step.collection, describe=step.describe()))

    def step_progressed(self, step: "Step", progress: "Progress") -> None:
        """How far it is, at most once a second, and now and then how far the run is."""
        is_whole = progress.total > 0 and progress.done == progress.total
        if self._is_due(step.key, 1.0) or (is_whole and self._is_due(f"{step.key} is whole", float("inf"))):
            self._emit(
                events.StepProgressed(
                    at=_now(),
                    step=step.key,
                    message=progress.message,
                    done=progress.done,
                    total=progress.total,
                    unit=progress.unit,
                    size_bytes=progress.size_bytes,
                    total_bytes=progress.total_bytes,
                    jobs_done=progress.jobs_done,
                    jobs=progress.jobs,
                )
            )
        self._tell_of_the_run()

    def step_waits(self, step: "Step", error: "MigratorError", seconds: float) -> None:
        """It will be tried again."""
        self._retries[step.key] += 1
        self._emit(
            events.StepWaits(
                at=_now(),
                step=step.key,
                seconds=round(seconds, 1),
                attempt=self._retries[step.key] + 1,
                message=error.message,
            )
        )

    def step_renewed(self, step: "Step", error: "Outdated") -> None:
        """It begins anew, with what it stands on."""
        self._emit(events.StepRenewed(at=_now(), step=step.key, renews=list(error.renews), message=error.message))

    def step_finished(self, step: "Step", outcome: "Outcome") -> None:
        """It is done."""
        self._emit(
            events.StepFinished(
                at=_now(),
                step=step.key,
                rows=outcome.rows,
                objects=outcome.objects,
                size_bytes=outcome.size_bytes,
                detail=outcome.detail,
            )
        )
        self._tell_of_the_run()

    def step_failed(self, step: "Step", error: "MigratorError") -> None:
        """It failed."""
        self._emit(
            events.StepFailed(
                at=_now(), step=step.key, error=type(error).__name__, message=error.message, hint=error.hint
            )
        )

    def step_blocked(self, step: "Step", needed: str) -> None:
        """It was not tried."""
        self._emit(events.StepBlocked(at=_now(), step=step.key, needs=needed))

    def step_parked(self, step: "Step") -> None:
        """It was stopped."""
        self._emit(events.StepParked(at=_now(), step=step.key))

    def run_ended(self, run: "Run", state: "StateDirectory", result: "RunResult") -> None:
        """How it ended, per collection."""
        self._emit(
            events.RunEnded(
                at=_now(),
                run_id=run.run_id,
                exit_code=result.exit_code,
                report=str(run.report_file) if run.report_file.exists() else None,
                collections=[
                    events.EndedCollection(
                        source=c.source, target=c.target, state=c.state, rows=c.rows, verdict=c.verdict
                    )
                    for c in workflow.summary(run, state).collections
                ],
            )
        )


def _now() -> str:
    return datetime.now(tz=UTC).isoformat()


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
        if has_dump(run.plan):
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
