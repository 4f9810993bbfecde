"""What the double knows: databases, collections, segments and import jobs; and its clock, which gives out ids too."""

from __future__ import annotations

import importlib
import io
import pickle
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message as ProtobufMessage
from pymilvus.grpc_gen import schema_pb2

from tests.doubles.rules import COLLECTION_FLUSH_S, MAX_FILES, MAX_JOBS, REQUEST_TIMEOUT_S, RETENTION_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Message = Any  # pymilvus's generated messages have no types
Key = int | str
Columns = dict[int, list[Any]]  # by field id; as many values as there are rows

GROWING, SEALED, FLUSHED, FLUSHING, DROPPED, IMPORTING = 2, 3, 4, 5, 6, 7  # A.3: SegmentState
LEGACY, L0, L1, L2 = 0, 1, 2, 3  # A.3: SegmentLevel
ALL_PARTITIONS = -1
ROW_ID, TIMESTAMP = 0, 1  # A.2: the system fields


class Refusal(Exception):
    """What a call is answered with instead: a code, the code of old clients, and a reason."""

    def __init__(self, reason: str, *, code: int = 65535, legacy: int = 1) -> None:
        """Both codes are those of an unexpected error unless given."""
        super().__init__(reason)
        self.reason, self.code, self.legacy = reason, code, legacy


class Clock:
    """Hybrid timestamps, each given out once: B.1, ids come from the same allocator."""

    def __init__(self) -> None:
        """Begin at now."""
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """A timestamp later than all before."""
        with self._lock:
            self._last = max(self._last + 1, int(time.time() * 1000) << 18)
            return self._last

    def __getstate__(self) -> int:
        """The last one, for a later process."""
        return self._last

    def __setstate__(self, last: int) -> None:
        """Go on behind it."""
        self._lock, self._last = threading.Lock(), last


@dataclass
class Partition:
    """A partition of a collection."""

    id: int
    name: str
    created_ts: int


@dataclass
class Segment:
    """Rows of one partition and vchannel, or deletes if its level is L0."""

    id: int
    partition_id: int
    vchannel: str
    state: int = GROWING
    level: int = L1
    storage_version: int = 0
    is_sorted: bool = False
    commit_ts: int = 0
    columns: Columns = field(default_factory=dict)
    deletes: list[tuple[Key, int]] = field(default_factory=list)  # of an L0 segment, or its own delta logs
    insert_logs: dict[int, list[int]] = field(default_factory=dict)
    delta_logs: list[int] = field(default_factory=list)
    killed: dict[Key, int] = field(default_factory=dict)  # by imported deletes: they reach what is there already
    sealed_at: float = 0.0

    @property
    def is_l0(self) -> bool:
        """Whether it holds deletes instead of rows."""
        return self.level == L0

    @property
    def rows(self) -> int:
        """How many were written into it: C.1, deletes are not subtracted."""
        return len(self.columns.get(TIMESTAMP, ()))


@dataclass
class Index:
    """An index of one field; its parameters as they were given."""

    id: int
    name: str
    field_name: str
    params: list[tuple[str, str]]
    created_at: float = field(default_factory=time.time)


