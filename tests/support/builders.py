"""Small worlds for tests: values of the model, a clock that needs no waiting, two Milvus servers in memory."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.memory import MemoryBinlogs, MemoryMilvus, MemoryStore
from migrator.model.collection import (
    Collection,
    CollectionRef,
    CollectionSchema,
    ConsistencyLevel,
    DataType,
    FieldSchema,
    Index,
    LoadState,
    Partition,
)
from migrator.model.observed import Estimate, ObservedCollection, ObservedState
from migrator.model.rbac import Grant
from migrator.model.segment import Binlog, LogKind, StoredObject
from migrator.running.clock import StopSignal
from migrator.running.executor import Executor
from migrator.running.journal import Journal
from migrator.running.refresh import Readers
from migrator.running.retry import RetryPolicy
from migrator.spec.load import load_plan
from migrator.steps.base import StepContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from migrator.errors import MigratorError, Outdated
    from migrator.ports.lease import Lease
    from migrator.running.events import Progress
    from migrator.running.executor import RunResult
    from migrator.spec.loaded import LoadedPlan
    from migrator.steps.base import Outcome, ProgressReport, Step

BOOKS = CollectionRef("default", "books")
KEYS = "{type: static, access_key_id: {env: KEY}, secret_access_key: {env: SECRET}}"

# -- time -------------------------------------------------------------------------------------------------------------


class FakeClock:
    """A clock that moves only by `sleep`, and remembers every one."""

    def __init__(self) -> None:
        self._start = datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed_s = 0.0
        self._guard = threading.Lock()
        self.sleeps: list[float] = []
        self.error: BaseException | None = None
        """Raised by the next sleeps."""

    @property
    def boot_id(self) -> str:
        """Unknown, so that time is told by the other clocks."""
        return ""

    def now(self) -> datetime:
        """UTC."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Seconds."""
        return self._elapsed_s

    def sleep(self, seconds: float) -> None:
        """Let that much time be over."""
        with self._guard:
            self.sleeps.append(seconds)
            self._elapsed_s += max(0.0, seconds)
        if self.error is not None:
            raise self.error


