"""What differs between versions of Milvus, in one table.

Like all comments such as `# D.4` here, it cites paragraphs of the facts that were read in the servers' source.

Releases go on in several lines at once, so a behaviour has one first release in each line it was brought to: with
`("2.4.24", "2.5.6", "2.6.0")` 2.5.0 does not have it, though it is younger than 2.4.24.
"""

from __future__ import annotations

from dataclasses import dataclass

Release = tuple[int, int, int]


def release_of(text: str) -> Release:
    """Three numbers of `2.5.20`, `v2.5.20` or `3.0.x`; what is no number counts as 0."""
    parts = [*text.removeprefix("v").split("-")[0].split("."), "", ""][:3]
    first, second, third = (int(part) if part.isdigit() else 0 for part in parts)
    return first, second, third


@dataclass(frozen=True, slots=True)
class Rule:
    """One behaviour: where it is described, the first release of each line that has it, and where it ended."""

    fact: str
    since: tuple[str, ...]
    until: tuple[str, ...] = ()

    def holds(self, release: Release) -> bool:
        """Whether that release behaves so."""
        return _reached(self.since, release) and not _reached(self.until, release)


def _reached(firsts: tuple[str, ...], release: Release) -> bool:
    lines = {first[:2]: first for first in map(release_of, firsts)}
    if release[:2] in lines:
        return release >= lines[release[:2]]
    return bool(lines) and release[:2] > max(lines)


_ALWAYS = ("2.4.0",)

RULES: dict[str, Rule] = {
    # of imports
    "answers_200": Rule("E.3", _ALWAYS, ("2.4.1",)),
    "describe_job": Rule("E.3", ("2.4.13",)),
    "create_time": Rule("E.3", ("2.6.6",)),
    "request_timeout": Rule("E.3", ("2.5.0",)),
    "l0_import": Rule("E.4", ("2.4.5",)),
    "skip_disk_quota_check": Rule("E.4", ("2.4.7",)),
    "storage_version": Rule("E.4", ("2.6.0",)),
    "auto_commit": Rule("E.4", ("3.0.0",)),
    "hybrid_bounds": Rule("B.5", ("2.4.24", "2.5.6", "2.6.0")),
    "l0_bounds": Rule("B.5", ("2.6.0",)),
    "several_l0_segments": Rule("D.3.7", ("2.6.5",)),
    "l0_import_off": Rule("E.5", ("3.0.0",)),
    "limits_jobs": Rule("E.5", ("2.4.14",)),
    "fills_missing": Rule("D.3.5", ("2.6.0",)),
    "ignores_extra": Rule("D.3.5", ("2.6.0",)),
    "keeps_row_ts": Rule("E.6", ("2.4.5",)),
    "commit_ts": Rule("E.6", ("3.0.0",)),
    "lost_struct_allowed": Rule("D.3.5", ("3.0.0",)),
    "reads_plain_deltas": Rule("D.2", ("3.0.0",)),
    # of segments
    "segments_describe": Rule("C.2", ("2.5.8",)),
    "tells_level": Rule("C.1", ("2.4.7",)),
    "tells_sorted": Rule("C.1", ("2.5.0",)),
    "tells_storage_version": Rule("C.1", ("2.6.0",)),
    "writes_v2": Rule("D.2", ("2.6.0",)),
    "writes_plain_deltas": Rule("D.2", ("3.0.0",)),
    "l0_compaction": Rule("C.4", ("2.6.3",)),
    "gc_ticket": Rule("C.3", ("2.6.8",)),
    "channel_cps": Rule("B.2", ("2.4.2",)),
    "flush_all_broadcast": Rule("B.3", ("2.6.8",)),
    "flush_targets": Rule("B.3", ("2.5.19", "2.6.3")),
    # of collections
    "sixteen_partitions": Rule("A.5", ("2.4.2",)),
    "nullable": Rule("A.2", ("2.5.0",)),
    "functions": Rule("A.2", ("2.5.0",)),
    "struct_arrays": Rule("A.2", ("2.6.0",)),
    "user_struct_names": Rule("A.2", ("2.6.4",)),
    "schema_properties": Rule("A.2", ("2.5.18", "2.6.0")),
    "external_collections": Rule("A.2", ("3.0.0",)),
    "database_id": Rule("A.2", ("3.0.0",)),
    "update_ts_text": Rule("A.2", ("2.5.0",)),
    "timestamptz_text": Rule("A.2", ("2.6.6",)),
    "max_field_id": Rule("A.4", ("3.0.0",)),
    "nullable_meta": Rule("A.4", ("2.6.8",)),
    "disable_func_runtime_check": Rule("E.6", ("2.6.8",)),
    "late_dynamic_field": Rule("A.4", ("2.6.0",)),
    "snapshot_export": Rule("G.1", ("3.0.1",)),
    "privilege_groups": Rule("H", ("2.5.0",)),
    "wildcard_grants": Rule("H", ("3.0.0",)),
    "text_needs_v3": Rule("D.2", ("3.0.0",)),
}

