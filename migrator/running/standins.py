"""What stands for a part of a plan that is broken, so that the rest can be looked at: empty, and never written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.errors import ObjectMissing
from migrator.model.collection import DEFAULT_DATABASE
from migrator.model.rbac import Rbac

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.collection import Collection, CollectionRef, ResourceGroup
    from migrator.model.segment import StoredObject
    from migrator.ports.store import Fetched


class EmptyStore:
    """A bucket without an object."""

    place = "a store that is not looked at"
    most_copied_bytes: int | None = None

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:  # noqa: ARG002 - of the protocol
        """None."""
        return iter(())

    def list_folders(self, prefix: str) -> tuple[str, ...]:  # noqa: ARG002 - of the protocol
        """None."""
        return ()

    def find_object(self, key: str) -> StoredObject | None:  # noqa: ARG002 - of the protocol
        """None."""
        return None

    def find_beside(self, bucket: str, key: str) -> StoredObject | None:  # noqa: ARG002 - of the protocol
        """None."""
        return None

    def read(self, key: str) -> bytes:
        """Refused."""
        raise ObjectMissing(f"{key} is not in {self.place}")

    def stream(self, key: str, *, part_size: int) -> Iterator[bytes]:  # noqa: ARG002 - of the protocol
        """Refused."""
        raise ObjectMissing(f"{key} is not in {self.place}")

    def fetch(self, key: str, *, part_size: int) -> Fetched:  # noqa: ARG002 - of the protocol
        """Refused."""
        raise ObjectMissing(f"{key} is not in {self.place}")

    def server_path(self, key: str) -> str:
        """The key."""
        return key


class EmptyMilvus:
    """A server of the source's version without a collection: what a plan asks of a target."""

    uri = "a Milvus that is not looked at"

    def __init__(self, version: str) -> None:
        self._version = version

    def version(self) -> str:
        """As it was told."""
        return self._version

    def list_databases(self) -> tuple[str, ...]:
        """The one that is always there."""
        return (DEFAULT_DATABASE,)

    def list_collections(self, database: str) -> tuple[str, ...]:  # noqa: ARG002 - of the protocol
        """None."""
        return ()

    def list_aliases(self, database: str) -> tuple[str, ...]:  # noqa: ARG002 - of the protocol
        """None."""
        return ()

    def find_collection(self, ref: CollectionRef) -> Collection | None:  # noqa: ARG002 - of the protocol
        """None."""
        return None

    def list_resource_groups(self) -> tuple[ResourceGroup, ...]:
        """Not told."""
        return ()

    def read_rbac(self) -> Rbac:
        """Nobody."""
        return Rbac()
