"""Shards: parts of a step that another machine may do, and do twice without harm; and what it answers.

They name stores and servers by their role in the plan. Where those are and as whom they are asked is said beside them,
by references, never by a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from migrator.model.collection import Collection, CollectionSchema
from migrator.model.difference import Differences
from migrator.model.rows import Key
from migrator.model.segment import StoredObject


class StoreRole(StrEnum):
    """A store of a plan."""

    SOURCE = "source"
    STAGING = "staging"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Cargo:
    """An object as it was when it was listed, and the key it is brought to; without an ETag its size tells it."""

    origin: StoredObject
    key: str

    def is_still(self, found: StoredObject) -> bool:
        """Whether what was found is the listed object."""
        if self.origin.etag is None:
            return found.size_bytes == self.origin.size_bytes
        return found == self.origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyShard:
    """Objects to be streamed from one store to another, `concurrency` at a time; sizes are bytes."""

    origin: StoreRole
    destination: StoreRole
    cargo: tuple[Cargo, ...]
    part_size: int
    multipart_threshold: int
    concurrency: int
    limit_bytes_per_s: int | None

    @property
    def size_bytes(self) -> int:
        """Of all its objects."""
        return sum(each.origin.size_bytes for each in self.cargo)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFailure:
    """Why a shard came to no end: an error by the name of its class; or an object that is not what was listed."""

    kind: str
    message: str
    hint: str = ""
    key: str = ""
    """Of the object that has the `fate` to have `vanished` or `changed`."""
    fate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyAnswer:
    """Which objects of a shard, by their numbers in it, were seen to have arrived."""

    landed: tuple[int, ...] = ()
    failure: ShardFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesShard:
    """Rows whose values are compared, of two loaded collections, in the fields of `schema`."""

    source_is: Collection
    target_is: Collection
    schema: CollectionSchema
    level: str
    """How deep is compared."""
    partition: str
    keys: tuple[Key, ...]
    named_before: int
    """Values that differ and were told of; beyond a bound they are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesAnswer:
    """What was found of a shard's rows; with a `failure`, nothing."""

    repeated: int = 0
    routed: int = 0
    differences: Differences = field(default_factory=Differences)
    failure: ShardFailure | None = None
