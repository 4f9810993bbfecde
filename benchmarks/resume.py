"""Going on with a run whose journal is long: `python -m benchmarks.resume STATE_DIRECTORY`.

What `migrator apply --resume` does until the first step could begin: the run is found and read, its journal opened,
every step's state read, the pace of earlier runs measured, the graph put in order. There are no servers to be asked.
"""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import Contestant
from migrator import workflow
from migrator.__main__ import LOOK_AFTER
from migrator.running.clock import StopSignal, SystemClock
from migrator.running.events import StepState
from migrator.running.executor import Executor
from migrator.running.journal import StepEvent
from migrator.running.past_pace import past_pace
from migrator.running.retry import RetryPolicy
from migrator.running.runs import StateDirectory
from migrator.running.track import Track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run
    from migrator.planning.plan import Plan
    from migrator.running.journal import Journal

ENTRIES = 100_000
_PAGE = 1000


def run(bench: Bench) -> Iterator[Result]:
    """The same number of entries, of few steps that were noted often, and of many."""
    entries = bench.pick(ENTRIES, 1_000)
    for collections in bench.pick((140, 4_700), (2, 20)):
        folder = bench.folder / f"resume-{collections}"
        steps = make(folder, collections=collections, entries=entries)
        who = Contestant(
            who="migrator apply --resume", work=partial(_measured, bench, folder), detail="without servers"
        )
        yield from bench.side_by_side(f"{entries:,} entries of {steps:,} steps: resumed", [who])


def _measured(bench: Bench, folder: Path, _: int) -> Run:
    return bench.measure([sys.executable, "-m", "benchmarks.resume", str(folder)])


def make(folder: Path, *, collections: int, entries: int) -> int:
    """A run of which all but the last step is finished, and how many steps it has."""
    from migrator.planning.planner import make_plan  # noqa: PLC0415 - what is measured imports none of these
    from migrator.running.refresh import refresh  # noqa: PLC0415 - as above
    from tests.support.builders import a_loaded_plan  # noqa: PLC0415 - as above
    from tests.support.generated import Size, Traffic, generated_readers  # noqa: PLC0415 - as above

    folder.mkdir(parents=True)
    loaded = a_loaded_plan(folder, collections="['*']")
    readers = generated_readers(Size(collections=collections, segments=1), Traffic())
    plan = make_plan(loaded, replace(refresh(loaded, readers, ()), target_version="2.3.5"))
    state = StateDirectory(folder / "state", SystemClock())
    begun = state.begin(loaded, plan)
    with state.journal(begun, read_only=False) as journal:
        fill(journal, plan, entries)
    return len(plan.steps)


def fill(journal: Journal, plan: Plan, entries: int) -> None:
    """Started, noted again and again, finished; the last one is not."""
    at = SystemClock().now().isoformat()
    notes = json.dumps({"attempt": 1, "job_id": 459999000000000000, "rows": 1_000_000})
    noted = [StepEvent.NOTED] * max(entries // len(plan.steps) - 2, 0)
    events = [StepEvent.STARTED, *noted, StepEvent.FINISHED]
    rows = [(at, step.key, event, notes) for event in events for step in plan.steps[:-1]]
    for start in range(0, len(rows), _PAGE):
        with journal._transaction() as db:
            db.executemany(
                "INSERT INTO entries (at, step_key, event, data) VALUES (?, ?, ?, ?)", rows[start : start + _PAGE]
            )


def main(folder: Path) -> None:
    """Up to the first step."""
    gc.set_threshold(LOOK_AFTER)  # as the command does
    clock = SystemClock()
    state = StateDirectory(folder / "state", clock)
    resumed = workflow.find_resumable(state, None)
    if resumed is None:
        raise SystemExit("there is no unfinished run")
    with state.journal(resumed) as journal:
        finished = [key for key, is_at in resumed.states(journal).items() if is_at is StepState.FINISHED]
    track = Track(resumed.plan, clock, finished=finished, pace=past_pace(state, resumed.plan), parallelism=4)
    stop = StopSignal()
    stop.ask()
    with state.journal(resumed, read_only=False) as journal:
        if not resumed.was_started(journal):
            raise SystemExit("the run has not begun")
        executor = Executor(
            resumed.plan.steps,
            journal,
            lambda _: (_ for _ in ()).throw(AssertionError("no step begins")),
            clock=clock,
            stop=stop,
            watcher=track,
            policy=RetryPolicy(),
            parallelism=4,
        )
        left = [key for key, is_at in executor.run().states.items() if is_at is not StepState.FINISHED]
    if len(left) != 1:
        raise SystemExit(f"{len(left)} steps are left")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
