"""What a target collection was asked to be, rows apart, and how one that stands there departs from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from migrator.model.collection import (
    AUTOINDEX,
    DEFAULT_PARTITION,
    CollectionSchema,
    ConsistencyLevel,
    FieldSchema,
    Index,
    KeyValues,
)
from migrator.model.difference import Difference, DifferenceKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from migrator.model.collection import Collection

_NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A collection as asked for; `partitions` are explicit ones, `num_partitions` those of a partition key."""

    schema: CollectionSchema
    shards_num: int
    consistency_level: ConsistencyLevel
    properties: KeyValues = ()
    partitions: tuple[str, ...] = ()
    num_partitions: int | None = None
    indexes: tuple[Index, ...] = ()

    @classmethod
    def of(cls, collection: Collection) -> Shape:
        """What a collection is now: what another has to be to be its like."""
        by_key = collection.schema.has_partition_key
        return cls(
            schema=collection.schema,
            shards_num=collection.shards_num,
            consistency_level=collection.consistency_level,
            properties=collection.properties,
            partitions=() if by_key else tuple(partition.name for partition in collection.partitions),
            num_partitions=len(collection.partitions) if by_key else None,
            indexes=collection.indexes,
        )

    def differences(self, found: Collection) -> Iterator[Difference]:
        """How `found` departs from it."""
        yield from _schema_differences(self.schema, found.schema)
        yield from _partition_differences(self, found)
        yield from _setting_differences(self, found)
        yield from _index_differences(self.indexes, found.indexes)


def _schema_differences(wanted: CollectionSchema, found: CollectionSchema) -> Iterator[Difference]:
    ours, theirs = ({field.name: field for field in schema.fields} for schema in (wanted, found))
    for name in (*ours, *(theirs.keys() - ours.keys())):
        a, b = ours.get(name), theirs.get(name)
        if a is None or b is None:
            yield _schema(f"field {name!r}", "there" if a else _NONE, "there" if b else _NONE)
        else:
            yield from _field_differences(a, b)
    if wanted.enable_dynamic_field != found.enable_dynamic_field:
        yield _schema("dynamic field", _on(wanted.enable_dynamic_field), _on(found.enable_dynamic_field))
    if wanted.auto_id != found.auto_id:
        yield _schema("auto_id", _on(wanted.auto_id), _on(found.auto_id))
    if wanted.description != found.description:
        yield _schema("description", repr(wanted.description), repr(found.description))
    for name in ("functions", "struct_array_fields"):
        if getattr(wanted, name) != getattr(found, name):
            yield _schema(name, "as asked for", "others")


def _field_differences(wanted: FieldSchema, found: FieldSchema) -> Iterator[Difference]:
    for member in fields(FieldSchema):
        a, b = getattr(wanted, member.name), getattr(found, member.name)
        if a != b:
            yield _schema(f"field {wanted.name!r}, {member.name}", _text(a), _text(b))


def _partition_differences(wanted: Shape, found: Collection) -> Iterator[Difference]:
    if wanted.num_partitions is not None:
        if wanted.num_partitions != len(found.partitions):
            yield _setting("number of partitions", str(wanted.num_partitions), str(len(found.partitions)))
        return
    there = {partition.name for partition in found.partitions}
    for name in wanted.partitions:
        if name not in there:
            yield Difference(kind=DifferenceKind.PARTITION, partition=name, source="there", target="missing")
    for name in sorted(there - {*wanted.partitions, DEFAULT_PARTITION}):  # that one always is
        yield Difference(kind=DifferenceKind.PARTITION, partition=name, source="missing", target="there")


def _setting_differences(wanted: Shape, found: Collection) -> Iterator[Difference]:
    if wanted.shards_num != found.shards_num:
        yield _setting("shards_num", str(wanted.shards_num), str(found.shards_num))
    if wanted.consistency_level is not found.consistency_level:
        yield _setting("consistency_level", wanted.consistency_level.name, found.consistency_level.name)
    ours, theirs = dict(wanted.properties), dict(found.properties)
    for name, a, b in _unequal(ours, theirs):
        yield _setting(f"property {name}", a, b)


def _index_differences(wanted: tuple[Index, ...], found: tuple[Index, ...]) -> Iterator[Difference]:
    left = list(found)
    for index in sorted(wanted, key=lambda each: each.name not in {one.name for one in found}):
        other = _counterpart(index, left)
        if other is None:
            yield _index(f"on {index.field_name!r}", str(index), _NONE)
            continue
        left.remove(other)
        ours, theirs = ({} if _is_made_of(index, other) else each.flat_params for each in (index, other))
        for parameter, one, another in _unequal({"name": index.name} | ours, {"name": other.name} | theirs):
            yield _index(f"on {index.field_name!r}, {parameter}", one, another)
    for index in left:
        yield _index(f"on {index.field_name!r}", _NONE, str(index))


def _is_made_of(index: Index, found: Index) -> bool:
    """Whether a server made `found` of `index`; an index of another type is not what AUTOINDEX stands for."""
    is_auto = AUTOINDEX in (index.index_type, found.index_type)
    return index.is_like(found) and (not is_auto or index.index_type == found.index_type)


def _counterpart(index: Index, found: list[Index]) -> Index | None:
    """The index of the same field: that of the same name, or else any."""
    same = [each for each in found if each.field_name == index.field_name]
    return next((each for each in same if each.name == index.name), same[0] if same else None)


def _unequal(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in (*ours, *(sorted(theirs.keys() - ours.keys()))):
        if ours.get(name) != theirs.get(name):
            yield name, ours.get(name, _NONE), theirs.get(name, _NONE)


def _schema(what: str, source: str, target: str) -> Difference:
    return Difference(kind=DifferenceKind.SCHEMA, field=what, source=source, target=target)


def _setting(what: str, source: str, target: str) -> Difference:
    return Difference(kind=DifferenceKind.SETTING, field=what, source=source, target=target)


def _index(what: str, source: str, target: str) -> Difference:
    return Difference(kind=DifferenceKind.INDEX, field=what, source=source, target=target)


def _on(value: bool) -> str:  # noqa: FBT001 - a flag to be told
    return "on" if value else "off"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{name}={text}" for name, text in value) or _NONE
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else str(value)
