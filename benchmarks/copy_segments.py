"""The step `copy_segments` alone, on real stores, in a process of its own: `python -m benchmarks.copy_segments FILE`.

As `migrator apply` runs it: with the executor, a journal on disk, and the pool of workers of a plan's
`transfer.concurrency`. What a server would say of the segments is made up, since no server holds so many.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator import workflow
from migrator.adapters.absent import AbsentMilvus
from migrator.connections import dump_reader, open_store
from migrator.model.collection import CollectionRef
from migrator.model.segment import Segment, parse_binlog
from migrator.model.shard import StoreRole
from migrator.running.assignment import Places, ShardSender, StorePlace
from migrator.running.clock import StopSignal, SystemClock
from migrator.running.executor import Executor
from migrator.running.journal import Journal
from migrator.running.retry import RetryPolicy
from migrator.spec.document import Storage, Transfer
from migrator.steps.base import StepContext
from migrator.steps.copy_segments import CopySegments
from migrator.steps.throttle import Throttle
from migrator.steps.transfer import TransferMode

if TYPE_CHECKING:
    from migrator.steps.base import ProgressReport

COLLECTION = 1
SOURCE = CollectionRef("default", "bench")


class NoLease:
    """Nobody else is here."""

    def require_held(self, target: CollectionRef) -> None:
        """It is."""

    def require_dump_held(self) -> None:
        """It is."""


class Silent:
    """Hears everything, and says nothing."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any event
        return lambda *_: None


def main(path: Path) -> None:
    """Copy what lies below the root path; the file says from where, to where and how."""
    asked: dict[str, Any] = json.loads(path.read_bytes())
    options = Transfer.model_validate(asked["transfer"])
    source = open_store(Storage.model_validate(asked["source"]), "source.storage", 60)
    staging = open_store(Storage.model_validate(asked["staging"]), "staging.storage", 60)
    root = asked["source"]["root_path"]
    clock = SystemClock()
    journal = Journal(path.with_suffix(".db"), clock)
    binlogs = (parse_binlog(found, root) for found in source.list_objects(f"{root}/insert_log/{COLLECTION}"))
    journal.freeze(COLLECTION, [Segment(3, 2, 1)], (binlog for binlog in binlogs if binlog is not None))
    step = CopySegments(
        source=SOURCE,
        collection_id=COLLECTION,
        source_root=root,
        source_bucket=asked["source"]["bucket"],
        dump_prefix=asked["dump"],
        plan="bench",
        claims_folder=f"{asked['dump']}-claims",
        mode=TransferMode(options.mode),
        concurrency=options.concurrency,
        part_size=options.part_size,
        multipart_threshold=options.multipart_threshold,
    )
    with ThreadPoolExecutor(options.concurrency) as workers, workflow.engine(asked.get("scheduler")) as transport:
        engine = None if transport is None else ShardSender(transport=transport, attempt="bench", places=_places(asked))

        def make(progress: ProgressReport) -> StepContext:
            return StepContext(
                run_id="bench",
                ledger=journal,
                source=AbsentMilvus(),
                target=AbsentMilvus(),
                source_store=source,
                target_store=staging,
                staging=staging,
                clock=clock,
                lease=NoLease(),
                workers=workers,
                dump_reader=dump_reader(),
                progress=progress,
                throttle=throttle,
                engine=engine,
            )

        throttle = Throttle(options.limit_bytes_per_s)
        executor = Executor(
            [step],
            journal,
            make,
            clock=clock,
            stop=StopSignal(),
            watcher=Silent(),
            policy=RetryPolicy(max_elapsed_s=60, max_backoff_s=5),
            parallelism=1,
        )
        result = executor.run()
    for error in (*result.failures.values(), *result.bugs):
        raise error


def _places(asked: dict[str, Any]) -> Places:
    """Of the two stores, for workers that open them by themselves."""
    named = {
        role: StorePlace(storage=Storage.model_validate(asked[name]), field=f"{name}.storage")
        for role, name in ((StoreRole.SOURCE, "source"), (StoreRole.STAGING, "staging"), (StoreRole.TARGET, "staging"))
    }
    return Places(stores=named, source=None, target=None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
