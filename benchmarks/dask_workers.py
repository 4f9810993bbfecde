"""Streams between services by 1, 2 and 4 worker processes of a Dask cluster, beside one process that does all."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.copies import KIB, MIB, Load
from tests.support.dask_cluster import dask_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result

WORKERS = (1, 2, 4)


def run(bench: Bench) -> Iterator[Result]:
    """Small objects and larger ones; all workers are on this machine, with a thread each."""
    environment = bench.servers.depots[0].environment
    with ExitStack() as stack:
        clusters = {
            count: stack.enter_context(dask_cluster(bench.folder / f"dask-{count}", *[environment] * count))
            for count in bench.pick(WORKERS, WORKERS[:1])
        }
        for count, size_bytes in (bench.pick(2_000, 20), 64 * KIB), (bench.pick(40, 3), bench.pick(16, 1) * MIB):
            load = Load(
                bench=bench, servers=bench.servers, root=f"dask-{size_bytes}", count=count, size_bytes=size_bytes
            )
            load.make()
            size = f"{size_bytes // MIB} MiB" if size_bytes >= MIB else f"{size_bytes // KIB} KiB"
            contestants = [load.by_workers("one process", None)]
            for workers, cluster in clusters.items():
                noun = "worker" if workers == 1 else "workers"
                contestants.append(load.by_workers(f"{workers} {noun}", cluster.address))
            case = f"{count:,} objects of {size} streamed, {bench.servers.store_is}"
            yield from bench.side_by_side(case, contestants)
            load.clear()
