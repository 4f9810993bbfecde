"""A plan or a run as one page that needs nothing else: no network, no file beside it; foreign words are escaped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from migrator import __version__
from migrator.planning.plan import Action
from migrator.reports.exceptions import Remark, told_once
from migrator.reports.plain import clean, count, duration, size
from migrator.reports.run_report import report_run
from migrator.reports.summary import summarize
from migrator.reports.to_text import sum_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from migrator.planning.plan import Plan, PlannedCollection
    from migrator.reports.run_report import Attempt, CollectionReport, RunReport, StepReport

MOST_LANES = 40
"""More lanes make a timeline nobody can read: the failed ones come first, then the slowest."""
MOST_IN_GRAPH = 12
MOST_UNFOLDED = 200
"""Collections whose steps can be unfolded; failed ones always can."""
_BOX, _GAP, _HEIGHT, _LANE_GAP = 120, 22, 30, 10
"""Of the graph's drawing, in units of its own."""


def run_html(report: RunReport) -> str:
    """The page of a run."""
    return _render(
        "run.html.j2",
        report=report,
        plan=report.plan,
        figures=_figures(report),
        lanes=_lanes(report),
        ticks=_Scale(report.sessions).ticks(),
        graph=_Graph(report),
        unfolded=_unfolded(report),
        most_lanes=MOST_LANES,
        moment=_moment,
    )


def plan_html(plan: Plan) -> str:
    """The page of a plan."""
    todo = [each for each in plan.collections if each.action is Action.MIGRATE]
    listed = (("changed", "changed"), ("not carried", "not_carried"), ("note", "notices"))
    remarks = [
        (sign, remark)
        for sign, kind in listed
        for remark in told_once(
            [Remark(each.source.short, text) for each in todo for text in getattr(each, kind)], verbose=False
        )
    ]
    summary = summarize(plan, run_id="", created_at="", entry_of=lambda _: ("planned", "", {}))
    return _render(
        "plan.html.j2",
        plan=plan,
        sums=[line.text for line in sum_lines(plan)],
        figures=_plan_figures(plan, todo),
        remarks=remarks,
        replaced=[(each.label, each.replaces.in_words()) for each in todo if each.replaces is not None],
        todo=todo,
        rest=[each for each in plan.collections if each.action is not Action.MIGRATE],
        graph=_Graph(report_run(plan, summary, (), notes={})),
    )


