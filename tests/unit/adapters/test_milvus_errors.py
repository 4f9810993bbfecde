"""Every way a Milvus can say no, as an error of ours; the stub is a fake, nothing is connected to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from migrator.adapters import milvus as adapter
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.errors import MilvusError, MilvusRefused, MilvusUnavailable
from migrator.model.collection import LoadState
from tests.support.builders import BOOKS, a_schema
from tests.support.milvus_calls import CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = MilvusEndpoint(uri="http://milvus_A:19530", plan_field="source.milvus", token="root:hunter2")  # noqa: S106


class RpcError(grpc.RpcError):
    """What a call raises that never came to a reply."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        super().__init__()
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """Why."""
        return self._code

    def details(self) -> str | None:
        """In words."""
        return self._details


@dataclass
class FakeStub:
    """Replies as it is told to, to every call but the handshake; or raises."""

    replies: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    sent: list[tuple[str, Any, dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(request: Any, **named: Any) -> Any:  # noqa: ANN401 - messages have no types
            self.sent.append((method, request, named))
            if self.error is not None and method not in {"Connect", "GetVersion"}:
                raise self.error
            if method == "GetVersion":
                return milvus_pb2.GetVersionResponse(version="v2.3.5-lite")
            return self.replies[method] if method in self.replies else milvus_pb2.ConnectResponse()

        return call


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> FakeStub:
    fake = FakeStub()
    monkeypatch.setattr(adapter, "require_listener", lambda _: None)
    monkeypatch.setattr(milvus_pb2_grpc, "MilvusServiceStub", lambda _: fake)
    return fake


@pytest.fixture
def milvus(stub: FakeStub) -> GrpcMilvus:  # noqa: ARG001 - it is what is connected to
    return GrpcMilvus(ENDPOINT)


RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}

CUT_OFF = {grpc.StatusCode.CANCELLED, grpc.StatusCode.ABORTED}


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_every_status_of_grpc_becomes_one_of_ours(stub: FakeStub, milvus: GrpcMilvus, code: grpc.StatusCode) -> None:
    stub.error = RpcError(code, "PrivilegeFlush: permission deny to alice")
    with pytest.raises(MilvusError) as caught:
        milvus.list_databases()
    if code not in CUT_OFF:
        assert isinstance(caught.value, MilvusUnavailable) == (code in RETRYABLE)
    assert caught.value.retryable == isinstance(caught.value, MilvusUnavailable)
    assert "ListDatabases" in caught.value.message
    assert "http://milvus_A:19530" in caught.value.message
    assert "PrivilegeFlush" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("code", sorted(CUT_OFF, key=str), ids=lambda code: code.name)
def test_a_call_that_was_cut_off_is_worth_another_try(
    stub: FakeStub, milvus: GrpcMilvus, code: grpc.StatusCode
) -> None:
    """A server that goes down ends running calls like this; we cancel none."""
    stub.error = RpcError(code, "context canceled")
    with pytest.raises(MilvusUnavailable):
        milvus.list_databases()


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL], ids=lambda code: code.name)
@pytest.mark.parametrize(
    ("details", "wanted"),
    [
        ("Stream removed", MilvusUnavailable),
        ("Stream removed (Socket closed)", MilvusUnavailable),
        ("Received RST_STREAM with error code 2", MilvusUnavailable),
        ("Exception deserializing response!", MilvusUnavailable),
        ("GOAWAY received", MilvusUnavailable),
        ("recvmsg:Connection reset by peer", MilvusUnavailable),
        ("panic: runtime error: index out of range", MilvusRefused),
        ("", MilvusRefused),
    ],
)
def test_a_connection_that_broke_is_worth_another_try(
    stub: FakeStub, milvus: GrpcMilvus, code: grpc.StatusCode, details: str, wanted: type[MilvusError]
) -> None:
    stub.error = RpcError(code, details)
    with pytest.raises(wanted):
        milvus.list_databases()


def test_a_refused_connection_is_told_in_short(stub: FakeStub, milvus: GrpcMilvus) -> None:
    stub.error = RpcError(
        grpc.StatusCode.UNAVAILABLE,
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.7:19530: Failed to connect to remote "
        "host: Connection refused",
    )
    with pytest.raises(MilvusUnavailable) as caught:
        milvus.list_databases()
    assert caught.value.message == "ListDatabases got no answer from http://milvus_A:19530: Connection refused"


