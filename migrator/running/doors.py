"""How the parts of a plan are reached, each by itself, so that one that is broken hides no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.model.finding import Part
    from migrator.ports.milvus import MilvusSource, MilvusTarget
    from migrator.ports.probe import LookAt
    from migrator.ports.store import ObjectStore
    from migrator.spec.document import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What opens a part; each call may raise a `MilvusError` or a `StoreError`."""

    open_source: Callable[[], MilvusSource]
    open_target: Callable[[], MilvusTarget]
    open_store: Callable[[Storage, str], ObjectStore]
    """With the dotted path of the storage in the plan file."""
    find_buckets: Callable[[Storage, str], tuple[str, ...] | None]
    """Those that a storage's credentials may see; None where it does not tell."""
    look_at: LookAt
    endpoints: tuple[str, ...] = ()
    """Addresses of stores that the plan file holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """A storage of a plan and the folder in it that matters.

    `field` is the dotted path of its settings, `root_field` that of the folder. For staging without a `storage` of its
    own the settings are the target's.
    """

    part: Part
    field: str
    root_field: str
    storage: Storage
    folder: str
    """Keys in it begin with that: without slashes at its ends, empty for the whole bucket."""
    is_milvus: bool
    """Whether it is the root path of a Milvus, and not a folder of dumps."""

    @property
    def place(self) -> str:
        """For a person."""
        if self.storage.bucket is None:
            return f"/{self.folder}/"
        return f"{self.storage.bucket}/{self.folder}/" if self.folder else f"{self.storage.bucket}/"
