"""Rows counted at both sides, partition by partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import MilvusRefused
from migrator.model.collection import LoadState
from migrator.ports.backup import as_backup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.model.collection import Collection, CollectionRef
    from migrator.ports.milvus import MilvusReader

WHOLE = "*"
"""Stands for all partitions where rows can only be counted together (partition key)."""


def count_partitions(milvus: MilvusReader, collection: Collection) -> dict[str, int]:
    """`count(*)` of each loaded partition, or of `WHOLE` where Milvus forbids naming partitions.

    Empty where nothing is loaded, of a Milvus that cannot count, and of a backup, which has no server to ask.
    """
    if not collection.loaded_partitions or as_backup(milvus) is not None or not milvus.can_count:
        return {}
    if collection.schema.has_partition_key:
        return {WHOLE: milvus.count_rows(collection.ref)}
    return {name: milvus.count_rows(collection.ref, name) for name in collection.loaded_partitions}


def count_named(milvus: MilvusReader, ref: CollectionRef) -> dict[str, int]:
    """The same by name; empty for a collection that is gone, or refuses to be counted."""
    try:
        if milvus.load_state(ref) is not LoadState.LOADED:
            return {}
        found = milvus.find_collection(ref)
        return {} if found is None else count_partitions(milvus, found)
    except MilvusRefused:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionCount:
    """Rows of one partition at both sides; None where a side could not be asked."""

    partition: str
    source_rows: int | None
    target_rows: int | None

    @property
    def differs(self) -> bool:
        """Whether both were counted, and are not equal."""
        return None not in (self.source_rows, self.target_rows) and self.source_rows != self.target_rows


def compare_counts(source: Mapping[str, int], target: Mapping[str, int]) -> tuple[PartitionCount, ...]:
    """Both sides by partition, in the order of their names."""
    return tuple(
        PartitionCount(partition=name, source_rows=source.get(name), target_rows=target.get(name))
        for name in sorted(source.keys() | target.keys())
    )


def difference(counts: tuple[PartitionCount, ...], source: CollectionRef, target: CollectionRef) -> str:
    """The first difference in a sentence, empty where there is none."""
    for count in counts:
        if count.differs:
            part = "" if count.partition == WHOLE else f" partition {count.partition!r}:"
            return (
                f"{source.short} and {target.short} differ:{part} {count.source_rows:,} rows at the source, "
                f"{count.target_rows:,} at the target"
            )
    return ""