def test_an_error_without_details_is_told_by_its_code(stub: FakeStub, milvus: GrpcMilvus) -> None:
    stub.error = RpcError(grpc.StatusCode.INTERNAL, None)
    with pytest.raises(MilvusRefused, match="INTERNAL"):
        milvus.list_databases()


@pytest.mark.parametrize("name", CALLS)
def test_every_call_translates_what_it_meets(stub: FakeStub, milvus: GrpcMilvus, name: str) -> None:
    stub.error = RpcError(grpc.StatusCode.UNAVAILABLE, "connection reset")
    with pytest.raises(MilvusUnavailable):
        CALLS[name](milvus)
    stub.error = RpcError(grpc.StatusCode.PERMISSION_DENIED, "no")
    with pytest.raises(MilvusRefused) as caught:
        CALLS[name](milvus)
    assert caught.value.hint.startswith("grant the privilege that the message names")


def test_a_privilege_that_is_missing_is_named_with_the_user(stub: FakeStub, milvus: GrpcMilvus) -> None:
    stub.error = RpcError(grpc.StatusCode.PERMISSION_DENIED, "PrivilegeImport: permission deny to alice")
    with pytest.raises(MilvusRefused) as caught:
        milvus.list_databases()
    assert caught.value.hint == (
        "grant the privilege Import to alice, or log in as another user (source.milvus.username)"
    )


def status(code: int = 0, *, legacy: int = 0, reason: str = "", retriable: bool = False) -> Any:  # noqa: ANN401
    return common_pb2.Status(code=code, error_code=legacy, reason=reason, retriable=retriable)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (status(65535, reason="it is what it is"), MilvusRefused),
        (status(0, legacy=1, reason="an old server"), MilvusRefused),
        (status(0, legacy=1), MilvusRefused),
        (status(5, reason="service not ready[standalone=1]: Initializing"), MilvusUnavailable),
        (status(8, reason="request is rejected: rate limit exceeded[rate=0.1]"), MilvusUnavailable),
        (status(2, reason="busy", retriable=True), MilvusUnavailable),
        (status(65535, reason="dial tcp 10.0.0.7:19531: connect: connection refused"), MilvusUnavailable),
        (
            status(65535, reason="rpc error: code = Unavailable desc = error reading from server: EOF"),
            MilvusUnavailable,
        ),
        (status(65535, reason="attempt #0: context deadline exceeded"), MilvusUnavailable),
        (status(65535, reason="node not match[expectedNodeID=1][actualNodeID=4]"), MilvusUnavailable),
        (status(65535, reason="channel not available[channel=by-dev-rootcoord-dml_3]"), MilvusUnavailable),
        (status(65535, reason="no available shard delegator found"), MilvusUnavailable),
        (status(65535, reason="etcdserver: request timed out"), MilvusUnavailable),
        (status(65535, reason="session is not healthy"), MilvusUnavailable),
        (status(1100, reason="invalid index type: FANCY"), MilvusRefused),
        (status(65535, reason="create index failed: at most one distinct index is allowed per field"), MilvusRefused),
        (status(200, reason="partition not found[partition=nopart]"), MilvusRefused),
    ],
    ids=str,
)
def test_a_reply_that_says_no_is_an_error(
    stub: FakeStub, milvus: GrpcMilvus, reply: object, error: type[MilvusError]
) -> None:
    stub.replies["ListDatabases"] = milvus_pb2.ListDatabasesResponse(status=reply)
    with pytest.raises(error, match=r"ListDatabases was refused by http://milvus_A:19530: .+"):
        milvus.list_databases()
    stub.replies["CreateAlias"] = reply
    with pytest.raises(error, match="CreateAlias of books/library"):
        milvus.create_alias(BOOKS, "library")


@pytest.mark.parametrize("no", [status(100, legacy=4, reason="x"), status(100), status(legacy=4)], ids=str)
def test_a_collection_that_is_not_there_is_none(stub: FakeStub, milvus: GrpcMilvus, no: object) -> None:
    stub.replies["DescribeCollection"] = milvus_pb2.DescribeCollectionResponse(status=no)
    assert milvus.find_collection(BOOKS) is None


