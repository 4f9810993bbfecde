"""Which indexes a target gets: the source's, AUTOINDEX, none, or those the plan file lists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.collection import AUTOINDEX, Index
from migrator.planning.index_kinds import is_decided_by_server, kinds_of, line_of, needed_params, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.capabilities import Line
    from migrator.model.collection import Collection, FieldSchema
    from migrator.spec.document import Indexes, IndexOverride

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SENT_AS = {"marisa-trie": "Trie"}
"""Milvus tells one kind by a name that it does not take everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan:
    """The indexes to build, how they differ from the source's in words, and what is wrong, each with a hint."""

    indexes: tuple[Index, ...]
    changed: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()


def plan_indexes(wish: Indexes, collection: Collection, target_version: str = "2.3.5") -> IndexPlan:
    """What the mapping's `indexes` makes of the source's, at a target of that version."""
    line = line_of(target_version)
    if isinstance(wish, tuple):
        return _listed(wish, collection, line)
    if wish == "rebuild":
        return IndexPlan(indexes=collection.indexes, faults=tuple(_unbuildable(collection.indexes, collection, line)))
    indexes = tuple(_automatic(index, collection, line) for index in collection.indexes) if wish == "auto" else ()
    return IndexPlan(
        indexes=indexes,
        changed=tuple(_differences(collection.indexes, indexes)),
        faults=tuple(_unbuildable(indexes, collection, line)),
    )


def _unbuildable(indexes: tuple[Index, ...], collection: Collection, line: Line) -> Iterator[tuple[str, str]]:
    """Indexes of the source that the target's line does not have."""
    for index in indexes:
        field = _field(collection, index.field_name)
        if field and (reason := why_not(field.data_type, index.index_type, index.metric_type, line)):
            what = f"the target cannot build the index {index.kind} on {field.name}: that {reason}"
            yield what, "set indexes: auto or none, or list others"


def unindexed_vectors(collection: Collection, indexes: tuple[Index, ...]) -> list[str]:
    """Vector fields without an index: with one of them nothing can be loaded."""
    indexed = {index.field_name for index in indexes}
    return [field.name for field in collection.schema.fields if field.data_type.is_vector and field.name not in indexed]


def _automatic(index: Index, collection: Collection, line: Line) -> Index:
    """AUTOINDEX by the same metric; of a scalar field, or where the target cannot build it, the index as it is."""
    field = _field(collection, index.field_name)
    metrics = kinds_of(field.data_type, line).get(AUTOINDEX, ()) if field else ()
    if index.metric_type not in metrics:
        return index
    params = (("index_type", AUTOINDEX), ("metric_type", index.metric_type))
    return Index(field_name=index.field_name, name=index.name, params=params)


def _field(collection: Collection, name: str) -> FieldSchema | None:
    return next((field for field in collection.schema.fields if field.name == name), None)


def _differences(before: tuple[Index, ...], after: tuple[Index, ...]) -> Iterator[str]:
    """Field by field: Milvus has one index on each, and on each path of a JSON."""
    new = {_place(index): index for index in after}
    for old in before:
        index = new.pop(_place(old), None)
        if index is None:
            yield f"index {old}: not built"
        elif not (index.is_like(old) and old.is_like(index)):
            yield f"index {old.kind} on {old.field_name} → {_in_full(index, old)}"
        elif index.name != old.name:
            yield f"index {old}: named {index.name}, not {old.name}"
    yield from (f"index {index}: built, though the source has none" for index in new.values())


def _place(index: Index) -> tuple[str, str]:
    return index.field_name, index.flat_params.get("json_path", "")


def _in_full(index: Index, old: Index) -> str:
    """The kind, with parameters where it is the same kind by others."""
    params = dict(index.params).get("params", "")
    return f"{index.kind} {params}".rstrip() if index.kind == old.kind else index.kind


# -- the plan file's own list -----------------------------------------------------------------------------------------


