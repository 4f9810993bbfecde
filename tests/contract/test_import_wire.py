"""What leaves for a Milvus of each version when imports are asked for, as the server reads it; and what comes back.

The requests are written down here as the facts give them (E.1-E.6, C.2), none made by the code that sends them.
"""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.adapters.milvus_imports import RestImports
from migrator.adapters.milvus_rest import RestMilvus
from migrator.adapters.milvus_segments import describe_segments
from migrator.errors import ImportsFull, MilvusBusy, MilvusError, MilvusRefused, MilvusUnavailable
from migrator.model.capabilities import capabilities
from migrator.model.collection import CollectionRef
from migrator.model.import_job import ImportJob, ImportState, ImportTag
from migrator.model.segment import SegmentBatch
from migrator.model.timestamps import END_OF_TIME
from tests.support.listeners import HOST
from tests.support.web import Web, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

REF = CollectionRef("tenants", "books")
CUT, CUT_MS = (1_700_000_000_123 << 18) + 7, "1700000000123"
HYBRID = str(CUT)
JOB = 449_577_000_000_000_123
"""More than a double can hold."""
TAG = ImportTag(run_id="run-1", batch_key="import_segments:tenants.books:0001", attempt=1)
INSERTS, DELTAS = "staged/b/binlogs/insert_log/1/2/3/", "staged/b/binlogs/delta_log/1/2/3/"
MORE = "staged/b/binlogs/insert_log/1/2/4/"
JOBS = "/v2/vectordb/jobs/import"
SKIP = {"skip_disk_quota_check": "true"}


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def a_batch(**changes: Any) -> SegmentBatch:  # noqa: ANN401 - any member
    members: dict[str, Any] = {
        "number": 1,
        "partition_id": 2,
        "partition_name": "_default_3",
        "segment_ids": (3, 4),
        "rows": 10,
        "objects": 8,
        "delta_objects": 1,
        "size_bytes": 10,
        "entries": ((INSERTS, DELTAS), (MORE,)),
    }
    return SegmentBatch(**members | changes)


OF_ALL = a_batch(partition_id=-1, partition_name="", entries=(("staged/b/binlogs/delta_log/1/-1/9/",),), is_l0=True)
OF_ONE = a_batch(entries=(("staged/b/binlogs/delta_log/1/2/9/9/",),), is_l0=True, storage_version=0)


@pytest.mark.parametrize(
    ("version", "batch", "end_ts", "options"),
    [
        ("2.4.1", a_batch(), CUT, {"backup": "true", "end_ts": CUT_MS}),
        ("2.4.6", a_batch(), CUT, {"backup": "true", "end_ts": CUT_MS}),
        ("2.4.7", a_batch(), CUT, {"backup": "true", "end_ts": CUT_MS, **SKIP}),
        ("2.4.23", a_batch(), CUT, {"backup": "true", "end_ts": CUT_MS, **SKIP}),
        ("2.4.24", a_batch(), CUT, {"backup": "true", "end_ts": HYBRID, **SKIP}),
        ("2.5.0", a_batch(), CUT, {"backup": "true", "end_ts": CUT_MS, **SKIP}),
        ("2.5.5", a_batch(), CUT, {"backup": "true", "end_ts": CUT_MS, **SKIP}),
        ("2.5.6", a_batch(), CUT, {"backup": "true", "end_ts": HYBRID, **SKIP}),
        ("2.5.27", a_batch(storage_version=2), CUT, {"backup": "true", "end_ts": HYBRID, **SKIP}),
        ("2.6.0", a_batch(), CUT, {"backup": "true", "end_ts": HYBRID, **SKIP}),
        (
            "2.6.12",
            a_batch(storage_version=2),
            CUT,
            {"backup": "true", "end_ts": HYBRID, **SKIP, "storage_version": "2"},
        ),
        ("2.6.12", a_batch(), END_OF_TIME, {"backup": "true", **SKIP}),
        (
            "3.0.0",
            a_batch(storage_version=2),
            CUT,
            {"backup": "true", "end_ts": HYBRID, **SKIP, "storage_version": "2", "auto_commit": "false"},
        ),
        ("2.4.5", OF_ALL, CUT, {"l0_import": "true", "end_ts": CUT_MS}),
        ("2.5.20", OF_ONE, CUT, {"l0_import": "true", "end_ts": HYBRID, **SKIP}),
        ("2.6.12", OF_ALL, CUT, {"l0_import": "true", "end_ts": HYBRID, **SKIP}),
    ],
)
def test_a_request_for_an_import(
    web: Web, version: str, batch: SegmentBatch, end_ts: int, options: dict[str, str]
) -> None:
    web.tell(f"{JOBS}/create", {"code": 0, "data": {"jobId": str(JOB)}})
    with closing(rest_of(web)) as rest:
        job_id = RestImports(rest, capabilities(version)).start(REF, batch, end_ts=end_ts, tag=TAG)
    assert job_id == JOB
    (request,) = web.requests
    assert (request.method, request.path, request.query) == ("POST", f"{JOBS}/create", "")
    assert request.headers["authorization"] == "Bearer alice:secret"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["request-timeout"].isdecimal()
    assert "idempotency-key" not in request.headers  # no known release heeds one
    assert request.body == {
        "dbName": "tenants",
        "collectionName": "books",
        "partitionName": batch.partition_name,
        "files": [list(entry) for entry in batch.entries],
        "options": options,
    }
    assert "" not in [path for entry in request.body["files"] for path in entry]  # the whole bucket, it would be


