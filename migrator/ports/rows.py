"""The rows of one collection as one side holds them: keys in ascending order, page by page, and values on demand.

A side is a Milvus that has the collection loaded, or a dump, read binlog by binlog. Reading one never needs memory that
grows with the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from migrator.model.rows import Key, Value


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
