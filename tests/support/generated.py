"""A source as large as one likes, made up while it is read: no server and no bucket has to hold it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, cast

from migrator.adapters.memory import MemoryMilvus, MemoryStore
from migrator.model.capabilities import capabilities
from migrator.model.collection import CollectionRef
from migrator.model.segment import LogKind, Segment, StoredObject
from migrator.ports.milvus import FlushResult
from migrator.running.refresh import Readers
from tests.support.builders import FakeClock, a_collection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import Collection, LoadState, Partition
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.store import ObjectReader

SOURCE_ROOT = "files_A"
FIELDS = (0, 1, 100, 101, 102)
"""Of which a segment has a log each: `a_schema`, and the server's own two."""
PARTITION = 7
FIRST_ID = 1_000_000
ROWS = 1000
"""Of each segment."""
OBJECT_BYTES = 64 * 1024
CUT_TS = 460000000000000000


@dataclass(slots=True)
class Traffic:
    """What was asked for, and by how many at once."""

    latency_s: float = 0.0
    """What every request takes."""
    calls: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    _now: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def request(self, name: str) -> Iterator[None]:
        """Count one."""
        with self._guard:
            self.calls[name] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self.latency_s:
                time.sleep(self.latency_s)
            yield
        finally:
            with self._guard:
                self._now -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is."""

    collections: int
    segments: int
    """Of each collection; each of `FIELDS` has one object in it."""

    @property
    def objects(self) -> int:
        """Of all collections."""
        return self.collections * self.segments * len(FIELDS)


def name_of(number: int) -> str:
    """Of the collection of that number; they sort as they are numbered."""
    return f"c{number:06d}"


class GeneratedMilvus:
    """A source's Milvus, as far as a refresh asks it."""

    uri = "http://milvus_A:19530"
    can_count = True
    writes_deletes_at_flush = True

    def __init__(self, size: Size, traffic: Traffic, version: str = "2.3.5") -> None:
        self._size = size
        self._traffic = traffic
        self._version = version
        self._times = count(CUT_TS, 1 << 18)

    def version(self) -> str:
        """As it was made."""
        return self._version

    @property
    def capabilities(self) -> Capabilities:
        """Of its version."""
        return capabilities(self._version)

    def is_encrypted(self, database: str) -> bool:  # noqa: ARG002 - of the port
        """It is not."""
        return False

    def list_databases(self) -> tuple[str, ...]:
        """The default one."""
        with self._traffic.request("list_databases"):
            return ("default",)

    def list_collections(self, database: str) -> tuple[str, ...]:  # noqa: ARG002 - of the port
        """All names."""
        with self._traffic.request("list_collections"):
            return tuple(map(name_of, range(self._size.collections)))

    def find_collection(self, ref: CollectionRef) -> Collection | None:
        """One that is loaded."""
        with self._traffic.request("find_collection"):
            return replace(a_collection(), ref=ref, collection_id=FIRST_ID + int(ref.name[1:]))

    def list_partitions(self, ref: CollectionRef) -> tuple[Partition, ...]:  # noqa: ARG002 - of the port
        """The one."""
        with self._traffic.request("list_partitions"):
            return a_collection().partitions

    def list_segments(self, ref: CollectionRef) -> tuple[Segment, ...]:  # noqa: ARG002 - of the port
        """All are flushed."""
        with self._traffic.request("list_segments"):
            return tuple(Segment(number, PARTITION, ROWS) for number in range(self._size.segments))

    def describe_segments(
        self,
        ref: CollectionRef,  # noqa: ARG002 - of the port
        collection_id: int,  # noqa: ARG002 - as above
        segment_ids: Sequence[int],  # noqa: ARG002 - as above
    ) -> None:
        """It does not tell."""
        with self._traffic.request("describe_segments"):
            return

    def load_state(self, ref: CollectionRef) -> LoadState:  # noqa: ARG002 - of the port
        """Loaded."""
        with self._traffic.request("load_state"):
            return a_collection().load_state

    def count_rows(
        self,
        ref: CollectionRef,  # noqa: ARG002 - of the port
        partition: str | None = None,  # noqa: ARG002 - as above
        where: str = "",  # noqa: ARG002 - as above
        *,
        at_least_ts: int = 0,  # noqa: ARG002 - as above
    ) -> int:
        """All are there."""
        with self._traffic.request("count_rows"):
            return self._size.segments * ROWS

    def list_compactions(self) -> tuple[()]:
        """It remembers none."""
        return ()

    def allocate_timestamp(self) -> int:
        """A millisecond after the last."""
        return next(self._times)

    def flush(self, refs: Sequence[CollectionRef]) -> dict[CollectionRef, FlushResult]:
        """Nothing grows."""
        with self._traffic.request("flush"):
            sealed = tuple(range(self._size.segments))
            return {ref: FlushResult(cut_ts=CUT_TS, segment_ids=sealed) for ref in refs}

    def is_flushed(self, ref: CollectionRef, flush: FlushResult) -> bool:  # noqa: ARG002 - of the port
        """At once."""
        return True


