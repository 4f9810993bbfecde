"""Whether and how a target is loaded: as the source was, as far as the target has the nodes for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.collection import DEFAULT_RESOURCE_GROUP, LoadState
from migrator.planning.indexes import unindexed_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.collection import Collection, Index, ResourceGroup
    from migrator.spec.document import LoadWhen


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What is loaded (no partition named: all), and in words what is changed, stays behind, or has to be known."""

    is_wanted: bool
    partitions: tuple[str, ...] = ()
    replica_number: int = 1
    resource_groups: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def plan_loading(
    wish: LoadWhen, collection: Collection, indexes: tuple[Index, ...], nodes: tuple[ResourceGroup, ...]
) -> Loading:
    """The loading of a target with `indexes`; `nodes` are the target's resource groups, none where it does not tell."""
    loaded = collection.load_state is not LoadState.NOT_LOADED
    if wish == "never":
        return Loading(is_wanted=False, lost=("load state: load: never",) if loaded else ())
    if wish == "as_source" and not loaded:
        return Loading(is_wanted=False)
    if missing := unindexed_vectors(collection, indexes):
        return Loading(is_wanted=False, changed=(f"not loaded: no index on {', '.join(missing)}",))
    is_whole = len(collection.loaded_partitions) in {0, len(collection.partitions)}
    groups, lost = _groups(collection, {group.name: group.nodes for group in nodes})
    wanted = max(1, collection.replica_number)
    there = {group.name: group.nodes for group in nodes}.get(DEFAULT_RESOURCE_GROUP, wanted) if not groups else wanted
    return Loading(
        is_wanted=True,
        partitions=() if is_whole else collection.loaded_partitions,
        replica_number=min(wanted, max(1, there)),
        resource_groups=groups,
        changed=() if loaded else ("loaded, though the source is not",),
        lost=(*lost, *_too_few(wanted, there)),
        notices=tuple(_notices(collection, as_source=wish == "as_source", nodes=there)),
    )


def _notices(collection: Collection, *, as_source: bool, nodes: int) -> Iterator[str]:
    if as_source and collection.load_state is LoadState.LOADING:
        yield "the source is only being loaded now, and does not tell which partitions: the target gets all loaded"
    if not nodes:
        yield "no query node of the target is free now: loading fails until one is"


def _too_few(wanted: int, there: int) -> tuple[str, ...]:
    if wanted == 1 or there >= wanted:
        return ()
    return (f"{wanted} replicas: the target has {there} query node{'' if there == 1 else 's'}",)


def _groups(collection: Collection, nodes: dict[str, int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The groups to name in the request, and why those of the source are not; the default group needs no name.

    Milvus takes one group for all replicas, or one for each.
    """
    names = collection.resource_groups
    distinct = tuple(sorted(set(names)))
    if distinct in {(), (DEFAULT_RESOURCE_GROUP,)}:
        return (), ()
    why = next((f"the target has no group {name}" for name in distinct if nodes and name not in nodes), "")
    short = next((name for name in distinct if nodes and nodes.get(name, 0) < names.count(name)), "")
    if not why and short:
        why = f"{short} has too few query nodes at the target"
    if not why and len(distinct) not in {1, len(names)}:
        why = "Milvus takes one group for all replicas, or one for each"
    if why:
        return (), (f"resource groups {', '.join(distinct)}: {why}",)
    return distinct, ()
