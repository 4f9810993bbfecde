"""What each Milvus can do, by version: the one table that everything else asks.

A row says what holds from which release on, why it is believed, and how far it was tried. Releases are told in their
total order, so a feature that came to two lines is told of each: `end_ts` is hybrid from 2.4.24 on, in milliseconds
again in 2.5.0, and hybrid from 2.5.6 on. `docs/compatibility.md` is made of this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from migrator.model.collection import DataType

if TYPE_CHECKING:
    from collections.abc import Callable

Version = tuple[int, int, int]
Line = tuple[int, int]

LINES: tuple[Line, ...] = ((2, 2), (2, 3), (2, 4), (2, 5), (2, 6), (3, 0))
"""The lines that are known; a feature of a later one is not."""
_NEWEST_PATCH = 9999
_RELEASE = re.compile(r"v?(\d+)\.(\d+)\.(\d+)([.-].*)?")
"""`v2.3.5`, `2.3.5-lite`, `2.6.12.1`."""
_BEFORE_RELEASE = re.compile(r"v?[\d.]+-?(alpha|beta|rc).*", re.IGNORECASE)
"""What came before a release, whose files are its own: `2.6.0-rc1`."""
_OF_A_LINE = re.compile(r"v?(\d+)\.(\d+)-\d.*")
"""A build in development, `2.6-20260801-abc`."""


class Proof(StrEnum):
    """How a statement about a version was verified."""

    TESTED = "tested"
    """Observed on a real server, 2.2.16 or 2.3.5."""
    DOUBLE = "double"
    """Read in the source of the server, and tried against a double that was written from the same reading."""
    SOURCE = "source"
    """Read in the source of the server."""
    INFERRED = "inferred"
    """Follows from what was read; to be checked on a live server."""


class ImportApi(StrEnum):
    """What an import is asked for over."""

    GRPC = "gRPC"
    REST = "REST v2"


class BoundUnit(StrEnum):
    """What `end_ts` of an import is told in."""

    MILLISECONDS = "ms"
    HYBRID = "hybrid"


class DescribeCall(StrEnum):
    """The last part of the path that tells of one import job."""

    GET_PROGRESS = "get_progress"
    DESCRIBE = "describe"


@dataclass(frozen=True, slots=True)
class Step:
    """From release `since` on, until the next step, it is `value`."""

    since: Version
    value: Any
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One capability over all releases; `fact` names the section of the collected facts that it rests on."""

    name: str
    meaning: str
    fact: str
    steps: tuple[Step, ...]

    def at(self, version: Version) -> Step:
        """What holds for a release; before the first that is known, the same as for that."""
        return next((step for step in reversed(self.steps) if step.since <= version), self.steps[0])


_TESTED, _DOUBLE, _SOURCE, _INFERRED = Proof.TESTED, Proof.DOUBLE, Proof.SOURCE, Proof.INFERRED


def _row(meaning: str, fact: str, *steps: tuple[str, Any, Proof]) -> dict[str, Any]:
    """The metadata of a field; its steps go by release."""
    told = tuple(Step(release_of(since), value, proof) for since, value, proof in steps)
    return {"meaning": meaning, "fact": fact, "steps": told}


def release_of(text: str) -> Version:
    """The version of a text that surely is one."""
    first, second, third = (int(part) for part in text.split("."))
    return first, second, third


def parse_version(text: str) -> Version | None:
    """Three numbers, or None where the text has no such form; a build in development is the newest of its line."""
    if _BEFORE_RELEASE.fullmatch(text):
        return None
    if found := _RELEASE.fullmatch(text):
        return int(found[1]), int(found[2]), int(found[3])
    if found := _OF_A_LINE.fullmatch(text):
        return int(found[1]), int(found[2]), _NEWEST_PATCH
    return None


def version_text(told: str) -> str:
    """How a version is shown: three numbers, or what the server said where it is no release."""
    found = None if _BEFORE_RELEASE.fullmatch(told) else _RELEASE.fullmatch(told)
    return ".".join(found.groups()[:3]) if found else told.removeprefix("v")


