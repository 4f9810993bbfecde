"""What a backup answers beyond what a Milvus does; a reader of this kind has no server behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from migrator.model.backup_meta import CollectionBackup
    from migrator.model.collection import CollectionRef


@runtime_checkable
class BackupReader(Protocol):
    """A source that is a backup: its rows cannot be counted, nor can it be flushed."""

    def get_backup(self, ref: CollectionRef) -> CollectionBackup:
        """What the backup's meta files say of a collection."""
