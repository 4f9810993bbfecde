"""What stands against restoring a backup into a target of some version, before any of its files is looked at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from migrator.model.backup_doubts import repeated_segments, unknown_members
from migrator.model.backup_meta import SNAPSHOT
from migrator.model.capabilities import capabilities, parse_version
from migrator.model.collection import DEFAULT_DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.backup_meta import BackupInfo, CollectionBackup

_LINE = re.compile(r"v?(\d+)\.(\d+)([.-].*)?")
"""The line in a version: `v2.3.5`, `2.6-20260801-abc`."""


def unrestorable(info: BackupInfo, target_version: str) -> Iterator[str]:
    """Why the backup as a whole cannot be restored there; a version that is not recorded is none too new."""
    if info.format == SNAPSHOT:
        yield "the backup is of snapshots, which only Milvus 3.0 restores, and not of binlogs"
    elif info.format:
        yield f"the backup is of the format {info.format!r}, which this version of migrator does not know"
    if encrypted := [each.db_name for each in info.database_backups if each.ezk]:
        yield f"its database {encrypted[0]} is encrypted, which comes with Milvus 2.6"
    target = parse_version(target_version)
    if not info.milvus_version or target is None:
        return
    found = _LINE.fullmatch(info.milvus_version)
    if found is None:
        yield f"the backup was made by a Milvus {info.milvus_version!r}, which cannot be read as a version"
    elif (int(found[1]), int(found[2])) > target[:2]:
        yield (
            f"the backup was made by Milvus {info.milvus_version}, and the target is {target_version}: an older line "
            f"cannot read what a newer one wrote"
        )


def left_behind(info: BackupInfo, *, wants_access: bool) -> Iterator[str]:
    """What of the backup as a whole does not come along, or is not there."""
    for each in info.database_backups:
        if each.properties:
            told = ", ".join(f"{pair.key}={pair.value}" for pair in each.properties)
            name = each.db_name or DEFAULT_DATABASE
            yield f"properties of database {name} do not come along, since Milvus 2.3 has none: {told}"
    if wants_access and not info.rbac_meta.is_told:
        yield "the backup holds no users, roles and grants"
    if groups := [group.group_name for group in info.rbac_meta.privilege_groups] if wants_access else []:
        yield f"privilege groups do not come along, since they come with Milvus 2.5: {', '.join(groups)}"


def doubts(info: CollectionBackup) -> Iterator[str]:
    """What a person should know of a collection's meta that can be restored all the same."""
    if info.has_index and not info.index_infos:
        yield "the backup says that it had indexes, and not which: none comes along"
    if repeated := repeated_segments(info):
        yield f"segments that the backup's meta names more than once: {repeated:,}; their rows come once"
    if unknown := unknown_members(info):
        yield f"this version does not know, and leaves behind, what its meta says of {', '.join(unknown)}"


def unrestorable_collection(info: CollectionBackup, target_version: str) -> Iterator[str]:
    """Why one collection of it cannot be restored there."""
    target = capabilities(target_version)
    written = {segment.storage_version for segment in info.segments} | {0}
    for newer in sorted(written - target.storage_versions_readable):
        yield f"its files are of storage version {newer}, which the target, {target_version}, cannot import"
    if info.snapshot_backup.metadata_path:
        yield "it is backed up as a snapshot, which only Milvus 3.0 restores"
