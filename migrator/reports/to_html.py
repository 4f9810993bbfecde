"""A plan or a run as one page that needs nothing else: no network, no file beside it; foreign words are escaped."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from migrator import __version__
from migrator.planning.plan import Action, has_dump
from migrator.reports.beside import beside, heading, told_changes
from migrator.reports.exceptions import Remark, told_once
from migrator.reports.plain import clean, count, duration, size
from migrator.reports.run_report import report_run
from migrator.reports.summary import summarize
from migrator.reports.to_text import figures, head_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from migrator.planning.plan import Plan, PlannedCollection
    from migrator.reports.beside import Beside
    from migrator.reports.run_report import Attempt, CollectionReport, RunReport, StepReport

MOST_LANES = 40
"""More lanes make a timeline nobody can read: the failed ones come first, then the slowest."""
MOST_IN_GRAPH = 12
MOST_UNFOLDED = 1000
"""Collections whose steps can be unfolded; failed ones always can."""
MOST_FAILURES = 10
"""Told at the top; more are folded."""
_RANKS = {"failed": 0, "unfinished": 1, "done": 2}
"""What a reader looks for comes first."""
_BOX, _GAP, _HEIGHT, _LANE_GAP = 120, 22, 30, 10
"""Of the graph's drawing, in units of its own."""


def run_html(report: RunReport) -> str:
    """The page of a run."""
    collections = sorted(report.collections, key=_rank)
    scale = _Scale(report.sessions)
    return _render(
        "run.html.j2",
        report=report,
        plan=report.plan,
        collections=collections,
        rank=_rank,
        figures=_figures(report),
        failures=[report.failures[:MOST_FAILURES], report.failures[MOST_FAILURES:]],
        remarks=_remarks(report.collections, (("changed", "changed"), ("not carried", "not_carried"))),
        access=report.plan.access,
        lanes=_lanes(report, scale),
        ticks=scale.ticks(),
        breaks=scale.breaks(),
        graph=_Graph(report),
        unfolded=_unfolded(collections),
        most_lanes=MOST_LANES,
        moment=_moment,
        speed=_speed,
    )


def plan_html(plan: Plan, told: Beside | None = None) -> str:
    """The page of a plan."""
    told = told or beside(plan)
    todo = [each for each in plan.collections if each.action is Action.MIGRATE]
    listed = (("changed", "changed"), ("not carried", "not_carried"), ("note", "notices"))
    summary = summarize(plan, run_id="", created_at="", entry_of=lambda _: ("planned", "", {}))
    return _render(
        "plan.html.j2",
        plan=plan,
        has_dump=has_dump(plan),
        heads=[line.text for line in head_lines(plan)],
        sums=figures(plan, told),
        changes=None if told.against is None else (heading(told.against), list(told_changes(told.against))),
        figures=_plan_figures(plan, todo),
        remarks=_remarks(todo, listed),
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
    styles, script = _own("page.css"), _own("page.js")
    allowed = f"style-src {_hash(styles)}; script-src {_hash(script)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return environment.get_template(template).render(
        version=__version__, count=count, policy=policy, styles=styles, script=script, **values
    )


def _own(name: str) -> Markup:
    """A file of ours, which needs no escaping."""
    return Markup((resources.files("migrator.reports") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704


def _hash(text: str) -> str:
    """As a page's policy names what it may run: nothing but this very text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _remarks(
    collections: Iterable[PlannedCollection | CollectionReport], kinds: Sequence[tuple[str, str]]
) -> list[tuple[str, Remark]]:
    """What is to be said of collections, each with its kind, once where it is true of many."""
    return [
        (sign, remark)
        for sign, kind in kinds
        for remark in told_once(
            [Remark(_source(each), text) for each in collections for text in getattr(each, kind)], verbose=False
        )
    ]


def _source(collection: PlannedCollection | CollectionReport) -> str:
    return collection.source if isinstance(collection.source, str) else collection.source.short


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
    total = len(report.collections)
    done = sum(each.state in {"done", "nothing to do"} for each in report.collections)
    rows = sum(each.rows_imported or 0 for each in report.collections)
    retries = sum(step.retries for step in report.every_step)
    figures = [
        ("collections" if total != 1 else "collection", f"{total:,}" if done == total else ""),
        ("collections done", f"{done:,} of {total:,}" if done != total else ""),
        ("rows imported", f"{rows:,}" if report.plan.target else ""),
        ("of binlogs", size(sum(each.size_bytes for each in report.collections))),
        ("of work", duration(report.seconds)),
        ("rows a second", f"{round(rows / report.seconds):,}" if rows and report.seconds else ""),
        ("sessions", f"{len(report.sessions):,}" if len(report.sessions) > 1 else ""),
        ("retries" if retries != 1 else "retry", f"{retries:,}"),
    ]
    return [(name, value) for name, value in figures if value]


def _rank(collection: CollectionReport) -> int:
    return _RANKS.get(collection.state, len(_RANKS))


def _unfolded(collections: Sequence[CollectionReport]) -> int:
    """Of how many collections, as they are sorted, the steps can be unfolded."""
    return max(MOST_UNFOLDED, sum(each.state == "failed" for each in collections))


def _speed(step: StepReport) -> str:
    """`3,100 rows/s`, or `13.2 MiB/s`; empty where it moved nothing."""
    if not step.seconds or step.kind not in {"copy_segments", "forward_segments", "import_segments"}:
        return ""
    if step.kind == "import_segments" and step.rows:
        return f"{step.rows / step.seconds:,.0f} rows/s"
    return f"{size(step.size_bytes / step.seconds)}/s" if step.size_bytes else ""


# -- the timeline -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt of a step on the timeline, in percent of its width."""

    left: float
    width: float
    step: StepReport
    attempt: Attempt

    @property
    def title(self) -> str:
        """`import segments: 14 s, failed, 2 retries`."""
        told = "" if self.attempt.outcome == "finished" else f", {self.attempt.outcome}"
        again = f", {count(self.attempt.tries - 1, 'retry', 'retries')}" if self.attempt.tries > 1 else ""
        return f"{_words(self.step.kind)}: {duration(self.attempt.seconds)}{told}{again}"


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

    def breaks(self) -> list[float]:
        """Where another session begins."""
        return [self.percent(each.began) for each in self._sessions[1:]]

    def ticks(self) -> list[tuple[float, str]]:
        """A few moments to read the timeline by."""
        return [(25.0 * quarter, duration(self._total * quarter / 4) if quarter else "0") for quarter in range(5)]


def _lanes(report: RunReport, scale: _Scale) -> list[Lane]:
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
            yield Bar(round(left, 3), round(max(right - left, 0.3), 3), step, attempt)


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
        self.groups = [group for group in groups if group[1]]
        self._kinds = {step.key: _words(step.kind) for _, steps in groups for step in steps}
        self.boxes: list[Box] = []
        self.labels: list[tuple[int, str]] = []
        self.height = 0
        places: dict[str, Box] = {}
        for label, steps in self.groups:
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

    def before(self, step: StepReport) -> list[str]:
        """What has to be over before it, each kind once."""
        return list(dict.fromkeys(self._kinds[key] for key in (*step.needs, *step.follows) if key in self._kinds))


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
