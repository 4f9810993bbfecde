"""A Milvus 2.3.5 and an object store in memory: for unit tests only, held to the contract tests of the real ones.

It behaves as 2.3.5 was measured to (growing and flushed segments, imports that know no idempotency, states that take
time by the clock it is given), and knows no more of Milvus than a migration asks for. A binlog holds JSON.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from migrator.adapters.memory_rows import compact_json, condition, exact_bytes, score
from migrator.adapters.memory_snapshots import MemorySnapshots
from migrator.errors import ImportsFull, MilvusRefused, NothingToImport, ObjectMissing, TooManyFiles
from migrator.model import filters
from migrator.model.capabilities import BoundUnit, capabilities
from migrator.model.collection import (
    DEFAULT_DATABASE,
    DEFAULT_RESOURCE_GROUP,
    DYNAMIC_FIELD,
    FIRST_USER_FIELD,
    ROW_ID_FIELD,
    TIMESTAMP_FIELD,
    Collection,
    CollectionRef,
    CollectionSchema,
    ConsistencyLevel,
    DataType,
    FieldSchema,
    Index,
    IndexProgress,
    KeyValues,
    LoadState,
    Partition,
    ResourceGroup,
)
from migrator.model.import_job import ImportJob, ImportState, ImportTag
from migrator.model.rbac import BUILT_IN_ROLES, ROOT, Binding, Grant, Rbac
from migrator.model.segment import (
    ALL_PARTITIONS,
    Compaction,
    LogKind,
    Segment,
    SegmentLevel,
    SegmentState,
    StoredObject,
)
from migrator.model.timestamps import at_millisecond, physical_ms
from migrator.ports.milvus import FlushResult, Hit
from migrator.ports.store import Fetched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Buffer

    from migrator.model.capabilities import Capabilities
    from migrator.model.rows import Key, Value
    from migrator.model.segment import SegmentBatch, SegmentLogs
    from migrator.model.snapshot import RestoreJob, Snapshot
    from migrator.ports.clock import Clock

Row = dict[int, Any]
"""Values by field id, the hidden RowID and Timestamp among them."""

JOB_S = 2.0
"""How long the one import job that runs at a time takes."""
COMMIT_S = 0.7
"""How long a commit takes."""
WORK_S = 1.0
"""How long a load or the build of an index takes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_PARTITION = "_default"
_DEFAULT_KEY_PARTITIONS = 64
_DEFAULT_GRANTS = frozenset(
    Grant(role="public", database="*", object_type=kind, object_name="*", privilege=privilege)
    for kind, privilege in (
        ("Collection", "IndexDetail"),
        ("Global", "DescribeCollection"),
        ("Global", "ShowCollections"),
    )
)


class MemoryStore:
    """One bucket: reader and writer in one."""

    def __init__(self, bucket: str = "bucket_A") -> None:
        self._bucket = bucket
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.service: dict[str, MemoryStore] = {}
        """The other buckets that its credentials may read."""
        self.most_copied_bytes: int | None = None
        self.snapshots: dict[str, _Held] = {}
        """What is behind the metadata of snapshots, by its key."""

    @property
    def bucket(self) -> str:
        """Its name."""
        return self._bucket

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return f"memory://{self._bucket}"

    def server_path(self, key: str) -> str:
        """The key itself."""
        return key

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the folder `prefix`."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        return iter([self._head(key) for key in sorted(self._objects) if key.startswith(folder)])

    def list_folders(self, prefix: str) -> tuple[str, ...]:
        """The names of folders one level below `prefix`."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        below = (key.removeprefix(folder) for key in self._objects if key.startswith(folder))
        return tuple(sorted({name.split("/", maxsplit=1)[0] for name in below if "/" in name}))

    def find_object(self, key: str) -> StoredObject | None:
        """The object without its bytes, or None."""
        return self._head(key) if key in self._objects else None

    def find_beside(self, bucket: str, key: str) -> StoredObject | None:
        """The object in another bucket, or None."""
        return self.service[bucket].find_object(key) if bucket in self.service else None

    def read(self, key: str) -> bytes:
        """An object's bytes."""
        if key not in self._objects:
            raise ObjectMissing(f"reading {key} failed in {self.place}: there is no such object")
        return self._objects[key]

    def stream(self, key: str, *, part_size: int) -> Iterator[bytes]:
        """The object's bytes in parts."""
        data = self.read(key)
        return (data[start : start + part_size] for start in range(0, len(data), part_size))

    def fetch(self, key: str, *, part_size: int) -> Fetched:
        """The same, and what the object is."""
        parts = self.stream(key, part_size=part_size)
        return Fetched(self._head(key), parts)

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> bool:
        """Put an object; with `create_only` False comes back where the key is taken already."""
        with self._lock:
            if create_only and key in self._objects:
                return False
            self._objects[key] = data
            return True

    def write_stream(
        self,
        key: str,
        parts: Iterable[Buffer],
        *,
        multipart: bool,  # noqa: ARG002 - of the port; all is one to memory
        part_size: int,  # noqa: ARG002 - see above
    ) -> str | None:
        """Put an object; it is there as a whole, or not."""
        self._objects[key] = b"".join(parts)
        return self._head(key).etag

    def copy_inside(self, source_key: str, key: str) -> None:
        """Copy an object."""
        self._objects[key] = self.read(source_key)

    def copy_from(self, bucket: str, source_key: str, key: str) -> None:
        """Copy an object out of another bucket."""
        self._objects[key] = self.service[bucket].read(source_key)

    def sweep(self, prefix: str) -> None:
        """Nothing is ever left behind here."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; one that is not there counts as removed."""
        for key in keys:
            self._objects.pop(key, None)

    def drop_empty_folders(self, prefix: str) -> None:
        """A folder is there as long as an object is in it."""

    def _head(self, key: str) -> StoredObject:
        data = self._objects[key]
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return StoredObject(key, len(data), f'"{digest}"')