_BASIC = frozenset(
    {
        *(DataType.BOOL, DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64),
        *(DataType.FLOAT, DataType.DOUBLE, DataType.VARCHAR, DataType.JSON),
        *(DataType.BINARY_VECTOR, DataType.FLOAT_VECTOR),
    }
)
_OF_2_3 = _BASIC | {DataType.ARRAY}
_OF_2_4 = _OF_2_3 | {DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.SPARSE_FLOAT_VECTOR}
_OF_2_6 = _OF_2_4 | {
    *(DataType.INT8_VECTOR, DataType.GEOMETRY, DataType.TIMESTAMPTZ),
    *(DataType.ARRAY_OF_VECTOR, DataType.ARRAY_OF_STRUCT, DataType.STRUCT),
}
_OF_3_0 = _OF_2_6 | {DataType.TEXT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a Milvus of one version can do."""

    # -- telling ----------------------------------------------------------------------------------------------------

    describes_databases: bool = field(
        metadata=_row(
            "DescribeDatabase and database properties",
            "A.1",
            ("2.2.0", False, _SOURCE),
            ("2.4.3", True, _DOUBLE),
        )
    )
    can_count: bool = field(
        metadata=_row("answers count(*)", "live §2", ("2.2.0", False, _TESTED), ("2.3.0", True, _TESTED))
    )
    writes_deletes_at_flush: bool = field(
        metadata=_row(
            "a flush surely writes the deletes of flushed rows, and tells its cut",
            "B.2",
            ("2.2.0", False, _TESTED),
            ("2.3.2", True, _TESTED),
        )
    )
    tells_flush_checkpoints: bool = field(
        metadata=_row(
            "a flush tells the channels' checkpoints",
            "B.2",
            ("2.2.0", False, _SOURCE),
            ("2.3.15", True, _SOURCE),
            ("2.4.0", False, _SOURCE),
            ("2.4.2", True, _SOURCE),
        )
    )
    has_l0_segments: bool = field(
        metadata=_row("keeps deletes in L0 segments", "C.1", ("2.2.0", False, _TESTED), ("2.4.0", True, _DOUBLE))
    )
    reports_level: bool = field(
        metadata=_row("tells a segment's level", "C.1", ("2.2.0", False, _TESTED), ("2.4.7", True, _DOUBLE))
    )
    reports_storage_version: bool = field(
        metadata=_row("tells a segment's storage version", "C.1", ("2.2.0", False, _TESTED), ("2.6.0", True, _DOUBLE))
    )
    segments_describe: bool = field(
        metadata=_row(
            "tells a segment's valid log ids (REST segments/describe)",
            "C.2",
            ("2.2.0", False, _SOURCE),
            ("2.5.8", True, _DOUBLE),
        )
    )
    backs_up_rbac: bool = field(
        metadata=_row("BackupRBAC and RestoreRBAC", "A.1", ("2.2.0", False, _SOURCE), ("2.4.9", True, _SOURCE))
    )

    # -- keeping ----------------------------------------------------------------------------------------------------

    default_storage_version: int = field(
        metadata=_row(
            "storage version that it writes unless told otherwise (0 stands for v1)",
            "D.2",
            ("2.2.0", 0, _TESTED),
            ("2.6.0", 2, _DOUBLE),
        )
    )
    writes_plain_deltas: bool = field(
        metadata=_row("delta logs are plain parquet", "D.2", ("2.2.0", False, _TESTED), ("3.0.0", True, _SOURCE))
    )
    compacts_l0: bool = field(
        metadata=_row("compacts L0 segments when asked to", "C.4", ("2.2.0", False, _SOURCE), ("2.6.3", True, _SOURCE))
    )
    pauses_gc: bool = field(
        metadata=_row(
            "pauses its garbage collection when asked to", "C.3", ("2.2.0", False, _SOURCE), ("2.3.4", True, _TESTED)
        )
    )
    tickets_gc_pauses: bool = field(
        metadata=_row(
            "gives a ticket for a pause of garbage collection",
            "C.3",
            ("2.2.0", False, _SOURCE),
            ("2.6.8", True, _SOURCE),
        )
    )
    snapshots: bool = field(
        metadata=_row("snapshots of a collection", "G.1", ("2.2.0", False, _SOURCE), ("3.0.0", True, _DOUBLE))
    )
    exports_snapshots: bool = field(
        metadata=_row(
            "exports and restores snapshots; asked, and believed only if it does not answer UNIMPLEMENTED",
            "G.1",
            ("2.2.0", False, _SOURCE),
            ("3.0.1", True, _INFERRED),
        )
    )

    # -- making collections -----------------------------------------------------------------------------------------

    data_types: frozenset[DataType] = field(
        metadata=_row(
            "types of fields",
            "A.3",
            ("2.2.0", _BASIC, _TESTED),
            ("2.3.0", _OF_2_3, _TESTED),
            ("2.4.0", _OF_2_4, _SOURCE),
            ("2.6.0", _OF_2_6, _SOURCE),
            ("3.0.0", _OF_3_0, _SOURCE),
        )
    )
    clustering_keys: bool = field(
        metadata=_row("clustering keys", "A.2", ("2.2.0", False, _SOURCE), ("2.4.0", True, _SOURCE))
    )
    nullable_fields: bool = field(
        metadata=_row("nullable fields", "A.3", ("2.2.0", False, _SOURCE), ("2.5.0", True, _DOUBLE))
    )
    functions: bool = field(
        metadata=_row("functions, such as BM25", "A.3", ("2.2.0", False, _SOURCE), ("2.5.0", True, _DOUBLE))
    )
    struct_arrays: bool = field(
        metadata=_row("arrays of structs", "A.3", ("2.2.0", False, _SOURCE), ("2.6.0", True, _DOUBLE))
    )
    adds_fields: bool = field(
        metadata=_row("AddCollectionField", "A.4", ("2.2.0", False, _SOURCE), ("2.6.0", True, _DOUBLE))
    )
    drops_fields: bool = field(
        metadata=_row(
            "drops fields (AlterCollectionSchema): which id `$meta` has may then not be told by the others",
            "A.4",
            ("2.2.0", False, _SOURCE),
            ("3.0.0", True, _SOURCE),
        )
    )
    nullable_meta: bool = field(
        metadata=_row(
            "`$meta` is nullable, {} where nothing is given",
            "A.4",
            ("2.2.0", False, _SOURCE),
            ("2.6.8", True, _SOURCE),
        )
    )
    disables_functions: bool = field(
        metadata=_row("property disable_func_runtime_check", "E.6", ("2.2.0", False, _SOURCE), ("2.6.8", True, _SOURCE))
    )

    # -- imports ----------------------------------------------------------------------------------------------------

    import_api: ImportApi = field(
        metadata=_row(
            "imports are asked for over",
            "E.1, E.3",
            ("2.2.0", ImportApi.GRPC, _TESTED),
            ("2.4.0", ImportApi.REST, _DOUBLE),
        )
    )
    describe_call: DescribeCall = field(
        metadata=_row(
            "the call that tells of one import job",
            "E.3",
            ("2.2.0", DescribeCall.GET_PROGRESS, _SOURCE),
            ("2.4.13", DescribeCall.DESCRIBE, _DOUBLE),
        )
    )
    end_ts_unit: BoundUnit = field(
        metadata=_row(
            "`end_ts` of an import is told in",
            "B.5",
            ("2.2.0", BoundUnit.MILLISECONDS, _TESTED),
            ("2.4.24", BoundUnit.HYBRID, _DOUBLE),
            ("2.5.0", BoundUnit.MILLISECONDS, _DOUBLE),
            ("2.5.6", BoundUnit.HYBRID, _DOUBLE),
        )
    )
    lists_one_level: bool = field(
        metadata=_row(
            "an import lists its prefix one level deep, each result being a segment: a segment goes without a slash at "
            "the end, a folder of segments with one; before, either does",
            "D.3, D.4",
            ("2.2.0", False, _TESTED),
            ("2.4.0", True, _DOUBLE),
        )
    )
    lists_all_of_azure: bool = field(
        metadata=_row(
            "an import from Azure sees more than the first 5,000 files under a prefix",
            "D.4",
            ("2.2.0", False, _INFERRED),
            ("2.5.14", True, _SOURCE),
        )
    )
    refuses_missing_files: bool = field(
        metadata=_row(
            "an import that finds no files fails; before, it completes with 0 rows",
            "D.3",
            ("2.2.0", False, _TESTED),
            ("2.4.0", True, _DOUBLE),
        )
    )
    entries_per_job: int = field(
        metadata=_row("entries in one import job", "D.3, E.5", ("2.2.0", 1, _TESTED), ("2.4.0", 1024, _DOUBLE))
    )
    most_jobs: int = field(
        metadata=_row(
            "import jobs that it takes at a time",
            "E.2, E.5",
            ("2.2.0", 65536, _SOURCE),
            ("2.4.14", 1024, _DOUBLE),
        )
    )
    skips_disk_quota_check: bool = field(
        metadata=_row("option skip_disk_quota_check", "E.4", ("2.2.0", False, _SOURCE), ("2.4.7", True, _DOUBLE))
    )
    takes_storage_version: bool = field(
        metadata=_row("option storage_version", "E.4", ("2.2.0", False, _SOURCE), ("2.6.0", True, _DOUBLE))
    )
    storage_versions_readable: frozenset[int] = field(
        metadata=_row(
            "storage versions that an import reads (0 stands for v1)",
            "D.2",
            ("2.2.0", frozenset({0}), _TESTED),
            ("2.6.0", frozenset({0, 2}), _DOUBLE),
        )
    )
    reads_plain_deltas: bool = field(
        metadata=_row(
            "an import reads delta logs of plain parquet", "D.2", ("2.2.0", False, _SOURCE), ("3.0.0", True, _SOURCE)
        )
    )
    fills_missing_fields: bool = field(
        metadata=_row(
            "an import fills `$meta`, nullable and default fields without files",
            "D.3",
            ("2.2.0", False, _TESTED),
            ("2.6.0", True, _SOURCE),
        )
    )
    keeps_row_timestamps: bool = field(
        metadata=_row(
            "an import keeps the timestamps of rows", "E.6", ("2.2.0", False, _TESTED), ("2.4.5", True, _DOUBLE)
        )
    )
    counts_ttl_from_import: bool = field(
        metadata=_row(
            "the life of an imported row counts from its import, not from when it was first inserted",
            "E.6",
            ("2.2.0", True, _SOURCE),
            ("2.4.5", False, _SOURCE),
            ("3.0.0", True, _SOURCE),
        )
    )
    imports_l0: bool = field(
        metadata=_row(
            "imports L0 segments, rightly and by default; 3.0 compares deletes with the time of the import",
            "E.4, E.6",
            ("2.2.0", False, _SOURCE),
            ("2.4.5", True, _DOUBLE),
            ("3.0.0", False, _DOUBLE),
        )
    )
    l0_segments_per_job: int = field(
        metadata=_row(
            "L0 segments in one import job",
            "A.1, D.3",
            ("2.2.0", 0, _SOURCE),
            ("2.4.5", 1, _DOUBLE),
            ("2.6.5", 1024, _DOUBLE),
            ("3.0.0", 0, _DOUBLE),
        )
    )
    compacts_l0_while_importing: bool = field(
        metadata=_row(
            "deletes that come in while L0 segments are imported may spoil the import (milvus-io/milvus#47762)",
            "F.2",
            ("2.2.0", False, _SOURCE),
            ("2.6.0", True, _SOURCE),
            ("2.6.12", False, _SOURCE),
        )
    )
    bounds_l0: bool = field(
        metadata=_row(
            "an import of L0 segments heeds `end_ts`", "B.5", ("2.2.0", False, _SOURCE), ("2.6.0", True, _DOUBLE)
        )
    )
    auto_commit: bool = field(
        metadata=_row(
            "option auto_commit: jobs wait to be committed",
            "E.3, E.4",
            ("2.2.0", False, _SOURCE),
            ("3.0.0", True, _DOUBLE),
        )
    )
    echoes_options: bool = field(
        metadata=_row(
            "tells a job's options, by which a lost one is found; later ones are found by their paths",
            "E.1, E.3",
            ("2.2.0", True, _TESTED),
            ("2.4.0", False, _DOUBLE),
        )
    )
    takes_idempotency_key: bool = field(
        metadata=_row(
            "heeds an idempotency key of an import request (no known release does)",
            "E.1",
            ("2.2.0", False, _SOURCE),
        )
    )
    job_retention_s: int = field(
        metadata=_row(
            "for how long it remembers an import job that is over (s)",
            "E.2, E.5",
            ("2.2.0", 86400, _SOURCE),
            ("2.4.0", 10800, _SOURCE),
        )
    )
    settle_s: float = field(
        metadata=_row(
            "for how long after its request a job whose reply was lost may turn up (s)",
            "E.8",
            ("2.2.0", 120.0, _TESTED),
            ("2.4.0", 300.0, _INFERRED),
        )
    )

    @property
    def folds_l0(self) -> bool:
        """Whether deletes of L0 segments have to come as delta logs of the segments they apply to."""
        return not self.imports_l0

    @classmethod
    def rows(cls) -> tuple[Row, ...]:
        """The whole table."""
        return tuple(Row(name=each.name, **each.metadata) for each in fields(cls))


def comes_with(name: str, has: Callable[[Any], bool] = bool) -> str:
    """The first line in which the capability of that name satisfies `has`, as text."""
    return since_patch(name, has).rpartition(".")[0]


def since_patch(name: str, has: Callable[[Any], bool] = bool) -> str:
    """The first release that has it."""
    row = next(row for row in Capabilities.rows() if row.name == name)
    return ".".join(map(str, next(step.since for step in row.steps if has(step.value))))


@lru_cache(maxsize=64)
def capabilities(version: str) -> Capabilities:
    """What a Milvus of that version can do; worked out once, for plans ask it of every collection.

    One that cannot be read as a version is taken for the newest, as milvus-backup does; plans refuse it.
    """
    found = parse_version(version) or (*LINES[-1], _NEWEST_PATCH)
    return Capabilities(**{row.name: row.at(found).value for row in Capabilities.rows()})
