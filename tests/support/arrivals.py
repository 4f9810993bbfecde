"""Whether a migration brought everything, once: rows key by key, all else as an outsider sees it, and the dump."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.portraits import connected, portray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.bench import Bench

META = {f"meta/{name}_meta.json" for name in ("backup", "collection", "partition", "segment", "full")}


@dataclass(frozen=True, slots=True)
class Pair:
    """A source collection and where it goes; names are those in `database` and `target_database`."""

    source: str
    target: str
    database: str = "default"
    target_database: str = "default"


def assert_arrived(bench: Bench, pairs: Sequence[Pair]) -> None:
    """Every collection is there as it is at the source: no row lost, none twice."""
    with ThreadPoolExecutor(4) as pool:
        left = list(pool.map(lambda pair: portray(bench.a.uri, pair.source, pair.database), pairs))
        right = list(pool.map(lambda pair: portray(bench.b.uri, pair.target, pair.target_database), pairs))
    for pair, ours, theirs in zip(pairs, left, right, strict=True):
        assert ours.count == len(ours.rows), pair
        assert theirs.count == ours.count, pair
        assert theirs.rows == ours.rows, pair
        assert theirs.partitions == ours.partitions, pair
        assert theirs.indexes == ours.indexes, pair
        assert theirs.is_loaded is ours.is_loaded, pair
        assert theirs.description == ours.description, pair


def assert_dumped(bench: Bench, backup_name: str, pairs: Sequence[Pair]) -> None:
    """The dump holds the binlogs of these collections and the five meta files, and no other object.

    Nothing compacts at the bench, so that every binlog of the source is a live one.
    """
    prefix = f"backup/{backup_name}/"
    found = bench.bucket_keys(prefix)
    wanted = {
        _staged_key(prefix, key): stored.size_bytes
        for pair in pairs
        for kind in ("insert_log", "delta_log")
        for key, stored in bench.bucket_keys(f"files_A/{kind}/{_collection_id(bench, pair)}/").items()
    }
    assert {key: stored.size_bytes for key, stored in found.items() if "/binlogs/" in key} == wanted
    assert {key.removeprefix(prefix) for key in found if "/binlogs/" not in key} == META
    assert dump_lists(bench, backup_name) == sorted(pair.source for pair in pairs)


def dump_lists(bench: Bench, backup_name: str) -> list[str]:
    """The collections that `full_meta.json` lists."""
    full = json.loads(bench.read_object(f"backup/{backup_name}/meta/full_meta.json"))
    return sorted(entry["collection_name"] for entry in full["collection_backups"])


def target_names(bench: Bench, beginning: str) -> list[str]:
    """The collections of the target's default database whose names begin so."""
    with connected(bench.b.uri) as client:
        return sorted(name for name in client.list_collections() if name.startswith(beginning))


def _collection_id(bench: Bench, pair: Pair) -> int:
    with connected(bench.a.uri, pair.database) as client:
        return int(client.describe_collection(pair.source)["collection_id"])


def _staged_key(prefix: str, key: str) -> str:
    _, kind, collection, partition, segment, *rest = key.split("/")
    return f"{prefix}binlogs/" + "/".join((kind, collection, partition, segment, segment, *rest))
