"""Root paths of Milvus servers, told by what lies below them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from migrator.errors import StoreError
from migrator.model.segment import LogKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.ports.store import ObjectReader

FOLDERS = frozenset({"insert_log", "delta_log", "stats_log", "index_files"})
"""What a Milvus makes below its root path."""
_MOST_FOLDERS = 50


def below(root: str, *names: object) -> str:
    """A folder below the root path, which may be empty."""
    return "/".join(str(part) for part in (root, *names) if str(part))


def insert_folder(root: str, collection_id: int) -> str:
    """Where a collection's rows lie."""
    return below(root, LogKind.INSERT, collection_id)


def holds(store: ObjectReader, folder: str) -> bool:
    """Whether anything lies in the folder."""
    return next(iter(store.list_objects(folder)), None) is not None


def looks_like_root(store: ObjectReader, folder: str) -> bool:
    """Whether a Milvus has written there."""
    return bool(FOLDERS.intersection(store.list_folders(folder)))


def candidates(store: ObjectReader, around: str = "") -> Iterator[str]:
    """Folders that may be a root path: `around` itself, and two levels of folders in it, some of each."""
    yield around
    tops = [below(around, name) for name in store.list_folders(around)[:_MOST_FOLDERS]]
    yield from tops
    for top in tops:
        with suppress(StoreError):
            yield from (f"{top}/{name}" for name in store.list_folders(top)[:_MOST_FOLDERS])


def find_roots(store: ObjectReader, around: str = "") -> tuple[str, ...]:
    """Folders that look like root paths; none where we may not look."""
    with suppress(StoreError):
        return tuple(root for root in candidates(store, around) if looks_like_root(store, root))
    return ()


def find_root_of(store: ObjectReader, collection_id: int, around: str = "") -> str | None:
    """The folder that holds the rows of a collection; None where none is found, or where we may not look."""
    with suppress(StoreError):
        for root in candidates(store, around):
            if holds(store, insert_folder(root, collection_id)):
                return root
    return None
