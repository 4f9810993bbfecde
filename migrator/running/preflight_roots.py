"""Whether a Milvus and a storage of the plan belong together: told by the files of its collections, and by itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from migrator.errors import MigratorError, PlanError
from migrator.model.collection import CollectionRef
from migrator.model.segment import SegmentState
from migrator.running.roots import find_root_of, find_roots, holds, insert_folder, looks_like_root
from migrator.running.store_causes import find_buckets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.ports.milvus import MilvusReader
    from migrator.ports.store import ObjectReader
    from migrator.running.doors import Doors, StorePlace
    from migrator.running.findings import Findings

_MOST_ASKED = 200
"""Collections that are asked for their segments, at most; the first few with some are enough."""
_ENOUGH = 3
_CHECK = "storage.root_path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A Milvus that answers and the storage that the plan gives it, which can be listed."""

    place: StorePlace
    store: ObjectReader
    milvus: MilvusReader
    findings: Findings


def look_at_root(side: Side, other: Side | None, doors: Doors) -> None:
    """See that the files of its collections lie where the plan says, or where they do lie."""
    place = side.place
    try:
        stored = list(islice(_stored(side.milvus), _ENOUGH))
        found = next((ref for ref, number in stored if holds(side.store, insert_folder(place.folder, number))), None)
        if found is not None:
            side.findings.ok(_CHECK, f"the files of {found.short} lie below {place.place}", place.root_field)
        elif stored:
            _tell_where(side, other, doors, *stored[0])
        else:
            _look_at_shape(side, other)
    except MigratorError as error:
        side.findings.error(_CHECK, place.field, error)


def _stored(milvus: MilvusReader) -> Iterator[tuple[CollectionRef, int]]:
    """Collections with flushed rows, with their ids."""
    names = (
        CollectionRef(database, name)
        for database in milvus.list_databases()
        for name in milvus.list_collections(database)
    )
    for ref in islice(names, _MOST_ASKED):
        segments = milvus.list_segments(ref)
        if any(each.num_rows and each.state is SegmentState.FLUSHED for each in segments):
            collection = milvus.find_collection(ref)
            if collection is not None:
                yield ref, collection.collection_id


# -- files that are not where they should be --------------------------------------------------------------------------


def _tell_where(side: Side, other: Side | None, doors: Doors, ref: CollectionRef, number: int) -> None:
    place = side.place
    missed = f"{ref.short} has flushed rows at {side.milvus.uri}, and none of their files lies below {place.place}"
    if other is not None and holds(other.store, insert_folder(other.place.folder, number)):
        them = other.place.part
        side.findings.fail(
            "milvus.place",
            f"{place.part}.milvus.uri",
            f"{missed}; they lie below {other.place.root_field}, {other.place.place}",
            f"this seems to be the Milvus of {them}: see whether {place.part}.milvus.uri and {them}.milvus.uri, or the "
            f"two storages, are swapped",
            exit_code=PlanError.exit_code,
            value=side.milvus.uri,
        )
        return
    own = side.milvus.told_bucket() if place.storage.bucket is not None else ""
    if own and own != place.storage.bucket:
        _blame_bucket(side, f"{missed}; it says itself that it uses the bucket {own}", own)
        return
    around = place.folder.rpartition("/")[0] if place.storage.bucket is None else ""
    root = find_root_of(side.store, number, around)
    bucket = None if root is not None else _find_bucket(place, doors, number)
    if bucket is not None:
        _blame_bucket(side, missed, bucket)
        return
    value = f"/{root}" if place.storage.bucket is None else root or '""'
    hint = "see minio.rootPath, minio.bucketName and minio.address in its milvus.yaml"
    side.findings.fail(
        _CHECK,
        place.root_field,
        missed,
        hint if root is None else f"set it to {value}, where they lie",
        exit_code=PlanError.exit_code,
        value=place.storage.root_path,
    )


def _find_bucket(place: StorePlace, doors: Doors, number: int) -> str | None:
    """Another bucket of the service that holds the files below the same root path."""
    for name in find_buckets(place.storage, place.field, doors)[:20]:
        storage = place.storage.model_copy(update={"bucket": name})
        try:
            if holds(doors.open_store(storage, place.field), insert_folder(place.folder, number)):
                return name
        except MigratorError:
            continue
    return None


def _blame_bucket(side: Side, message: str, bucket: str) -> None:
    side.findings.fail(
        "storage.bucket",
        f"{side.place.field}.bucket",
        message,
        f"set it to {bucket}",
        exit_code=PlanError.exit_code,
        value=side.place.storage.bucket,
    )


# -- nothing stored yet -----------------------------------------------------------------------------------------------


def _look_at_shape(side: Side, other: Side | None) -> None:
    """A Milvus without flushed rows proves nothing; what it says of itself, and what lies there, may still tell."""
    place = side.place
    own = side.milvus.told_bucket() if place.storage.bucket is not None else ""
    if own and own != place.storage.bucket:
        _blame_bucket(side, f"the Milvus at {side.milvus.uri} says that it uses the bucket {own}", own)
    elif looks_like_root(side.store, place.folder):
        side.findings.ok(_CHECK, f"{place.place} looks like a Milvus's root path", place.root_field)
    else:
        _tell_likely(side, other)


def _tell_likely(side: Side, other: Side | None) -> None:
    place = side.place
    taken = {other.place.folder} if other is not None else set()
    roots = [] if place.storage.bucket is None else [each for each in find_roots(side.store) if each not in taken]
    message = f"the {place.part} Milvus has no flushed rows, and nothing of a Milvus lies below {place.place} yet"
    if roots:
        hint = f"folders that look like a root path: {', '.join(root or 'the bucket itself' for root in roots[:5])}"
        side.findings.warn(_CHECK, place.root_field, message, hint)
    else:
        hint = "see minio.rootPath in its milvus.yaml"
        hint = f"{hint}; --canary finds out" if place.part == "target" else hint
        side.findings.unknown(_CHECK, place.root_field, message, hint)
