"""Planning more than a server here could hold: `python -m benchmarks.planning COLLECTIONS SEGMENTS`.

The ports are fed by a generator that makes collections and listings up as they are asked for; what is measured is all
that a command does between the servers' answers and the end of its output.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import Contestant
from migrator.__main__ import LOOK_AFTER
from migrator.cli.console import print_json, print_lines
from migrator.planning.plan import plan_parts
from migrator.planning.planner import make_plan
from migrator.planning.saved_plan import SavedPlan
from migrator.reports.beside import beside, beside_to_plain
from migrator.reports.to_text import plan_lines
from migrator.running.files import write_whole
from migrator.running.growing import growing
from migrator.running.refresh import refresh
from tests.support.builders import a_loaded_plan
from tests.support.generated import Size, Traffic, generated_readers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run

FORMS = {"text": "as text", "json": "as JSON", "saved": "and saved with --out"}


def run(bench: Bench) -> Iterator[Result]:
    """One plan, printed in several ways; then one of many small collections behind a network."""
    size = bench.pick(Size(collections=10_000, segments=20), Size(collections=20, segments=2))
    what = f"{size.collections:,} collections with {size.objects:,} objects"
    ways = [
        Contestant(who=words, work=partial(_measured, bench, size, form), detail="servers made up by a generator")
        for form, words in FORMS.items()
    ]
    yield from bench.side_by_side(f"{what}: planned", ways, within_s=90.0)
    some = bench.pick(Size(collections=1_000, segments=2), Size(collections=10, segments=1))
    slow = Contestant(
        who="migrator",
        work=partial(_measured, bench, some, "text", "--latency-ms", "10"),
        detail="each answer of the generator takes 10 ms",
    )
    yield from bench.side_by_side(f"{some.collections:,} collections, 10 ms away: planned", [slow])


def _measured(bench: Bench, size: Size, form: str, *more_and_round: object) -> Run:
    *more, _ = map(str, more_and_round)
    numbers = [str(size.collections), str(size.segments)]
    return bench.measure([sys.executable, "-m", "benchmarks.planning", *numbers, "--form", form, *more])


def main() -> None:
    """Refresh, plan, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    parser.add_argument("collections", type=int)
    parser.add_argument("segments", type=int, help="of each collection; each has five objects")
    parser.add_argument("--form", choices=FORMS, default="text")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    wanted = parser.parse_args()
    gc.set_threshold(LOOK_AFTER)  # as every command does
    size, traffic = Size(collections=wanted.collections, segments=wanted.segments), Traffic(wanted.latency_ms / 1000)
    with tempfile.TemporaryDirectory() as folder:
        loaded = a_loaded_plan(Path(folder), collections="['*']")
        observed = refresh(loaded, generated_readers(size, traffic), ())
        with growing():
            plan = make_plan(loaded, replace(observed, target_version="2.3.5"))
        if wanted.form == "json":
            print_json(plan_parts(plan) | beside_to_plain(beside(plan)))
        else:
            print_lines(plan_lines(plan, beside(plan)))
        if wanted.form == "saved":
            saved = SavedPlan(plan=plan, plan_file=("plan.yaml", ""), clusters_file=None, variables={}, only=None)
            write_whole(Path(folder) / "plan.json", saved.pieces())


if __name__ == "__main__":
    main()