class MemoryBinlogs:
    """Decodes the binlogs of a Milvus in memory, as `adapters.binlogs` does those of a real one."""

    def missing(self) -> str:
        """Nothing."""
        return ""

    def read_values(
        self,
        content: bytes,
        data_type: DataType,
        *,
        key: str,
        element_type: DataType | None = None,
        field_id: int = -1,  # noqa: ARG002 - each field has files of its own here
    ) -> list[Value]:
        """A column as exact bytes."""
        field = FieldSchema(field_id=-1, name=key, data_type=data_type, element_type=element_type)
        return [exact_bytes(field, value) for value in json.loads(content)]

    def read_keys(
        self,
        content: bytes,
        data_type: DataType,  # noqa: ARG002 - of the protocol
        *,
        key: str,  # noqa: ARG002 - as above
        field_id: int = -1,  # noqa: ARG002 - as above
    ) -> list[Key]:
        """A column as it is."""
        return list(json.loads(content))

    def field_ids(self, content: bytes, *, key: str) -> list[int]:  # noqa: ARG002 - of the protocol
        """Never asked: there are no groups of columns here."""
        return []

    def read_deletes(self, content: bytes, *, key: str) -> list[tuple[Key, int]]:  # noqa: ARG002 - see above
        """Keys and timestamps."""
        return [(pk, ts) for pk, ts in json.loads(content)]

    def write_deletes(self, deletes: Sequence[tuple[Key, int]], *_: object, **__: object) -> bytes:
        """What `read_deletes` reads."""
        return json.dumps(deletes).encode()


@dataclass(slots=True)
class _Segment:
    """A segment with its rows; a delete takes the rows of its segment that are not newer.

    Those of an L0 segment take such rows of all segments of its partition.
    """

    segment_id: int
    partition_id: int
    state: SegmentState = SegmentState.GROWING
    rows: list[Row] = field(default_factory=list)
    deletes: list[tuple[object, int]] = field(default_factory=list)
    written_deletes: int = 0
    is_l0: bool = False

    def visible(self, pk_field: int, others: Iterable[tuple[object, int]] = ()) -> list[Row]:
        last: dict[object, int] = {}
        for pk, ts in (*self.deletes, *others):
            last[pk] = max(ts, last.get(pk, ts))
        return [row for row in self.rows if row[TIMESTAMP_FIELD] > last.get(row[pk_field], -1)]


@dataclass(slots=True)
class _Held:
    """A collection as the server holds it; `base` is what never changes."""

    base: Collection
    partitions: list[Partition]
    indexes: dict[str, Index] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    loaded_from: float = 0.0
    built_from: float = 0.0
    groups: tuple[str, ...] = ()
    segments: list[_Segment] = field(default_factory=list)

    @property
    def pk_field(self) -> int:
        return next(f.field_id for f in self.base.schema.fields if f.is_primary_key)

    @property
    def dynamic_field(self) -> int | None:
        """The id of `$meta`, where there is one."""
        schema = self.base.schema
        hidden = schema.stored_field_ids - {each.field_id for each in schema.fields}
        return next(iter(hidden - {ROW_ID_FIELD, TIMESTAMP_FIELD}), None)

    def row_by_name(self, row: Row) -> dict[str, Any]:
        named = {each.name: row.get(each.field_id) for each in self.base.schema.fields}
        return named if self.dynamic_field is None else named | {DYNAMIC_FIELD.name: row.get(self.dynamic_field)}

    def visible(self, segment: _Segment) -> list[Row]:
        """The rows of a segment that no delete took."""
        partitions = {segment.partition_id, ALL_PARTITIONS}
        l0 = [each for each in self.segments if each.is_l0 and each.partition_id in partitions]
        return segment.visible(self.pk_field, [delete for each in l0 for delete in each.deletes])

    def persistent(self) -> list[_Segment]:
        return [segment for segment in self.segments if segment.state is not SegmentState.GROWING]


@dataclass(slots=True)
class _Job:
    """An import request, and the task made of it."""

    job: ImportJob
    held: _Held
    entries: tuple[tuple[str, ...], ...]
    partition_id: int
    end_ts: int
    created: float
    due: float
    rows: list[Row] = field(default_factory=list)
    is_l0: bool = False