@dataclass(slots=True)
class SetClock:
    """The clock of a machine that somebody set: its time of day is off by `ahead_s`, its steady clock goes on."""

    clock: FakeClock
    ahead_s: float = 0.0
    boot_id: str = ""

    def now(self) -> datetime:
        """UTC, as this machine believes."""
        return self.clock.now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        """Seconds."""
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let that much time be over, for everybody."""
        self.clock.sleep(seconds)


# -- values -----------------------------------------------------------------------------------------------------------


def a_schema(**changes: Any) -> CollectionSchema:  # noqa: ANN401 - any member of any type
    """An int64 key, a title, a vector of two."""
    fields = (
        FieldSchema(field_id=100, name="id", data_type=DataType.INT64, is_primary_key=True),
        FieldSchema(field_id=101, name="title", data_type=DataType.VARCHAR, type_params=(("max_length", "200"),)),
        FieldSchema(field_id=102, name="vec", data_type=DataType.FLOAT_VECTOR, type_params=(("dim", "2"),)),
    )
    schema = CollectionSchema(description="demo", auto_id=False, enable_dynamic_field=False, fields=fields)
    return replace(schema, **changes)


def a_key_schema() -> CollectionSchema:
    """The same, with `title` as the partition key."""
    plain = a_schema()
    return replace(plain, fields=tuple(replace(f, is_partition_key=f.name == "title") for f in plain.fields))


def an_index(field_name: str = "vec", **changes: Any) -> Index:  # noqa: ANN401 - see above
    """HNSW by cosine."""
    params = (("index_type", "HNSW"), ("metric_type", "COSINE"), ("params", '{"M":16,"efConstruction":200}'))
    return replace(Index(field_name=field_name, name=f"{field_name}_idx", params=params), **changes)


def a_collection(name: str = "books", **changes: Any) -> Collection:  # noqa: ANN401 - see above
    """A loaded collection with one partition and an index."""
    collection = Collection(
        ref=CollectionRef.parse(name),
        collection_id=1000 + sum(map(ord, name)),
        created_ts=459999000000000000,
        schema=a_schema(),
        shards_num=1,
        num_partitions=1,
        consistency_level=ConsistencyLevel.BOUNDED,
        properties=(),
        partitions=(Partition(7, "_default"),),
        indexes=(an_index(),),
        aliases=(),
        load_state=LoadState.LOADED,
        loaded_partitions=("_default",),
        replica_number=1,
    )
    return replace(collection, **changes)


def an_estimate(*, rows: int = 3, **changes: Any) -> Estimate:  # noqa: ANN401 - see above
    """So many rows in one segment."""
    estimate = Estimate(
        segments=1,
        rows=rows,
        objects=5,
        size_bytes=100 * rows,
        largest_partition_bytes=100 * rows,
        import_requests=1,
        counted_rows=rows,
    )
    return replace(estimate, **changes)


def an_observed_state(*collections: Collection, rows: int = 3, **changes: Any) -> ObservedState:  # noqa: ANN401 - see above
    """A source with `collections`, and an empty target."""
    found = collections or (a_collection(),)
    state = ObservedState(
        source_version="2.3.5",
        target_version="2.3.5",
        source_names=tuple(each.ref for each in found),
        source=tuple(ObservedCollection(collection=each, estimate=an_estimate(rows=rows)) for each in found),
        target_databases=("default",),
        target_names=(),
        target_aliases=(),
        target_taken=(),
        same_milvus=False,
        dump_collections=(),
    )
    return replace(state, **changes)


def a_grant(ref: CollectionRef = BOOKS, **changes: Any) -> Grant:  # noqa: ANN401 - see above
    """The role `reader` may query a collection."""
    grant = Grant(
        role="reader", database=ref.database, object_type="Collection", object_name=ref.name, privilege="Query"
    )
    return replace(grant, **changes)


def a_binlog(
    *,
    collection_id: int = 1,
    partition_id: int = 2,
    segment_id: int = 3,
    field_id: int | None = 100,
    log_id: int = 4,
    size_bytes: int = 10,
    root: str = "files_A",
) -> Binlog:
    """A binlog at its real key; a delta log without `field_id`."""
    kind = LogKind.DELTA if field_id is None else LogKind.INSERT
    field_part = "" if field_id is None else f"{field_id}/"
    key = f"{root}/{kind}/{collection_id}/{partition_id}/{segment_id}/{field_part}{log_id}"
    return Binlog(
        kind=kind,
        collection_id=collection_id,
        partition_id=partition_id,
        segment_id=segment_id,
        field_id=field_id,
        log_id=log_id,
        source=StoredObject(key, size_bytes, f'"{log_id}"'),
    )


# -- plan files -------------------------------------------------------------------------------------------------------


def plan_text(*, collections: str = "[books]", name: str = "a-to-b", more: str = "") -> str:
    """A plan from `milvus_A` to `milvus_B` inside one bucket."""
    storage = "{provider: minio, endpoint: http://one:9000, bucket: bucket_A, root_path: files_%s, credentials: " + KEYS
    sides = {
        side: f"{{milvus: {{uri: http://milvus_{letter}:19530}}, storage: {storage % letter}}}}}"
        for side, letter in (("source", "A"), ("target", "B"))
    }
    return (
        f"version: 1\nname: {name}\nsource: {sides['source']}\ntarget: {sides['target']}\n"
        f"collections: {collections}\n{more}"
    )


def a_loaded_plan(
    folder: Path,
    *,
    collections: str = "[books]",
    name: str = "a-to-b",
    more: str = "",
    variables: Mapping[str, str] | None = None,
    text: str = "",
) -> LoadedPlan:
    """The plan file `plan.yaml` in `folder`, loaded; `text` is all of it where it is none from A to B."""
    path = folder / "plan.yaml"
    path.write_text(text or plan_text(collections=collections, name=name, more=more), encoding="utf-8")
    return load_plan(path, variables=variables or {}, clusters=None)


# -- two clusters -----------------------------------------------------------------------------------------------------


def some_rows(count: int, *, start: int = 0) -> list[dict[str, object]]:
    """Rows of `a_schema`."""
    return [{"id": i, "title": f"title {i}", "vec": [float(i), 1.0]} for i in range(start, start + count)]


@dataclass(slots=True)
class Pair:
    """A source and a target that share one clock, and one bucket unless they are given others."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    """The source's."""
    apart: tuple[MemoryStore, MemoryStore] | None = None
    """Staging, and the target's store, where they are others."""
    versions: tuple[str, str] = ("2.3.5", "2.3.5")
    """The source's and the target's."""
    source: MemoryMilvus = field(init=False)
    target: MemoryMilvus = field(init=False)

    def __post_init__(self) -> None:
        """Start both."""
        self.source = MemoryMilvus("http://milvus_A:19530", self.store, "files_A", self.clock, version=self.versions[0])
        self.target = MemoryMilvus(
            "http://milvus_B:19530", self.imports, "files_B", self.clock, number=1, version=self.versions[1]
        )

    @property
    def staging(self) -> MemoryStore:
        """Where the dump goes."""
        return self.apart[0] if self.apart else self.store

    @property
    def imports(self) -> MemoryStore:
        """The target's."""
        return self.apart[1] if self.apart else self.store

    def readers(self) -> Readers:
        """For a refresh."""
        return Readers(
            source=self.source,
            target=self.target,
            source_store=self.store,
            target_store=self.imports,
            staging=self.staging,
        )

    def keys(self, prefix: str) -> dict[str, bytes]:
        """The objects below a folder, with their bytes."""
        return {found.key: self.store.read(found.key) for found in self.store.list_objects(prefix)}


