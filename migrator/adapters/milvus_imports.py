"""Import jobs over REST version 2 (Milvus 2.4 and later): requests as the server reads them, and its replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migrator.errors import ImportsFull, MilvusRefused, NothingToImport, TooManyFiles
from migrator.model.capabilities import BoundUnit
from migrator.model.import_job import NO_FILES, ImportJob, ImportState
from migrator.model.timestamps import END_OF_TIME, physical_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.adapters.milvus_rest import RestMilvus
    from migrator.errors import MilvusError
    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import CollectionRef
    from migrator.model.import_job import ImportTag
    from migrator.model.segment import SegmentBatch

_JOBS = "/v2/vectordb/jobs/import"
CREATE_TIMEOUT_S = 60
"""The server's own limit is 30 s unless told; what comes about after a timeout is found within the settle time."""
_ENTRIES_PER_S = 2
"""Each entry of a request is listed in the store before the job is made."""
_MOST_TIMEOUT_S = 240
"""Less than the settle time."""
_LOOK_TIMEOUT_S = 30
_INNER_STATES = ("PreImporting", "Importing", "Sorting", "Stats", "IndexBuilding", "Committing")
"""Servers that are known tell all but the last as `Importing`."""
_STATES = {
    "Pending": ImportState.PENDING,
    **dict.fromkeys(_INNER_STATES, ImportState.RUNNING),
    "Uncommitted": ImportState.UNCOMMITTED,
    "Completed": ImportState.COMPLETED,
    "Failed": ImportState.FAILED,
}
_NO_SUCH_JOB = "job does not exist"
_TOO_MANY_JOBS = "number of jobs has reached the limit"
_TOO_MANY_FILES = "number of import files should not exceed"
_QUOTA = "quota"
_NO_SUCH_COLLECTION = ("collection not found", "can't find collection")
"""These in messages, lower case."""


def request_of(
    ref: CollectionRef, batch: SegmentBatch, *, end_ts: int, server: Capabilities
) -> dict[str, dict[str, str] | list[list[str]] | str]:
    """The body that asks for one import: option values are text, and an entry without deletes has one path."""
    return {
        "dbName": ref.database,
        "collectionName": ref.name,
        "partitionName": batch.partition_name,
        "files": [list(entry) for entry in batch.entries],
        "options": _options(batch, end_ts, server),
    }


def _options(batch: SegmentBatch, end_ts: int, server: Capabilities) -> dict[str, str]:
    options = {"l0_import" if batch.is_l0 else "backup": "true"}
    if end_ts < END_OF_TIME:  # which servers do not take for a time
        options["end_ts"] = bound_text(end_ts, server.end_ts_unit)
    if server.skips_disk_quota_check:
        options["skip_disk_quota_check"] = "true"
    if batch.storage_version and server.takes_storage_version:
        options["storage_version"] = str(batch.storage_version)
    if server.auto_commit:
        options["auto_commit"] = "false"
    return options


def bound_text(end_ts: int, unit: BoundUnit) -> str:
    """A hybrid bound as a server of that unit reads it."""
    return str(end_ts if unit is BoundUnit.HYBRID else physical_ms(end_ts))


