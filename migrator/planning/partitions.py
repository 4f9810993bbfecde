"""Which partitions of a collection come along."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.model.collection import Collection

ALL = ("*",)


def with_chosen_partitions(patterns: Sequence[str], collection: Collection) -> Collection:
    """The collection as if it had no partitions but those some pattern matches; with a partition key, as it is."""
    if tuple(patterns) == ALL or collection.schema.has_partition_key:
        return collection
    names = [each.name for each in collection.partitions if any(fnmatchcase(each.name, p) for p in patterns)]
    return collection.only(names)


def partition_faults(patterns: Sequence[str], collection: Collection) -> Iterator[tuple[str, str]]:
    """What is wrong with the choice, each with a hint."""
    if tuple(patterns) == ALL:
        return
    if collection.schema.has_partition_key:
        yield (
            f"a partition subset of the partition-key collection {collection.ref.short}: rows are placed by a hash",
            "remove partitions, or exclude the collection",
        )
        return
    names = [partition.name for partition in collection.partitions]
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"{collection.ref.short} has no partition {pattern}", f"it has: {listed}"