def _render(template: str, **values: object) -> str:
    environment = Environment(
        loader=PackageLoader("migrator.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "duration": duration, "clean": clean, "words": _words}
    return environment.get_template(template).render(version=__version__, count=count, **values)


def _plan_figures(plan: Plan, todo: Sequence[PlannedCollection]) -> list[tuple[str, str]]:
    estimates = [each.estimate for each in todo]
    rows = sum(each.rows if each.counted_rows is None else each.counted_rows for each in estimates)
    figures = [
        ("to migrate" if plan.target else "to back up", f"{len(todo):,}"),
        ("rows", f"{rows:,}"),
        ("objects", f"{sum(each.objects for each in estimates):,}"),
        ("of binlogs", size(sum(each.size_bytes for each in estimates))),
        ("import requests", f"{sum(each.import_requests for each in estimates):,}" if plan.target else ""),
        ("steps", f"{len(plan.steps):,}"),
    ]
    return [(name, value) for name, value in figures if value]


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _figures(report: RunReport) -> list[tuple[str, str]]:
    """The few numbers at the top, each with its name."""
    rows = sum(each.rows_imported or 0 for each in report.collections)
    size_bytes = sum(each.size_bytes for each in report.collections)
    retries = sum(each.retries for each in report.collections) + sum(each.retries for each in report.steps)
    rate = f"{round(rows / report.seconds):,}/s" if rows and report.seconds else ""
    figures = [
        ("collections", f"{len(report.collections):,}"),
        ("rows", f"{rows:,}" if report.plan.target else ""),
        ("of binlogs", size(size_bytes)),
        ("of work", duration(report.seconds)),
        ("rows", rate),
        ("sessions" if len(report.sessions) != 1 else "session", f"{len(report.sessions):,}"),
        ("retries" if retries != 1 else "retry", f"{retries:,}"),
    ]
    return [(name, value) for name, value in figures if value]


def _unfolded(report: RunReport) -> frozenset[int]:
    """Which collections show their steps."""
    failed = [index for index, each in enumerate(report.collections) if each.state == "failed"]
    return frozenset([*failed, *range(len(report.collections))][: max(MOST_UNFOLDED, len(failed))])


# -- the timeline -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt of a step on the timeline, in percent of its width."""

    left: float
    width: float
    kind: str
    outcome: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A collection's bars, or the run's."""

    label: str
    bars: tuple[Bar, ...]


class _Scale:
    """Where a moment lies on the timeline: only time that a process was at work takes room."""

    def __init__(self, sessions: Sequence[Attempt]) -> None:
        self._sessions = sessions
        self._total = sum(max(each.seconds, 0.001) for each in sessions) or 1.0

    def percent(self, at: datetime) -> float:
        """From 0 to 100."""
        before = 0.0
        for each in self._sessions:
            if at <= each.ended:
                before += max(0.0, (at - each.began).total_seconds())
                break
            before += max(each.seconds, 0.001)
        return min(100.0, 100 * before / self._total)

    def ticks(self) -> list[tuple[float, str]]:
        """A few moments to read the timeline by, and where another session begins."""
        return [(25.0 * quarter, duration(self._total * quarter / 4) if quarter else "0") for quarter in range(5)]


def _lanes(report: RunReport) -> list[Lane]:
    scale = _Scale(report.sessions)
    worst = sorted(
        (index for index, each in enumerate(report.collections) if each.steps),
        key=lambda index: (report.collections[index].state != "failed", -report.collections[index].seconds),
    )
    shown = [report.collections[index] for index in sorted(worst[:MOST_LANES])]
    lanes = [Lane("the run", tuple(_bars(report.steps, scale)))] if report.steps else []
    return [*lanes, *(Lane(_name(each), tuple(_bars(each.steps, scale))) for each in shown)]


def _bars(steps: Sequence[StepReport], scale: _Scale) -> Iterator[Bar]:
    for step in steps:
        for attempt in step.attempts:
            left, right = scale.percent(attempt.began), scale.percent(attempt.ended)
            told = "" if attempt.outcome == "finished" else f", {attempt.outcome}"
            again = f", {attempt.tries - 1} retries" if attempt.tries > 1 else ""
            title = f"{_words(step.kind)}: {duration(attempt.seconds)}{told}{again}"
            yield Bar(round(left, 3), round(max(right - left, 0.15), 3), step.kind, attempt.outcome, title)


def _name(collection: CollectionReport) -> str:
    return collection.target or collection.source


# -- the graph --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """A step in the drawing."""

    x: int
    y: int
    text: str
    state: str
    title: str


class _Graph:
    """The steps as boxes: a lane a collection, as far to the right as what they need is long."""

    def __init__(self, report: RunReport) -> None:
        shown = sorted(
            (each for each in report.collections if each.steps),
            key=lambda each: each.state not in {"failed", "unfinished"},
        )
        self.left_out = max(0, len(shown) - MOST_IN_GRAPH)
        groups = [("the run", report.steps), *((_name(each), each.steps) for each in shown[:MOST_IN_GRAPH])]
        depths = _depths([step for _, steps in groups for step in steps])
        self.boxes: list[Box] = []
        self.labels: list[tuple[int, str]] = []
        self.height = 0
        places: dict[str, Box] = {}
        for label, steps in (group for group in groups if group[1]):
            self.labels.append((self.height + 12, label))
            stacked: Counter[int] = Counter()
            for step in steps:
                depth = depths[step.key]
                x, y = depth * (_BOX + _GAP), self.height + 20 + stacked[depth] * (_HEIGHT + 6)
                stacked[depth] += 1
                box = Box(x, y, _words(step.kind), step.state, f"{step.describe}: {step.state}")
                places[step.key] = box
                self.boxes.append(box)
            self.height += 20 + max(stacked.values()) * (_HEIGHT + 6) + _LANE_GAP
        every = [step for _, steps in groups for step in steps]
        self.arrows = [_arrow(places[key], places[s.key]) for s in every for key in s.needs if key in places]
        self.dotted = [_arrow(places[key], places[s.key]) for s in every for key in s.follows if key in places]
        self.width = max((box.x for box in self.boxes), default=0) + _BOX + 4
        self.box_width, self.box_height = _BOX, _HEIGHT


def _depths(steps: Sequence[StepReport]) -> dict[str, int]:
    """How many steps must be over before each."""
    known = {step.key for step in steps}
    depths: dict[str, int] = {}
    in_order = sorted(steps, key=lambda step: step.number)
    for step in in_order:  # a plan's steps come after what they need
        needed = [depths[key] for key in (*step.needs, *step.follows) if key in known and key in depths]
        depths[step.key] = 1 + max(needed) if needed else 0
    return depths


def _arrow(one: Box, other: Box) -> str:
    """A path from the right edge of one box to the left edge of another."""
    x1, y1, x2, y2 = one.x + _BOX, one.y + _HEIGHT // 2, other.x, other.y + _HEIGHT // 2
    bend = max(12, (x2 - x1) // 2)
    return f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2 - 4},{y2}"
