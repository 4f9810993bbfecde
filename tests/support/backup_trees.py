"""Backups as milvus-backup leaves them, of all ages: made of one that lies in the bench's bucket."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bench import Bench

Plain = dict[str, Any]
_LEVELS = ("backup_meta", "collection_meta", "partition_meta", "segment_meta")
_BARE = {
    "backup": {"name", "collection_backups", "milvus_version"},
    "collection": {
        "collection_id",
        "collection_name",
        "schema",
        "shards_num",
        "consistency_level",
        "partition_backups",
        "index_infos",
        "properties",
    },
    "partition": {"partition_id", "partition_name", "collection_id", "segment_backups"},
    "segment": {"segment_id", "collection_id", "partition_id", "group_id"},
}
"""What milvus-backup's own restore needs, beside `db_name`."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A backup: its meta, and its binlogs by key below `binlogs/`."""

    meta: Plain
    binlogs: dict[str, bytes]
    level_files_only: bool = False

    @classmethod
    def read(cls, bench: Bench, prefix: str) -> Tree:
        """The backup in a folder of the bucket."""
        root = f"{prefix}/binlogs/"
        keys = bench.bucket_keys(root)
        return cls(
            meta=json.loads(bench.read_object(f"{prefix}/meta/full_meta.json")),
            binlogs={key.removeprefix(root): bench.read_object(key) for key in keys},
        )

    def write(self, bench: Bench, prefix: str) -> None:
        """Put it into another folder."""
        name = prefix.rpartition("/")[2]
        for key, content in self.binlogs.items():
            bench.write_object(f"{prefix}/binlogs/{key}", content)
        meta = self.meta | {"name": name}
        files = levels(meta) if self.level_files_only else {**levels(meta), "full_meta": meta}
        for file, entry in files.items():
            bench.write_object(f"{prefix}/meta/{file}.json", json.dumps(entry).encode())

    def with_segments(self, change: Callable[[Plain], None]) -> Tree:
        """With something done to each segment's entry."""
        meta = json.loads(json.dumps(self.meta))
        for collection in meta["collection_backups"]:
            for partition in collection["partition_backups"]:
                for segment in partition["segment_backups"]:
                    change(segment)
        return replace(self, meta=meta)

    def with_deletes_apart(self) -> Tree:
        """With all delta logs of a collection in one L0 segment of all partitions, as Milvus from 2.4 on has them."""
        moved: dict[str, bytes] = {}
        apart: dict[int, list[Plain]] = {}
        for key, content in self.binlogs.items():
            kind, collection, _, *_, log = key.split("/")
            is_delta = kind == "delta_log"
            moved[f"{kind}/{collection}/-1/7/{log}" if is_delta else key] = content
            if is_delta:
                entry = {"log_path": key, "log_size": len(content), "log_id": int(log)}
                apart.setdefault(int(collection), []).append(entry)
        tree = self.with_segments(lambda segment: segment.update(deltalogs=[]))
        for each in tree.meta["collection_backups"]:
            number = each["collection_id"]
            segment = {"segment_id": 7, "collection_id": number, "partition_id": -1, "is_l0": True}
            logs = apart.get(number)
            each["l0_segments"] = [segment | {"deltalogs": [{"binlogs": logs}]}] if logs else []
        return replace(tree, binlogs=moved)

    def without_groups(self) -> Tree:
        """As the first releases laid it out."""
        moved = {}
        for key, content in self.binlogs.items():
            kind, collection, partition, _, *rest = key.split("/")
            moved["/".join([kind, collection, partition, *rest])] = content
        return replace(self.with_segments(lambda segment: segment.pop("group_id")), binlogs=moved)

    def bare(self) -> Tree:
        """Without anything that a restore can do without; `default` is not called by its name."""
        collections = [self._bare_collection(each) for each in self.meta["collection_backups"]]
        return replace(self, meta=_only("backup", self.meta) | {"collection_backups": collections})

    def _bare_collection(self, collection: Plain) -> Plain:
        partitions = [
            _only("partition", each) | {"segment_backups": [_only("segment", s) for s in each["segment_backups"]]}
            for each in collection["partition_backups"]
        ]
        database = {} if collection["db_name"] == "default" else {"db_name": collection["db_name"]}
        return _only("collection", collection) | {"partition_backups": partitions} | database


def _only(level: str, entry: Plain) -> Plain:
    return {key: value for key, value in entry.items() if key in _BARE[level]}


def levels(meta: Plain) -> dict[str, Plain]:
    """The four files that tell the same as `full_meta.json`, level by level."""
    collections = meta["collection_backups"]
    partitions = [each for collection in collections for each in collection["partition_backups"]]
    bare = [{k: v for k, v in partition.items() if k != "segment_backups"} for partition in partitions]
    by_collection = [
        collection | {"partition_backups": [p for p in bare if p["collection_id"] == collection["collection_id"]]}
        for collection in collections
    ]
    head = {k: v for k, v in meta.items() if k not in {"collection_backups", "database_backups"}}
    segments = [segment for partition in partitions for segment in partition["segment_backups"]]
    found = (head, {"infos": by_collection}, {"infos": bare}, {"infos": segments})
    return dict(zip(_LEVELS, found, strict=True))
