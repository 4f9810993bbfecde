"""What is shown of a run under way, as lines that fit a screen; pure: a view, a width and a height go in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from migrator.reports.plain import clean, duration, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.running.events import Progress
    from migrator.running.track import RunView, StepView

_LINES_KEPT = 4
"""Of the screen, for what scrolls above."""
_NARROW = 60
"""Below this width there is no room for bars."""
_WIDE = 110
_ROUGH = 1.6
"""A range whose ends are further apart is told as a range."""


def board(view: RunView, names: Mapping[str, str], *, width: int, height: int, ascii_only: bool = False) -> list[Text]:
    """A line for each step under way, as far as they fit, and one for the run; none is wider than `width`.

    `names` are what collections are called, by their labels; where there is little room the labels have to do.
    """
    names = names if width >= _WIDE else {}
    most = max(1, height - _LINES_KEPT)
    shown = view.running if len(view.running) <= most else view.running[: most - 1]
    titles = [_title(step, names) for step in shown]
    columns = min(max(map(cell_len, [*titles, "in all"])), width // 4)
    lines = [_step_line(step, title, columns, width, ascii_only) for step, title in zip(shown, titles, strict=True)]
    if len(shown) < len(view.running):
        lines.append(Text(f"  … and {len(view.running) - len(shown)} more under way", style="dim"))
    lines.append(_run_line(view, columns, width, ascii_only))
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


def _title(step: StepView, names: Mapping[str, str]) -> str:
    return clean(names.get(step.collection, step.collection) if step.collection else step.key.partition(":")[0])


def _step_line(step: StepView, title: str, columns: int, width: int, ascii_only: bool) -> Text:  # noqa: FBT001 - a look
    line = Text("  ")
    line.append(_fitted(title, columns), style="bold")
    line.append_text(_bar(step.share, width, ascii_only))
    took = clock_time(step.elapsed_s)
    room = width - line.cell_len - len(took) - 2
    words = clean(step_words(step))
    line.append(_fitted(words, room), style="yellow" if step.pause else "")
    line.append(f"  {took}", style="dim")
    return line


def _run_line(view: RunView, columns: int, width: int, ascii_only: bool) -> Text:  # noqa: FBT001 - a look
    line = Text("  ")
    line.append(_fitted("in all", columns), style="bold")
    line.append_text(_bar(view.share, width, ascii_only))
    took = clock_time(view.elapsed_s)
    room = width - line.cell_len - len(took) - 2
    line.append(_fitted(clean(run_words(view)), room), style="yellow" if view.waiting_for else "")
    line.append(f"  {took}", style="dim")
    return line


def _bar(share: float, width: int, ascii_only: bool) -> Text:  # noqa: FBT001 - a look
    """A bar that can be read without colour, and the percentage."""
    bar = Text("  ")
    full, empty = ("#", "-") if ascii_only else ("━", "╌")
    length = 0 if width < _NARROW else 10 if width < _WIDE else 24
    done = int(length * share)
    bar.append(full * done, style="green")
    bar.append(empty * (length - done), style="dim")
    bar.append(f"{percent(share):>4} %  " if length else f"{percent(share):>2} %  ")
    return bar


def _fitted(text: str, columns: int) -> str:
    """Exactly so many columns: cut with an ellipsis, or filled."""
    if columns <= 0:
        return ""
    return set_cell_size(text, columns) if cell_len(text) <= columns else set_cell_size(text, columns - 1) + "…"


def percent(share: float) -> int:
    """Rounded down: 100 is done."""
    return int(share * 100 + 1e-9)


def clock_time(seconds: float) -> str:
    """`0:45`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def step_words(step: StepView) -> str:
    """What it does or waits for, how far that is, and how fast: `70 %: target builds indexes, 4,200 of 6,000 rows`."""
    if step.pause is not None:
        return f"attempt {step.pause.attempt} in {step.pause.seconds_left:.0f} s: {step.pause.message}"
    return ", ".join([progress_text(step.progress, step.describe), *_rate(step)])


def _rate(step: StepView) -> list[str]:
    if step.bytes_per_s:
        return [f"{size(step.bytes_per_s)}/s"]
    return [f"{step.units_per_s:,.0f} {step.progress.unit}/s"] if step.units_per_s and step.units_per_s >= 1 else []


def progress_text(progress: Progress, otherwise: str = "") -> str:
    """`copying 24 of 120 objects, 1.2 of 40 MiB`; what has no words is told as `otherwise`."""
    doing = progress.message or otherwise
    if not progress.total:
        done = f"{progress.done:,} {progress.unit}" if progress.done else ""
        return ", ".join(filter(None, [doing, done]))
    if progress.unit == "%":
        return f"{progress.done} %: {doing}"
    amount = f"{progress.done:,} of {progress.total:,} {progress.unit}"
    if progress.jobs:
        return f"{doing}; {amount}"
    if progress.unit == "rows":
        return f"{percent(progress.fraction or 0.0)} %: {doing}, {amount}"
    return ", ".join(filter(None, [f"{doing} {amount}", _bytes(progress)]))


def _bytes(progress: Progress) -> str:
    if not progress.size_bytes:
        return ""
    done, total = size(progress.size_bytes), size(progress.total_bytes)
    if not progress.total_bytes:
        return done
    amount, _, unit = done.partition(" ")
    return f"{amount if total.endswith(f' {unit}') else done} of {total}"


def run_words(view: RunView) -> str:
    """How far the run is, how fast, and how long it still takes; or what it waits for as a whole."""
    if view.waiting_for:
        return f"waits for {view.waiting_for}"
    collections = f"{view.collections_done:,} of {view.collections:,} done" if view.collections > 1 else ""
    failed = f"{view.collections_failed:,} failed" if view.collections_failed else ""
    rate = f"{size(view.bytes_per_s)}/s" if view.bytes_per_s else ""
    steps = f"{view.steps_done:,} of {view.steps:,} steps"
    return ", ".join(filter(None, [time_left(view.fast_s, view.slow_s), collections, failed, steps, rate]))


def time_left(fast_s: float | None, slow_s: float | None) -> str:
    """`about 3 min left`, `2 min to 5 min left`; empty as long as nothing can be said."""
    if fast_s is None or slow_s is None:
        return ""
    if slow_s <= fast_s * _ROUGH or duration(fast_s) == duration(slow_s):
        return f"about {duration((fast_s + slow_s) / 2)} left"
    return f"{duration(fast_s)} to {duration(slow_s)} left"