@pytest.mark.parametrize(
    ("version", "call"), [("2.4.1", "get_progress"), ("2.4.12", "get_progress"), ("2.4.13", "describe")]
)
def test_questions_about_jobs(web: Web, version: str, call: str) -> None:
    web.tell(f"{JOBS}/{call}", a_description())
    web.tell(f"{JOBS}/list", {"code": 0, "data": {"records": None}})
    for verb in ("commit", "abort"):
        web.tell(f"{JOBS}/{verb}", {"code": 0, "data": {}})
    with closing(rest_of(web)) as rest:
        imports = RestImports(rest, capabilities(version))
        imports.find(REF, JOB)
        assert imports.list(REF) == ()
        imports.commit(REF, JOB)
        imports.abort(REF, JOB)
    told = [(each.path.removeprefix(f"{JOBS}/"), each.body) for each in web.requests]
    of_job = {"dbName": "tenants", "jobId": str(JOB)}
    assert told == [
        (call, of_job),
        ("list", {"dbName": "tenants", "collectionName": "books"}),
        ("commit", of_job),
        ("abort", of_job),
    ]


def test_a_question_about_segments(web: Web) -> None:
    path = "/v2/vectordb/segments/describe"
    log = {"fieldID": 100, "logIDs": [JOB]}
    info = {"segmentID": JOB + 1, "vChannel": "v0", "insertLogs": [log], "deltaLogs": [{"fieldID": 0, "logIDs": None}]}
    web.tell(path, {"code": 0, "data": {"segmentInfos": [info, {"segmentID": JOB + 2}]}})
    with closing(rest_of(web)) as rest:
        found = describe_segments(rest.ask, REF, 77, [JOB + 1, JOB + 2])
    assert web.requests[0].body == {"dbName": "tenants", "collectionID": 77, "segmentIDs": [JOB + 1, JOB + 2]}
    assert found[JOB + 1].inserts == {(100, JOB)}
    assert [len(each) for each in (found[JOB + 1].deltas, found[JOB + 2].deltas, found[JOB + 2].inserts)] == [0, 0, 0]
    assert found[JOB + 1].vchannel == "v0"


@pytest.mark.parametrize(("token", "sent"), [("alice:a:b", "Bearer alice:a:b"), ("an-api-key", "Bearer an-api-key")])
def test_a_login_is_sent_as_it_is(web: Web, token: str, sent: str) -> None:
    web.tell("/v2/vectordb/collections/list", {"code": 0, "data": []})
    with closing(rest_of(web, token)) as rest:
        rest.ping("2.5.0")
    assert web.requests[0].headers["authorization"] == sent


def test_without_a_login_no_header_is_sent(web: Web) -> None:
    web.tell("/v2/vectordb/collections/list", {"code": 0, "data": []})
    with closing(rest_of(web, None)) as rest:
        rest.ping("3.0.0")
    assert "authorization" not in web.requests[0].headers


