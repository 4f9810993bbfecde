"""Where a target stands: its aliases, and whether it is loaded, as the run left it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.collection import CollectionRef, LoadState
from migrator.model.difference import Difference, DifferenceKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.collection import Collection
    from migrator.ports.milvus import MilvusReader
    from migrator.steps.load_collection import LoadCollection


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a run gave its target last: `aliases`, and how it was loaded, if it was.

    Other aliases, and a target that somebody loaded later, are no departure from it.
    """

    aliases: tuple[str, ...] = ()
    loads: LoadCollection | None = None

    def differences(self, found: Collection, target: MilvusReader) -> Iterator[Difference]:
        """How `found` departs from it."""
        for alias in self.aliases:
            if alias not in found.aliases:
                now = target.find_alias(CollectionRef(found.ref.database, alias))
                told = "no collection" if now is None else now
                yield Difference(kind=DifferenceKind.ALIAS, field=alias, source=found.ref.name, target=told)
        if self.loads is not None:
            yield from _load_differences(self.loads, found)


def _load_differences(asked: LoadCollection, found: Collection) -> Iterator[Difference]:
    if found.load_state is LoadState.NOT_LOADED:
        yield _load("", "loaded", "not loaded")
    elif found.load_state is LoadState.LOADED:
        there = {partition.name for partition in found.partitions}  # one that is missing is told of elsewhere
        for name in asked.partitions or sorted(there):
            if name in there and name not in found.loaded_partitions:
                yield _load(name, "loaded", "not loaded")
        if found.replica_number != asked.replica_number:
            yield _load("", f"{asked.replica_number} replicas", f"{found.replica_number}")


def _load(partition: str, source: str, target: str) -> Difference:
    return Difference(kind=DifferenceKind.LOAD, partition=partition, field="load state", source=source, target=target)
