"""The messages of milvus-backup's meta files, read leniently and written the way that tool writes them.

That tool uses Go's `encoding/json`: what is zero is left out, but for a few members; unknown keys are ignored, names
match in any case. Here unknown keys are kept, and written after the known ones. 64-bit numbers are accepted as text.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from migrator.errors import BackupUnreadable
from migrator.model.segment import ALL_PARTITIONS

Plain = dict[str, Any]

BACKUP_META = "backup_meta.json"
COLLECTION_META = "collection_meta.json"
PARTITION_META = "partition_meta.json"
SEGMENT_META = "segment_meta.json"
FULL_META = "full_meta.json"
LEVEL_FILES = (BACKUP_META, COLLECTION_META, PARTITION_META, SEGMENT_META)
SNAPSHOT = "snapshot"
"""`BackupInfo.format` of what holds snapshots instead of binlogs."""

_GO_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def encode(value: object) -> str:
    """JSON as Go prints it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escaped in _GO_ESCAPES.items():
        text = text.replace(character, escaped)
    return text


class Message(BaseModel):
    """A message; members stand in the order in which they are written."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
    always_there: ClassVar[frozenset[str]] = frozenset()
    """Members that are written even where they are zero."""

    @model_validator(mode="before")
    @classmethod
    def _as_go_reads(cls, data: object) -> object:
        """Names in any case, and null for what is not there."""
        if not isinstance(data, dict):
            return data
        known = _known(cls)
        return {known.get(str(key).lower(), key): value for key, value in data.items() if value is not None}

    def plain(self) -> Plain:
        """The message as JSON data, without its zero values."""
        members = {key: _plain(getattr(self, name)) for name, key in _keys(type(self))}
        there = {key: value for key, value in members.items() if key in self.always_there or not _is_zero(value)}
        return there | (self.model_extra or {})


@cache
def _keys(kind: type[Message]) -> tuple[tuple[str, str], ...]:
    """Its members, and what they are called in JSON: asked for each file of a backup."""
    return tuple((name, info.alias or name) for name, info in kind.model_fields.items())


@cache
def _known(kind: type[Message]) -> dict[str, str]:
    """What they are called, by that in lower case."""
    return {key.lower(): key for _, key in _keys(kind)}


def _plain(value: object) -> object:
    if isinstance(value, Message):
        return value.plain()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _is_zero(value: object) -> bool:
    return value is None or value in (0, False, "", [], {})


class Pair(Message):
    """A key and its value."""

    key: str = ""
    value: str = ""


class BinlogEntry(Message):
    """One file; `log_path` is its key at the source."""

    always_there = frozenset({"log_size"})
    log_path: str = ""
    log_size: int = 0
    log_id: int = 0
    entries_num: int = 0
    timestamp_from: int = 0
    timestamp_to: int = 0


class FieldBinlog(Message):
    """The files of one field, or all delta logs."""

    fieldID: int = 0  # noqa: N815 - the format's name
    binlogs: tuple[BinlogEntry, ...] = ()


class SegmentBackup(Message):
    """A segment; `group_id` 0 for a whole partition is the layout without groups."""

    always_there = frozenset({"size"})
    segment_id: int = 0
    collection_id: int = 0
    partition_id: int = 0
    num_of_rows: int = 0
    binlogs: tuple[FieldBinlog, ...] = ()
    statslogs: tuple[FieldBinlog, ...] = ()
    deltalogs: tuple[FieldBinlog, ...] = ()
    size: int = 0
    group_id: int = 0
    backuped: bool = False
    is_l0: bool = False
    v_channel: str = ""
    storage_version: int = 0


class PartitionBackup(Message):
    """A partition; in the level files without its segments."""

    always_there = frozenset({"size"})
    partition_id: int = 0
    partition_name: str = ""
    collection_id: int = 0
    segment_backups: tuple[SegmentBackup, ...] = ()
    size: int = 0
    load_state: str = ""


class IndexInfo(Message):
    """An index; what stands behind `index_id` comes from etcd, and is mostly not there."""

    field_name: str = ""
    index_name: str = ""
    index_type: str = ""
    params: dict[str, str] = {}
    index_id: int = 0
    field_id: int = 0
    create_time: int = 0
    type_params: tuple[Pair, ...] = ()
    index_params: tuple[Pair, ...] = ()
    user_index_params: tuple[Pair, ...] = ()
    is_auto_index: bool = False
    min_index_version: int = 0
    max_index_version: int = 0

    @field_validator("params", mode="before")
    @classmethod
    def _as_map(cls, value: object) -> object:
        """Pairs are a map in another form; what is no text becomes the text that servers tell."""
        if isinstance(value, list) and all(isinstance(pair, dict) and "key" in pair for pair in value):
            value = {pair["key"]: pair.get("value", "") for pair in value}
        if not isinstance(value, dict):
            return value
        return {key: inner if isinstance(inner, str) else encode(inner) for key, inner in value.items()}


class FieldInfo(Message):
    """A field. `default_value_proto` is the older, lossy form of `default_value_base64`."""

    fieldID: int = 0  # noqa: N815 - the format's name
    name: str = ""
    is_primary_key: bool = False
    description: str = ""
    data_type: int = 0
    type_params: tuple[Pair, ...] = ()
    index_params: tuple[Pair, ...] = ()
    autoID: bool = False  # noqa: N815 - the format's name
    state: int = 0
    element_type: int = 0
    default_value: Plain = {}
    is_dynamic: bool = False
    is_partition_key: bool = False
    is_clustering_key: bool = False
    nullable: bool = False
    default_value_proto: str = ""
    is_function_output: bool = False
    default_value_base64: str = ""


class FunctionInfo(Message):
    """A function of the schema, such as BM25."""

    name: str = ""
    id: int = 0
    description: str = ""
    type: int = 0
    input_field_names: tuple[str, ...] = ()
    input_field_ids: tuple[int, ...] = ()
    output_field_names: tuple[str, ...] = ()
    output_field_ids: tuple[int, ...] = ()
    params: tuple[Pair, ...] = ()


class StructArrayInfo(Message):
    """A field that is an array of structs; milvus-backup's own has neither `nullable` nor `type_params`."""

    fieldID: int = 0  # noqa: N815 - the format's name
    name: str = ""
    description: str = ""
    fields: tuple[FieldInfo, ...] = ()
    nullable: bool = False
    type_params: tuple[Pair, ...] = ()


