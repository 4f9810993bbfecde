"""Object stores through obstore: S3 and what speaks like it, Azure, Google, and the local file system.

A store is bound to a bucket's root, and keys count from there; a local one is bound to `/`, so that its keys are
absolute paths without the leading slash.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions as foreign

from migrator.adapters.arenas import keep_one_arena
from migrator.adapters.bucket_names import find_bucket_names
from migrator.adapters.creating import find_creator
from migrator.adapters.neighbours import copier_of, has_neighbours
from migrator.adapters.s3_service import find_service
from migrator.adapters.store_endpoint import StoreEndpoint
from migrator.adapters.store_errors import cannot_be_opened, translated
from migrator.adapters.store_opening import open_store, settled
from migrator.errors import ObjectMissing, StoreError, StoreRefused
from migrator.model.segment import StoredObject
from migrator.ports.store import Fetched
from migrator.steps.streaming import PARTS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from obstore import GetResult, ObjectMeta
    from typing_extensions import Buffer

    from migrator.adapters.store_opening import ForeignStore

__all__ = ["ObstoreStore", "StoreEndpoint"]

_LIST_CHUNK = 1000
_SILENCE_S = 30
"""How long a small request may hear nothing: a connection that nobody closed must not hold a heartbeat for long."""
_BODY_SILENCE_S = 300
"""The same for requests that move bodies: the service copies big ones without a word, and slow lines send for long."""
_BODY_RETRIES = 3
"""By obstore itself: whoever moves many bodies asks for fewer at a time then, and has to hear of it."""
_MOST_COPIED_BYTES = 5 * 1024**3
"""S3 copies no larger object by one request."""


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except FileExistsError:
        if not target.samefile(source):
            target.unlink()
            target.hardlink_to(source)


def _parts(answer: GetResult, part_size: int) -> Iterator[Buffer]:
    """The bytes of an answer; a small one's at once."""
    if answer.meta["size"] <= part_size:
        yield answer.bytes()
    else:
        yield from answer.stream(min_chunk_size=part_size)


def _first_part(parts: Iterator[Buffer], part_size: int | None) -> tuple[deque[Buffer], bool]:
    """What comes until a part is full, and whether that is all; None is a part of any size."""
    taken: deque[Buffer] = deque()
    size_bytes = 0
    for part in parts:
        taken.append(part)
        size_bytes += memoryview(part).nbytes
        if part_size is not None and size_bytes >= part_size:
            return taken, False
    return taken, True


def _let_go(taken: deque[Buffer]) -> Iterator[Buffer]:
    """Each once, and then held no longer."""
    while taken:
        yield taken.popleft()