@pytest.mark.parametrize(
    ("status", "reply", "found"),
    [
        (200, {"code": 0, "data": {"jobId": str(JOB)}}, JOB),
        (200, {"code": 0, "data": {"jobId": JOB}}, JOB),
        (200, {"code": 200, "data": {"jobId": str(JOB)}}, JOB),  # 2.4.0
        (200, {"code": 200, "message": "partition not found[partition=_default_3]"}, MilvusRefused),
        (200, {"code": 0, "data": {}}, MilvusRefused),
        (200, {"code": 0, "data": {"jobId": ""}}, MilvusRefused),
        (200, {"code": 2100, "message": "The number of jobs has reached the limit, please try again"}, ImportsFull),
        (200, {"code": 8, "message": "request is rejected: rate limit exceeded[rate=0]"}, MilvusBusy),
        (429, {"code": 8, "message": "too many requests"}, MilvusBusy),
        (429, None, MilvusBusy),
        (408, {"code": 10001, "message": "request timeout"}, MilvusUnavailable),
        (200, {"code": 1100, "message": "context deadline exceeded"}, MilvusUnavailable),
    ],
)
def test_answers_to_a_request(web: Web, status: int, reply: Any, found: Any) -> None:  # noqa: ANN401 - of any shape
    web.tell(f"{JOBS}/create", reply, status=status)
    with closing(rest_of(web)) as rest:
        imports = RestImports(rest, capabilities("2.5.20"))
        if isinstance(found, int):
            assert imports.start(REF, a_batch(), end_ts=CUT, tag=TAG) == found
            return
        with pytest.raises(MilvusError) as caught:
            imports.start(REF, a_batch(), end_ts=CUT, tag=TAG)
    assert type(caught.value) is found
    if isinstance(reply, dict) and "message" in reply:
        assert reply["message"] in caught.value.message


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("Pending", ImportState.PENDING),
        ("Importing", ImportState.RUNNING),
        ("PreImporting", ImportState.RUNNING),
        ("Sorting", ImportState.RUNNING),
        ("IndexBuilding", ImportState.RUNNING),
        ("Uncommitted", ImportState.UNCOMMITTED),
        ("Committing", ImportState.RUNNING),
        ("Completed", ImportState.COMPLETED),
        ("Failed", ImportState.FAILED),
    ],
)
def test_states_of_a_job(web: Web, told: str, state: ImportState) -> None:
    assert described(web, state=told).state is state


def test_a_state_that_is_not_known_is_not_guessed_at(web: Web) -> None:
    with pytest.raises(MilvusRefused, match="in the state 'Paused', which this version of migrator does not know"):
        described(web, state="Paused")


def test_a_job_as_it_is_told(web: Web) -> None:
    job = described(web, jobId=JOB, importedRows="500", state="Failed", reason="no binlog to import")
    assert (job.job_id, job.rows, job.progress_percent) == (JOB, 500, 40)
    assert job.found_no_files
    without = described(web, details=None, progress=None, importedRows=None)
    assert (without.paths, without.rows, without.progress_percent) == ((), 0, 0)


def test_a_job_that_is_forgotten(web: Web) -> None:
    web.tell(f"{JOBS}/describe", {"code": 2100, "message": f"import job does not exist, jobID={JOB}"})
    with closing(rest_of(web)) as rest:
        assert RestImports(rest, capabilities("2.5.20")).find(REF, JOB) is None


def rest_of(web: Web, token: str | None = "alice:secret") -> RestMilvus:  # noqa: S107 - of nobody
    return RestMilvus(MilvusEndpoint(uri=web.uri, plan_field="target.milvus", token=token))