class SchemaInfo(Message):
    """A collection's schema."""

    name: str = ""
    description: str = ""
    autoID: bool = False  # noqa: N815 - the format's name
    fields: tuple[FieldInfo, ...] = ()
    enable_dynamic_field: bool = False
    properties: tuple[Pair, ...] = ()
    functions: tuple[FunctionInfo, ...] = ()
    struct_array_fields: tuple[StructArrayInfo, ...] = ()


class SnapshotBackup(Message):
    """What stands for the segments in snapshot format."""

    metadata_path: str = ""
    total_files: int = 0
    total_bytes: int = 0


class CollectionBackup(Message):
    """A collection. `backup_timestamp` is hybrid, `backup_physical_timestamp` Unix seconds."""

    always_there = frozenset({"size", "has_index"})
    id: str = ""
    collection_id: int = 0
    db_name: str = ""
    collection_name: str = ""
    schema_: SchemaInfo = Field(SchemaInfo(), alias="schema")
    shards_num: int = 0
    consistency_level: int = 0
    partition_backups: tuple[PartitionBackup, ...] = ()
    backup_timestamp: int = 0
    size: int = 0
    has_index: bool = False
    index_infos: tuple[IndexInfo, ...] = ()
    load_state: str = ""
    backup_physical_timestamp: int = 0
    channel_checkpoints: dict[str, str] = {}
    l0_segments: tuple[SegmentBackup, ...] = ()
    properties: tuple[Pair, ...] = ()
    db_id: int = 0
    created_timestamp: int = 0
    virtual_channel_names: tuple[str, ...] = ()
    physical_channel_names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    snapshot_backup: SnapshotBackup = SnapshotBackup()

    @property
    def segments(self) -> tuple[SegmentBackup, ...]:
        """Those of all partitions, each once, with the ids that their partition has."""
        found: dict[tuple[int, int], SegmentBackup] = {}
        for partition in self.partition_backups:
            for segment in partition.segment_backups:
                own = segment.partition_id or partition.partition_id
                whole = segment if segment.partition_id else segment.model_copy(update={"partition_id": own})
                found.setdefault((own, segment.segment_id), whole)
        return tuple(found.values())

    @property
    def deletes_of_all(self) -> tuple[SegmentBackup, ...]:
        """L0 segments that are told beside the partitions: those whose deletes are of all of them."""
        return tuple(
            segment.model_copy(update={"partition_id": segment.partition_id or ALL_PARTITIONS, "is_l0": True})
            for segment in self.l0_segments
        )


class DatabaseBackup(Message):
    """A database with its properties."""

    db_name: str = ""
    db_id: int = 0
    properties: tuple[Pair, ...] = ()
    ezk: str = ""


class Named(Message):
    """A role, a privilege, or a type of object, by its name."""

    name: str = ""


class UserInfo(Message):
    """A user with its roles; `password` is a hash, and a secret all the same."""

    user: str = ""
    password: str = Field("", repr=False)
    roles: tuple[Named, ...] = ()


class GrantorInfo(Message):
    """What was granted, and by whom."""

    user: Named = Named()
    privilege: Named = Named()


class GrantInfo(Message):
    """A privilege of a role."""

    role: Named = Named()
    object: Named = Named()
    object_name: str = ""
    grantor: GrantorInfo = GrantorInfo()
    db_name: str = ""


class PrivilegeGroupInfo(Message):
    """Privileges under one name."""

    group_name: str = ""
    privileges: tuple[Named, ...] = ()


