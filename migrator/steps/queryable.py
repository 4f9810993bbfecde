"""A target that is loaded for as long as its rows are looked at, and then is as it was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from migrator.model.collection import LoadState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.model.collection import Collection
    from migrator.ports.milvus import MilvusTarget


@contextmanager
def loaded_meanwhile(
    target: MilvusTarget,
    found: Collection,
    *,
    by_us: bool,
    wait: Callable[[Callable[[], bool]], None],
    released: Callable[[], None] = lambda: None,
) -> Iterator[Collection | None]:
    """`found` loaded; `wait` returns once what it is given is true, `released` hears that it was let go of.

    Only what is loaded `by_us` is released: another may be loaded by somebody now, or come up after a restart. Single
    partitions are not loaded beside others: Milvus 2.3 calls them loaded some seconds before a query sees their rows.
    """
    try:
        if by_us:
            target.load(found.ref, partitions=(), replica_number=1)
        wait(lambda: target.load_state(found.ref) is LoadState.LOADED)
        yield target.find_collection(found.ref)
    finally:
        if by_us:
            target.release(found.ref)
            released()