def a_description(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    """E.3's, word by word."""
    return {
        "code": 0,
        "data": {
            "jobId": str(JOB),
            "collectionName": "books",
            "state": "Importing",
            "progress": 40,
            "completeTime": "",
            "importedRows": 500,
            "totalRows": 1000,
            "fileSize": 123456,
            "details": [{"fileName": f"[{INSERTS}3/ {DELTAS}3/]", "fileSize": 123456, "state": "Importing"}],
        }
        | changes,
    }


def described(web: Web, **changes: Any) -> ImportJob:  # noqa: ANN401 - any member
    web.tell(f"{JOBS}/describe", a_description(**changes))
    with closing(rest_of(web)) as rest:
        job = RestImports(rest, capabilities("2.5.20")).find(REF, JOB)
    assert job is not None
    return job


# -- gRPC, up to 2.3 --------------------------------------------------------------------------------------------------


@dataclass
class Old(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]  # pymilvus ships no types
    """A 2.3.5 that writes down what it is asked for, and tells a compaction three times before it lists segments."""

    asked: list[Any] = field(default_factory=list)
    logins: set[str] = field(default_factory=set)
    compactions: int = 3

    def _note(self, request: Any, context: Any) -> None:  # noqa: ANN401 - messages have no types
        self.asked.append(request)
        self.logins |= {value for key, value in context.invocation_metadata() if key == "authorization"}

    def Connect(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802 - as gRPC calls it
        """Shake hands."""
        self._note(request, context)
        return milvus_pb2.ConnectResponse(server_info=common_pb2.ServerInfo(build_tags="v2.3.5"))

    def Import(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802 - as above
        """One task."""
        self._note(request, context)
        return milvus_pb2.ImportResponse(tasks=[JOB])

    def GetImportState(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802 - as above
        """All it had; a task it does not know is code 1000."""
        self._note(request, context)
        if request.task != JOB:
            return milvus_pb2.GetImportStateResponse(status=common_pb2.Status(code=1000, reason="key not found"))
        infos = {"files": f"{INSERTS},{DELTAS}", "progress_percent": "70", **TAG.as_options()}
        return milvus_pb2.GetImportStateResponse(
            state=common_pb2.ImportState.ImportPersisted,
            id=JOB,
            row_count=5,
            infos=[common_pb2.KeyValuePair(key=key, value=value) for key, value in infos.items()],
        )

    def GetPersistentSegmentInfo(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802 - as above
        """While a compaction ends, a segment is not found (C.1)."""
        self._note(request, context)
        self.compactions -= 1
        if self.compactions >= 0:
            said = common_pb2.Status(code=600, reason="segment not found[segment=9]")
            return milvus_pb2.GetPersistentSegmentInfoResponse(status=said)
        old = milvus_pb2.PersistentSegmentInfo(segmentID=9, partitionID=2, num_rows=7, state=4)
        return milvus_pb2.GetPersistentSegmentInfoResponse(infos=[old])


@pytest.fixture
def old() -> Iterator[tuple[GrpcMilvus, Old]]:
    server, servicer = grpc.server(ThreadPoolExecutor(2)), Old()
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    where = MilvusEndpoint(uri=f"http://{HOST}:{port}", plan_field="target.milvus", token="alice:secret")  # noqa: S106
    milvus = GrpcMilvus(where)
    yield milvus, servicer
    milvus.close()
    server.stop(None)


@pytest.mark.parametrize(
    ("entry", "files"), [((INSERTS, DELTAS), [INSERTS, DELTAS]), ((INSERTS,), [INSERTS, ""])], ids=["both", "no deltas"]
)
def test_a_request_of_old(old: tuple[GrpcMilvus, Old], entry: tuple[str, ...], files: list[str]) -> None:
    milvus, server = old
    assert milvus.start_import(REF, a_batch(entries=(entry,)), end_ts=CUT, tag=TAG) == JOB
    request = server.asked[-1]
    assert (request.db_name, request.collection_name, request.partition_name) == ("tenants", "books", "_default_3")
    assert list(request.files) == files
    options = {pair.key: pair.value for pair in request.options}
    assert options == {"backup": "true", "end_ts": CUT_MS, **TAG.as_options()}
    assert server.logins == {base64.b64encode(b"alice:secret").decode()}


def test_an_old_task_and_one_that_is_forgotten(old: tuple[GrpcMilvus, Old]) -> None:
    milvus, _ = old
    job = milvus.find_import_job(REF, JOB)
    assert job is not None
    assert (job.state, job.rows, job.progress_percent, job.paths) == (ImportState.RUNNING, 5, 70, (INSERTS, DELTAS))
    assert job.has_tag(TAG)
    assert milvus.find_import_job(REF, JOB + 1) is None


def test_segments_are_asked_for_again_while_a_compaction_ends(old: tuple[GrpcMilvus, Old]) -> None:
    milvus, server = old
    (segment,) = milvus.list_segments(REF)
    assert (segment.segment_id, segment.num_rows, segment.storage_version, segment.is_l0) == (9, 7, 0, False)
    assert (server.asked[-1].dbName, server.asked[-1].collectionName) == ("tenants", "books")
    assert len(server.asked) == 5  # the handshake, three that fail, one that does not