def _listed(overrides: tuple[IndexOverride, ...], collection: Collection, line: Line) -> IndexPlan:
    before = {index.field_name: index for index in collection.indexes}
    faults = tuple(
        fault for override in overrides for fault in _faults(override, collection, before.get(override.field), line)
    )
    indexes = tuple(_index(override, before.get(override.field)) for override in overrides)
    if len({_place(index) for index in indexes}) < len(indexes) or len({i.name for i in indexes}) < len(indexes):
        what = f"two indexes of {collection.ref.short} on one field, or of one name"
        faults = (*faults, (what, "list one index per field, each with a name of its own"))
    return IndexPlan(indexes=indexes, changed=tuple(_differences(collection.indexes, indexes)), faults=faults)


def _index(override: IndexOverride, before: Index | None) -> Index:
    """The index with its parameters the way Milvus takes and tells them: as JSON text under `params`."""
    metric = override.metric_type or (before.metric_type if before else "")
    params = [("index_type", _SENT_AS.get(override.index_type, override.index_type))]
    params += [("metric_type", metric)] if metric else []
    params += [("params", json.dumps(override.params))] if override.params else []
    return Index(field_name=override.field, name=override.name or override.field, params=tuple(params))


def _faults(
    override: IndexOverride, collection: Collection, before: Index | None, line: Line
) -> Iterator[tuple[str, str]]:
    field = _field(collection, override.field)
    if field is None:
        names = ", ".join(each.name for each in collection.schema.fields)
        yield f"{collection.ref.short} has no field {override.field!r} that an index can be on", f"it has: {names}"
        return
    index = _index(override, before)
    if not _NAME.fullmatch(index.name):
        hint = "use letters, digits and underscores, a letter or underscore first"
        yield f"{index.name!r} is not an index name that Milvus allows", hint
    if not is_decided_by_server(field.data_type, index.index_type, line):
        check = _vector_faults if field.data_type.is_vector else _scalar_faults
        yield from check(index, field, line)
    yield from _param_faults(index, override, field, line)


def _vector_faults(index: Index, field: FieldSchema, line: Line) -> Iterator[tuple[str, str]]:
    kinds = kinds_of(field.data_type, line)
    if not kinds:  # a type that the target lacks, which is complained about as such
        return
    if index.index_type not in kinds:
        yield _unsuitable(index, field), f"use {_one_of(kinds)}"
        return
    metrics = kinds[index.index_type]
    if not index.metric_type:
        yield f"the index on {field.name} has no metric_type, and the source's has none either", _choose(metrics)
    elif index.metric_type not in metrics:
        yield f"metric {index.metric_type} does not fit {index.index_type} on {field.name}", _choose(metrics)


def _scalar_faults(index: Index, field: FieldSchema, line: Line) -> Iterator[tuple[str, str]]:
    kinds = kinds_of(field.data_type, line)
    if index.metric_type:
        yield f"{field.name} is no vector, and has no metric", "remove metric_type"
    if index.index_type not in kinds:
        none = "remove it: Milvus {}.{} builds none on fields of this type".format(*line)
        yield _unsuitable(index, field), f"use {_one_of(kinds)}" if kinds else none


def _param_faults(index: Index, override: IndexOverride, field: FieldSchema, line: Line) -> Iterator[tuple[str, str]]:
    needed = needed_params(field.data_type, index.index_type, line)
    if index.index_type == AUTOINDEX and set(override.params) - set(needed):
        yield f"AUTOINDEX on {field.name} takes no params but its metric", "remove params"
    if missing := [name for name in needed if name not in override.params]:
        yield f"{index.index_type} on {field.name} needs {' and '.join(missing)}", "add it to params"
    dim, parts = dict(field.type_params).get("dim", ""), override.params.get("m")
    if index.index_type in {"IVF_PQ", "GPU_IVF_PQ"} and dim.isdecimal() and isinstance(parts, int) and int(dim) % parts:
        yield (
            f"m: {parts} of {index.index_type} does not divide the {dim} dimensions of {field.name}",
            "choose another m",
        )


def _unsuitable(index: Index, field: FieldSchema) -> str:
    return f"{index.index_type} is no index for {field.name}, which is of type {field.data_type.name.lower()}"


def _choose(metrics: tuple[str, ...]) -> str:
    return f"set metric_type to {_one_of(metrics)}"


def _one_of(names: dict[str, tuple[str, ...]] | tuple[str, ...]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