DATA_TYPES: dict[int, tuple[str, ...]] = {  # A.3: first appearance of a type
    **dict.fromkeys((1, 2, 3, 4, 5, 10, 11, 21, 22, 23, 100, 101), _ALWAYS),
    **dict.fromkeys((102, 103, 104), _ALWAYS),
    **dict.fromkeys((24, 26, 105, 106, 200, 201), ("2.6.0",)),
    25: ("3.0.0",),
}

_SINCE: dict[tuple[str, ...], tuple[str, ...]] = {  # A.1: first releases -> the calls that came with them
    _ALWAYS: (
        "Connect GetVersion CheckHealth GetComponentStates GetMetrics AllocTimestamp",
        "ListDatabases CreateDatabase DropDatabase",
        "CreateCollection DropCollection HasCollection RenameCollection DescribeCollection ShowCollections",
        "AlterCollection GetCollectionStatistics",
        "CreatePartition DropPartition HasPartition ShowPartitions GetPartitionStatistics",
        "CreateAlias AlterAlias DropAlias DescribeAlias ListAliases",
        "CreateIndex DropIndex DescribeIndex AlterIndex GetIndexStatistics GetIndexState GetIndexBuildProgress",
        "LoadCollection LoadPartitions ReleaseCollection ReleasePartitions GetLoadState GetLoadingProgress GetReplicas",
        "ListResourceGroups DescribeResourceGroup",
        "Insert Upsert Delete Query Search",
        "Flush GetFlushState FlushAll GetFlushAllState GetPersistentSegmentInfo GetQuerySegmentInfo",
        "ManualCompaction GetCompactionState GetCompactionStateWithPlans",
        "Import GetImportState ListImportTasks",
        "CreateCredential UpdateCredential DeleteCredential ListCredUsers CreateRole DropRole OperateUserRole",
        "SelectRole SelectUser OperatePrivilege SelectGrant",
    ),
    ("2.4.3",): ("DescribeDatabase AlterDatabase",),
    ("2.4.9",): ("BackupRBAC RestoreRBAC",),
    ("2.4.18",): ("AlterCollectionField",),
    ("2.4.24", "2.5.0"): ("ListPrivilegeGroups",),
    ("2.5.0",): ("CreatePrivilegeGroup DropPrivilegeGroup OperatePrivilegeGroup OperatePrivilegeV2",),
    ("2.6.0",): ("AddCollectionField",),
    ("2.6.8",): ("AddCollectionFunction AlterCollectionFunction DropCollectionFunction TruncateCollection",),
    ("3.0.0",): (
        "AlterCollectionSchema AddCollectionStructField CreateSnapshot DropSnapshot ListSnapshots DescribeSnapshot",
        "RestoreSnapshot GetRestoreSnapshotState ListRestoreSnapshotJobs PinSnapshotData UnpinSnapshotData",
        "ExportSnapshot GetExportSnapshotState RestoreExternalSnapshot",
    ),
}
CALLS = {name: since for since, lines in _SINCE.items() for line in lines for name in line.split()}

MAX_FILES = 1024  # E.5: dataCoord.import.maxImportFileNumPerReq
MAX_JOBS = 1024  # E.5: dataCoord.import.maxImportJobNum
MAX_WINDOW = 16_384  # limit and offset of a query together, measured on 2.3.5
COLLECTION_FLUSH_S = 10.0  # B.2: quotaAndLimits.flushRate.collection.max is 0.1 per second
RETENTION_S = 10_800.0  # E.5: dataCoord.import.taskRetention
REQUEST_TIMEOUT_S = 30.0  # E.3: proxy.http.requestTimeoutMs


@dataclass(frozen=True, slots=True)
class Rules:
    """The table as one version reads it."""

    version: str

    def has(self, name: str) -> bool:
        """Whether this version behaves so; a name that is not in the table is a KeyError."""
        return RULES[name].holds(release_of(self.version))

    def has_call(self, name: str) -> bool:
        """Whether its server knows the gRPC call."""
        return name in CALLS and _reached(CALLS[name], release_of(self.version))

    def has_type(self, number: int) -> bool:
        """Whether a field may be of that type."""
        return number in DATA_TYPES and _reached(DATA_TYPES[number], release_of(self.version))
