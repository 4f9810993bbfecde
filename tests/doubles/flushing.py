"""Rows on their way to the bucket: growing, sealed by a flush, written; and deletes, which become L0 segments (C.1)."""

from __future__ import annotations

import json
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import schema_pb2

from tests.doubles import binlogs
from tests.doubles.state import (
    FLUSHED,
    GROWING,
    L0,
    SEALED,
    TIMESTAMP,
    Cluster,
    Collection,
    Columns,
    Key,
    Message,
    Refusal,
    Segment,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.doubles.bucket import Bucket
    from tests.doubles.rules import Rules


_TEXT = 25


def _number_hash(number: int) -> int:
    """murmur3 of the eight bytes, without its sign."""
    found = 0
    for part in (number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF):
        mixed = part * 0xCC9E2D51 & 0xFFFFFFFF
        mixed = (mixed << 15 | mixed >> 17) & 0xFFFFFFFF
        found ^= mixed * 0x1B873593 & 0xFFFFFFFF
        found = (found << 13 | found >> 19) & 0xFFFFFFFF
        found = (found * 5 + 0xE6546B64) & 0xFFFFFFFF
    found ^= 8
    found = (found ^ found >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    found = (found ^ found >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return (found ^ found >> 16) & 0x7FFFFFFF


def hash_of(key: Key) -> int:
    """What a key's shard and a partition key's partition go by, as on 2.3.5; of texts the first 100 bytes."""
    return zlib.crc32(key.encode()[:100]) if isinstance(key, str) else _number_hash(key)


def vchannel_of(collection: Collection, key: Key) -> str:
    """The shard of a row."""
    return collection.vchannels[hash_of(key) % collection.shards]


def system_fields() -> list[Message]:
    """Row id and timestamp, which are columns like others in files."""
    return [schema_pb2.FieldSchema(fieldID=number, name=name, data_type=5) for number, name in binlogs.SYSTEM_FIELDS]


# -- files ------------------------------------------------------------------------------------------------------------


def write_segment(cluster: Cluster, rules: Rules, bucket: Bucket, collection: Collection, segment: Segment) -> None:
    """Put its binlogs where D.1 says, and note their log ids."""
    has_text = any(field.data_type == _TEXT for field in collection.fields())
    if has_text and rules.has("text_needs_v3") and not segment.is_l0:
        segment.storage_version = 3
        _write_manifest(cluster, bucket, collection, segment)
    elif segment.is_l0:
        write_deltas(cluster, rules, bucket, collection, segment, segment.deletes)
    elif segment.storage_version == 2:
        fields = [*system_fields(), *collection.fields()]
        for group, members in binlogs.column_groups(fields).items():
            content = binlogs.write_v2(members, segment.columns)
            segment.insert_logs[group] = [_put(cluster, bucket, collection, segment, group, content)]
    else:
        timestamps = segment.columns[TIMESTAMP]
        for field in (*system_fields(), *collection.fields()):
            values = segment.columns[field.fieldID]
            content = binlogs.write_v1(_origin(collection, segment), field, values, timestamps)
            segment.insert_logs[field.fieldID] = [_put(cluster, bucket, collection, segment, field.fieldID, content)]


def _write_manifest(cluster: Cluster, bucket: Bucket, collection: Collection, segment: Segment) -> None:
    """D.2: of format 3 nothing can be read by prefix, so its rows stay in the double's memory."""
    base = _directory(cluster, "insert_log", collection, segment)
    bucket.write(f"{base}/_metadata/manifest-1", json.dumps({"ver": 1, "base_path": base}).encode())


def write_deltas(  # noqa: PLR0917 - as `write_segment`, and what to write
    cluster: Cluster,
    rules: Rules,
    bucket: Bucket,
    collection: Collection,
    segment: Segment,
    deletes: Sequence[tuple[Key, int]],
) -> None:
    """Put one delta log beside a segment, or into an L0 one."""
    content = binlogs.write_deltas(
        _origin(collection, segment),
        deletes,
        plain=rules.has("writes_plain_deltas") and not cluster.settings.uses_v1,
        multi_field=cluster.settings.multi_field_deltas,
    )
    log_id = cluster.clock.next()
    bucket.write(f"{_directory(cluster, 'delta_log', collection, segment)}/{log_id}", content)
    segment.delta_logs.append(log_id)


def _put(  # noqa: PLR0917 - as `write_segment`, and what to write where
    cluster: Cluster, bucket: Bucket, collection: Collection, segment: Segment, directory: int, content: bytes
) -> int:
    log_id = cluster.clock.next()
    bucket.write(f"{_directory(cluster, 'insert_log', collection, segment)}/{directory}/{log_id}", content)
    return log_id


def _directory(cluster: Cluster, kind: str, collection: Collection, segment: Segment) -> str:
    return f"{cluster.root_path}/{kind}/{collection.id}/{segment.partition_id}/{segment.id}"


def files_of(root_path: str, collection: Collection) -> list[str]:
    """The keys of all binlogs of its segments."""
    keys = []
    for segment in collection.segments.values():
        place = f"{collection.id}/{segment.partition_id}/{segment.id}"
        for number, logs in segment.insert_logs.items():
            keys += [f"{root_path}/insert_log/{place}/{number}/{log}" for log in logs]
        keys += [f"{root_path}/delta_log/{place}/{log}" for log in segment.delta_logs]
    return keys


def _origin(collection: Collection, segment: Segment) -> binlogs.Origin:
    return binlogs.Origin(collection.id, segment.partition_id, segment.id)


def leave_orphan(cluster: Cluster, bucket: Bucket, collection: Collection, segment: Segment, field_id: int) -> str:
    """Put a second binlog of a field beside the first, referenced by nothing, as a retried upload does (C.2)."""
    directory = f"{_directory(cluster, 'insert_log', collection, segment)}/{field_id}"
    content = bucket.read(f"{directory}/{segment.insert_logs[field_id][0]}")
    key = f"{directory}/{cluster.clock.next()}"
    bucket.write(key, content)
    return key


# -- growing, sealed, flushed -----------------------------------------------------------------------------------------


@dataclass
class Flushing:
    """What flushes do at once, and what `tick` does a little later."""

    cluster: Cluster
    rules: Rules
    bucket: Bucket

    def insert(self, collection: Collection, partition_id: int, columns: Columns) -> None:
        """Put rows into growing segments, one per vchannel."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, key in enumerate(columns[collection.key_field.fieldID]):
            rows[vchannel_of(collection, key)].append(row)
        for vchannel, found in rows.items():
            segment = self._growing(collection, partition_id, vchannel)
            for number, values in columns.items():
                segment.columns.setdefault(number, []).extend(values[row] for row in found)

    def _growing(self, collection: Collection, partition_id: int, vchannel: str) -> Segment:
        for segment in collection.segments.values():
            if (segment.state, segment.partition_id, segment.vchannel) == (GROWING, partition_id, vchannel):
                return segment
        number = self.cluster.clock.next()
        has_v2 = self.rules.has("writes_v2") and not self.cluster.settings.uses_v1
        segment = Segment(number, partition_id, vchannel, storage_version=2 if has_v2 else 0)
        collection.segments[number] = segment
        return segment

    def require_calm(self, collections: Sequence[Collection]) -> None:
        """B.2: 0.1 flushes per second and collection.

        Raises:
            Refusal: One was flushed less than ten seconds ago.
        """
        interval = self.cluster.settings.flush_interval_s
        for collection in collections:
            if time.time() < collection.flushed_at + interval:
                rate = 1 / interval
                reason = f"request is rejected by grpc RateLimiter middleware: rate limit exceeded[rate={rate:g}]"
                raise Refusal(reason, code=8, legacy=49)

    def seal(self, collection: Collection) -> tuple[list[int], list[int]]:
        """Seal what grows; return the ids of what this sealed, and of what was flushed before."""
        before = [each.id for each in collection.segments.values() if each.state == FLUSHED]
        collection.flushed_at = time.time()
        self._gather_deletes(collection)
        sealed = [each for each in collection.segments.values() if each.state == GROWING]
        for segment in sealed:
            segment.state, segment.sealed_at = SEALED, time.time()
        return [each.id for each in sealed], before

    def _gather_deletes(self, collection: Collection) -> None:
        """C.1: every version from 2.4.0 on makes L0 segments of them."""
        deletes: dict[tuple[int, str], list[tuple[Key, int]]] = defaultdict(list)
        for key, ts, partition_id in collection.pending:
            deletes[partition_id, vchannel_of(collection, key)].append((key, ts))
        collection.pending.clear()
        for (partition_id, vchannel), found in deletes.items():
            number = self.cluster.clock.next()
            collection.segments[number] = Segment(number, partition_id, vchannel, level=L0, deletes=found)

    def is_flushed(self, collection: Collection | None, segment_ids: Sequence[int], flush_ts: int) -> bool:
        """B.2: every listed segment is flushed or gone, and nothing older waits."""
        if collection is None:
            return True
        found = [collection.segments[number] for number in segment_ids if number in collection.segments]
        waits = [each for each in collection.segments.values() if each.state == SEALED]
        is_behind = any(ts <= flush_ts for _, ts, _ in collection.pending) or bool(waits)
        return all(each.state not in {GROWING, SEALED} for each in found) and not is_behind

    def tick(self) -> None:
        """Write the segments that were sealed a while ago."""
        due = time.time() - self.cluster.settings.seal_s
        for collection in list(self.cluster.collections.values()):
            for segment in list(collection.segments.values()):
                if segment.state == SEALED and segment.sealed_at <= due:
                    write_segment(self.cluster, self.rules, self.bucket, collection, segment)
                    segment.state = FLUSHED
