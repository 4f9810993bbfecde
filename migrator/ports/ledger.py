"""What a run remembers: the notes of its steps and the frozen listings, durable before a method returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from migrator.model.segment import Binlog, Segment, StoredObject

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTotals:
    """What a segment holds in the frozen listing."""

    segment: Segment
    insert_objects: int
    delta_objects: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingTotals:
    """A frozen listing summed up; the copied part of it too."""

    segments: int = 0
    rows: int = 0
    objects: int = 0
    size_bytes: int = 0
    copied_objects: int = 0
    copied_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StagedDifference:
    """Where the dump is not the frozen listing; `suffix` counts from `binlogs/`, sizes are None where absent."""

    suffix: str
    wanted_bytes: int | None
    found_bytes: int | None


class LedgerReader(Protocol):
    """Looks only."""

    def notes(self, step_key: str) -> Mapping[str, JsonValue]:
        """All that was noted under a step, over all its attempts; a later note of a name replaces an earlier."""

    def is_finished(self, step_key: str) -> bool: ...

    def totals(self, collection_id: int) -> ListingTotals: ...

    def segments(self, collection_id: int) -> Iterator[SegmentTotals]:
        """The frozen segments by partition and id."""

    def binlogs(self, collection_id: int, *, segment_id: int | None = None) -> Iterator[Binlog]:
        """The frozen binlogs by key; of one segment, or of all."""

    def uncopied(self, collection_id: int) -> Iterator[Binlog]:
        """Those of the frozen listing that no copy was noted for."""

    def compare_forwarded(
        self, collection_id: int, found: Iterable[StoredObject], *, partition_id: int | None = None
    ) -> tuple[StagedDifference, ...]:
        """Hold objects of another place than the dump, keyed by suffix, against the frozen binlogs, by their sizes."""

    def unforwarded(self, collection_id: int, found: Iterable[StoredObject]) -> Generator[Binlog]:
        """The frozen binlogs that are not among those objects with their size."""

    def superseded(self, collection_id: int) -> Iterator[str]:
        """Suffixes that earlier listings of the collection had, and the present one has not."""

    def lost(self, collection_id: int) -> Iterator[str]:
        """Source keys of those superseded binlogs whose segment is in the present listing."""


class Ledger(LedgerReader, Protocol):
    """Writes too."""

    def note(self, step_key: str, values: Mapping[str, JsonValue]) -> None: ...

    def freeze(self, collection_id: int, segments: Iterable[Segment], binlogs: Iterable[Binlog]) -> None:
        """Replace the collection's listing, all or nothing; only before its first import.

        The segments are asked for when all binlogs are written.
        """

    def leave_out(self, collection_id: int, binlogs: Iterable[Binlog]) -> None:
        """Take binlogs out of the listing again: they belong to no segment."""

    def unfold(self, collection_id: int) -> None:
        """Take the delta logs that this run made out of the listing: they are superseded."""

    def note_folding(self, collection_id: int, binlog: Binlog) -> None:
        """Note that a delta log is going to be written into the dump: as long as it is not folded, it is superseded."""

    def note_folded(self, collection_id: int, binlogs: Iterable[Binlog]) -> None:
        """Add delta logs that were made of deletes of L0 segments, and lie in the dump; their sources have no key."""

    def note_copied(self, collection_id: int, copied: Iterable[Binlog]) -> None: ...

    def changed_at_source(self, collection_id: int, found: Iterable[StoredObject]) -> tuple[str, ...]:
        """Keys that are frozen and have another size or ETag now; at most five."""

    def compare_staged(
        self,
        collection_id: int,
        staged: Iterable[StoredObject],
        *,
        partition_id: int | None = None,
        forget_missing: bool = False,
    ) -> tuple[StagedDifference, ...]:
        """Hold the dump's objects, keyed by suffix, against the frozen binlogs; at most five differences.

        ETags are noted when first seen, and have to stay. With `forget_missing`, copies that do not lie there as noted
        count as not made.
        """
