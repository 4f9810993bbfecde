"""Hundreds of small collections in one plan: what is done for each beside the server's own work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.bench import Contestant
from benchmarks.collections import compare, drop, fill, make
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run

_EVERY = 25
"""One of so many has rows: an import takes the server two seconds, one after the other."""
_ROWS = 20
_AT_A_TIME = 8


def run(bench: Bench) -> Iterator[Result]:
    """Most of them are empty, so that what is measured is ours."""
    count = bench.pick(500, 3)
    names = [f"tiny{number:03d}" for number in range(count)]
    filled = names[::_EVERY]
    first, second = bench.servers.sides
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(partial(make, first.uri, dimension=8), names))
        list(pool.map(partial(fill, first.uri, rows=_ROWS, dimension=8, flush=False), filled))
    with connected(first.uri) as client:
        for name in filled:
            client.flush(name)
    targets = {name: f"{name}_there" for name in names}
    case = f"{count:,} collections, {len(filled)} of them with {_ROWS} rows, {bench.servers.store_is}"
    whole = Contestant(
        who="migrator",
        work=partial(_migrate, bench, targets),
        after=lambda _: compare(first.uri, second.uri, {name: targets[name] for name in filled}),
    )
    for result in bench.side_by_side(case, [whole], rounds=1):
        yield result if not result.runs else _told(result, count)
    drop(second.uri, list(targets.values()))
    drop(first.uri, names)


def _told(result: Result, count: int) -> Result:
    """With what each collection took, of the clock and of our own processor time."""
    (run_,) = result.runs
    own = (run_.processor_s or 0) / count
    return replace(
        result,
        detail=f"a collection: {run_.seconds / count * 1000:.0f} ms, of them {own * 1000:.0f} ms our processor time",
    )


def _migrate(bench: Bench, targets: dict[str, str], number: int) -> Run:
    name = f"many-{number}"
    plan = bench.servers.plan(
        bench.folder / name, name, list(targets), target_of=targets, options={"verify": "counts"}, indexes="none"
    )
    return bench.migrator("apply", plan.name, "--yes", folder=plan.parent, environment=bench.servers.environment)