def create(
    milvus: MemoryMilvus,
    ref: CollectionRef = BOOKS,
    *,
    schema: CollectionSchema | None = None,
    num_partitions: int | None = None,
) -> None:
    """Create a collection, with the database if that lacks."""
    if ref.database not in milvus.list_databases():
        milvus.create_database(ref.database)
    milvus.create_collection(
        ref,
        schema or a_schema(),
        shards_num=1,
        num_partitions=num_partitions,
        consistency_level=ConsistencyLevel.BOUNDED,
        properties=(),
    )


def flush(milvus: MemoryMilvus, ref: CollectionRef = BOOKS) -> None:
    """Flush to the end."""
    result = milvus.flush([ref])[ref]
    while not milvus.is_flushed(ref, result):
        pass


def load(milvus: MemoryMilvus, clock: FakeClock, ref: CollectionRef = BOOKS, *partitions: str) -> None:
    """Load to the end."""
    milvus.load(ref, partitions=partitions, replica_number=1)
    while milvus.load_state(ref) is not LoadState.LOADED:
        clock.sleep(1)


def fill(pair: Pair, ref: CollectionRef = BOOKS, *, rows: int = 3, index: bool = True, loaded: bool = True) -> None:
    """Give the source a collection of so many flushed rows."""
    create(pair.source, ref)
    pair.source.insert(ref, some_rows(rows))
    flush(pair.source, ref)
    if index:
        pair.source.create_index(ref, an_index())
    if index and loaded:
        load(pair.source, pair.clock, ref)


# -- running ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class HeldLease:
    """A lease that holds until `error` is put into it."""

    error: BaseException | None = None

    def require_held(self, target: CollectionRef) -> None:  # noqa: ARG002 - of the protocol
        """It is, or is not."""
        self.require_dump_held()

    def require_dump_held(self) -> None:
        """It is, or is not."""
        if self.error is not None:
            raise self.error


