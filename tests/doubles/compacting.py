"""What goes on behind a server's back: compaction (C.4) and garbage collection (C.3), when a test says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.doubles.flushing import Flushing, files_of, write_deltas, write_segment
from tests.doubles.state import ALL_PARTITIONS, DROPPED, FLUSHED, TIMESTAMP, Segment

if TYPE_CHECKING:
    from tests.doubles.state import Collection

_KINDS = ("insert_log", "delta_log", "stats_log")


def compact_l0(flushing: Flushing, collection: Collection) -> None:
    """Delta logs beside the segments that an L0 segment reaches, and that is gone."""
    for l0 in [each for each in collection.segments.values() if each.is_l0 and each.state == FLUSHED]:
        for segment in list(collection.segments.values()):
            same = segment.vchannel == l0.vchannel and l0.partition_id in {ALL_PARTITIONS, segment.partition_id}
            if segment.is_l0 or segment.state != FLUSHED or not same:
                continue
            keys = set(segment.columns[collection.key_field.fieldID])
            if found := [(key, ts) for key, ts in l0.deletes if key in keys]:
                write_deltas(flushing.cluster, flushing.rules, flushing.bucket, collection, segment, found)
        l0.state = DROPPED


def compact(flushing: Flushing, collection: Collection) -> None:
    """Every segment under a new id, without the rows that its deletes have reached; the old one's files stay."""
    for old in [each for each in collection.segments.values() if not each.is_l0 and each.state == FLUSHED]:
        keys, times = old.columns[collection.key_field.fieldID], old.columns[TIMESTAMP]
        reached = collection.deletes.get(old.partition_id, {}) if old.delta_logs else {}
        everywhere = collection.deletes.get(ALL_PARTITIONS, {}) if old.delta_logs else {}
        rows = [
            row
            for row, key in enumerate(keys)
            if max(old.killed.get(key, 0), reached.get(key, 0), everywhere.get(key, 0)) <= (old.commit_ts or times[row])
        ]
        new = Segment(
            id=flushing.cluster.clock.next(),
            partition_id=old.partition_id,
            vchannel=old.vchannel,
            state=FLUSHED,
            storage_version=old.storage_version,
            is_sorted=flushing.rules.has("tells_sorted"),
            commit_ts=old.commit_ts,
            columns={number: [column[row] for row in rows] for number, column in old.columns.items()},
        )
        write_segment(flushing.cluster, flushing.rules, flushing.bucket, collection, new)
        collection.segments[new.id] = new
        old.state = DROPPED
        flushing.cluster.compactions.append((collection.id, [old.id], new.id))


def collect_garbage(flushing: Flushing) -> list[str]:
    """Remove what no segment refers to, foreign files among it, unless that is paused; return the keys."""
    cluster = flushing.cluster
    if time.time() < cluster.gc_paused_until:
        return []
    kept = set[str]()
    for collection in cluster.collections.values():
        dropped = [each.id for each in collection.segments.values() if each.state == DROPPED]
        for number in dropped:
            del collection.segments[number]
    for collection in (*cluster.collections.values(), *(each.collection for each in cluster.snapshots.values())):
        kept.update(files_of(cluster.root_path, collection))  # G.3: a snapshot protects its files
    gone = []
    for kind in _KINDS:
        for key in flushing.bucket.list_all(f"{cluster.root_path}/{kind}/"):
            if key not in kept:
                flushing.bucket.delete(key)
                gone.append(key)
    return gone