class RbacMeta(Message):
    """Users, roles, grants and privilege groups, as Milvus's BackupRBAC gives them."""

    users: tuple[UserInfo, ...] = ()
    roles: tuple[Named, ...] = ()
    grants: tuple[GrantInfo, ...] = ()
    privilege_groups: tuple[PrivilegeGroupInfo, ...] = ()

    @property
    def is_told(self) -> bool:
        """Whether anything is recorded."""
        return bool(self.users or self.roles or self.grants or self.privilege_groups)


class BackupInfo(Message):
    """A backup; in `backup_meta.json` without what it holds."""

    always_there = frozenset({"state_code", "size"})
    id: str = ""
    state_code: int = 0
    name: str = ""
    backup_timestamp: int = 0
    collection_backups: tuple[CollectionBackup, ...] = ()
    size: int = 0
    milvus_version: str = ""
    rbac_meta: RbacMeta = RbacMeta()
    rpc_channel_info: Plain = {}
    database_backups: tuple[DatabaseBackup, ...] = ()
    flush_all_msgs_base64: dict[str, str] = {}
    control_channel_name: str = ""
    physical_channel_names: tuple[str, ...] = ()
    format: str = ""


class CollectionInfos(Message):
    """`collection_meta.json`."""

    infos: tuple[CollectionBackup, ...] = ()


class PartitionInfos(Message):
    """`partition_meta.json`."""

    infos: tuple[PartitionBackup, ...] = ()


class SegmentInfos(Message):
    """`segment_meta.json`."""

    infos: tuple[SegmentBackup, ...] = ()


M = TypeVar("M", bound=Message)


def parse(kind: type[M], content: bytes, file: str) -> M:
    """The message in a file; `file` is how the file is called towards a person.

    Raises:
        BackupUnreadable: It is no JSON, or no such message; in a sentence that names the file and the place.
    """
    try:
        data = json.loads(content)
    except ValueError as error:
        reason = _json_reason(content, error)
        raise BackupUnreadable(f"{file} {reason}", hint="restore the file, or choose another backup") from None
    if not isinstance(data, dict):
        raise BackupUnreadable(f"{file} holds no JSON object", hint="restore the file, or choose another backup")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BackupUnreadable(
            f"{file} cannot be read: {place} {_wanted(first)}", hint="see that milvus-backup wrote this file"
        ) from None


def _json_reason(content: bytes, error: ValueError) -> str:
    if not content.strip():
        return "is empty"
    if isinstance(error, json.JSONDecodeError):
        is_cut = error.pos >= len(error.doc.rstrip()) or "Unterminated" in error.msg
        place = f"line {error.lineno}, column {error.colno}"
        return f"is cut off after {len(content):,} bytes" if is_cut else f"is no JSON ({error.msg}, {place})"
    return "is no JSON: it is not UTF-8"


def _wanted(first: Any) -> str:  # noqa: ANN401 - pydantic's own
    message = str(first["msg"]).removeprefix("Input ")
    return f"{message[0].lower()}{message[1:]}"


def join(
    head: BackupInfo, collections: CollectionInfos, partitions: PartitionInfos, segments: SegmentInfos
) -> BackupInfo:
    """The tree that the four level files tell of, joined by ids; sizes are sums.

    Raises:
        BackupUnreadable: A segment or partition belongs to nothing that is there.
    """
    found: dict[int, dict[int, PartitionBackup]] = {c.collection_id: {} for c in collections.infos}
    for collection in collections.infos:
        found[collection.collection_id] |= {p.partition_id: p for p in collection.partition_backups}
    for partition in partitions.infos:
        if partition.collection_id not in found:
            raise _orphan(PARTITION_META, "partition", partition.partition_id, partition.collection_id)
        found[partition.collection_id][partition.partition_id] = partition
    by_partition: dict[tuple[int, int], list[SegmentBackup]] = defaultdict(list)
    for segment in segments.infos:
        if segment.partition_id not in found.get(segment.collection_id, {}):
            raise _orphan(SEGMENT_META, "segment", segment.segment_id, segment.collection_id)
        by_partition[segment.collection_id, segment.partition_id].append(segment)
    joined = []
    for collection in collections.infos:
        own = found[collection.collection_id].values()
        parts = tuple(_filled(p, by_partition[collection.collection_id, p.partition_id]) for p in own)
        size = sum(part.size for part in parts)
        joined.append(collection.model_copy(update={"partition_backups": parts, "size": size}))
    return head.model_copy(
        update={"collection_backups": tuple(joined), "size": sum(collection.size for collection in joined)}
    )


def _filled(partition: PartitionBackup, segments: list[SegmentBackup]) -> PartitionBackup:
    size = sum(segment.size for segment in segments)
    return partition.model_copy(update={"segment_backups": tuple(segments), "size": size})


def _orphan(file: str, what: str, own_id: int, collection_id: int) -> BackupUnreadable:
    return BackupUnreadable(
        f"{file} has a {what} {own_id} of collection {collection_id}, and no other file tells where it belongs",
        hint="the meta files are not of one backup: restore them, or choose another one",
    )
