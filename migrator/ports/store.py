"""What a migration asks of an object store; keys count from the bucket's root.

Every method may raise `StoreUnavailable` (worth another try), `StoreRefused`, or `ObjectMissing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Buffer

    from migrator.model.segment import StoredObject


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object as the answer told it that its bytes come with; `parts` are read once."""

    found: StoredObject
    parts: Iterator[Buffer]


class ObjectReader(Protocol):
    """Looks only."""

    @property
    def place(self) -> str:
        """Where it is, for a person: `http://127.0.0.1:9000/bucket_A`."""

    @property
    def most_copied_bytes(self) -> int | None:
        """The largest object that the service copies by itself; None is any."""

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects whose key begins with the folder `prefix`, as a stream, in no promised order."""

    def list_folders(self, prefix: str) -> tuple[str, ...]:
        """The names one level below the folder `prefix`; the empty prefix is the bucket's root."""

    def find_object(self, key: str) -> StoredObject | None: ...

    def find_beside(self, bucket: str, key: str) -> StoredObject | None:
        """The object in another bucket of the same service, as this store's own credentials see it.

        None too where the service copies within one bucket only.
        """

    def read(self, key: str) -> bytes: ...

    def stream(self, key: str, *, part_size: int) -> Iterator[bytes]:
        """The object's bytes in parts of about `part_size`, never held in memory as a whole."""

    def fetch(self, key: str, *, part_size: int) -> Fetched:
        """The same, with what the object is at that moment: one request tells both."""

    def server_path(self, key: str) -> str:
        """How a Milvus that uses this store names the key: the key itself, or the absolute path of a local one."""


class ObjectStore(ObjectReader, Protocol):
    """Writes too."""

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> bool:
        """Put the object; with `create_only` False comes back where the key is taken already."""

    def write_stream(self, key: str, parts: Iterable[Buffer], *, multipart: bool, part_size: int) -> str | None:
        """Put an object of any size; the ETag that the store gave it, where it tells."""

    def copy_inside(self, source_key: str, key: str) -> None:
        """Let the service copy the object; nothing passes through here."""

    def copy_from(self, bucket: str, source_key: str, key: str) -> None:
        """Let the service copy an object out of another of its buckets, which `find_beside` has shown."""

    def sweep(self, prefix: str) -> None:
        """Remove what killed writes of ours left below the folder, where a store leaves such things."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; one that is not there counts as removed."""

    def drop_empty_folders(self, prefix: str) -> None:
        """Remove the folder and those in it as far as they are empty, where a store has such things."""
