"""milvus-backup's messages to values of the model: what a backup says of its collections."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.errors import BackupUnreadable
from migrator.model.collection import (
    DEFAULT_DATABASE,
    FIRST_USER_FIELD,
    Collection,
    CollectionRef,
    CollectionSchema,
    ConsistencyLevel,
    DataType,
    FieldSchema,
    FunctionSchema,
    Index,
    LoadState,
    Partition,
    StructArrayField,
    merged_properties,
    name_inside,
)
from migrator.model.rbac import BUILT_IN_ROLES, ROOT, Binding, Grant, Rbac

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.backup_meta import (
        CollectionBackup,
        FieldInfo,
        FunctionInfo,
        GrantInfo,
        IndexInfo,
        Pair,
        RbacMeta,
        SchemaInfo,
        StructArrayInfo,
    )
    from migrator.model.collection import KeyValues

_LOADED = frozenset({"Loaded", "Loading"})
"""Somebody wanted it loaded."""
_INDEX_TYPES = {"marisa-trie": "Trie"}
"""Names that servers tell, and do not take."""


def ref_of(info: CollectionBackup) -> CollectionRef:
    """The collection's name; old backups leave the database out where it is `default`."""
    return CollectionRef(info.db_name or DEFAULT_DATABASE, info.collection_name or info.schema_.name)


def collection_of(info: CollectionBackup) -> Collection:
    """The collection as it was described when it was backed up.

    Raises:
        BackupUnreadable: A type, a level or a default value is none that this version knows.
    """
    ref = ref_of(info)
    partitions = tuple(sorted(Partition(p.partition_id, p.partition_name) for p in info.partition_backups))
    is_loaded = info.load_state in _LOADED
    loaded = tuple(p.partition_name for p in info.partition_backups if p.load_state in _LOADED)
    everywhere = tuple(partition.name for partition in partitions)
    return Collection(
        ref=ref,
        collection_id=info.collection_id,
        created_ts=info.created_timestamp,
        schema=_schema(info.schema_, ref),
        shards_num=max(1, info.shards_num),
        num_partitions=len(partitions),
        consistency_level=_level(info.consistency_level, ref),
        properties=_properties(info),
        partitions=partitions,
        indexes=tuple(sorted(map(_index, info.index_infos), key=lambda index: index.name)),
        aliases=tuple(sorted(info.aliases)),
        load_state=LoadState.LOADED if is_loaded else LoadState.NOT_LOADED,
        loaded_partitions=tuple(sorted(loaded) or everywhere) if is_loaded else (),
        replica_number=1 if is_loaded else 0,
    )


def rbac_of(meta: RbacMeta) -> Rbac:
    """Users, roles and grants as they were recorded; passwords and privilege groups are left out."""
    bindings = {Binding(role=role.name, user=each.user) for each in meta.users for role in each.roles}
    return Rbac(
        users=tuple(sorted({each.user for each in meta.users} - {ROOT})),
        roles=tuple(sorted({role.name for role in meta.roles} - BUILT_IN_ROLES)),
        grants=tuple(sorted(set(map(_grant, meta.grants)))),
        bindings=tuple(sorted(bindings)),
    )


def _grant(info: GrantInfo) -> Grant:
    return Grant(
        role=info.role.name,
        database=info.db_name or DEFAULT_DATABASE,
        object_type=info.object.name,
        object_name=info.object_name,
        privilege=info.grantor.privilege.name,
    )


def _properties(info: CollectionBackup) -> KeyValues:
    return merged_properties(_pairs(info.schema_.properties), _pairs(info.properties))


def _level(number: int, ref: CollectionRef) -> ConsistencyLevel:
    try:
        return ConsistencyLevel(number)
    except ValueError:
        raise _unknown(ref, f"has consistency level {number}") from None


def _schema(info: SchemaInfo, ref: CollectionRef) -> CollectionSchema:
    """Fields by id, which is their order of creation; hidden ones are left out, as servers leave them out."""
    visible = [f for f in info.fields if f.fieldID >= FIRST_USER_FIELD and not f.is_dynamic]
    return CollectionSchema(
        description=info.description,
        auto_id=info.autoID,
        enable_dynamic_field=info.enable_dynamic_field or any(field.is_dynamic for field in info.fields),
        fields=tuple(_field(field, ref) for field in sorted(visible, key=lambda field: field.fieldID)),
        functions=tuple(map(_function, info.functions)),
        struct_array_fields=tuple(_struct(struct, ref) for struct in info.struct_array_fields),
    )


def _field(info: FieldInfo, ref: CollectionRef) -> FieldSchema:
    return FieldSchema(
        field_id=info.fieldID,
        name=info.name,
        data_type=_data_type(info.data_type, info, ref),
        description=info.description,
        is_primary_key=info.is_primary_key,
        auto_id=info.autoID,
        is_partition_key=info.is_partition_key,
        is_clustering_key=info.is_clustering_key,
        is_function_output=info.is_function_output,
        nullable=info.nullable,
        element_type=_data_type(info.element_type, info, ref) if info.element_type else None,
        default_value_base64=_default_value(info, ref),
        type_params=_pairs(info.type_params),
        index_params=_pairs(info.index_params),
    )


def _data_type(number: int, field: FieldInfo, ref: CollectionRef) -> DataType:
    try:
        return DataType(number)
    except ValueError:
        raise _unknown(ref, f"has a field {field.name!r} of type number {number}") from None


def _default_value(info: FieldInfo, ref: CollectionRef) -> str:
    """The newer form where it is there; the older one is the same bytes as text, which lost what is not UTF-8."""
    if info.default_value_base64:
        try:
            base64.b64decode(info.default_value_base64, validate=True)
        except binascii.Error:
            raise _unknown(ref, f"has a field {info.name!r} whose default value is no base64") from None
        return info.default_value_base64
    if "\ufffd" in info.default_value_proto:
        raise _unknown(
            ref, f"has a field {info.name!r} whose default value was lost by the milvus-backup that wrote it"
        )
    return base64.b64encode(info.default_value_proto.encode()).decode()


def _function(info: FunctionInfo) -> FunctionSchema:
    return FunctionSchema(
        name=info.name,
        kind=info.type,
        function_id=info.id,
        description=info.description,
        input_names=info.input_field_names,
        output_names=info.output_field_names,
        params=_pairs(info.params),
    )


def _struct(info: StructArrayInfo, ref: CollectionRef) -> StructArrayField:
    return StructArrayField(
        field_id=info.fieldID,
        name=info.name,
        description=info.description,
        nullable=info.nullable,
        type_params=_pairs(info.type_params),
        fields=tuple(replace(_field(field, ref), name=name_inside(info.name, field.name)) for field in info.fields),
    )


def _index(info: IndexInfo) -> Index:
    """What users gave where it was recorded: a server tells of AUTOINDEX what it made of it."""
    given = dict(_pairs(info.user_index_params)) or dict(info.params) or dict(_pairs(info.index_params))
    if info.index_type:
        given = {"index_type": info.index_type} | given
    if "index_type" in given:
        given["index_type"] = _INDEX_TYPES.get(given["index_type"], given["index_type"])
    return Index(field_name=info.field_name, name=info.index_name or info.field_name, params=tuple(given.items()))


def _pairs(pairs: Iterable[Pair]) -> KeyValues:
    return tuple((pair.key, pair.value) for pair in pairs)


def _unknown(ref: CollectionRef, what: str) -> BackupUnreadable:
    return BackupUnreadable(
        f"{ref.short} of the backup {what}, which this version of migrator does not know",
        hint="leave the collection out with `exclude`, or use a newer migrator",
    )
