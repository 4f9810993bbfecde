"""Hundreds of small collections in one plan: what is done for each beside the server's own work."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.bench import Contestant
from benchmarks.collections import compare, create_with, drop, fill, make
from benchmarks.import_alone import import_alone
from benchmarks.result import Run
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result

_EVERY = 25
"""One of so many has rows: an import takes the server two seconds, one after the other."""
_ROWS = 20
_AT_A_TIME = 8
_BASELINE = "the requests alone"
_ALONE = "each is created, and what has rows imported from the source's files; nothing is looked at, noted or proven"


def run(bench: Bench) -> Iterator[Result]:
    """Most of them are empty, so that what is measured is ours."""
    count = bench.pick(500, 3)
    names = [f"tiny{number:03d}" for number in range(count)]
    filled = names[::_EVERY]
    first, _ = bench.servers.sides
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(partial(make, first.uri, dimension=8), names))
        list(pool.map(partial(fill, first.uri, rows=_ROWS, dimension=8, flush=False), filled))
    with connected(first.uri) as client:
        for name in filled:
            client.flush(name)
    many = _Many(bench=bench, names=names, filled=filled)
    case = f"{count:,} collections, {len(filled)} of them with {_ROWS} rows, {bench.servers.store_is}"
    alone = Contestant(who=_BASELINE, work=many.ask, after=many.compare, detail=_ALONE)
    whole = Contestant(who="migrator", work=many.migrate, before=many.clear, after=many.compare)
    results = list(bench.side_by_side(case, [alone, whole], rounds=1))
    yield from (_told(result, results[0], count) for result in results)
    many.clear(0)
    drop(first.uri, names)


def _told(result: Result, alone: Result, count: int) -> Result:
    """With what each collection took beyond the servers' own, of the clock, and of our own processor time."""
    if result is alone or not (result.runs and alone.runs):
        return result
    beyond_s, own_s = result.median_s - alone.median_s, result.runs[0].processor_s or 0
    detail = f"a collection: {beyond_s / count * 1000:.0f} ms beyond that, {own_s / count * 1000:.0f} ms processor time"
    return replace(result, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Many:
    """The collections of the first server; `filled` are those with rows."""

    bench: Bench
    names: list[str]
    filled: list[str]

    @property
    def targets(self) -> dict[str, str]:
        """Their names at the second."""
        return {name: f"{name}_there" for name in self.names}

    def ask(self, _: int) -> Run:
        """Create all, and import what has rows; the server works at the imports while the rest is created."""
        servers, targets = self.bench.servers, self.targets
        uri = servers.sides[1].uri
        requests = [(targets[name], prefix) for name in self.filled for prefix in servers.partitions(name)]
        started = time.monotonic()
        with connected(uri) as client, ThreadPoolExecutor(_AT_A_TIME) as pool:
            create = partial(create_with, client, dimension=8)
            list(pool.map(create, [targets[name] for name in self.filled]))
            rest = pool.map(create, [targets[name] for name in self.names if name not in self.filled])
            import_alone(uri, requests, rows=_ROWS * len(self.filled))
            list(rest)
        return Run(seconds=time.monotonic() - started)

    def migrate(self, number: int) -> Run:
        """By one plan."""
        return _migrate(self.bench, self.targets, number)

    def clear(self, _: int) -> None:
        """At the target."""
        drop(self.bench.servers.sides[1].uri, list(self.targets.values()))

    def compare(self, _: int) -> int:
        """What has rows."""
        uri = self.bench.servers.sides[1].uri
        return sum(compare(uri, self.targets[name], [range(_ROWS)], dimension=8) for name in self.filled)


def _migrate(bench: Bench, targets: dict[str, str], number: int) -> Run:
    name = f"many-{number}"
    plan = bench.servers.plan(
        bench.folder / name, name, list(targets), target_of=targets, options={"verify": "counts"}, indexes="none"
    )
    return bench.migrator("apply", plan.name, "--yes", folder=plan.parent, environment=bench.servers.environment)
