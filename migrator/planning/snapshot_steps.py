"""The part of the graph that is another where collections go by snapshots: their chains, and what a dump lacks."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from migrator.model.snapshot import SnapshotWay
from migrator.planning.places import source_root
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.create_database import database_key
from migrator.steps.create_snapshot import CreateSnapshot
from migrator.steps.drop_snapshot import DropSnapshot
from migrator.steps.flush import FLUSH_KEY
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.seal_dump import SealDump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from migrator.model.collection import Collection, CollectionRef
    from migrator.planning.item import PlannedItem
    from migrator.spec.loaded import LoadedPlan
    from migrator.steps.base import Step
    from migrator.steps.create_collection import CreateCollection


def snapshot_steps(
    loaded: LoadedPlan,
    item: PlannedItem,
    way: SnapshotWay,
    planned: Collection,
    created: set[str],
    *,
    create: Callable[[PlannedItem, tuple[str, ...]], CreateCollection],
    later: Callable[[PlannedItem, CreateCollection, Step], list[Step]],
) -> list[Step]:
    """The chain of one collection: its files are the target's own once it is restored, so the snapshot goes then.

    `planned` is the source's description, `created` the keys of steps that create databases; `create` and `later` make
    the step that would create the collection, and those that follow once it has its rows.
    """
    taken = CreateSnapshot(
        collection=item.target.short, needs=(FLUSH_KEY,), planned=planned, may_flush=loaded.options.flush == "auto"
    )
    database = database_key(item.target.database)
    as_created = create(item, (taken.key, *((database,) if database in created else ())))
    asked = {each.name: getattr(as_created, each.name) for each in fields(as_created)}
    restored = RestoreSnapshot(**asked | {"pauses_functions": False}, source=item.source, way=way)
    dropped = DropSnapshot(
        collection=item.target.short,
        needs=(restored.key,),
        source=item.source,
        target=item.built_as,
        target_root=source_root(loaded) if way is SnapshotWay.WITHIN else _target_root(loaded),
    )
    return [taken, restored, *later(item, restored, restored), dropped]


def _target_root(loaded: LoadedPlan) -> str:
    return "" if loaded.target is None else loaded.target.storage.root_path.strip("/")


def without_dumps_of_snapshots(steps: Sequence[Step], todo: Sequence[PlannedItem]) -> list[Step]:
    """The steps of a run, in whose dump no collection is listed that goes by a snapshot; without any, there is none."""
    snapped = {item.collection.collection_id for item in todo if item.snapshot is not None}
    targets = {item.target for item in todo if item.snapshot is not None}
    return list(_dumped(steps, snapped, targets)) if snapped else list(steps)


def _dumped(steps: Sequence[Step], snapped: set[int], targets: set[CollectionRef]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, SealDump):
            listed = tuple(each for each in step.collections if each.collection_id not in snapped)
            yield from [replace(step, collections=listed)] if listed else []
        elif isinstance(step, CleanStaging):
            ids = tuple(each for each in step.collection_ids if each not in snapped)
            kept = tuple(each for each in step.targets if each not in targets)
            needs = tuple(each for each in step.needs if ids or not each.startswith(SealDump.kind))
            yield from [replace(step, collection_ids=ids, targets=kept, needs=needs)] if ids else []
        else:
            yield step
