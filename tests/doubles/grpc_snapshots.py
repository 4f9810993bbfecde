"""Snapshots of 3.0 (G): made, exported as a bundle, restored here or from a bundle of elsewhere."""

from __future__ import annotations

import copy
import json
import pickle
import re
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from tests.doubles.calls import Call, Service, seconds_ago
from tests.doubles.flushing import files_of, write_segment
from tests.doubles.state import FLUSHED, Collection, Message, Refusal, Snapshot, SnapshotJob, dumped, undumped

if TYPE_CHECKING:
    from collections.abc import Callable

_EXECUTING, _COMPLETED, _FAILED = 2, 3, 4  # G.2
_URI = re.compile(r"(?:s3|minio|https?)://(?P<place>[^?#@]+/snapshots/\d+/metadata/\d+\.json)")
_SPEC_KEYS = {
    "access_key_id",
    "access_key_value",
    "use_iam",
    "iam_endpoint",
    "region",
    "cloud_provider",
    "storage_type",
    "use_ssl",
    "use_virtual_host",
    "ssl_ca_cert",
    "credential_json",
}


class Snapshots(Service):
    """G.2 and G.3."""

    def CreateSnapshot(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        if not request.name or request.name[0].isdigit():
            raise _invalid(f"snapshot name may not begin with a digit: {request.name}")
        if request.compaction_protection_seconds > 604_800:
            raise _invalid("compaction_protection_seconds should not exceed 604800")
        place = (collection.database, collection.name, request.name)
        if place in self.cluster.snapshots:
            raise _invalid(f"snapshot {request.name} already exists")
        number, key = self.cluster.clock.next(), ""
        key = f"{self.cluster.root_path}/snapshots/{collection.id}/metadata/{number}.json"
        frozen = self._frozen(collection)
        self.bucket.write(key, dumped((frozen, files_of(self.cluster.root_path, frozen))))
        self.cluster.snapshots[place] = Snapshot(
            id=number,
            name=request.name,
            description=request.description,
            database=collection.database,
            collection=frozen,
            created_ts=self.cluster.clock.next(),
            location=f"s3://{self.cluster.bucket}/{key}",
        )
        return common_pb2.Status()

    @staticmethod
    def _frozen(collection: Collection) -> Collection:
        """G.3: sealed segments only, so what was not flushed is missing."""
        frozen: Collection = copy.deepcopy(collection)
        frozen.segments = {number: each for number, each in frozen.segments.items() if each.state == FLUSHED}
        waiting = {(key, partition_id) for key, _, partition_id in frozen.pending}
        for key, partition_id in waiting:
            frozen.deletes.get(partition_id, {}).pop(key, None)
        frozen.pending.clear()
        frozen.loaded.clear()
        return frozen

    def DropSnapshot(self, request: Message, call: Call) -> Message:
        found = self.cluster.snapshots.pop((call.database(request), request.collection_name, request.name), None)
        if found is not None:
            self.bucket.delete(found.location.partition(f"{self.cluster.bucket}/")[2])
        return common_pb2.Status()

    def ListSnapshots(self, request: Message, call: Call) -> Message:
        wanted = (call.database(request), request.collection_name)
        return milvus_pb2.ListSnapshotsResponse(
            snapshots=[name for *place, name in self.cluster.snapshots if tuple(place) == wanted]
        )

    def DescribeSnapshot(self, request: Message, call: Call) -> Message:
        found = self._snapshot(request, call)
        return milvus_pb2.DescribeSnapshotResponse(
            name=found.name,
            description=found.description,
            collection_name=found.collection.name,
            partition_names=list(found.collection.partitions),
            create_ts=found.created_ts,
            s3_location=found.location,
        )

    def _snapshot(self, request: Message, call: Call) -> Snapshot:
        place = (call.database(request), request.collection_name, request.name)
        if place not in self.cluster.snapshots:
            raise Refusal(f"snapshot not found[snapshot={request.name}]", code=1900)
        return self.cluster.snapshots[place]

    def RestoreSnapshot(self, request: Message, call: Call) -> Message:
        found = self._snapshot(request, call)
        database = request.target_db_name or call.database(request)
        job = self._job("restore", found.name, database, request.target_collection_name)
        job.made = found.collection
        return milvus_pb2.RestoreSnapshotResponse(job_id=job.id)

    def PinSnapshotData(self, request: Message, call: Call) -> Message:
        self._snapshot(request, call)
        return milvus_pb2.PinSnapshotDataResponse(pin_id=self.cluster.clock.next())

    def UnpinSnapshotData(self, request: Message, call: Call) -> Message:
        return common_pb2.Status()

    def GetRestoreSnapshotState(self, request: Message, call: Call) -> Message:
        return milvus_pb2.GetRestoreSnapshotStateResponse(info=self._restore_info(self._get_job(request.job_id)))

    def ListRestoreSnapshotJobs(self, request: Message, call: Call) -> Message:
        found = [job for job in self.cluster.snapshot_jobs.values() if job.kind == "restore"]
        return milvus_pb2.ListRestoreSnapshotJobsResponse(jobs=[self._restore_info(job) for job in found])

    def _restore_info(self, job: SnapshotJob) -> Message:
        return milvus_pb2.RestoreSnapshotInfo(
            job_id=job.id,
            snapshot_name=job.snapshot_name,
            db_name=job.database,
            collection_name=job.collection_name,
            state=job.state,
            progress=_progress(job),
            reason=job.reason,
            start_time=int(job.started_at * 1000),
            time_cost=seconds_ago(job.started_at),
        )

    # -- exports

    def _require_exports(self) -> None:
        """G.1: stubs in 3.0.0."""
        if not self.rules.has("snapshot_export"):
            raise Refusal("not implemented: service unimplemented", code=10)

    def ExportSnapshot(self, request: Message, call: Call) -> Message:
        self._require_exports()
        _check_spec(request.external_spec)
        found = self._snapshot(request, call)
        job = self._job("export", found.name, found.database, found.collection.name)
        target = request.target_s3_path.removeprefix(f"s3://{self.cluster.bucket}/").strip("/")
        if "://" in target or ".." in target:
            raise _invalid(f"the export target is not possible: {request.target_s3_path}")
        key = f"{target}/exports/{job.id}/snapshots/{found.collection.id}/metadata/{found.id}.json"
        job.uri, job.made = f"s3://{self.cluster.bucket}/{key}", found.collection
        return milvus_pb2.ExportSnapshotResponse(job_id=job.id)

    def GetExportSnapshotState(self, request: Message, call: Call) -> Message:
        self._require_exports()
        job = self._get_job(request.job_id)
        info = milvus_pb2.ExportSnapshotInfo(
            job_id=job.id,
            snapshot_name=job.snapshot_name,
            db_name=job.database,
            collection_name=job.collection_name,
            state=job.state,
            progress=_progress(job),
            reason=job.reason,
            start_time=int(job.started_at * 1000),
            time_cost=seconds_ago(job.started_at),
            total_files=job.files,
            copied_files=job.files,
            snapshot_metadata_uri=job.uri if job.state == _COMPLETED else "",
        )
        return milvus_pb2.GetExportSnapshotStateResponse(info=info)

    def RestoreExternalSnapshot(self, request: Message, call: Call) -> Message:
        self._require_exports()
        _check_spec(request.external_spec)
        match = _URI.fullmatch(request.snapshot_metadata_uri)
        if match is None or ".." in request.snapshot_metadata_uri:
            raise _invalid(f"snapshot_metadata_uri is not complete: {request.snapshot_metadata_uri}")
        job = self._job("restore", "", call.database(request), request.target_collection_name)
        job.uri = match.group("place").partition(f"{self.cluster.bucket}/")[2]
        return milvus_pb2.RestoreExternalSnapshotResponse(job_id=job.id)

    # -- jobs

    def _job(self, kind: str, snapshot_name: str, database: str, collection_name: str) -> SnapshotJob:
        self.cluster.require_database(database)
        if kind == "restore" and self.cluster.find_collection(database, collection_name) is not None:
            raise _invalid(f"collection {collection_name} already exists")  # G.3
        if kind == "restore" and any(
            each.kind == kind and (each.database, each.collection_name) == (database, collection_name)
            for each in self.cluster.snapshot_jobs.values()
            if each.state not in {_COMPLETED, _FAILED}
        ):
            self.cluster.sins.append(f"a second restore into {collection_name}, while one was under way")
        job = SnapshotJob(self.cluster.clock.next(), kind, snapshot_name, database, collection_name, time.time())
        self.cluster.snapshot_jobs[job.id] = job
        return job

    def _get_job(self, job_id: int) -> SnapshotJob:
        if job_id not in self.cluster.snapshot_jobs:
            raise Refusal(f"job not found[job={job_id}]", code=1901)
        return self.cluster.snapshot_jobs[job_id]

    def tick(self) -> None:
        """Move exports and restores on."""
        for job in list(self.cluster.snapshot_jobs.values()):
            is_due = time.time() > job.started_at + self.cluster.settings.job_s * job.state
            if job.state in {_COMPLETED, _FAILED} or not is_due:
                continue
            if job.state < _EXECUTING:
                job.state = _EXECUTING
            elif job.kind == "export":
                self._export(job)
            else:
                self._restore(job)

    def _export(self, job: SnapshotJob) -> None:
        """G.3: metadata and files, relocatable as a whole."""
        assert job.made is not None
        key = job.uri.partition(f"{self.cluster.bucket}/")[2]
        base, names = key.partition("/snapshots/")[0], []
        for source in files_of(self.cluster.root_path, job.made):
            names.append(f"files/{source.removeprefix(self.cluster.root_path).strip('/')}")
            self.bucket.write(f"{base}/{names[-1]}", self.bucket.read(source))
        self.bucket.write(key, dumped((job.made, names)))
        job.state, job.files = _COMPLETED, len(names) + 1

    def _restore(self, job: SnapshotJob) -> None:
        try:
            made = self._read(job.uri) if job.made is None else copy.deepcopy(job.made)
        except (ClientError, pickle.UnpicklingError) as error:
            job.state, job.reason = _FAILED, f"failed to read snapshot: {error}"
            return
        if self.cluster.find_collection(job.database, job.collection_name) is not None:
            job.state, job.reason = _FAILED, f"collection {job.collection_name} already exists"  # G.3
            return
        self._put(job, made)
        job.made, job.state = None, _COMPLETED

    def _read(self, key: str) -> Collection:
        """A bundle, or a snapshot where its own cluster has it, whose files have to be there still."""
        made: Collection
        made, names = undumped(self.bucket.read(key))
        base = f"{key.partition('/snapshots/')[0]}/" if "/exports/" in key else ""
        for name in names:
            self.bucket.read(f"{base}{name}")
        return made

    def _put(self, job: SnapshotJob, made: Collection) -> None:
        """Ids of fields and indexes are kept; of collection, partitions and segments they are new."""
        now = self.cluster.clock.next
        partition_ids = {partition.id: now() for partition in made.partitions.values()}
        made.id, made.database, made.name = now(), job.database, job.collection_name
        made.created_ts = made.updated_ts = now()
        for partition in made.partitions.values():
            partition.id = partition_ids[partition.id]
        made.deletes = {partition_ids.get(number, number): found for number, found in made.deletes.items()}
        segments = list(made.segments.values())
        made.segments = {}
        for segment in segments:
            segment.id, segment.partition_id = now(), partition_ids.get(segment.partition_id, segment.partition_id)
            segment.insert_logs, segment.delta_logs = {}, []
            segment.vchannel = made.vchannels[int(segment.vchannel.rpartition("v")[2])]
            write_segment(self.cluster, self.rules, self.bucket, made, segment)
            made.segments[segment.id] = segment
        with self.cluster.lock:
            self.cluster.collections[made.database, made.name] = made


def _progress(job: SnapshotJob) -> int:
    return 100 if job.state == _COMPLETED else 0


def _check_spec(text: str) -> None:
    """G.3: only known keys, and values that are strings."""
    if not text:
        return
    try:
        found = json.loads(text)["extfs"]
        wrong = {key for key, value in found.items() if key not in _SPEC_KEYS or not isinstance(value, str)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(f"external_spec is no JSON of extfs: {error!r}") from error
    if wrong:
        raise _invalid(f"external_spec has keys or values that are not possible: {sorted(wrong)}")


def _invalid(reason: str) -> Refusal:
    return Refusal(f"{reason}: invalid parameter", code=1100, legacy=5)


# -- the same over REST -----------------------------------------------------------------------------------------------

Plain = dict[str, Any]


def rest_routes(service: Service) -> dict[str, Callable[[Plain, str], Plain]]:
    """`/v2/vectordb/jobs/snapshot/…`, in camel case (G.2)."""
    assert isinstance(service, Snapshots)

    def call(body: Plain) -> Call:
        return Call("", str(body.get("dbName", "")))

    def export(body: Plain, _: str) -> Plain:
        request = milvus_pb2.ExportSnapshotRequest(
            name=body["snapshotName"],
            db_name=body.get("dbName", ""),
            collection_name=body["collectionName"],
            target_s3_path=body["targetS3Path"],
            external_spec=body.get("externalSpec", ""),
        )
        return {"jobId": str(service.ExportSnapshot(request, call(body)).job_id)}

    def export_describe(body: Plain, _: str) -> Plain:
        request = milvus_pb2.GetExportSnapshotStateRequest(job_id=int(body["jobId"]))
        info = service.GetExportSnapshotState(request, call(body)).info
        return {**_told(info), "snapshotMetadataURI": info.snapshot_metadata_uri}

    def restore_external(body: Plain, _: str) -> Plain:
        request = milvus_pb2.RestoreExternalSnapshotRequest(
            db_name=body.get("dbName", ""),
            target_collection_name=body["targetCollectionName"],
            snapshot_metadata_uri=body["snapshotMetadataURI"],
            external_spec=body.get("externalSpec", ""),
        )
        return {"jobId": str(service.RestoreExternalSnapshot(request, call(body)).job_id)}

    def describe(body: Plain, _: str) -> Plain:
        request = milvus_pb2.GetRestoreSnapshotStateRequest(job_id=int(body["jobId"]))
        return _told(service.GetRestoreSnapshotState(request, call(body)).info)

    def listed(body: Plain, _: str) -> Plain:
        jobs = service.ListRestoreSnapshotJobs(milvus_pb2.ListRestoreSnapshotJobsRequest(), call(body)).jobs
        return {"records": [_told(info) for info in jobs]}

    base = "jobs/snapshot"
    return {
        f"{base}/export": export,
        f"{base}/export/describe": export_describe,
        f"{base}/restore_external": restore_external,
        f"{base}/describe": describe,
        f"{base}/list": listed,
    }


def _told(info: Message) -> Plain:
    return {
        "jobId": str(info.job_id),
        "snapshotName": info.snapshot_name,
        "collectionName": info.collection_name,
        "state": milvus_pb2.RestoreSnapshotState.Name(info.state) if hasattr(info, "state") else "",
        "progress": info.progress,
        "reason": info.reason,
    }