@dataclass
class Collection:
    """A collection with all its rows."""

    id: int
    database: str
    name: str
    schema: Message  # with ids, the system fields left out, `$meta` at its place
    shards: int
    consistency_level: int
    properties: dict[str, str]
    created_ts: int
    updated_ts: int
    num_partitions: int = 0
    broken_ids: bool = False
    partitions: dict[str, Partition] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    loaded: set[int] = field(default_factory=set)  # partition ids
    loading_until: float = 0.0
    replicas: list[str] = field(default_factory=list)  # the resource group of each
    pending: list[tuple[Key, int, int]] = field(default_factory=list)  # deletes not flushed: key, ts, partition
    deletes: dict[int, dict[Key, int]] = field(default_factory=dict)  # by partition: the newest of each key
    flushed_at: float = 0.0

    @property
    def vchannels(self) -> list[str]:
        """One per shard."""
        return [f"{self.pchannel(number)}_{self.id}v{number}" for number in range(self.shards)]

    def pchannel(self, number: int) -> str:
        """The physical channel behind a vchannel."""
        return f"by-dev-rootcoord-dml_{number}"

    @property
    def is_loaded(self) -> bool:
        """Whether a part of it is: a whole counts as loaded as soon as one partition is."""
        return bool(self.loaded)

    def fields(self) -> Iterator[Message]:
        """Every field that holds values, sub-fields of structs among them."""
        yield from self.schema.fields
        for struct in self.schema.struct_array_fields:
            yield from struct.fields

    def named_fields(self) -> dict[str, Message]:
        """The same by the names that indexes go by: of a struct's, `struct[field]`."""
        structs = self.schema.struct_array_fields
        found = {f"{struct.name}[{each.name}]": each for struct in structs for each in struct.fields}
        return {each.name: each for each in self.schema.fields} | found

    @property
    def key_field(self) -> Message:
        """The primary key."""
        return next(each for each in self.schema.fields if each.is_primary_key)

    def delete(self, key: Key, ts: int, partition_id: int) -> None:
        """Remember a delete: it counts for rows that are older."""
        known = self.deletes.setdefault(partition_id, {})
        known[key] = max(ts, known.get(key, 0))

    def partition_by_id(self, partition_id: int) -> Partition | None:
        """None if it is of no partition of ours."""
        return next((each for each in self.partitions.values() if each.id == partition_id), None)


@dataclass
class FileEntry:
    """One file of an import job: what one listing turned it into, and how far it is."""

    paths: list[str]
    size_bytes: int = 0
    rows: int = 0
    imported: int = 0


@dataclass
class Job:
    """An import job: E.3."""

    id: int
    database: str
    collection_id: int
    collection_name: str
    partition_ids: list[int]
    files: list[FileEntry]
    options: dict[str, str]
    created_at: float
    visible_at: float
    state: str = "Pending"
    entered_at: float = 0.0
    progress: int = 0
    reason: str = ""
    completed_at: float = 0.0
    has_details: bool = False
    fails_with: str = ""
    segments: list[int] = field(default_factory=list)
    auto_commit: bool = True
    timeout_s: float = 0.0

    @property
    def is_l0(self) -> bool:
        """Whether its files are deletes."""
        return is_true(self.options.get("l0_import"))

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in {"Completed", "Failed"}


@dataclass
class Snapshot:
    """A snapshot of 3.0: the rows of one moment."""

    id: int
    name: str
    description: str
    database: str
    collection: Collection
    created_ts: int
    location: str


@dataclass
class SnapshotJob:
    """An export or a restore."""

    id: int
    kind: str
    snapshot_name: str
    database: str
    collection_name: str
    started_at: float
    uri: str = ""
    files: int = 0
    state: int = 1  # G.2: Pending
    reason: str = ""
    made: Collection | None = None


@dataclass
class Access:
    """Users, roles and grants: H."""

    passwords: dict[str, str] = field(default_factory=lambda: {"root": "Milvus"})
    roles: dict[str, set[str]] = field(default_factory=lambda: {"admin": {"root"}, "public": set()})  # role -> users
    grants: set[tuple[str, str, str, str, str]] = field(default_factory=set)  # role, object, its name, privilege, db
    groups: dict[str, set[str]] = field(default_factory=dict)


@dataclass
class Settings:
    """What a test may set: how long things take, and limits."""

    job_s: float = 0.1  # every phase of an import job
    seal_s: float = 0.1  # from the flush until its segments are written
    index_s: float = 0.0  # until an index has its rows; its state is Finished before, as on 2.3.5
    load_s: float = 0.0
    wal_delay_s: float = 0.0  # until a job exists after its request: E.8.4
    retention_s: float = RETENTION_S
    flush_interval_s: float = COLLECTION_FLUSH_S
    request_timeout_s: float = REQUEST_TIMEOUT_S
    max_jobs: int = MAX_JOBS
    max_files: int = MAX_FILES
    disk_quota_bytes: int = 0  # 0: none
    enable_l0_import: bool = False
    autoindex_resolved: bool = False
    is_replicating: bool = False
    enable_in_replicating: bool = False
    writes_imports: bool = True  # off, imported segments have no files of their own, which is quicker
    lost_rows: int = 0  # of every shard of a job, which counts them as imported all the same
    multi_field_deltas: bool = False  # D.2: of 2.6, as it can be configured
    uses_v1: bool = False  # a 2.6 that came from 2.5 has both formats


