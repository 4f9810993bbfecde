"""Backups as milvus-backup's releases write them, taken from a running server and its bucket without this program.

`take` asks the server what that tool asks, `head` writes what the newest release writes, and every other generation is
what the format's history says that it lacked. Binlogs are copied file by file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.lab import Instance
    from tests.support.bench import Bench

Plain = dict[str, Any]
_ALWAYS = {"size", "has_index", "log_size", "state_code"}
"""What Go writes even where it is zero."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A backup: the whole tree of its meta, and its files by key below the backup's folder."""

    meta: Plain
    binlogs: dict[str, bytes]
    has_full_meta: bool = True
    has_level_files: bool = True
    more: dict[str, bytes] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Every file by its key below the backup's folder."""
        found = {f"binlogs/{key}": data for key, data in self.binlogs.items()} | self.more
        if self.has_level_files:
            found |= {f"meta/{name}.json": _go(entry) for name, entry in _levels(self.meta).items()}
        return found | ({"meta/full_meta.json": _go(self.meta)} if self.has_full_meta else {})

    def only(self, *names: str) -> Foreign:
        """With these collections and no others."""
        kept = [c for c in self.meta["collection_backups"] if c["collection_name"] in names]
        ids = {str(c["collection_id"]) for c in kept}
        binlogs = {key: data for key, data in self.binlogs.items() if key.split("/")[1] in ids}
        return replace(self, meta=self.meta | {"collection_backups": kept}, binlogs=binlogs)

    def changed(self, **changes: Callable[[Plain], Plain]) -> Foreign:
        """With another backup, collection, partition, segment or index entry, by what it is called."""

        def same(entry: Plain) -> Plain:
            return entry

        def change(what: str, entry: Plain) -> Plain:
            return changes.get(what, same)(entry)

        def partition(entry: Plain) -> Plain:
            segments = [change("segment", dict(segment)) for segment in entry.get("segment_backups", [])]
            return change("partition", entry | {"segment_backups": segments})

        def collection(entry: Plain) -> Plain:
            inner = {
                "partition_backups": [partition(each) for each in entry["partition_backups"]],
                "index_infos": [change("index", dict(each)) for each in entry.get("index_infos", [])],
            }
            return change("collection", entry | inner)

        collections = [collection(each) for each in self.meta["collection_backups"]]
        return replace(self, meta=change("backup", self.meta | {"collection_backups": collections}))

    def without_groups(self) -> Foreign:
        """As releases laid the files out that knew no group."""
        moved = {}
        for key, data in self.binlogs.items():
            kind, collection, partition, _, *rest = key.split("/")
            moved["/".join([kind, collection, partition, *rest])] = data
        return replace(self.changed(segment=lambda segment: _without(segment, "group_id")), binlogs=moved)


def first_release(found: Foreign) -> Foreign:
    """Level files alone, no group, no name for the default database, and little beside what a restore needs."""
    kept = {
        "collection": {"id", "collection_id", "db_name", "collection_name", "schema", "shards_num", "consistency_level"}
        | {"partition_backups", "backup_timestamp", "size", "has_index", "index_infos", "load_state"},
        "segment": {"segment_id", "collection_id", "partition_id", "num_of_rows", "binlogs", "deltalogs", "size"},
        "backup": {"id", "state_code", "name", "backup_timestamp", "size", "collection_backups"},
    }

    def pick(what: str) -> Callable[[Plain], Plain]:
        def picked(entry: Plain) -> Plain:
            entry = {key: value for key, value in entry.items() if key in kept[what]}
            return _without(entry, "db_name") if entry.get("db_name") == "default" else entry

        return picked

    bare = found.without_groups().changed(**{what: pick(what) for what in kept})
    return replace(bare, has_full_meta=False, meta=bare.meta | {"state_code": 2})


def take(bench: Bench, instance: Instance, *collections: str) -> Foreign:
    """What the newest milvus-backup makes of collections, each `[database.]name`, which are flushed for it."""
    entries: list[Plain] = []
    binlogs: dict[str, bytes] = {}
    for name in collections:
        database, _, own = name.rpartition(".")
        entry = _describe(instance, database or "default", own)
        entries.append(entry)
        for partition in entry["partition_backups"]:
            for segment in partition["segment_backups"]:
                binlogs |= _take_files(bench, instance.root_path, segment)
            partition["size"] = sum(segment["size"] for segment in partition["segment_backups"])
        entry["size"] = sum(partition["size"] for partition in entry["partition_backups"])
    databases = sorted({entry["db_name"] for entry in entries})
    meta = {
        "id": "7f1c2f2e-9d0a-11f0-8de9-0242ac120002",
        "state_code": 0,
        "name": "foreign",
        "collection_backups": entries,
        "size": sum(entry["size"] for entry in entries),
        "milvus_version": "v2.3.5",
        "database_backups": [{"db_name": database, "db_id": number} for number, database in enumerate(databases, 1)],
    }
    return Foreign(meta, binlogs)


