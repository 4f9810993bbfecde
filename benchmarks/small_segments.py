"""Many small segments of one partition: merged into few requests, and one request for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.bench import Contestant
from benchmarks.collections import compare, drop, fill, make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run

_SHARDS = 8
"""Each flush leaves a segment in each."""
_ROWS = 400
_WAYS: dict[str, dict[str, object]] = {
    "migrator, merged": {},
    "migrator, a request per segment": {"import": {"segments_per_job": 1}},
}


def run(bench: Bench) -> Iterator[Result]:
    """One collection of them."""
    name, flushes = "crumbs", bench.pick(10, 1)
    first, second = bench.servers.sides
    make(first.uri, name, shards=_SHARDS, dimension=8)
    rounds = [range(number * _ROWS, (number + 1) * _ROWS) for number in range(flushes)]
    for ids in rounds:
        fill(first.uri, name, rows=len(ids), first=ids.start, dimension=8)
    case = f"{_SHARDS * flushes} segments of {_ROWS // _SHARDS} rows, {bench.servers.store_is}"
    contestants = [
        Contestant(
            who=who,
            work=partial(_migrate, bench, name, options),
            before=lambda _: drop(second.uri, [f"{name}_there"]),
            after=lambda _: compare(second.uri, f"{name}_there", rounds, dimension=8),
        )
        for who, options in _WAYS.items()
    ]
    yield from bench.side_by_side(case, contestants, rounds=1)
    drop(first.uri, [name])


def _migrate(bench: Bench, name: str, options: dict[str, object], number: int) -> Run:
    plan_name = f"{name}-{'single' if options else 'merged'}-{number}"
    plan = bench.servers.plan(
        bench.folder / plan_name,
        plan_name,
        [name],
        target_of={name: f"{name}_there"},
        options={"verify": "counts", **options},
        indexes="none",
        load="never",
    )
    return bench.migrator("apply", plan.name, "--yes", folder=plan.parent, environment=bench.servers.environment)