class ObstoreStore:
    """One bucket, or the local file system: reader and writer in one."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        keep_one_arena()
        self._endpoint = endpoint = settled(endpoint)
        self._guard = threading.Lock()
        self._neighbours: dict[str, ObstoreStore] = {}
        self._copiers: dict[str, ForeignStore] = {}
        self._service = find_service(endpoint)
        try:
            self._store = open_store(endpoint, silence_s=_SILENCE_S)
            self._bodies = self._open_for_bodies(endpoint)
            self._creator = find_creator(endpoint)
        except (ValueError, foreign.BaseError) as error:
            raise cannot_be_opened(endpoint, error) from None

    @staticmethod
    def _open_for_bodies(endpoint: StoreEndpoint) -> ForeignStore:
        return open_store(endpoint, silence_s=_BODY_SILENCE_S, retries=_BODY_RETRIES, is_for_bodies=True)

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return self._endpoint.place

    def server_path(self, key: str) -> str:
        """The key as a Milvus that uses this store names it."""
        return f"/{key}" if self._endpoint.bucket is None else key

    @property
    def most_copied_bytes(self) -> int | None:
        """What S3 copies by one request; None where it copies in parts too, and where there is no such bound."""
        return _MOST_COPIED_BYTES if self._endpoint.speaks_s3 and self._service is None else None

    def _translated(self, what: str) -> AbstractContextManager[None]:
        return translated(self._endpoint, what)

    # -- reading ----------------------------------------------------------------------------------------------------

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the folder `prefix`, as a stream of listing pages."""
        with self._translated(f"listing {prefix}/"):
            for page in obstore.list(self._store, prefix, chunk_size=_LIST_CHUNK):
                for entry in page:
                    yield self._stored(entry)

    def list_folders(self, prefix: str) -> tuple[str, ...]:
        """The names of folders one level below `prefix`."""
        with self._translated(f"listing {prefix or 'the bucket'}"):
            found = obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]
        return tuple(sorted(path.rsplit("/", maxsplit=1)[-1] for path in found))

    def find_object(self, key: str) -> StoredObject | None:
        """The object as a head request tells it, or None."""
        try:
            with self._translated(f"reading the head of {key}"):
                entry = obstore.head(self._store, key)
        except ObjectMissing:
            return None
        return self._stored(entry)

    def find_buckets(self) -> tuple[str, ...] | None:
        """The names of all buckets of the service; None where it does not tell them, or not to these credentials."""
        return find_bucket_names(self._endpoint)

    def find_beside(self, bucket: str, key: str) -> StoredObject | None:
        """The object in another bucket of the same service, or None; asked with this store's own credentials."""
        beside = self._beside(bucket)
        return None if beside is None else beside.find_object(key)

    def _beside(self, bucket: str) -> ObstoreStore | None:
        """The other bucket, as long as this one is of a service that has several."""
        if self._endpoint.bucket in {None, bucket} or not has_neighbours(self._endpoint):
            return None
        with self._guard:
            if bucket not in self._neighbours:
                self._neighbours[bucket] = ObstoreStore(replace(self._endpoint, bucket=bucket))
            return self._neighbours[bucket]

    def _stored(self, entry: ObjectMeta) -> StoredObject:
        etag = entry["e_tag"]
        if self._endpoint.provider == "azure" and etag and not etag.startswith('"'):
            etag = f'"{etag}"'  # a listing has it bare
        return StoredObject(entry["path"], entry["size"], etag)

    def read(self, key: str) -> bytes:
        """A small object's bytes."""
        with self._translated(f"reading {key}"):
            return bytes(obstore.get(self._store, key).bytes())

    def stream(self, key: str, *, part_size: int) -> Iterator[bytes]:
        """The object's bytes in parts."""
        with self._translated(f"reading {key}"):
            for part in _parts(obstore.get(self._bodies, key), part_size):
                yield bytes(part)

    def fetch(self, key: str, *, part_size: int) -> Fetched:
        """The same, with what the object is."""
        with self._translated(f"reading {key}"):
            answer = obstore.get(self._bodies, key)
        return Fetched(self._stored(answer.meta), self._fetched(key, answer, part_size))

    def _fetched(self, key: str, answer: GetResult, part_size: int) -> Iterator[Buffer]:
        with self._translated(f"reading {key}"):
            yield from _parts(answer, part_size)

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> bool:
        """Put a small object; with `create_only` False comes back where the key is taken already."""
        with self._translated(f"writing {key}"):
            try:
                if create_only and self._creator is not None:
                    return self._creator.create(key, data)
                obstore.put(self._store, key, data, mode="create" if create_only else "overwrite")
            except foreign.AlreadyExistsError:
                return False
        return True

    def write_stream(self, key: str, parts: Iterable[Buffer], *, multipart: bool, part_size: int) -> str | None:
        """Put an object of any size, part by part; one that ends within the first part is put as a whole.

        obstore asks for the parts from inside its event loop, where a call of obstore panics; and parts that come from
        another store are such calls. So a thread of their own fetches them.
        """
        source = iter(parts)
        first, is_whole = _first_part(source, part_size if multipart else None)
        if is_whole:  # an upload that is never begun leaves no pieces
            with self._translated(f"writing {key}"):
                return obstore.put(self._bodies, key, _let_go(first), use_multipart=False)["e_tag"]
        source = chain(_let_go(first), source)
        with self._translated(f"writing {key}"), ThreadPoolExecutor(1) as reader:
            fetched = iter(lambda: reader.submit(next, source, None).result(), None)
            made = obstore.put(
                self._bodies,
                key,
                fetched,
                use_multipart=True,
                chunk_size=part_size,
                max_concurrency=PARTS_AT_ONCE,
            )
        return made["e_tag"]

    def copy_inside(self, source_key: str, key: str) -> None:
        """Let the service copy the object; on the local file system that is a hard link.

        The link is made by hand: obstore's copy leaves `key#0` beside a key that is a link to the source already, hides
        it from its listings, and Milvus would read it.
        """
        if self._endpoint.bucket is None:
            with self._translated(f"copying {source_key}"):
                _link(Path("/", source_key), Path("/", key))
        else:
            self._copy(self._bodies, self._endpoint.bucket, source_key, key)

    def copy_from(self, bucket: str, source_key: str, key: str) -> None:
        """Let the service copy an object out of another of its buckets."""
        with self._guard:
            if bucket not in self._copiers:
                neighbour = copier_of(self._endpoint, bucket)
                self._copiers[bucket] = self._open_for_bodies(neighbour)
            copier = self._copiers[bucket]
        self._copy(copier, bucket, source_key, key)

    def _copy(self, copier: ForeignStore, bucket: str, source_key: str, key: str) -> None:
        """Let the service copy by one request, or in parts where it refuses that for an object's size."""
        try:
            with self._translated(f"copying {source_key} out of the bucket {bucket}"):
                obstore.copy(copier, source_key, key)
        except StoreRefused:
            large = self._find_large(bucket, source_key)
            if self._service is None or large is None:
                raise
            self._service.copy_in_parts(bucket, large, key)

    def _find_large(self, bucket: str, key: str) -> StoredObject | None:
        """The object, where it is larger than what the service has to copy by one request."""
        found = self.find_object(key) if bucket == self._endpoint.bucket else self.find_beside(bucket, key)
        return found if found is not None and found.size_bytes > _MOST_COPIED_BYTES else None

    def sweep(self, prefix: str) -> None:
        """Remove what writes that were killed left below the folder.

        On the local file system that is `name#<number>`; in S3 the parts of unfinished uploads, as far as these
        credentials may see them and boto3 is installed. Azure drops such parts by itself after a week.
        """
        if self._service is not None:
            with suppress(StoreError):  # parts cost money, and harm nothing
                self._service.abort_uploads(prefix)
        if self._endpoint.bucket is None:
            for path in Path("/", prefix).rglob("*#*"):
                if path.name.rpartition("#")[2].isdigit() and path.is_file():
                    path.unlink()

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; one that is not there counts as removed."""
        for key in keys:
            try:
                with self._translated(f"deleting {key}"):
                    obstore.delete(self._store, key)
            except ObjectMissing:
                continue

    def drop_empty_folders(self, prefix: str) -> None:
        """Remove directories without a file; a bucket has none."""
        if self._endpoint.bucket is None:
            for folder, _, _ in os.walk(Path("/", prefix), topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