def test_a_server_with_too_many_requests_does_not_say_that_the_collection_is_gone(
    stub: FakeStub, milvus: GrpcMilvus
) -> None:
    """4 is `CollectionNotExists` among the legacy codes, and `request limit exceeded` among the new ones."""
    no = status(4, legacy=49, reason="request limit exceeded[limit=1]")
    stub.replies["DescribeCollection"] = milvus_pb2.DescribeCollectionResponse(status=no)
    with pytest.raises(MilvusUnavailable):
        milvus.find_collection(BOOKS)


def test_an_alias_is_no_collection(stub: FakeStub, milvus: GrpcMilvus) -> None:
    reply = milvus_pb2.DescribeCollectionResponse(collection_name=BOOKS.name)
    reply.schema.name = "other"
    stub.replies["DescribeCollection"] = reply
    assert milvus.find_collection(BOOKS) is None


def test_no_index_no_load_no_job_is_nothing_and_no_error(stub: FakeStub, milvus: GrpcMilvus) -> None:
    stub.replies["DescribeIndex"] = milvus_pb2.DescribeIndexResponse(status=status(700, reason="index not found"))
    stub.replies["GetLoadState"] = milvus_pb2.GetLoadStateResponse(status=status(101, reason="not loaded"))
    stub.replies["GetLoadingProgress"] = milvus_pb2.GetLoadingProgressResponse(status=status(101, reason="x"))
    stub.replies["GetImportState"] = milvus_pb2.GetImportStateResponse(status=status(1000, reason="key not found"))
    assert milvus.index_progress(BOOKS) == ()
    assert milvus.load_state(BOOKS) is LoadState.NOT_LOADED
    assert milvus.load_progress(BOOKS) == 0
    assert milvus.find_import_job(BOOKS, 1) is None


def test_segments_that_are_being_compacted_are_worth_another_try(stub: FakeStub, milvus: GrpcMilvus) -> None:
    reply = milvus_pb2.GetPersistentSegmentInfoResponse(status=status(600, reason="segment not found[segment=1]"))
    stub.replies["GetPersistentSegmentInfo"] = reply
    with pytest.raises(MilvusUnavailable, match="compaction"):
        milvus.list_segments(BOOKS)


def test_the_version_is_three_numbers(milvus: GrpcMilvus) -> None:
    assert milvus.version() == "2.3.5"


def test_the_login_travels_with_every_call_and_shows_nowhere(stub: FakeStub, milvus: GrpcMilvus) -> None:
    stub.error = RpcError(grpc.StatusCode.UNAUTHENTICATED, "auth check failure")
    with pytest.raises(MilvusRefused, match="the login was refused") as caught:
        milvus.list_databases()
    assert "source.milvus.username" in caught.value.hint
    assert all(named["metadata"] == [("authorization", "cm9vdDpodW50ZXIy")] for _, _, named in stub.sent)
    assert "hunter2" not in repr(ENDPOINT)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_every_call_has_a_deadline(stub: FakeStub, milvus: GrpcMilvus) -> None:
    stub.error = RpcError(grpc.StatusCode.UNAVAILABLE, "x")
    for call in CALLS.values():
        with pytest.raises(MilvusUnavailable):
            call(milvus)
    assert all(0 < named["timeout"] <= adapter.SLOW_CALL_TIMEOUT_S for _, _, named in stub.sent)


def test_nothing_that_listens_is_told_with_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("socket.create_connection", refuse)
    with pytest.raises(
        MilvusUnavailable, match="no Milvus answers at http://milvus_A:19530: Connection refused"
    ) as caught:
        GrpcMilvus(ENDPOINT)
    assert "source.milvus.uri" in caught.value.hint


def test_a_server_that_cannot_count_is_not_asked_to(
    stub: FakeStub, milvus: GrpcMilvus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "_version", "2.2.16")
    ids = schema_pb2.FieldData(field_name="id", scalars={"long_data": {"data": [1]}})
    title = schema_pb2.FieldData(field_name="title", scalars={"string_data": {"data": ["a"]}})
    vector = schema_pb2.FieldData(field_name="vec", vectors={"dim": 2, "float_vector": {"data": [1.0, 2.0]}})
    stub.replies["Query"] = milvus_pb2.QueryResults(fields_data=[ids, title, vector])
    assert set(milvus.query_rows(BOOKS, a_schema(), [1, 2])) == {1}
    assert [method for method, _, _ in stub.sent].count("Query") == 1
