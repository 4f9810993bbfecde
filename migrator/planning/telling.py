"""What a plan tells its readers of each collection: what comes along, what the plan changes, what stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.capabilities import capabilities
from migrator.model.collection import LoadState
from migrator.model.filters import can_name
from migrator.planning.graph import CONSISTENCY_LEVELS, property_text
from migrator.planning.indexes import unindexed_vectors
from migrator.planning.plan import Action, PlannedCollection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.model.collection import FieldSchema
    from migrator.model.observed import Estimate, MigratedRecord, ObservedState
    from migrator.planning.item import PlannedItem
    from migrator.planning.replacing import Predecessor
    from migrator.spec.loaded import LoadedPlan

TTL = "collection.ttl.seconds"


def tell(item: PlannedItem, record: MigratedRecord | None, *, target_version: str) -> PlannedCollection:
    """The collection as a plan shows it; `record` is what an earlier run of the plan left of it."""
    return PlannedCollection(
        source=item.source,
        target=item.target,
        action=item.action,
        estimate=item.observed.estimate,
        carried=_carried(item) if item.action is Action.MIGRATE else (),
        changed=_changed(item) if item.action is Action.MIGRATE else (),
        not_carried=_not_carried(item, target_version) if item.action is Action.MIGRATE else (),
        notices=_collection_notices(item, record, target_version),
        reason=_reason(item, record),
        replaces=item.replaces,
    )


def _carried(item: PlannedItem) -> tuple[str, ...]:
    """Everything that is at the target as it is at the source."""
    schema, chosen, create = item.collection.schema, item.chosen, item.selected.mapping.create
    carried = [f"{count(len(schema.fields), 'field')}: {', '.join(map(_field, schema.fields))}"]
    carried += ["dynamic field"] if schema.enable_dynamic_field else []
    carried.append(_partitions(item))
    if item.collection.schema.description and create.description in (None, schema.description):
        carried.append("description")
    if create.shards_num in (None, chosen.shards_num):
        carried.append(count(chosen.shards_num, "shard"))
    if create.consistency_level is None or CONSISTENCY_LEVELS[create.consistency_level] is chosen.consistency_level:
        carried.append(f"consistency {chosen.consistency_level.name.title()}")
    wanted = {key: property_text(value) for key, value in create.properties.items()}
    carried += [f"property {key}={value}" for key, value in chosen.properties if wanted.get(key, value) == value]
    carried += [f"index {index}" for index in item.indexes if index in chosen.indexes]
    taken = {move.alias for move in item.moves}
    carried += [f"alias {each}" for each in item.aliases if each in chosen.aliases and each not in taken]
    return (*carried, *_carried_loading(item))


def _field(field: FieldSchema) -> str:
    """`id int64 (primary key, auto id)`."""
    kind = field.data_type.name.lower()
    kind += f" of {field.element_type.name.lower()}" if field.element_type else ""
    marks = {
        "primary key": field.is_primary_key,
        "auto id": field.auto_id,
        "partition key": field.is_partition_key,
        "default value": bool(field.default_value_base64),
        "described": bool(field.description),
    }
    told = ", ".join(mark for mark, is_so in marks.items() if is_so)
    return f"{field.name} {kind}" + (f" ({told})" if told else "")


def _partitions(item: PlannedItem) -> str:
    number = count(len(item.chosen.partitions), "partition")
    if item.collection.schema.has_partition_key:
        return f"{number} of its partition key"
    return f"{number}: {', '.join(each.name for each in item.chosen.partitions)}"


def _carried_loading(item: PlannedItem) -> tuple[str, ...]:
    loading, loaded = item.loading, item.chosen.load_state is not LoadState.NOT_LOADED
    if not loading.is_wanted:
        return () if loaded else ("not loaded",)
    if not loaded:
        return ()
    parts = [f"partitions {', '.join(loading.partitions)}"] if loading.partitions else []
    parts += [f"{loading.replica_number} replicas"] if loading.replica_number > 1 else []
    parts += [f"in {', '.join(loading.resource_groups)}"] if loading.resource_groups else []
    return (", ".join(["loaded", *parts]),)


def _changed(item: PlannedItem) -> tuple[str, ...]:
    create, collection = item.selected.mapping.create, item.collection
    changed = []
    if create.shards_num not in (None, collection.shards_num):
        changed.append(f"shards {collection.shards_num} → {create.shards_num}")
    if create.consistency_level and CONSISTENCY_LEVELS[create.consistency_level] is not collection.consistency_level:
        changed.append(f"consistency {collection.consistency_level.name.title()} → {create.consistency_level}")
    if create.description not in (None, collection.schema.description):
        changed.append("description")
    properties = dict(collection.properties)
    changed += [
        f"property {key}: {properties.get(key, 'unset')} → {property_text(value)}"
        for key, value in sorted(create.properties.items())
        if properties.get(key) != property_text(value)
    ]
    return (*changed, *item.changed, *item.loading.changed)


def _not_carried(item: PlannedItem, target_version: str) -> tuple[str, ...]:
    left = [each.name for each in item.collection.partitions if each not in item.chosen.partitions]
    return (
        *(f"partition {name}: not among partitions" for name in left),
        *item.lost,
        *item.loading.lost,
        *(() if capabilities(target_version).keeps_row_timestamps else (_new_times(target_version),)),
    )


def _new_times(target_version: str) -> str:
    line = target_version.rpartition(".")[0]
    return f"row timestamps: Milvus {line} gives every imported row the time of its import"


def _reason(item: PlannedItem, record: MigratedRecord | None) -> str:
    if item.action is Action.SKIP:
        return "exists at the target and is left alone (if_exists: skip)"
    if item.action is Action.DONE and record is not None:
        return f"migrated {'and verified ' if record.verified else ''}before, nothing to do"
    return ""


def _collection_notices(item: PlannedItem, record: MigratedRecord | None, target_version: str) -> tuple[str, ...]:
    if item.action is Action.MIGRATE:
        replaced = _replacement_notices(item, item.replaces) if item.replaces else ()
        return (
            *item.observed.notices,
            *_ttl_notices(item, target_version),
            *item.loading.notices,
            *_gpu_notices(item),
            *replaced,
        )
    if item.action is not Action.DONE or record is None:
        return ()
    names = tuple(partition.name for partition in item.chosen.partitions)
    if record.partitions and (more := [name for name in names if name not in record.partitions]):
        what = f"partition{'s' if len(more) > 1 else ''} {', '.join(more)}"
        return (f"{what} did not come along in run {record.run_id}; to bring all, map the source to another target",)
    if set(names) >= set(record.partitions) and _has_moved(record, item.observed.estimate):
        return (f"the source has changed since run {record.run_id} migrated it",)
    return ()


def _replacement_notices(item: PlannedItem, replaces: Predecessor) -> Iterator[str]:
    yield from replaces.notices(item.target)
    if replaces.rows is not None and not item.loading.is_wanted:
        yield f"{item.target.short} is loaded now, and will not be afterwards (load: {item.selected.mapping.load})"


def _ttl_notices(item: PlannedItem, target_version: str) -> tuple[str, ...]:
    """What a limited life of rows comes to: some servers count it from the import."""
    properties = dict(item.collection.properties)
    properties |= {key: property_text(value) for key, value in item.selected.mapping.create.properties.items()}
    seconds = properties.get(TTL, "0")
    if not seconds.isdecimal() or int(seconds) == 0:
        return ()
    if capabilities(target_version).counts_ttl_from_import:
        return (f"{TTL}={seconds} counts anew from the import: rows live that much longer than at the source",)
    return (f"{TTL}={seconds} goes on counting: rows that are older by then are gone as soon as they are imported",)


def _gpu_notices(item: PlannedItem) -> tuple[str, ...]:
    """No server tells whether it has any."""
    needed = [index for index in item.indexes if index.index_type.startswith("GPU_")]
    return tuple(f"index {index} is built only where the target has GPUs" for index in needed)


def plan_notices(loaded: LoadedPlan) -> tuple[str, ...]:
    """What holds for all of them: what the cut means, who does not come along, whether the dump stays."""
    cut = "rows and deletes written after the flush do not come along"
    if loaded.options.flush == "never":
        cut = "no flush: rows and deletes that are not flushed do not come along, and rows deleted lately reappear"
    rbac = () if loaded.options.rbac else ("users, roles and grants do not come along (options.rbac: false)",)
    kept = () if loaded.staging.keep else ("the dump is deleted once everything is verified (staging.keep: false)",)
    return (cut, *rbac, *kept)


def verification_notices(loaded: LoadedPlan, observed: ObservedState, items: Iterable[PlannedItem]) -> tuple[str, ...]:
    """What a verification will not be able to compare."""
    verify, found = loaded.options.verify, list(items)
    if verify.level not in {"sample", "full"}:
        return ()
    told = []
    if unnamed := [item.source.short for item in found if not can_name(item.collection.schema.primary_field.name)]:
        why = "a primary key called by a word of Milvus's filters cannot be asked for, so that rows are only counted"
        told.append(f"{why}: {_few(unnamed)}")
    if bare := [item.source.short for item in found if unindexed_vectors(item.collection, item.indexes)]:
        told.append(f"no rows are compared where the target has no index of its vectors: {_few(bare)}")
    unloaded = [item.source.short for item in found if item.collection.load_state is not LoadState.LOADED]
    if unloaded and not (verify.load_source or observed.reads_dumps):
        hint = "pip install 'migrator[binlogs]'"
        told.append(f"not loaded at the source, so that only pyarrow can compare their rows ({hint}): {_few(unloaded)}")
    return tuple(told)


def _few(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"


def _has_moved(record: MigratedRecord, estimate: Estimate) -> bool:
    """Whether the source has other rows than when it was migrated; a compaction alone is no movement."""
    if estimate.rows > record.raw_rows:
        return True
    if estimate.counted_rows is None or not record.rows_at_cut:
        return estimate.rows != record.raw_rows
    return estimate.counted_rows != sum(rows for _, rows in record.rows_at_cut)


def count(number: int, noun: str) -> str:
    """`1 field`, `3 fields`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