@dataclass
class Cluster:
    """Everything, guarded by `lock`."""

    version: str
    bucket: str
    root_path: str
    clock: Clock = field(default_factory=Clock)
    settings: Settings = field(default_factory=Settings)
    databases: dict[str, dict[str, str]] = field(default_factory=lambda: {"default": {}})
    database_ids: dict[str, int] = field(default_factory=lambda: {"default": 1})
    collections: dict[tuple[str, str], Collection] = field(default_factory=dict)
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    snapshots: dict[tuple[str, str, str], Snapshot] = field(default_factory=dict)
    snapshot_jobs: dict[int, SnapshotJob] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    resource_groups: dict[str, int] = field(default_factory=lambda: {"__default_resource_group": 1})
    compactions: list[tuple[int, list[int], int]] = field(default_factory=list)  # collection, sources, target
    sins: list[str] = field(default_factory=list)  # what no server refuses, and no client should do
    gc_paused_until: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def require_database(self, name: str) -> str:
        """Its name, `default` for the empty one.

        Raises:
            Refusal: There is none.
        """
        name = name or "default"
        if name not in self.databases:
            raise Refusal(f"database not found[database={name}]", code=800)
        return name

    def find_collection(self, database: str, name: str) -> Collection | None:
        """A collection by its name or an alias."""
        real = self.aliases.get((database, name), name)
        return self.collections.get((database, real))

    def require_collection(self, database: str, name: str) -> Collection:
        """The collection of that name or alias.

        Raises:
            Refusal: There is no such database or collection.
        """
        database = self.require_database(database)
        found = self.find_collection(database, name)
        if found is None:
            text = f"collection not found[database={database}][collection={name}]"
            raise Refusal(f"can't find collection: {text}", code=100, legacy=4)
        return found

    def collection_by_id(self, collection_id: int) -> Collection | None:
        """None if it was dropped."""
        return next((each for each in list(self.collections.values()) if each.id == collection_id), None)

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With a lock of its own."""
        self.__dict__.update(state, lock=threading.RLock())


def require_partition(collection: Collection, name: str) -> Partition:
    """The partition of that name.

    Raises:
        Refusal: There is none.
    """
    if name not in collection.partitions:
        raise Refusal(f"partition not found[partition={name}]", code=200)
    return collection.partitions[name]


def is_true(text: str | None) -> bool:
    """Whether an option's value is a yes, in any case of letters."""
    return (text or "").lower() == "true"


# -- a file of it, for a process that comes later ---------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:  # noqa: ANN401 - anything there is
        """Generated messages name a module that does not exist, so they travel as bytes."""
        if isinstance(thing, ProtobufMessage):
            return _message, (type(thing).__name__, thing.SerializeToString())
        return NotImplemented


def _message(name: str, data: bytes) -> Message:
    module = schema_pb2 if hasattr(schema_pb2, name) else importlib.import_module("pymilvus.grpc_gen.milvus_pb2")
    return getattr(module, name).FromString(data)


def dumped(thing: Any) -> bytes:  # noqa: ANN401 - anything of the above
    """A value as bytes."""
    buffer = io.BytesIO()
    _Pickler(buffer).dump(thing)
    return buffer.getvalue()


def undumped(content: bytes) -> Any:  # noqa: ANN401 - as above
    """The value of bytes that `dumped` made."""
    return pickle.loads(content)  # noqa: S301 - our own


def save(cluster: Cluster, path: Path) -> None:
    """Write everything to a file, in one piece."""
    with cluster.lock:
        content = dumped(cluster)
    scratch = path.with_name(path.name + ".new")
    scratch.write_bytes(content)
    scratch.replace(path)


def load_or(path: Path, new: Cluster) -> Cluster:
    """What an earlier process saved, or a new one."""
    found: Cluster = undumped(path.read_bytes()) if path.exists() else new
    return found
