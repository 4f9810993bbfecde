"""How long it takes to open a long journal and read the state of every step: `python benchmarks/journal_open.py`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.running.clock import SystemClock
from migrator.running.journal import Journal, StepEvent

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 1000


def key_of(number: int) -> str:
    """A step's key."""
    return f"step:default.c{number:05d}"


def fill(path: Path, *, entries: int, steps: int) -> None:
    """Write a journal in which every step was started, renewed, noted again and again, and finished."""
    journal = Journal(path, SystemClock())
    at = SystemClock().now().isoformat()
    notes = json.dumps({"attempt": 1, "job_id": 459999000000000000, "rows": 1_000_000})
    first, last = (StepEvent.STARTED, StepEvent.RENEWED, StepEvent.STARTED), (StepEvent.FINISHED,)
    events = [*first, *[StepEvent.NOTED] * (entries // steps - len(first) - len(last)), *last]
    rows = [(at, key_of(number % steps), events[number // steps], notes) for number in range(entries)]
    for start in range(0, entries, PAGE):
        with journal._transaction() as db:
            db.executemany(
                "INSERT INTO entries (at, step_key, event, data) VALUES (?, ?, ?, ?)", rows[start : start + PAGE]
            )
    journal.close()


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds by the clock, and of processor time: the first depends on what else the machine does."""

    wall_s: float
    processor_s: float

    def __str__(self) -> str:
        return f"{self.wall_s * 1000:.0f} ms ({self.processor_s * 1000:.0f} ms of processor time)"


def measured(work: Callable[[], object]) -> Span:
    """How long `work` takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Span(time.perf_counter() - wall, time.process_time() - processor)


def read_states(journal: Journal, keys: list[str]) -> None:
    """What `migrator status` asks of every step."""
    for key in keys:
        if not (journal.is_finished(key) and journal.was_started(key) and journal.last_event(key)):
            raise SystemExit(f"{key} is not as it was written")


def tell(path: Path, keys: list[str], *, read_only: bool) -> None:
    """Open it one way, and print how long that took, and the reading."""
    opened: list[Journal] = []
    opening = measured(lambda: opened.append(Journal(path, SystemClock(), read_only=read_only)))
    (journal,) = opened
    states = measured(lambda: read_states(journal, keys))
    notes = measured(lambda: [journal.notes(key) for key in keys])
    journal.close()
    sys.stdout.write(f"  {'to read' if read_only else 'to go on'}: opened in {opening}; states in {states}; ")
    sys.stdout.write(f"all notes in {notes}\n")


def main() -> None:
    """Measure, and print one line for each way of opening."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=1_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        fill(path, entries=wanted.entries, steps=wanted.steps)
        size_mib = path.stat().st_size / 1024**2
        sys.stdout.write(f"{wanted.entries:,} entries of {wanted.steps:,} steps, {size_mib:.1f} MiB\n")
        for read_only in (True, False):
            tell(path, [key_of(number) for number in range(wanted.steps)], read_only=read_only)


if __name__ == "__main__":
    main()