class RestImports:
    """The import jobs of a server."""

    def __init__(self, rest: RestMilvus, server: Capabilities) -> None:
        self._rest = rest
        self._server = server

    def start(self, ref: CollectionRef, batch: SegmentBatch, *, end_ts: int, tag: ImportTag) -> int:
        """Request one import, and return its job id; see `ports.milvus`."""
        body = request_of(ref, batch, end_ts=end_ts, server=self._server)
        keyed = {"Idempotency-Key": f"{tag.run_id}/{tag.batch_key}/{tag.attempt}"}
        headers = keyed if self._server.takes_idempotency_key else {}
        try:
            data = self._rest.ask(f"{_JOBS}/create", body, headers=headers, timeout_s=_create_timeout_s(batch))
        except MilvusRefused as error:
            raise _of_refusal(error) from error
        return _number(data, "jobId", self._rest.uri)

    def find(self, ref: CollectionRef, job_id: int) -> ImportJob | None:
        """One job with its paths, or None once the server has forgotten it."""
        body = {"dbName": ref.database, "jobId": str(job_id)}
        try:
            data = self._rest.ask(f"{_JOBS}/{self._server.describe_call}", body, timeout_s=_LOOK_TIMEOUT_S)
        except MilvusRefused as error:
            if _NO_SUCH_JOB in error.message.lower():
                return None
            raise
        return _job_from(data, self._rest.uri)

    def list(self, ref: CollectionRef) -> tuple[ImportJob, ...]:
        """All jobs of the collection that the server remembers, without their paths; none of one that is gone."""
        body = {"dbName": ref.database, "collectionName": ref.name}
        try:
            data = self._rest.ask(f"{_JOBS}/list", body, timeout_s=_LOOK_TIMEOUT_S)
        except MilvusRefused as error:
            if any(text in error.message.lower() for text in _NO_SUCH_COLLECTION):
                return ()
            raise
        records = _member(data, "records", self._rest.uri) or []
        return tuple(_job_from(record, self._rest.uri) for record in records)

    def commit(self, ref: CollectionRef, job_id: int) -> None:
        """Let the rows of the job be seen; one that is committed already is left alone."""
        self._rest.ask(f"{_JOBS}/commit", {"dbName": ref.database, "jobId": str(job_id)})

    def abort(self, ref: CollectionRef, job_id: int) -> None:
        """Throw away what an uncommitted job brought."""
        self._rest.ask(f"{_JOBS}/abort", {"dbName": ref.database, "jobId": str(job_id)})


def _of_refusal(error: MilvusRefused) -> MilvusError:
    """What a refused request means: too many jobs pass, too many files can be fewer, a quota is for a person."""
    said = error.message.lower()
    if _TOO_MANY_JOBS in said:
        return ImportsFull(error.message, hint="see who else imports there; options.import.max_jobs can be lower")
    if _TOO_MANY_FILES in said:
        return TooManyFiles(error.message, hint="set options.import.segments_per_job to what the message names")
    if NO_FILES in said:
        hint = "see that target.storage.bucket is the bucket the target Milvus itself uses"
        return NothingToImport(error.message, hint=hint)
    if _QUOTA in said:
        return MilvusRefused(error.message, hint="raise the target's disk quota, or free some of it, and resume")
    return error


def _job_from(data: Mapping[str, Any], uri: str) -> ImportJob:
    return ImportJob(
        job_id=_number(data, "jobId", uri),
        state=_state(_member(data, "state", uri), uri),
        rows=int(data.get("importedRows") or 0),
        progress_percent=int(data.get("progress") or 0),
        paths=tuple(_path_from(detail) for detail in data.get("details") or []),
        failure=str(data.get("reason") or ""),
    )


def _state(told: object, uri: str) -> ImportState:
    if (state := _STATES.get(str(told))) is None:
        raise MilvusRefused(
            f"{uri} tells of an import in the state {told!r}, which this version of migrator does not know",
            hint="look at the job there; then use a newer migrator, and migrator apply --resume",
        )
    return state


def _path_from(detail: Mapping[str, Any]) -> str:
    """What a file entry begins with: it is told as Go shows a list, `[insert/prefix/ delta/prefix/]`."""
    return str(detail.get("fileName", "")).removeprefix("[").removesuffix("]")


def _create_timeout_s(batch: SegmentBatch) -> int:
    return min(_MOST_TIMEOUT_S, CREATE_TIMEOUT_S + len(batch.entries) // _ENTRIES_PER_S)


def _number(data: object, name: str, uri: str) -> int:
    """A member that is a number, whether it is told as one or as its digits."""
    told = str(_member(data, name, uri))
    if not told.isdecimal():
        raise MilvusRefused(f"{uri} answered about an import with {name} {told!r}, which is no number")
    return int(told)


def _member(data: object, name: str, uri: str) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(data, dict) or name not in data:
        raise MilvusRefused(f"{uri} answered about an import without naming {name}")
    return data[name]
