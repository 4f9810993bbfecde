"""What a plan tells its readers of each collection: what comes along, what the plan changes, what stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.collection import LoadState
from migrator.planning.graph import CONSISTENCY_LEVELS, load_step, property_text
from migrator.planning.plan import Action, PlannedCollection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.observed import Estimate, MigratedRecord, ObservedState
    from migrator.planning.item import PlannedItem
    from migrator.spec.loaded import LoadedPlan


def tell(item: PlannedItem, record: MigratedRecord | None) -> PlannedCollection:
    """The collection as a plan shows it; `record` is what an earlier run of the plan left of it."""
    return PlannedCollection(
        source=item.source,
        target=item.target,
        action=item.action,
        estimate=item.observed.estimate,
        carried=_carried(item) if item.action is Action.MIGRATE else (),
        changed=_changed(item) if item.action is Action.MIGRATE else (),
        not_carried=_not_carried(item) if item.action is Action.MIGRATE else (),
        notices=_collection_notices(item, record),
        reason=_reason(item, record),
    )


def _carried(item: PlannedItem) -> tuple[str, ...]:
    collection = item.collection
    carried = [f"{len(collection.schema.fields)} fields", f"{len(collection.partitions)} partitions"]
    carried += [f"index {index}" for index in collection.indexes]
    carried += [f"property {key}={value}" for key, value in collection.properties]
    carried += [f"alias {alias}" for alias in item.aliases]
    if load_step(item, ()) is not None:
        carried.append("loaded")
    return tuple(carried)


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
    if item.selected.mapping.load == "always" and collection.load_state is not LoadState.LOADED:
        changed.append("loaded, though the source is not")
    return tuple(changed)


def _not_carried(item: PlannedItem) -> tuple[str, ...]:
    lost = [f"alias {alias}: taken at the target" for alias in item.collection.aliases if alias not in item.aliases]
    lost.append("row timestamps: Milvus 2.3 gives every imported row the time of its import, so TTLs start anew")
    if item.selected.mapping.load == "never" and item.collection.load_state is LoadState.LOADED:
        lost.append("load state: load: never")
    return tuple(lost)


def _reason(item: PlannedItem, record: MigratedRecord | None) -> str:
    if item.action is Action.SKIP:
        return "exists at the target and is left alone (if_exists: skip)"
    if item.action is Action.DONE and record is not None:
        return f"migrated {'and verified ' if record.verified else ''}before, nothing to do"
    return ""


def _collection_notices(item: PlannedItem, record: MigratedRecord | None) -> tuple[str, ...]:
    if item.action is Action.DONE and record and _has_moved(record, item.observed.estimate):
        return (f"the source has changed since run {record.run_id} migrated it",)
    return ()


def cut_notices(loaded: LoadedPlan) -> tuple[str, ...]:
    """What the cut means for rows written around it."""
    if loaded.options.flush == "never":
        return ("no flush: rows and deletes that are not flushed do not come along, and rows deleted lately reappear",)
    return ("rows and deletes written after the flush do not come along",)


def verification_notices(loaded: LoadedPlan, observed: ObservedState, items: Iterable[PlannedItem]) -> tuple[str, ...]:
    """What a verification will not be able to compare."""
    verify = loaded.options.verify
    if verify.level not in {"sample", "full"} or verify.load_source or observed.reads_dumps:
        return ()
    unloaded = [item.source.short for item in items if item.collection.load_state is not LoadState.LOADED]
    if not unloaded:
        return ()
    few = f"{', '.join(unloaded[:3])}{', …' if len(unloaded) > 3 else ''}"
    hint = "pip install 'migrator[binlogs]'"
    return (f"not loaded at the source, so that only pyarrow can compare their rows ({hint}): {few}",)


def _has_moved(record: MigratedRecord, estimate: Estimate) -> bool:
    """Whether the source has other rows than when it was migrated; a compaction alone is no movement."""
    if estimate.rows > record.raw_rows:
        return True
    if estimate.counted_rows is None or not record.rows_at_cut:
        return estimate.rows != record.raw_rows
    return estimate.counted_rows != sum(rows for _, rows in record.rows_at_cut)
