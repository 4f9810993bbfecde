"""A target that is loaded as a whole for as long as its rows are looked at, and then is as it was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from migrator.errors import MilvusRefused
from migrator.model.collection import DEFAULT_RESOURCE_GROUP, LoadState
from migrator.steps.counting import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.model.collection import Collection, CollectionRef
    from migrator.ports.milvus import MilvusReader, MilvusTarget


def rest_of(found: Collection) -> tuple[str, ...]:
    """The partitions that are not loaded, `WHOLE` where none is; what somebody is loading is left to them."""
    if found.load_state is LoadState.NOT_LOADED:
        return (WHOLE,)
    if found.load_state is LoadState.LOADING or found.schema.has_partition_key:
        return ()
    return tuple(each.name for each in found.partitions if each.name not in found.loaded_partitions)


@contextmanager
def with_rest_loaded(
    target: MilvusTarget,
    found: Collection,
    rest: tuple[str, ...],
    *,
    wait: Callable[[Callable[[], bool]], None],
    released: Callable[[], None] = lambda: None,
) -> Iterator[Collection | None]:
    """`found` with its `rest` loaded; `wait` returns once what it is given is true, `released` hears of the end.

    Where some partitions are loaded and there is no room for the others, those are left out.
    """
    is_whole, ref = rest == (WHOLE,), found.ref
    names = () if is_whole else rest
    groups = tuple(sorted({*found.resource_groups} - {DEFAULT_RESOURCE_GROUP}))
    try:
        try:
            if rest:
                replicas = max(1, found.replica_number)
                target.load(ref, partitions=names, replica_number=replicas, resource_groups=groups)
            wait(lambda: _is_loaded(target, ref, names))
        except MilvusRefused:
            if is_whole:
                raise
        yield target.find_collection(ref)
    finally:
        if is_whole:
            target.release(ref)
        elif rest:
            target.release_partitions(ref, rest)
        released()


def _is_loaded(milvus: MilvusReader, ref: CollectionRef, partitions: tuple[str, ...]) -> bool:
    """Whether a collection is, and the named partitions of it: it counts as loaded as soon as any of them is."""
    if milvus.load_state(ref) is not LoadState.LOADED:
        return False
    found = milvus.find_collection(ref) if partitions else None
    return found is None or set(partitions) <= set(found.loaded_partitions)
