"""The rows of one collection as one side holds them: keys in ascending order, page by page, and values on demand.

A side is a Milvus that has the collection loaded, or a dump, read binlog by binlog. Reading one never needs memory that
grows with the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from migrator.model.collection import Collection, CollectionSchema
from migrator.model.rows import Key, Value
from migrator.model.segment import Binlog, Segment
from migrator.ports.store import ObjectReader


class RowSource(Protocol):
    """Rows of one collection.

    `partition` is a partition's name, or `counting.WHOLE` where rows can only be read together (partition key). Values
    come in the order of `field_names`; the dynamic field is called `$meta`.

    Every method may raise `MilvusUnavailable` or `StoreUnavailable` (worth another try).
    """

    @property
    def place(self) -> str:
        """Where the rows are read, for a person."""

    @property
    def field_names(self) -> tuple[str, ...]:
        """What values are told of: every field but the primary key, `$meta` last where the schema is dynamic."""

    def keys(self, partition: str, *, after: Key | None = None) -> Iterator[Sequence[Key]]:
        """Pages of keys in ascending order, from behind `after` on; each key once, however often it is there."""

    def prints(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, tuple[bytes, ...]]:
        """Fingerprints (`rows.print_of`) of the values of those of `keys` that are there."""

    def values(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, tuple[Value, ...]]:
        """The values themselves; for few keys."""

    def copies(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, int]:
        """How often each of a few keys is there: Milvus does not refuse a key that it has already."""

    def count(self, partition: str, keys: Sequence[Key]) -> int:
        """How many rows have one of many keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """The binlogs of one collection, and where they lie.

    Its rows are those up to `end_ts` (hybrid, cut to its millisecond as an import cuts it), less those that a delete up
    to there took in the same segment.
    """

    collection: Collection
    place: str
    """For a person."""
    store: ObjectReader
    binlogs: Iterable[Binlog]
    key_of: Callable[[Binlog], str]
    """Where in `store` a binlog lies."""
    end_ts: int
    grouped_segments: frozenset[int] = frozenset()
    """Those of storage v2, whose files hold groups of columns."""


class ReadingReport(Protocol):
    """How reading a dump says how far it is, in objects; whoever wants it to stop, raises."""

    def __call__(self, done: int, total: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class L0Deletes:
    """The delta logs of L0 segments of a collection, and where they lie, up to `end_ts` (hybrid)."""

    schema: CollectionSchema
    store: ObjectReader
    binlogs: Iterable[Binlog]
    key_of: Callable[[Binlog], str]
    """Where in `store` a binlog lies, be it one of them or of a segment that they apply to."""
    end_ts: int


class FoldedDeletes(Protocol):
    """Deletes of L0 segments by key, for the segments that they apply to."""

    later: int
    """How many were left out, being newer than the bound."""

    def logs_of(self, segment: Segment, binlogs: Iterable[Binlog], *, written_ts: int) -> Iterator[bytes]:
        """Delta logs with those deletes whose keys a segment has, by its insert logs; none where it has none.

        Raises:
            BinlogUnreadable: Its keys cannot be read.
        """


class DumpReader(Protocol):
    """Reads the rows of dumps."""

    @property
    def missing(self) -> str:
        """What has to be done before it can, for a person; empty where it can."""

    def open(
        self, dump: Dump, *, wants: Callable[[Key], bool], report: ReadingReport
    ) -> AbstractContextManager[RowSource]:
        """Read a dump through, keeping fingerprints of the rows whose key `wants` selects; the others' cost more.

        What it keeps lies on disk and is removed at the end, whichever that is. Where one key is there several times,
        the row of the highest timestamp is told of.

        Raises:
            BinlogUnreadable: A binlog is damaged, or of a format that is not known here.
            RunError: There is no room on the disk.
        """

    def fold(self, deletes: L0Deletes) -> AbstractContextManager[FoldedDeletes]:
        """Read deletes of L0 segments; what it keeps lies on disk and is removed at the end.

        Raises:
            BinlogUnreadable: A delta log is damaged, or of a form that is not known here.
            RunError: There is no room on the disk.
        """