class MemoryMilvus:
    """A standalone 2.3.5: reader, source and target in one, and the few things a test does to one.

    Its binlogs lie in `store` below `root_path`. Its timestamps and ids come from `clock`; servers that share one are
    told apart by `number`.
    """

    def __init__(
        self,
        uri: str,
        store: MemoryStore,
        root_path: str,
        clock: Clock,
        *,
        number: int = 0,
        version: str = "2.3.5",
    ) -> None:
        self._uri = uri
        self._store = store
        self._root = root_path
        self._clock = clock
        self._number = number
        self._version = version
        self.room_for_jobs = self.capabilities.most_jobs
        self._last_ts = 0
        self._lock = threading.RLock()
        self._databases: dict[str, dict[str, _Held]] = {DEFAULT_DATABASE: {}}
        self._jobs: dict[int, _Job] = {}
        self._compactions: list[Compaction] = []
        self.encrypted: set[str] = set()
        self.resource_groups: dict[str, int] = {DEFAULT_RESOURCE_GROUP: 1}
        """Query nodes by group; a test may have others."""
        self._users: set[str] = set()
        self._roles: set[str] = set()
        self._grants: set[Grant] = set(_DEFAULT_GRANTS)
        self._bindings: set[Binding] = set()
        self.snapshots = MemorySnapshots(
            store=store,
            root_path=root_path,
            clock=clock,
            server=self.capabilities,
            next_id=self.allocate_timestamp,
            databases=self._databases,
            write_logs=self._write_logs,
        )

    @property
    def uri(self) -> str:
        """The address, as the plan file names it."""
        return self._uri

    # -- its own affairs --------------------------------------------------------------------------------------------

    def _refuse(self, why: str) -> MilvusRefused:
        return MilvusRefused(f"{self._uri} refused: {why}")

    def _get(self, ref: CollectionRef) -> _Held:
        """The collection of that name, or of that alias."""
        self._run_due_jobs()
        names = self._databases.get(ref.database)
        if names is None:
            raise self._refuse(f"database not found[database={ref.database}]")
        for name, held in names.items():
            if ref.name == name or ref.name in held.aliases:
                return held
        raise self._refuse(f"collection not found[database={ref.database}][collection={ref.name}]")

    def _partition_id(self, held: _Held, name: str) -> int:
        found = next((p.partition_id for p in held.partitions if p.name == name), None)
        if found is None:
            raise self._refuse(f"partition not found[partition={name}]")
        return found

    def _write_logs(self, held: _Held, segment: _Segment) -> None:
        """Put a segment's binlogs where a flush puts them: insert logs once, delta logs as far as they are new."""
        where = f"{held.base.collection_id}/{segment.partition_id}/{segment.segment_id}"
        if segment.state is not SegmentState.FLUSHED and not segment.is_l0:
            for field_id in sorted(held.base.schema.stored_field_ids):
                column = [row.get(field_id) for row in segment.rows]
                self._write(f"{LogKind.INSERT}/{where}/{field_id}", column)
        if news := segment.deletes[segment.written_deletes :]:
            self._write(f"{LogKind.DELTA}/{where}", news)
            segment.written_deletes = len(segment.deletes)
        segment.state = SegmentState.FLUSHED

    def _write(self, folder: str, content: object) -> None:
        key = "/".join(part for part in (self._root, folder, str(self.allocate_timestamp())) if part)
        self._store.write(key, json.dumps(content).encode())

    # -- what a test does to it -------------------------------------------------------------------------------------

    def insert(self, ref: CollectionRef, rows: Iterable[Mapping[str, object]], partition: str | None = None) -> None:
        """Insert rows by field name, what is in no field into `$meta`; they grow until a flush."""
        held = self._get(ref)
        partition_id = self._partition_id(held, partition or held.partitions[0].name)
        ids = {f.name: f.field_id for f in held.base.schema.fields}
        growing = [s for s in held.segments if s.state is SegmentState.GROWING and not s.is_l0]
        grows = [s for s in growing if s.partition_id == partition_id]
        if not grows:
            grows = [_Segment(self.allocate_timestamp(), partition_id)]
            held.segments += grows
        for row in rows:
            hidden: Row = {ROW_ID_FIELD: self.allocate_timestamp(), TIMESTAMP_FIELD: self.allocate_timestamp()}
            beyond = {name: value for name, value in row.items() if name not in ids}
            if beyond and held.dynamic_field is None:
                raise self._refuse(f"attempt to insert an unexpected field `{next(iter(beyond))}`")
            if held.dynamic_field is not None:
                hidden[held.dynamic_field] = compact_json(beyond)
            grows[0].rows.append(hidden | {ids[name]: value for name, value in row.items() if name in ids})

    def delete(self, ref: CollectionRef, pks: Iterable[object]) -> None:
        """Delete rows by primary key."""
        held = self._get(ref)
        if self.capabilities.has_l0_segments:
            segment = _Segment(self.allocate_timestamp(), ALL_PARTITIONS, is_l0=True)
            segment.deletes = [(pk, self.allocate_timestamp()) for pk in pks]
            held.segments.append(segment)
            return
        for pk in pks:
            for segment in held.segments:
                if any(row[held.pk_field] == pk for row in segment.rows):
                    segment.deletes.append((pk, self.allocate_timestamp()))

    def rows(self, ref: CollectionRef) -> list[dict[str, object]]:
        """All visible rows by field name, duplicates too, with `$partition`."""
        held = self._get(ref)
        names = {f.field_id: f.name for f in held.base.schema.fields}
        parts = {p.partition_id: p.name for p in held.partitions}
        return [
            {names[key]: value for key, value in row.items() if key in names} | {"$partition": parts[s.partition_id]}
            for s in held.segments
            for row in held.visible(s)
        ]

    def compact(self, ref: CollectionRef) -> None:
        """Merge the flushed segments of each partition; the old files stay, the deleted rows go for good."""
        held = self._get(ref)
        groups: dict[int, list[_Segment]] = defaultdict(list)
        for segment in held.segments:
            if segment.state is SegmentState.FLUSHED and not segment.is_l0:
                groups[segment.partition_id].append(segment)
        for partition_id, olds in groups.items():
            rows = [row for old in olds for row in held.visible(old)]
            merged = _Segment(self.allocate_timestamp(), partition_id, SegmentState.FLUSHING, rows)
            self._write_logs(held, merged)
            held.segments = [s for s in held.segments if s not in olds] + [merged]
            sources = tuple(old.segment_id for old in olds)
            self._compactions.append(Compaction(sources=sources, product=merged.segment_id))

    def restart(self) -> None:
        """Go down and come up: what ran fails, what waited goes on."""
        self._run_due_jobs()
        for each in self._jobs.values():
            if self._seen(each).state is ImportState.RUNNING:
                failure = "task marked failed as service restarted"
                each.job = replace(each.job, state=ImportState.FAILED, failure=failure)

    # -- reading ----------------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Three numbers."""
        return self._version

    @cached_property
    def capabilities(self) -> Capabilities:
        """Of that version."""
        return capabilities(self._version)

    @property
    def can_count(self) -> bool:
        """As its version does."""
        return self.capabilities.can_count

    @property
    def writes_deletes_at_flush(self) -> bool:
        """As its version does."""
        return self.capabilities.writes_deletes_at_flush

    def told_bucket(self) -> str:
        """Of its store."""
        return self._store.bucket

    def list_databases(self) -> tuple[str, ...]:
        """All databases."""
        return tuple(sorted(self._databases))

    def is_encrypted(self, database: str) -> bool:
        """If a test says so."""
        return database in self.encrypted

    def list_collections(self, database: str) -> tuple[str, ...]:
        """The names of a database's collections."""
        return tuple(sorted(self._names(database)))

    def _names(self, database: str) -> dict[str, _Held]:
        if database not in self._databases:
            raise self._refuse(f"database not found[database={database}]")
        return self._databases[database]

    def find_collection(self, ref: CollectionRef) -> Collection | None:
        """Everything but rows and segments; None where there is none of that name."""
        held = self._names(ref.database).get(ref.name)
        if held is None:
            return None
        state = self.load_state(ref)
        is_loaded = state is LoadState.LOADED
        return replace(
            held.base,
            num_partitions=len(held.partitions),
            partitions=tuple(held.partitions),
            indexes=tuple(held.indexes[name] for name in sorted(held.indexes)),
            aliases=tuple(sorted(held.aliases)),
            load_state=state,
            loaded_partitions=tuple(p.name for p in held.partitions if is_loaded and p.name in held.loaded),
            replica_number=len(held.groups) if is_loaded else 0,
            resource_groups=held.groups if is_loaded else (),
        )

    def list_aliases(self, database: str) -> tuple[str, ...]:
        """All aliases of a database's collections."""
        return tuple(sorted(alias for held in self._names(database).values() for alias in held.aliases))

    def find_alias(self, ref: CollectionRef) -> str | None:
        """The name of the collection that the alias points at."""
        return next((name for name, held in self._names(ref.database).items() if ref.name in held.aliases), None)

    def list_resource_groups(self) -> tuple[ResourceGroup, ...]:
        """All groups by name."""
        return tuple(ResourceGroup(name, nodes) for name, nodes in sorted(self.resource_groups.items()))

    def list_partitions(self, ref: CollectionRef) -> tuple[Partition, ...]:
        """Partitions by id."""
        return tuple(self._get(ref).partitions)

    def list_segments(self, ref: CollectionRef) -> tuple[Segment, ...]:
        """Persistent segments by id; rows count as inserted."""
        persistent = self._get(ref).persistent()
        tells_level = self.capabilities.reports_level
        return tuple(
            sorted(
                Segment(
                    s.segment_id,
                    s.partition_id,
                    len(s.rows),
                    s.state,
                    level=SegmentLevel.L0 if s.is_l0 and tells_level else SegmentLevel.LEGACY,
                )
                for s in persistent
            )
        )

    def describe_segments(
        self,
        ref: CollectionRef,  # noqa: ARG002 - of the port
        collection_id: int,  # noqa: ARG002 - see above
        segment_ids: Sequence[int],  # noqa: ARG002 - see above
    ) -> Mapping[int, SegmentLogs] | None:
        """It leaves no files behind, and so tells of none."""
        return None

    def list_compactions(self) -> tuple[Compaction, ...]:
        """All there were."""
        return tuple(self._compactions)

    def index_progress(self, ref: CollectionRef) -> tuple[IndexProgress, ...]:
        """All indexes by name; a build takes a while after the index, or rows, were brought."""
        held = self._get(ref)
        total = sum(len(segment.rows) for segment in held.persistent())
        done = total if self._clock.monotonic() >= held.built_from else 0
        return tuple(
            IndexProgress(index=held.indexes[name], indexed_rows=done, total_rows=total, pending_rows=total - done)
            for name in sorted(held.indexes)
        )

    def load_state(self, ref: CollectionRef) -> LoadState:
        """Loaded as soon as one partition is."""
        held = self._get(ref)
        if not held.loaded:
            return LoadState.NOT_LOADED
        return LoadState.LOADED if self._clock.monotonic() >= held.loaded_from else LoadState.LOADING

    def load_progress(self, ref: CollectionRef) -> int:
        """Percent."""
        return {LoadState.NOT_LOADED: 0, LoadState.LOADING: 50, LoadState.LOADED: 100}[self.load_state(ref)]

    def _loaded_rows(self, ref: CollectionRef, partition: str | None, where: str = "") -> list[dict[str, Any]]:
        """Visible rows of what is loaded by field name, a later one of the same key later."""
        held = self._get(ref)
        if self.load_state(ref) is not LoadState.LOADED:
            raise self._refuse(f"collection not loaded[collection={ref.name}]")
        if partition is not None and held.base.schema.has_partition_key:
            raise self._refuse("not support manually specifying the partition names if partition key mode is used")
        names = sorted(held.loaded) if partition is None else [partition]
        if not set(names) <= held.loaded:
            raise self._refuse(f"partition not loaded[partition={partition}]")
        wanted = {self._partition_id(held, name) for name in names}
        found = [row for s in held.segments if s.partition_id in wanted for row in held.visible(s)]
        named = [held.row_by_name(row) for row in sorted(found, key=lambda row: row[TIMESTAMP_FIELD])]
        return list(filter(condition(where), named))

    def count_rows(
        self,
        ref: CollectionRef,
        partition: str | None = None,
        where: str = "",
        *,
        at_least_ts: int = 0,  # noqa: ARG002 - of the port; all is seen at once here
    ) -> int:
        """Visible rows of what is loaded, a primary key counted as often as it is there."""
        return len(self._loaded_rows(ref, partition, where))

    def query_keys(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        *,
        partition: str | None,
        after: Key | None,
        limit: int,
        at_least_ts: int = 0,  # noqa: ARG002 - see above
    ) -> Sequence[Key]:
        """The next primary keys."""
        name = schema.primary_field.name
        rows = self._loaded_rows(ref, partition)
        return sorted({row[name] for row in rows if after is None or row[name] > after})[:limit]

    def query_rows(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        keys: Sequence[Key],
        *,
        partition: str | None = None,
        where: str = "",
        at_least_ts: int = 0,  # noqa: ARG002 - see above
    ) -> Mapping[Key, tuple[Value, ...]]:
        """The newest row of each key; the largest number's is never given out."""
        if filters.LARGEST_INT64 in keys:
            raise self._refuse(f"the row {filters.LARGEST_INT64} cannot be read")
        name = schema.primary_field.name
        rows = self._loaded_rows(ref, partition, filters.both(filters.one_of(name, keys), where))
        return {row[name]: tuple(exact_bytes(each, row[each.name]) for each in schema.value_fields) for row in rows}

    def search(
        self,
        ref: CollectionRef,
        field: FieldSchema,
        vectors: Sequence[bytes],
        *,
        metric_type: str,
        params: Mapping[str, Any],  # noqa: ARG002 - of an index; here all rows are looked at
        limit: int,
        partitions: Sequence[str] = (),
        at_least_ts: int = 0,  # noqa: ARG002 - see above
    ) -> Sequence[Sequence[Hit]]:
        """The nearest rows, exactly."""
        name = self._get(ref).base.schema.primary_field.name
        looked_at = [row for each in partitions or (None,) for row in self._loaded_rows(ref, each)]
        rows = {row[name]: exact_bytes(field, row[field.name]) or b"" for row in looked_at}
        sign = 1 if metric_type in {"L2", "HAMMING"} else -1
        found = [[Hit(key, score(metric_type, vector, each)) for key, each in rows.items()] for vector in vectors]
        return [sorted(hits, key=lambda hit: sign * hit.score)[:limit] for hits in found]

    def allocate_timestamp(self) -> int:
        """The clock as a hybrid timestamp, later than any given before."""
        with self._lock:
            milliseconds = (self._clock.now() - _EPOCH) // timedelta(milliseconds=1)
            self._last_ts = max(self._last_ts + 1, milliseconds << 18 | self._number << 14)
            return self._last_ts

    def is_flushed(self, ref: CollectionRef, flush: FlushResult) -> bool:
        """Not at the first look: it is what brings the flush to its end."""
        held = self._get(ref)
        todo = [
            s
            for s in held.persistent()
            if s.state is not SegmentState.FLUSHED
            or any(ts <= flush.cut_ts for _, ts in s.deletes[s.written_deletes :])
        ]
        for segment in todo:
            self._write_logs(held, segment)
        return not todo

    def find_import_job(self, ref: CollectionRef, job_id: int) -> ImportJob | None:  # noqa: ARG002 - see the port
        """One job, or None once it is forgotten."""
        self._run_due_jobs()
        found = self._jobs.get(job_id)
        if found is None:
            return None
        waits = found.job.state is ImportState.UNCOMMITTED
        if not waits and self._clock.monotonic() - found.created > self.capabilities.job_retention_s:
            return None
        return self._seen(found)

    def list_import_jobs(self, ref: CollectionRef) -> tuple[ImportJob, ...]:
        """All jobs of the collection's database, whatever stands under its name now; of 2.4 and later its own."""
        echoes, refs = self.capabilities.echoes_options, {i: each.held.base.ref for i, each in self._jobs.items()}
        mine = [i for i, own in refs.items() if (own.database == ref.database if echoes else own == ref)]
        found = (job for job_id in mine if (job := self.find_import_job(ref, job_id)) is not None)
        return tuple(job if echoes else replace(job, paths=(), rows=0) for job in found)

    def takes_snapshots(self, ref: CollectionRef) -> bool:  # noqa: ARG002 - see the port
        """From 3.0 on."""
        return self.capabilities.snapshots

    def restores_elsewhere(self) -> bool:
        """Later."""
        return self.capabilities.exports_snapshots

    def find_snapshot(self, ref: CollectionRef, name: str) -> Snapshot | None:
        """The collection's snapshot of that name."""
        return self.snapshots.find(ref, name)

    def find_restore(self, job_id: int) -> RestoreJob | None:
        """A restore, or None once it is forgotten."""
        return self.snapshots.find_restore(job_id)

    def list_restores(self, ref: CollectionRef) -> tuple[RestoreJob, ...]:
        """Those into a collection of that name."""
        return self.snapshots.list_restores(ref)

    # -- writing ----------------------------------------------------------------------------------------------------

    def create_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Take a snapshot of what is flushed."""
        self.snapshots.create(ref, name)

    def drop_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Drop it."""
        self.snapshots.drop(ref, name)

    def restore_snapshot(self, source: CollectionRef, name: str, ref: CollectionRef) -> int:
        """Make a collection of this server's own snapshot of `source`."""
        return self.snapshots.restore(source, name, ref)

    def restore_elsewhere(self, location: str, ref: CollectionRef) -> int:
        """Make a collection of another cluster's snapshot."""
        return self.snapshots.restore_elsewhere(location, ref)

    def flush(self, refs: Sequence[CollectionRef]) -> Mapping[CollectionRef, FlushResult]:
        """Seal what is growing; each collection has a cut of its own."""
        results = {}
        for ref, held in {ref: self._get(ref) for ref in refs}.items():
            growing = [segment for segment in held.segments if segment.state is SegmentState.GROWING]
            for segment in growing:
                segment.state = SegmentState.SEALED
            ids = tuple(sorted(segment.segment_id for segment in held.persistent() if not segment.is_l0))
            sealed = tuple(sorted(segment.segment_id for segment in growing if not segment.is_l0))
            results[ref] = FlushResult(cut_ts=self.allocate_timestamp(), segment_ids=ids, sealed_ids=sealed)
        return results

    def create_database(self, name: str) -> None:
        """Create it; refused where it exists."""
        if name in self._databases:
            raise self._refuse(f"database already exist: {name}")
        self._databases[name] = {}

    def create_collection(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        *,
        shards_num: int,
        num_partitions: int | None,
        consistency_level: ConsistencyLevel,
        properties: KeyValues,
    ) -> None:
        """Create it, fields numbered anew from 100; an equal one that exists is left alone, another refused."""
        with self._lock:
            names = self._names(ref.database)
            if ref.name in self.list_aliases(ref.database):
                raise self._refuse(f"collection name {ref.name} conflicts with an existing alias")
            if num_partitions and not schema.has_partition_key:
                raise self._refuse("num_partitions should only be specified with partition key field enabled")
            fields = enumerate(schema.fields, start=FIRST_USER_FIELD)
            base = Collection(
                ref=ref,
                collection_id=self.allocate_timestamp(),
                created_ts=self.allocate_timestamp(),
                schema=replace(schema, fields=tuple(replace(each, field_id=number) for number, each in fields)),
                shards_num=shards_num or 1,
                num_partitions=0,
                consistency_level=consistency_level,
                properties=properties,
                partitions=(),
                indexes=(),
                aliases=(),
                load_state=LoadState.NOT_LOADED,
                loaded_partitions=(),
                replica_number=0,
            )
            count = num_partitions or _DEFAULT_KEY_PARTITIONS
            physical = [f"{_DEFAULT_PARTITION}_{number}" for number in range(count)]
            partitions = physical if schema.has_partition_key else [_DEFAULT_PARTITION]
            if ref.name in names:
                there = names[ref.name].base
                if base != replace(there, collection_id=base.collection_id, created_ts=base.created_ts):
                    raise self._refuse(f"create duplicate collection with different parameters, collection: {ref.name}")
                return
            names[ref.name] = _Held(base, [Partition(self.allocate_timestamp(), name) for name in partitions])

    def add_field(self, ref: CollectionRef, field: FieldSchema) -> None:
        """Add it behind all others; rows that are there lack it."""
        with self._lock:
            held = self._get(ref)
            schema = held.base.schema
            if not self.capabilities.adds_fields or not field.nullable:
                raise self._refuse("added field must be nullable")
            number = max(schema.visible_ids | {schema.dynamic_field_id or 0}) + 1
            fields = (*schema.fields, replace(field, field_id=number))
            held.base = replace(held.base, schema=replace(schema, fields=fields))

    def create_partition(self, ref: CollectionRef, name: str) -> None:
        """Create it; one that is there already is left alone."""
        held = self._get(ref)
        if held.base.schema.has_partition_key:
            raise self._refuse("disable create partition if partition key mode is used")
        if all(partition.name != name for partition in held.partitions):
            held.partitions.append(Partition(self.allocate_timestamp(), name))

    def start_import(self, ref: CollectionRef, batch: SegmentBatch, *, end_ts: int, tag: ImportTag) -> int:
        """Request one import; of 2.3, what is wrong with its files shows in the job only."""
        with self._lock:
            held, server = self._get(ref), self.capabilities
            most = server.l0_segments_per_job if batch.is_l0 else server.entries_per_job
            if len(batch.entries) > most:
                raise TooManyFiles(f"The max number of import files should not exceed {most}")
            if batch.is_l0 and held.loaded:
                raise self._refuse("for l0 import, collection cannot be loaded, please release it first")
            kind = LogKind.DELTA if batch.is_l0 else LogKind.INSERT
            if server.refuses_missing_files and not all(any(self._read_below(e[0], kind)) for e in batch.entries):
                raise NothingToImport(f"{self._uri} refused: no binlog to import")
            ended = {ImportState.COMPLETED, ImportState.FAILED}  # what waits to be committed takes room
            if sum(each.job.state not in ended for each in self._jobs.values()) >= self.room_for_jobs:
                raise ImportsFull(f"{self._uri} refused: The number of jobs has reached the limit")
            if not batch.partition_name and held.base.schema.has_partition_key:
                raise self._refuse("partition not specified: invalid parameter")
            is_of_all = batch.is_l0 and not batch.partition_name
            name = batch.partition_name or _DEFAULT_PARTITION
            partition_id = ALL_PARTITIONS if is_of_all else self._partition_id(held, name)
            is_exact = server.end_ts_unit is BoundUnit.HYBRID
            options = {"backup": "true", "end_ts": str(physical_ms(end_ts)), **tag.as_options()}
            paths = batch.entries[0] if server.echoes_options else tuple(" ".join(each) for each in batch.entries)
            now = self._clock.monotonic()
            job_id = self.allocate_timestamp()
            self._jobs[job_id] = _Job(
                ImportJob(
                    job_id=job_id,
                    state=ImportState.PENDING,
                    rows=0,
                    progress_percent=0,
                    paths=paths,
                    tags=tuple(sorted(options.items())) if server.echoes_options else (),
                ),
                held,
                batch.entries,
                partition_id,
                end_ts if is_exact else at_millisecond(end_ts),
                now,
                max([now, *(each.due for each in self._jobs.values())]) + JOB_S,
                is_l0=batch.is_l0,
            )
            return job_id

    def create_index(self, ref: CollectionRef, index: Index) -> None:
        """Create it; an equal one is left alone, another of the field refused."""
        held = self._get(ref)
        for old in held.indexes.values():
            if index.field_name == old.field_name and (index.name, sorted(index.params)) != (
                old.name,
                sorted(old.params),
            ):
                raise self._refuse("at most one distinct index is allowed per field")
        if held.indexes.setdefault(index.name, index) is index:
            held.built_from = self._clock.monotonic() + WORK_S

    def load(
        self,
        ref: CollectionRef,
        *,
        partitions: tuple[str, ...],
        replica_number: int,
        resource_groups: tuple[str, ...] = (),
    ) -> None:
        """Load all, or the named partitions; refused without an index on every vector field, or for want of nodes."""
        held = self._get(ref)
        indexed = {index.field_name for index in held.indexes.values()}
        if any(each.data_type.is_vector and each.name not in indexed for each in held.base.schema.fields):
            raise self._refuse(f"there is no vector index on collection: {ref.name}, please create index firstly")
        named = resource_groups or (DEFAULT_RESOURCE_GROUP,)
        groups = named * replica_number if len(named) == 1 else named
        if any(self.resource_groups.get(name, 0) < groups.count(name) for name in groups):
            raise self._refuse("failed to spawn replica for collection: nodes not enough")
        wanted = set(partitions) or {partition.name for partition in held.partitions}
        for name in wanted:
            self._partition_id(held, name)
        if not wanted <= held.loaded:
            held.loaded |= wanted
            held.loaded_from = self._clock.monotonic() + WORK_S
            held.groups = tuple(sorted(groups))

    def release(self, ref: CollectionRef) -> None:
        """Let go of it."""
        self._get(ref).loaded.clear()

    def create_alias(self, ref: CollectionRef, alias: str) -> None:
        """Create it; refused where the name is taken, by an alias or a collection."""
        held = self._get(ref)
        if alias in self.list_aliases(ref.database) or alias in self._databases[ref.database]:
            raise self._refuse(f"{alias} is already an alias or a collection")
        held.aliases.add(alias)

    def alter_alias(self, ref: CollectionRef, alias: str) -> None:
        """Move it; refused where there is none."""
        held, before = self._get(ref), self.find_alias(CollectionRef(ref.database, alias))
        if before is None:
            raise self._refuse(f"alias not found[database={ref.database}][alias={alias}]")
        self._databases[ref.database][before].aliases.discard(alias)
        held.aliases.add(alias)

    def drop_alias(self, ref: CollectionRef, alias: str) -> None:
        """Drop it where it points at the collection."""
        held = self._names(ref.database).get(ref.name)
        if held is not None:
            held.aliases.discard(alias)

    def drop_property(self, ref: CollectionRef, name: str) -> None:
        """Take a property from the collection."""
        with self._lock:
            held = self._get(ref)
            held.base = replace(held.base, properties=tuple(each for each in held.base.properties if each[0] != name))

    def rename_collection(self, ref: CollectionRef, name: str) -> None:
        """Give it another name; refused where that is taken, by an alias or a collection, and by way of an alias."""
        with self._lock:
            names = self._names(ref.database)
            if ref.name not in names:
                raise self._refuse(f"collection not found[database={ref.database}][collection={ref.name}]")
            if name in names or name in self.list_aliases(ref.database):
                raise self._refuse(f"duplicated new collection name {name} with other collection name or alias")
            held = names.pop(ref.name)
            held.base = replace(held.base, ref=CollectionRef(ref.database, name))
            names[name] = held

    def drop_collection(self, ref: CollectionRef) -> None:
        """Drop it with its rows and aliases; import jobs into it that are not over fail."""
        self._run_due_jobs()
        held = self._names(ref.database).pop(ref.name, None)
        for each in self._jobs.values():
            if each.held is held and each.job.state not in {ImportState.COMPLETED, ImportState.FAILED}:
                each.job = replace(each.job, state=ImportState.FAILED, failure="collection not found")

    def drop_database(self, name: str) -> None:
        """Drop it; refused where it holds a collection."""
        if self._databases.get(name):
            raise self._refuse(f"database:{name} not empty, must drop all collections before drop database")
        self._databases.pop(name, None)

    # -- users, roles and grants ------------------------------------------------------------------------------------

    def create_user(self, name: str) -> None:
        """As an administrator does, with a password nobody can read again."""
        self._users.add(name)

    def read_rbac(self) -> Rbac:
        """All that is told of some role in some database: grants of what is gone are not."""
        there, roles = {"*", *self._databases}, self._roles | BUILT_IN_ROLES
        return Rbac(
            users=tuple(sorted(self._users)),
            roles=tuple(sorted(self._roles)),
            grants=tuple(sorted(g for g in self._grants if g.database in there and g.role in roles)),
            bindings=tuple(sorted(self._bindings)),
        )

    def create_role(self, role: str) -> None:
        """Create it; refused where it exists."""
        if role in self._roles | BUILT_IN_ROLES:
            raise self._refuse(f"role {role} already exists")
        self._roles.add(role)

    def drop_role(self, role: str) -> None:
        """Drop it, whoever has it; refused where it has grants, those in other databases aside."""
        self._require_role(role)
        if any(grant.role == role and grant.database in {"*", DEFAULT_DATABASE} for grant in self._grants):
            raise self._refuse("fail to drop the role that it has privileges")
        self._roles.remove(role)
        self._bindings = {binding for binding in self._bindings if binding.role != role}

    def grant(self, grant: Grant) -> None:
        """Grant it; the object need not be there."""
        self._require_role(grant.role)
        self._grants.add(grant)

    def revoke(self, grant: Grant) -> None:
        """Revoke it, if it is there."""
        self._require_role(grant.role)
        self._grants.discard(grant)

    def add_to_role(self, binding: Binding) -> None:
        """Give the user the role."""
        self._require_role(binding.role)
        if binding.user not in {ROOT, *self._users}:
            raise self._refuse("not found the user")
        self._bindings.add(binding)

    def remove_from_role(self, binding: Binding) -> None:
        """Take it, if the user has it."""
        self._bindings.discard(binding)

    def _require_role(self, role: str) -> None:
        if role not in self._roles | BUILT_IN_ROLES:
            raise self._refuse("not found the role")

    # -- import jobs ------------------------------------------------------------------------------------------------

    def _seen(self, each: _Job) -> ImportJob:
        """The job as it looks now: pending, then half done, then over."""
        left = each.due - self._clock.monotonic()
        if each.job.state is not ImportState.PENDING:
            return each.job
        if left > JOB_S / 2:
            return each.job if self.capabilities.echoes_options else replace(each.job, paths=())
        return replace(each.job, state=ImportState.RUNNING, progress_percent=50)

    def _run_due_jobs(self) -> None:
        with self._lock:
            for each in self._jobs.values():
                if self._clock.monotonic() < each.due:
                    continue
                if each.job.state is ImportState.PENDING:
                    each.job = self._run(each)
                elif each.job.state is ImportState.RUNNING:
                    self._show(each)
                    each.job = replace(each.job, state=ImportState.COMPLETED)

    def _run(self, each: _Job) -> ImportJob:
        """Read the prefixes and make one segment of what they hold up to the bound; none of it is an error."""
        if each.is_l0:
            return self._run_deletes(each)
        held, wanted = each.held, each.held.base.schema.stored_field_ids
        if self.capabilities.fills_missing_fields:
            wanted -= each.held.base.schema.may_lack_files
        rows: list[Row] = []
        for insert_prefix, *delta_prefix in each.entries:
            deletes = self._deltas(delta_prefix[0]) if delta_prefix else {}
            for segment_id, columns in self._columns(insert_prefix).items():
                if lost := sorted(wanted - columns.keys()):
                    failure = f"the field {lost[0]} has no binlog file: importing data failed"
                    return replace(each.job, state=ImportState.FAILED, failure=failure)
                read = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
                source = _Segment(0, 0, rows=[row for row in read if row[TIMESTAMP_FIELD] <= each.end_ts])
                source.deletes = [(pk, ts) for pk, ts in deletes.get(segment_id, []) if ts <= each.end_ts]
                rows += source.visible(held.pk_field)
        waits = self.capabilities.auto_commit
        each.rows = rows
        if not waits:
            self._show(each)
        state = ImportState.UNCOMMITTED if waits else ImportState.COMPLETED
        return replace(each.job, state=state, rows=len(rows), progress_percent=100)

    def _run_deletes(self, each: _Job) -> ImportJob:
        """Make an L0 segment; only some versions heed the bound."""
        end_ts = each.end_ts if self.capabilities.bounds_l0 else self.allocate_timestamp()
        segment = _Segment(self.allocate_timestamp(), each.partition_id, SegmentState.FLUSHING, is_l0=True)
        for (prefix,) in each.entries:
            found = (delete for deletes in self._deltas(prefix).values() for delete in deletes)
            segment.deletes += [(pk, ts) for pk, ts in found if ts <= end_ts]
        self._write_logs(each.held, segment)
        each.held.segments.append(segment)
        return replace(each.job, state=ImportState.COMPLETED, rows=len(segment.deletes), progress_percent=100)

    def _show(self, each: _Job) -> None:
        """Make a segment of the rows of a job."""
        held, now = each.held, self.allocate_timestamp()
        if not each.rows:
            return
        fresh = each.rows if self.capabilities.keeps_row_timestamps else [r | {TIMESTAMP_FIELD: now} for r in each.rows]
        segment = _Segment(self.allocate_timestamp(), each.partition_id, SegmentState.FLUSHING, fresh)
        self._write_logs(held, segment)
        held.segments.append(segment)
        held.built_from = max(held.built_from, self._clock.monotonic() + WORK_S)

    def commit_import(self, ref: CollectionRef, job_id: int) -> None:
        """Show what it brought, a little later; one that is committed, or about to be, is left alone."""
        each = self._own_job(ref, job_id)
        if each.job.state is ImportState.UNCOMMITTED:
            each.job, each.due = replace(each.job, state=ImportState.RUNNING), self._clock.monotonic() + COMMIT_S
        elif each.job.state not in {ImportState.RUNNING, ImportState.COMPLETED}:
            raise self._refuse(f"import job {job_id} is {each.job.state}, not uncommitted")

    def abort_import(self, ref: CollectionRef, job_id: int) -> None:
        """Throw it away, if it is uncommitted."""
        each = self._own_job(ref, job_id)
        if each.job.state not in {ImportState.UNCOMMITTED, ImportState.FAILED}:
            raise self._refuse(f"import job {job_id} is {each.job.state}, not uncommitted")
        each.job = replace(each.job, state=ImportState.FAILED, failure="aborted")

    def _own_job(self, ref: CollectionRef, job_id: int) -> _Job:
        self._get(ref)
        if job_id not in self._jobs:
            raise self._refuse(f"import job does not exist, jobID={job_id}")
        return self._jobs[job_id]

    def _read_below(self, prefix: str, kind: LogKind) -> Iterator[tuple[list[str], Any]]:
        """The folders of each key with its content; a prefix is plain text to the server."""
        folder = prefix.rpartition("/")[0]
        for found in self._store.list_objects(folder):
            if found.key.startswith(prefix) and f"{kind}/" in found.key:
                yield found.key.split("/"), json.loads(self._store.read(found.key))

    def _columns(self, prefix: str) -> dict[int, dict[int, list[object]]]:
        """Columns by segment and field, which are the last two folders of a key."""
        columns: dict[int, dict[int, list[object]]] = defaultdict(lambda: defaultdict(list))
        for folders, values in self._read_below(prefix, LogKind.INSERT):
            columns[int(folders[-3])][int(folders[-2])] += values
        return columns

    def _deltas(self, prefix: str) -> dict[int, list[tuple[object, int]]]:
        deltas: dict[int, list[tuple[object, int]]] = defaultdict(list)
        for folders, values in self._read_below(prefix, LogKind.DELTA):
            deltas[int(folders[-2])] += [(pk, ts) for pk, ts in values]
        return deltas
