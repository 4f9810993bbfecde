"""What a run holds while it copies: `python -m benchmarks.memory COLLECTIONS SEGMENTS`.

A backup of collections whose listings are made up as they are read, into a store that notes copies and keeps none: as
`migrator apply` runs it, with executor, journal on disk, workers, and the dump's meta at the end. How much a run needs
for the bytes of objects is in the benchmark of copies.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.bench import Contestant
from migrator.adapters.absent import AbsentMilvus
from migrator.connections import dump_reader
from migrator.planning.planner import make_plan
from migrator.running.clock import StopSignal, SystemClock
from migrator.running.executor import Executor
from migrator.running.refresh import Readers, refresh
from migrator.running.retry import RetryPolicy
from migrator.running.runs import StateDirectory
from migrator.steps.base import StepContext
from tests.support.builders import KEYS, HeldLease, RecordingWatcher, a_loaded_plan
from tests.support.generated import GeneratedMilvus, GeneratedStaging, GeneratedStore, Size, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run
    from migrator.ports.milvus import MilvusSource, MilvusTarget
    from migrator.ports.store import ObjectReader
    from migrator.steps.base import ProgressReport

WORKERS = 64
_STORAGE = f"provider: minio, endpoint: http://one:9000, bucket: bucket_A, credentials: {KEYS}"


def run(bench: Bench) -> Iterator[Result]:
    """The same run with ten and fifty times as many objects; then with many collections."""
    sizes = (
        *((1, segments) for segments in bench.pick((200, 2_000, 10_000), (2, 4, 8))),
        *((collections, 4) for collections in bench.pick((250, 1_000), (2, 4))),
    )
    for collections, segments in sizes:
        size = Size(collections=collections, segments=segments)
        noun = "collection" if collections == 1 else "collections"
        who = Contestant(who="migrator", work=partial(_measured, bench, size), detail="made up by a generator")
        case = f"{size.objects:,} objects of {collections:,} {noun} dumped and copied"
        yield from bench.side_by_side(case, [who], rounds=1)


def _measured(bench: Bench, size: Size, _: int) -> Run:
    command = ["-m", "benchmarks.memory", str(size.collections), str(size.segments)]
    return bench.measure([sys.executable, *command])


def main(size: Size, folder: Path) -> None:
    """All of it, to the end."""
    text = (
        f"version: 1\nname: nightly\nsource: {{milvus: {{uri: http://milvus_A:19530}}, storage: {{{_STORAGE}, "
        f"root_path: files_A}}}}\nstaging: {{storage: {{{_STORAGE}}}}}\ncollections: ['*']\n"
    )
    loaded, clock, traffic = a_loaded_plan(folder, text=text), SystemClock(), Traffic()
    source, bucket = cast("MilvusSource", GeneratedMilvus(size, traffic)), GeneratedStore(size, traffic)
    store, staging = cast("ObjectReader", bucket), GeneratedStaging(bucket, size)
    readers = Readers(source=source, target=None, source_store=store, target_store=None, staging=staging)
    state = StateDirectory(folder / "state", clock)
    begun = state.begin(loaded, make_plan(loaded, refresh(loaded, readers, ())))
    with state.journal(begun, read_only=False) as journal, ThreadPoolExecutor(WORKERS) as workers:

        def make(progress: ProgressReport) -> StepContext:
            return StepContext(
                run_id=begun.run_id,
                ledger=journal,
                source=source,
                target=cast("MilvusTarget", AbsentMilvus()),
                source_store=store,
                target_store=staging,
                staging=staging,
                clock=clock,
                lease=HeldLease(),
                workers=workers,
                dump_reader=dump_reader(),
                progress=progress,
            )

        result = Executor(
            begun.plan.steps,
            journal,
            make,
            clock=clock,
            stop=StopSignal(),
            watcher=RecordingWatcher(),
            policy=RetryPolicy(max_elapsed_s=60, max_backoff_s=5),
            parallelism=4,
        ).run()
    for error in (*result.failures.values(), *result.bugs):
        raise error


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Size(collections=int(sys.argv[1]), segments=int(sys.argv[2])), Path(scratch))
