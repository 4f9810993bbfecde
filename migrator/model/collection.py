"""What a collection is: its name, schema, partitions and indexes, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

DEFAULT_DATABASE = "default"

KeyValues = tuple[tuple[str, str], ...]
"""Key/value pairs in the order the server gave them."""


@dataclass(frozen=True, slots=True, order=True)
class CollectionRef:
    """A collection's full name."""

    database: str
    name: str

    @classmethod
    def parse(cls, text: str) -> CollectionRef:
        """Read `[database.]collection`; without a database it is `default`."""
        database, dot, name = text.partition(".")
        return cls(database, name) if dot else cls(DEFAULT_DATABASE, text)

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"

    @property
    def short(self) -> str:
        """The name as a user would write it: without the database where that is `default`."""
        return self.name if self.database == DEFAULT_DATABASE else str(self)
