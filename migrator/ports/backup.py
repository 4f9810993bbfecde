"""What a backup answers beyond what a Milvus does; a reader of this kind has no server behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from migrator.model.backup_meta import BackupInfo, CollectionBackup
    from migrator.model.collection import CollectionRef
    from migrator.ports.milvus import MilvusReader


class BackupReader(Protocol):
    """A source that is a backup: its rows cannot be counted, nor can it be flushed."""

    @property
    def info(self) -> BackupInfo:
        """All that the backup's meta files say."""

    def get_backup(self, ref: CollectionRef) -> CollectionBackup:
        """What they say of one collection."""


def as_backup(milvus: MilvusReader) -> BackupReader | None:
    """The reader, if it is of a backup; None for one of a server."""
    return cast("BackupReader", milvus) if callable(getattr(milvus, "get_backup", None)) else None
