"""A backup as milvus-backup reads it: its list, and what its restore would send, by rules of the format alone.

Go's decoder takes a number for a number and a text for a text, and this reader refuses whatever that one would.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Plain = dict[str, Any]
_I, _S, _B = int, str, bool
_KV = [{"key": _S, "value": _S}]
_LOGS = [{"fieldID": _I, "binlogs": [{"log_path": _S, "log_size": _I, "log_id": _I}]}]
_FIELD: Plain = {
    **dict.fromkeys(("fieldID", "data_type", "state", "element_type"), _I),
    **dict.fromkeys(("name", "description", "default_value_base64"), _S),
    **dict.fromkeys(("is_primary_key", "autoID", "is_dynamic", "is_partition_key", "is_clustering_key"), _B),
    **dict.fromkeys(("nullable", "is_function_output"), _B),
    "type_params": _KV,
    "index_params": _KV,
}
_SCHEMA = {
    "name": _S,
    "description": _S,
    "autoID": _B,
    "fields": [_FIELD],
    "enable_dynamic_field": _B,
    "properties": _KV,
}
_SEGMENT: Plain = {
    **dict.fromkeys(("segment_id", "collection_id", "partition_id", "num_of_rows", "size", "group_id"), _I),
    "storage_version": _I,
    "is_l0": _B,
    "v_channel": _S,
    "binlogs": _LOGS,
    "deltalogs": _LOGS,
}
_PARTITION: Plain = {
    **dict.fromkeys(("partition_id", "collection_id", "size"), _I),
    "partition_name": _S,
    "load_state": _S,
    "segment_backups": [_SEGMENT],
}
_INDEX = {"field_name": _S, "index_name": _S, "index_type": _S, "params": {"*": _S}, "index_id": _I}
_COLLECTION: Plain = {
    "l0_segments": [_SEGMENT],
    **dict.fromkeys(("collection_id", "shards_num", "consistency_level", "backup_timestamp", "size"), _I),
    **dict.fromkeys(("backup_physical_timestamp", "db_id", "created_timestamp"), _I),
    **dict.fromkeys(("id", "db_name", "collection_name", "load_state"), _S),
    "schema": _SCHEMA,
    "partition_backups": [_PARTITION],
    "has_index": _B,
    "index_infos": [_INDEX],
    "properties": _KV,
    "aliases": [_S],
    "virtual_channel_names": [_S],
    "physical_channel_names": [_S],
}
_BACKUP: Plain = {
    **dict.fromkeys(("state_code", "backup_timestamp", "size"), _I),
    **dict.fromkeys(("id", "name", "milvus_version", "format"), _S),
    "collection_backups": [_COLLECTION],
    "database_backups": [{"db_name": _S, "db_id": _I, "properties": _KV}],
}
_FILES: Plain = {
    "backup_meta": _BACKUP,
    "collection_meta": {"infos": [_COLLECTION]},
    "partition_meta": {"infos": [_PARTITION]},
    "segment_meta": {"infos": [_SEGMENT]},
    "full_meta": _BACKUP,
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LOAD_STATES = {"NotLoad", "Loading", "Loaded"}


@dataclass(frozen=True, slots=True)
class Listed:
    """What its restore would import: by collection and partition, a pair of folders for each group."""

    collections: dict[str, Plain]
    imports: dict[tuple[str, str], list[tuple[str, str]]]


def read_as_go(files: Mapping[str, bytes]) -> Listed:
    """The backup whose files these are, by key below its folder; every departure from the format fails."""
    metas = {name: json.loads(files[f"meta/{name}.json"]) for name in _FILES}
    assert {key for key in files if not key.startswith("binlogs/")} == {f"meta/{name}.json" for name in _FILES}
    for name, form in _FILES.items():
        _check(metas[name], form, name)
        assert not set(b"<>&") & set(files[f"meta/{name}.json"]), f"{name}: Go escapes these"
    full = metas["full_meta"]
    assert _NAME.fullmatch(full["name"])
    _check_levels(metas, full)
    imports: dict[tuple[str, str], list[tuple[str, str]]] = {}
    named: set[str] = set()
    for collection in full["collection_backups"]:
        _check_collection(collection)
        database = collection["db_name"] or "default"
        for partition in collection["partition_backups"]:
            own = [_folders(segment, files, named) for segment in partition.get("segment_backups", [])]
            imports[f"{database}.{collection['collection_name']}", partition["partition_name"]] = own
        for segment in collection.get("l0_segments", []):
            _folders(segment, files, named)
    assert {key for key in files if key.startswith("binlogs/")} == named
    by_name = {f"{each['db_name']}.{each['collection_name']}": each for each in full["collection_backups"]}
    return Listed(by_name, imports)


def _check(value: Any, form: Any, place: str) -> None:  # noqa: ANN401 - JSON
    if isinstance(form, type):
        assert type(value) is form, f"{place} is {value!r}"
        assert not isinstance(value, int) or -(2**63) <= value < 2**64, place
    elif isinstance(form, list):
        assert isinstance(value, list), place
        for each in value:
            _check(each, form[0], place)
    else:
        assert isinstance(value, dict), place
        for key, each in value.items():
            assert key in form or "*" in form, f"{place}.{key} is no member"
            _check(each, form.get(key, form.get("*")), f"{place}.{key}")


def _check_levels(metas: Plain, full: Plain) -> None:
    """Joined by ids, the four files are the tree again."""
    head = {"id", "state_code", "name", "format", "backup_timestamp", "size", "milvus_version"}
    assert metas["backup_meta"] == {key: value for key, value in full.items() if key in head}
    segments, partitions = metas["segment_meta"]["infos"], metas["partition_meta"]["infos"]
    joined = []
    for collection in metas["collection_meta"]["infos"]:
        own = [each for each in partitions if each["collection_id"] == collection["collection_id"]]
        assert collection["partition_backups"] == own
        filled = [
            each
            | {
                "segment_backups": [
                    segment
                    for segment in segments
                    if (segment["collection_id"], segment["partition_id"])
                    == (each["collection_id"], each["partition_id"])
                ]
            }
            for each in own
        ]
        joined.append(collection | {"partition_backups": filled})
    assert joined == [
        {key: value for key, value in each.items() if key != "l0_segments"} for each in full["collection_backups"]
    ]


def _check_collection(entry: Plain) -> None:
    schema, partitions = entry["schema"], entry["partition_backups"]
    assert entry["collection_name"] == schema["name"]
    assert entry["has_index"] == bool(entry.get("index_infos"))
    assert {entry["load_state"], *(each["load_state"] for each in partitions)} <= _LOAD_STATES
    assert entry["backup_physical_timestamp"] == (entry["backup_timestamp"] >> 18) // 1000
    assert all(each["fieldID"] >= 100 and each["data_type"] for each in schema["fields"])
    assert [each for each in schema["fields"] if each.get("is_primary_key")]
    for field in schema["fields"]:
        base64.b64decode(field.get("default_value_base64", ""), validate=True)
    assert schema.get("properties", []) == entry.get("properties", []), "servers up to 2.5.17 fill only one of them"
    for partition in partitions:
        assert partition["size"] == sum(each["size"] for each in partition.get("segment_backups", []))
    assert entry["size"] == sum(each["size"] for each in (*partitions, *entry.get("l0_segments", [])))


def _folders(segment: Plain, files: Mapping[str, bytes], named: set[str]) -> tuple[str, str]:
    """What one request of a restore names: both folders, the second one where there is anything in it.

    Of an L0 segment it names the second folder alone; one of all partitions has no group.
    """
    is_of_all = segment["partition_id"] == -1
    group = f"{segment['collection_id']}/{segment['partition_id']}/" + ("" if is_of_all else f"{segment['group_id']}/")
    assert not (is_of_all and segment.get("group_id"))
    own = f"{group}{segment['segment_id']}/"
    sizes = {}
    for logs in segment.get("binlogs", []):
        for log in logs["binlogs"]:
            sizes[f"binlogs/insert_log/{own}{logs.get('fieldID', 0)}/{log['log_id']}"] = log["log_size"]
    for logs in segment["deltalogs"]:
        for log in logs.get("binlogs", []):
            sizes[f"binlogs/delta_log/{own}{log['log_id']}"] = log["log_size"]
    assert sizes == {key: len(files[key]) for key in sizes}
    assert segment["size"] == sum(sizes.values())
    named.update(sizes)
    if segment.get("is_l0"):
        assert sizes, "an L0 segment without deletes"
        return "", f"binlogs/delta_log/{group}"
    counts = {logs.get("fieldID", 0): len(logs["binlogs"]) for logs in segment["binlogs"]}
    assert {0, 1} <= counts.keys()
    assert len(set(counts.values())) == 1
    assert segment["num_of_rows"] > 0
    insert, delta = f"binlogs/insert_log/{group}", f"binlogs/delta_log/{group}"
    return insert, delta if any(key.startswith(delta) for key in files) else ""
