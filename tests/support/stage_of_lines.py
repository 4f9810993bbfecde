"""A run as it is told to a watcher, without servers: played in a process of its own on a terminal of any size."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.cli.apply import _watcher
from migrator.cli.options import Format
from migrator.errors import MilvusUnavailable, RunError
from migrator.planning.planner import make_plan
from migrator.running.clock import SystemClock
from migrator.running.events import Audience, Progress
from migrator.running.track import Track
from migrator.steps.base import Outcome
from tests.support.builders import a_collection, a_loaded_plan, an_observed_state

if TYPE_CHECKING:
    from migrator.planning.plan import Plan

LONG = "with_a_name_that_is_far_too_long_for_any_column_of_a_display"


def a_plan(folder: Path, count: int) -> Plan:
    """So many collections; one of them has a long name, and one is of wide letters."""
    names = [f"books_{number:04}" for number in range(count)]
    names[0] = LONG
    observed = an_observed_state(*[a_collection(name, collection_id=100 + i) for i, name in enumerate(names)])
    return make_plan(a_loaded_plan(folder, collections="['*']"), observed)


def play(plan: Plan, audience: Audience, *, pause_s: float = 0.0) -> None:
    """The first step of every collection is under way, some wait, one fails, and the first collection comes through."""
    for step in [step for step in plan.steps if step.kind == "copy_segments"]:
        audience.step_started(step)
        audience.step_progressed(step, Progress(message="copying", done=24, total=120, unit="objects"))
    time.sleep(pause_s)
    for step in plan.steps:
        if step.collection == plan.collections[0].label:
            audience.step_started(step)
            audience.step_waits(step, MilvusUnavailable(f"connection to {LONG} refused, and once more {LONG}"), 4.0)
            time.sleep(pause_s)
            audience.step_finished(step, Outcome(rows=6000))
    failing = next(step for step in plan.steps if step.collection == plan.collections[-1].label)
    audience.step_failed(failing, RunError(f"the index of {LONG} cannot be built", hint=f"look at {LONG}"))
    time.sleep(pause_s)


def main() -> None:
    """As `migrator apply` shows it."""
    with tempfile.TemporaryDirectory() as folder:
        plan = a_plan(Path(folder), 30)
    track = Track(plan, SystemClock())
    watcher = _watcher(Format(sys.argv[1]), track)
    with watcher:
        play(plan, Audience(track, watcher), pause_s=0.3)


if __name__ == "__main__":
    main()
