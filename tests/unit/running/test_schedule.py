"""Which step comes next: lanes that do not wait for one another, the longest path first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from migrator.planning.paths import empty_imports, longest_paths, paths_of
from migrator.planning.planner import make_plan
from migrator.running.events import StepState
from migrator.running.schedule import Schedule
from migrator.steps.base import Evidence, Outcome, Step
from tests.support.builders import a_collection, a_loaded_plan, an_estimate, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan
    from migrator.steps.base import ReadContext, StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Stone(Step):
    """A step that stands for itself."""

    kind: ClassVar[str] = "stone"
    name: str

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    def describe(self) -> str:
        """Its name."""
        return self.name

    def probe(self, ctx: ReadContext) -> Evidence:  # noqa: ARG002 - of the base
        """Nothing."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:  # noqa: ARG002 - of the base
        """Nothing."""
        return Outcome()


def taken(schedule: Schedule) -> list[str]:
    return [step.key for step in schedule.take()]


def end(schedule: Schedule, step: Step, state: StepState = StepState.FINISHED) -> list[tuple[str, str]]:
    schedule.leave(step)
    return schedule.moved(step.key, state)


def a_plan(folder: Path, *sizes: int) -> Plan:
    """Collections of so many bytes, in one plan."""
    observed = an_observed_state(*(a_collection(f"c{number}") for number in range(len(sizes))))
    empty = an_estimate(rows=0, segments=0, objects=0, import_requests=0)
    source = tuple(
        replace(each, estimate=an_estimate(rows=size // 100, size_bytes=size) if size else empty)
        for each, size in zip(observed.source, sizes, strict=True)
    )
    return make_plan(a_loaded_plan(folder, collections='["*"]'), replace(observed, source=source))


def test_the_longest_path_begins_first() -> None:
    a, b, c = Stone(name="a"), Stone(name="b"), Stone(name="c", needs=("b",))
    paths = longest_paths([a, b, c], {"a": 5.0, "b": 1.0, "c": 10.0})
    assert paths == {"a": 5.0, "b": 11.0, "c": 10.0}
    schedule = Schedule([a, b, c], paths=paths, parallelism=1)
    assert taken(schedule) == ["b"]
    end(schedule, b)
    assert taken(schedule) == ["c"]
    end(schedule, c)
    assert taken(schedule) == ["a"]


def test_without_paths_it_is_the_plans_order() -> None:
    steps = [Stone(name=name) for name in "xay"]
    assert taken(Schedule(steps, paths={}, parallelism=3)) == ["x", "a", "y"]


def test_of_two_collections_the_larger_is_copied_first(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, 10**6, 10**11)
    schedule = Schedule(plan.steps, paths=paths_of(plan), parallelism=1)
    schedule.moved("flush", StepState.FINISHED)
    assert taken(schedule) == ["dump_meta:default.c1"]


def test_a_lane_that_is_full_does_not_stop_the_others(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, *[10**6] * 30)
    schedule = Schedule(plan.steps, paths={}, parallelism=2)
    steps = {step.key: step for step in plan.steps}
    under_way, copied = [steps[key] for key in taken(schedule)], 0
    for _ in range(100):  # imports never end here
        for step in [step for step in under_way if step.kind != "import_segments"]:
            under_way.remove(step)
            copied += step.kind == "copy_segments"
            end(schedule, step)
        under_way += [steps[key] for key in taken(schedule)]
    assert len(under_way) == 8, "as many imports as the target may have jobs"
    assert copied == 30, "and everything else is copied meanwhile"


def test_what_was_empty_does_not_stand_in_line_for_the_targets_queue(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, *[10**6] * 30, *[0] * 30)
    schedule = Schedule(plan.steps, paths=paths_of(plan), parallelism=4, passing=empty_imports(plan))
    steps = {step.key: step for step in plan.steps}
    under_way, verified = [steps[key] for key in taken(schedule)], 0
    for _ in range(200):  # imports of what has rows never end here
        for step in [step for step in under_way if not (step.kind == "import_segments" and _number(step) < 30)]:
            under_way.remove(step)
            verified += step.kind == "verify_collection"
            end(schedule, step)
        under_way += [steps[key] for key in taken(schedule)]
    assert verified == 30


def _number(step: Step) -> int:
    return int(step.key.rpartition(".c")[2].partition("_")[0])


def test_what_needs_a_lost_step_is_blocked_to_the_end_of_the_chain() -> None:
    a, b, c = Stone(name="a"), Stone(name="b", needs=("a",)), Stone(name="c", needs=("b",))
    last = Stone(name="last", follows=("c",))
    schedule = Schedule([a, b, c, last], paths={}, parallelism=4)
    assert taken(schedule) == ["a"]
    assert end(schedule, a, StepState.FAILED) == [("b", "a"), ("c", "b")]
    assert taken(schedule) == ["last"], "what follows waits for the end, whatever it is"


def test_what_is_done_anew_is_waited_for() -> None:
    a, b, c = Stone(name="a"), Stone(name="b", needs=("a",)), Stone(name="c", needs=("a", "b"))
    schedule = Schedule([a, b, c], paths={}, parallelism=4)
    taken(schedule)
    end(schedule, a)
    assert taken(schedule) == ["b"]
    schedule.moved("a", StepState.WAITING)
    end(schedule, b, StepState.WAITING)
    assert taken(schedule) == ["a"], "b stands on it"
    end(schedule, a)
    assert taken(schedule) == ["b"]
    end(schedule, b)
    assert taken(schedule) == ["c"]


def test_what_awaits_a_step_that_failed_meanwhile_is_blocked() -> None:
    a, b = Stone(name="a"), Stone(name="b")
    schedule = Schedule([a, b], paths={}, parallelism=4)
    taken(schedule)
    end(schedule, a, StepState.FAILED)
    schedule.leave(b)
    assert schedule.moved("b", StepState.WAITING, awaits=("a",)) == [("b", "a")]


def test_every_edge_is_looked_at_once() -> None:
    steps = [Stone(name=f"s{number}") for number in range(20_000)]
    last = Stone(name="last", follows=tuple(step.name for step in steps))
    schedule = Schedule([*steps, last], paths={}, parallelism=8)
    order = []
    while found := list(schedule.take()):
        for step in found:
            order.append(step.key)
            end(schedule, step)
    assert order == [step.name for step in (*steps, last)]