def _describe(instance: Instance, database: str, name: str) -> Plain:
    from pymilvus.grpc_gen import milvus_pb2 as pb  # noqa: PLC0415 - slow to import

    with connected(instance.uri, database) as client:
        client.flush(name)
        stub = client._get_connection()._stub
        told = stub.DescribeCollection(pb.DescribeCollectionRequest(db_name=database, collection_name=name))
        parts = stub.ShowPartitions(pb.ShowPartitionsRequest(db_name=database, collection_name=name))
        request = pb.GetPersistentSegmentInfoRequest(dbName=database, collectionName=name)
        segments = stub.GetPersistentSegmentInfo(request).infos
        indexes = stub.DescribeIndex(pb.DescribeIndexRequest(db_name=database, collection_name=name))
        state = stub.GetLoadState(pb.GetLoadStateRequest(db_name=database, collection_name=name)).state
    vchannel = told.virtual_channel_names[0]
    partitions = [
        {
            "partition_id": number,
            "partition_name": partition,
            "collection_id": told.collectionID,
            "segment_backups": [
                {
                    "segment_id": each.segmentID,
                    "collection_id": told.collectionID,
                    "partition_id": number,
                    "num_of_rows": each.num_rows,
                    "group_id": each.segmentID,
                    "v_channel": vchannel,
                }
                for each in segments
                if each.partitionID == number and each.num_rows
            ],
            "load_state": "NotLoad",  # it asks for a collection of that name, and there is none
        }
        for number, partition in zip(parts.partitionIDs, parts.partition_names, strict=True)
    ]
    return {
        "id": "7f1c2f2e-9d0a-11f0-8de9-0242ac120002",
        "collection_id": told.collectionID,
        "db_name": database,
        "collection_name": name,
        "schema": _schema(told),
        "shards_num": told.shards_num,
        "consistency_level": int(told.consistency_level),
        "partition_backups": partitions,
        "backup_timestamp": told.created_timestamp,
        "has_index": bool(indexes.index_descriptions),
        "index_infos": [_index(each) for each in indexes.index_descriptions],
        "load_state": {1: "NotLoad", 2: "Loading", 3: "Loaded"}[state],
        "backup_physical_timestamp": (told.created_timestamp >> 18) // 1000,
        "channel_checkpoints": {vchannel: "CgR0ZXN0"},
        "properties": [{"key": each.key, "value": each.value} for each in told.properties],
        "db_id": 1,
        "created_timestamp": told.created_timestamp,
        "virtual_channel_names": list(told.virtual_channel_names),
        "physical_channel_names": list(told.physical_channel_names),
        "aliases": list(told.aliases),
    }


def _schema(told: Any) -> Plain:  # noqa: ANN401 - a message
    fields = [
        {
            "fieldID": each.fieldID,
            "name": each.name,
            "is_primary_key": each.is_primary_key,
            "description": each.description,
            "data_type": int(each.data_type),
            "type_params": [{"key": pair.key, "value": pair.value} for pair in each.type_params],
            "autoID": each.autoID,
            "element_type": int(each.element_type),
            "is_partition_key": each.is_partition_key,
        }
        for each in told.schema.fields
    ]
    return {
        "name": told.schema.name,
        "description": told.schema.description,
        "autoID": told.schema.autoID,
        "fields": fields,
        "enable_dynamic_field": told.schema.enable_dynamic_field,
    }


def _index(told: Any) -> Plain:  # noqa: ANN401 - a message
    params = {pair.key: pair.value for pair in told.params}
    return {
        "field_name": told.field_name,
        "index_name": told.index_name,
        "index_type": params.get("index_type", ""),
        "params": params,
        "index_id": told.indexID,
    }


def _take_files(bench: Bench, root: str, segment: Plain) -> dict[str, bytes]:
    """Copy a segment's files, and put them into its entry."""
    place = f"{segment['collection_id']}/{segment['partition_id']}"
    grouped = f"{place}/{segment['segment_id']}"
    found: dict[str, bytes] = {}
    fields: dict[int, list[Plain]] = {}
    deltas: list[Plain] = []
    for kind in ("insert_log", "delta_log"):
        source = f"{root}/{kind}/{place}/{segment['segment_id']}/"
        for key in sorted(bench.bucket_keys(source)):
            data, tail = bench.read_object(key), key.removeprefix(source)
            found[f"{kind}/{grouped}/{segment['segment_id']}/{tail}"] = data
            entry = {"log_path": key, "log_size": len(data), "log_id": int(tail.rpartition("/")[2])}
            if kind == "delta_log":
                deltas.append(entry)
            else:
                fields.setdefault(int(tail.partition("/")[0]), []).append(entry)
    segment["binlogs"] = [{"fieldID": number, "binlogs": logs} for number, logs in sorted(fields.items())]
    segment["deltalogs"] = [{"binlogs": deltas}]
    segment["size"] = sum(map(len, found.values()))
    return found


def _levels(meta: Plain) -> dict[str, Plain]:
    collections = meta["collection_backups"]
    partitions = [_without(part, "segment_backups") for each in collections for part in each["partition_backups"]]
    segments = [s for each in collections for part in each["partition_backups"] for s in part["segment_backups"]]
    bare = [
        _without(each, "l0_segments")
        | {"partition_backups": [_without(part, "segment_backups") for part in each["partition_backups"]]}
        for each in collections
    ]
    head = {"id", "state_code", "name", "format", "backup_timestamp", "size", "milvus_version"}
    return {
        "backup_meta": {key: value for key, value in meta.items() if key in head},
        "collection_meta": {"infos": bare},
        "partition_meta": {"infos": partitions},
        "segment_meta": {"infos": segments},
    }


def _without(entry: Plain, *names: str) -> Plain:
    return {key: value for key, value in entry.items() if key not in names}


def _go(entry: Plain) -> bytes:
    """JSON without what is zero."""

    def told(value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return {key: told(each) for key, each in value.items() if each not in (0, "", [], {}) or key in _ALWAYS}
        return [told(each) for each in value] if isinstance(value, list) else value

    return json.dumps(told(entry), ensure_ascii=False, separators=(",", ":")).encode()