@dataclass(slots=True)
class RecordingWatcher:
    """Remembers what it is told."""

    told: list[tuple[str, str]] = field(default_factory=list)

    def lock_waits(self, name: str, holder: str) -> None:  # noqa: ARG002 - of the protocol
        """Note it."""
        self.told.append(("waits for the lock", name))

    def run_waits(self, error: MigratorError, seconds: float) -> None:  # noqa: ARG002 - of the protocol
        """Note it."""
        self.told.append(("waits", error.message))

    def run_told(self, message: str) -> None:
        """Note it."""
        self.told.append(("told", message))

    def step_started(self, step: Step) -> None:
        """Note it."""
        self.told.append(("started", step.key))

    def step_progressed(self, step: Step, progress: Progress) -> None:
        """Note it."""
        self.told.append(("progressed", f"{step.key} {progress.message}"))

    def step_waits(self, step: Step, error: MigratorError, seconds: float) -> None:  # noqa: ARG002 - of the protocol
        """Note it."""
        self.told.append(("waits", step.key))

    def step_renewed(self, step: Step, error: Outdated) -> None:  # noqa: ARG002 - of the protocol
        """Note it."""
        self.told.append(("renewed", step.key))

    def step_finished(self, step: Step, outcome: Outcome) -> None:  # noqa: ARG002 - of the protocol
        """Note it."""
        self.told.append(("finished", step.key))

    def step_failed(self, step: Step, error: MigratorError) -> None:  # noqa: ARG002 - of the protocol
        """Note it."""
        self.told.append(("failed", step.key))

    def step_blocked(self, step: Step, needed: str) -> None:  # noqa: ARG002 - of the protocol
        """Note it."""
        self.told.append(("blocked", step.key))

    def step_parked(self, step: Step) -> None:
        """Note it."""
        self.told.append(("parked", step.key))


def silent(message: str = "", *, unit: str = "", **numbers: int) -> None:
    """Progress nobody watches."""


@contextmanager
def a_journal(folder: Path, clock: FakeClock) -> Iterator[Journal]:
    """The journal in `folder`, new or as it was left."""
    journal = Journal(folder / "journal.db", clock)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def a_context(
    pair: Pair,
    folder: Path,
    *,
    progress: ProgressReport = silent,
    run_id: str = "run-1",
    lease: Lease | None = None,
) -> Iterator[StepContext]:
    """All that a step needs, on a pair in memory and a journal in `folder`."""
    with a_journal(folder, pair.clock) as journal, ThreadPoolExecutor(2) as workers:
        yield StepContext(
            run_id=run_id,
            ledger=journal,
            source=pair.source,
            target=pair.target,
            source_store=pair.store,
            target_store=pair.imports,
            staging=pair.staging,
            clock=pair.clock,
            lease=lease or HeldLease(),
            workers=workers,
            dump_reader=BinlogDumps(MemoryBinlogs()),
            progress=progress,
        )


def run_steps(
    steps: Iterable[Step],
    ctx: StepContext,
    journal: Journal,
    *,
    stop: StopSignal | None = None,
    watcher: RecordingWatcher | None = None,
    parallelism: int = 1,
    max_elapsed_s: float = 600.0,
) -> RunResult:
    """One attempt at a run."""
    listed: Sequence[Step] = tuple(steps)
    return Executor(
        listed,
        journal,
        lambda progress: replace(ctx, progress=progress),
        clock=ctx.clock,
        stop=stop or StopSignal(),
        watcher=watcher or RecordingWatcher(),
        policy=RetryPolicy(max_elapsed_s=max_elapsed_s, max_backoff_s=5),
        parallelism=parallelism,
    ).run()


def shuffled(values: Iterable[Any], seed: int) -> list[Any]:
    """The values in another order."""
    listed = list(values)
    random.Random(seed).shuffle(listed)  # noqa: S311 - no secret
    return listed
