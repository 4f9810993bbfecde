"""Plans without a target: what is done with a collection that is backed up and nothing else, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.collection import DEFAULT_RESOURCE_GROUP
from migrator.planning.plan import Action, PlannedCollection

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from migrator.model.collection import Collection
    from migrator.model.observed import MigratedRecord
    from migrator.planning.item import PlannedItem
    from migrator.spec.loaded import LoadedPlan


def backup_action(
    collection: Collection, record: MigratedRecord | None, listed: Container[int], dump: str
) -> tuple[Action, str]:
    """What to do, and why it cannot be done: one backup holds one state of a collection; `listed` are those it has."""
    is_known = record is not None and record.dump == dump and record.source_collection_id in listed
    if is_known and record is not None and record.source_collection_id == collection.collection_id:
        return Action.DONE, ""
    if is_known:
        return Action.MIGRATE, f"the backup {dump} holds an earlier collection {collection.ref.short}"
    if collection.collection_id in listed:
        return Action.MIGRATE, f"the backup {dump} already holds {collection.ref.short} as an earlier run left it"
    return Action.MIGRATE, ""


def tell_backup(item: PlannedItem, record: MigratedRecord | None) -> PlannedCollection:
    """The collection as a plan shows it."""
    is_done = item.action is Action.DONE
    has_moved = is_done and record is not None and item.observed.estimate.rows != record.raw_rows
    moved = f"the source has changed since; another backup_name makes another backup of {item.source.short}"
    collection = item.collection
    return PlannedCollection(
        source=item.source,
        target=None,
        action=item.action,
        estimate=item.observed.estimate,
        carried=()
        if is_done
        else (
            f"{len(collection.schema.fields)} fields",
            f"{len(collection.partitions)} partitions",
            *(f"index {index}" for index in collection.indexes),
            *(f"property {key}={value}" for key, value in collection.properties),
            *(f"alias {alias}" for alias in collection.aliases),
        ),
        not_carried=() if is_done else tuple(_not_recorded(collection)),
        notices=(moved,) if has_moved else (),
        reason=f"in the backup since run {record.run_id}, nothing to do" if is_done and record is not None else "",
    )


def _not_recorded(collection: Collection) -> Iterator[str]:
    """What the format has no place for."""
    if collection.replica_number > 1:
        yield f"{collection.replica_number} replicas: a backup says that it is loaded, and no more"
    if groups := sorted(set(collection.resource_groups) - {DEFAULT_RESOURCE_GROUP}):
        yield f"resource groups {', '.join(groups)}: a backup says that it is loaded, and no more"


def backup_notices(loaded: LoadedPlan) -> tuple[str, ...]:
    """That a plan says something of a target that it does not name, or asks for what no backup of 2.3 holds."""
    is_told = any(
        mapping.target is not None or mapping.create.model_fields_set or mapping.if_exists != "fail"
        for mapping in loaded.mappings
    )
    target = ("there is no target: what the mappings say of one is not looked at",) if is_told else ()
    access = ("users, roles and grants are not put into a backup (options.rbac: true)",) if loaded.options.rbac else ()
    return (*target, *access)