class GeneratedStore:
    """The source's bucket: a listing comes one object after the other, and none is kept."""

    place = "memory://bucket_A"
    most_copied_bytes = None

    def __init__(self, size: Size, traffic: Traffic) -> None:
        self._size = size
        self._traffic = traffic

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Insert logs of one collection; other folders are empty."""
        with self._traffic.request("list_objects"):
            root, _, rest = prefix.partition("/")
        kind, _, collection_id = rest.partition("/")
        if root != SOURCE_ROOT or kind != LogKind.INSERT or not collection_id.isdigit():
            return
        for segment in range(self._size.segments):
            for field_id in FIELDS:
                key = f"{prefix}/{PARTITION}/{segment}/{field_id}/{segment * 1000 + field_id}"
                yield StoredObject(key, OBJECT_BYTES, f'"{segment}"')

    def list_folders(self, prefix: str) -> tuple[str, ...]:  # noqa: ARG002 - of the port
        """None that matters."""
        with self._traffic.request("list_folders"):
            return ()

    def find_object(self, key: str) -> StoredObject | None:
        """Each that is listed."""
        return StoredObject(key, OBJECT_BYTES, '"0"') if f"/{LogKind.INSERT}/" in key else None

    def find_beside(self, bucket: str, key: str) -> StoredObject | None:  # noqa: ARG002 - of the port
        """The same: one service."""
        return self.find_object(key)


class GeneratedStaging(MemoryStore):
    """The same bucket as a dump is written into it: copies are told by one bit each, other objects are kept."""

    def __init__(self, store: GeneratedStore, size: Size) -> None:
        super().__init__()
        self._origin = store
        self._size = size
        self._copied = bytearray(size.objects)

    def find_object(self, key: str) -> StoredObject | None:
        """What was copied has the size of what it is a copy of."""
        if f"/binlogs/{LogKind.INSERT}/" in key:
            return StoredObject(key, OBJECT_BYTES, '"0"')
        return self._origin.find_object(key) or super().find_object(key)

    def copy_inside(self, source_key: str, key: str) -> None:  # noqa: ARG002 - of the port
        """Note it."""
        collection_id, _, segment, field_id, _ = map(int, source_key.split("/")[2:])
        self._copied[self._place(collection_id, segment, field_id)] = 1

    def _place(self, collection_id: int, segment: int, field_id: int) -> int:
        return ((collection_id - FIRST_ID) * self._size.segments + segment) * len(FIELDS) + FIELDS.index(field_id)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Copies lie where milvus-backup puts them."""
        head, found, rest = prefix.partition(f"/binlogs/{LogKind.INSERT}/")
        if not found:
            yield from (*self._origin.list_objects(prefix), *super().list_objects(prefix))
            return
        collection_id = rest.split("/")[0]
        for origin in self._origin.list_objects(f"{SOURCE_ROOT}/{LogKind.INSERT}/{collection_id}"):
            _, partition, segment, field_id, log = origin.key.split("/")[2:]
            if self._copied[self._place(int(collection_id), int(segment), int(field_id))]:
                below = f"{collection_id}/{partition}/{segment}/{segment}/{field_id}/{log}"
                yield StoredObject(f"{head}{found}{below}", origin.size_bytes, origin.etag)


def generated_readers(size: Size, traffic: Traffic, *, version: str = "2.3.5") -> Readers:
    """Such a source, and an empty target that shares its bucket."""
    store = GeneratedStore(size, traffic)
    target = MemoryMilvus("http://milvus_B:19530", MemoryStore(), "files_B", FakeClock(), number=1)
    return Readers(
        source=cast("MilvusReader", GeneratedMilvus(size, traffic, version)),
        target=target,
        source_store=cast("ObjectReader", store),
        target_store=cast("ObjectReader", store),
        staging=cast("ObjectReader", store),
    )


def refs(size: Size) -> Sequence[CollectionRef]:
    """Of all collections."""
    return [CollectionRef("default", name_of(number)) for number in range(size.collections)]
