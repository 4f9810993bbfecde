"""Collections that another server wrote below the double's root path, taken over with their ids and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import schema_pb2

from tests.doubles.reading import Bounds, Reader
from tests.doubles.schema import dynamic_field
from tests.doubles.state import FLUSHED, L1, Cluster, Collection, FileEntry, Partition, Segment

if TYPE_CHECKING:
    from collections.abc import Collection as Members
    from collections.abc import Mapping

    from tests.doubles.flushing import Flushing


def adopt(
    cluster: Cluster,
    flushing: Flushing,
    *,
    schema: bytes,
    collection_id: int,
    database: str,
    partitions: Mapping[str, int],
    shards: int,
    segment_ids: Members[int] | None,
) -> Collection:
    """A collection of that schema, which has ids and `$meta`, with the segments found in the bucket.

    Segments that are not among `segment_ids` stay unknown, like those a compaction has dropped; None takes all.
    """
    now = cluster.clock.next()
    parsed = schema_pb2.CollectionSchema.FromString(schema)
    if parsed.enable_dynamic_field and not any(field.is_dynamic for field in parsed.fields):
        parsed.fields.append(dynamic_field(max(field.fieldID for field in parsed.fields) + 1, flushing.rules))
    collection = Collection(
        id=collection_id,
        database=database,
        name=parsed.name,
        schema=parsed,
        shards=shards,
        consistency_level=2,
        properties={},
        created_ts=now,
        updated_ts=now,
        num_partitions=len(partitions),
        partitions={name: Partition(number, name, now) for name, number in partitions.items()},
    )
    for name, number in partitions.items():
        base = f"{cluster.root_path}/insert_log/{collection_id}/{number}/"
        for path in flushing.bucket.list_level(base):
            segment_id = int(path.rstrip("/").rpartition("/")[2])
            if segment_ids is None or segment_id in segment_ids:
                found = _segment(flushing, collection, collection.partitions[name], segment_id)
                collection.segments[segment_id] = found
    cluster.collections[database, collection.name] = collection
    return collection


def _segment(flushing: Flushing, collection: Collection, partition: Partition, segment_id: int) -> Segment:
    place = f"{collection.id}/{partition.id}/{segment_id}/"
    root = flushing.cluster.root_path
    inserts, deltas = f"{root}/insert_log/{place}", f"{root}/delta_log/{place}"
    reader = Reader(flushing.bucket, flushing.rules, collection, "", Bounds())
    columns = reader.segment(FileEntry([inserts]))
    segment = Segment(segment_id, partition.id, collection.vchannels[0], state=FLUSHED, level=L1, columns=columns)
    for key in sorted(flushing.bucket.list_all(inserts)):
        field_id, log_id = map(int, key.removeprefix(inserts).split("/"))
        segment.insert_logs.setdefault(field_id, []).append(log_id)
    for key in sorted(flushing.bucket.list_all(deltas)):
        segment.delta_logs.append(int(key.removeprefix(deltas)))
        for deleted, ts in reader.deletes_of(key):
            segment.killed[deleted] = max(ts, segment.killed.get(deleted, 0))
    return segment
