"""Snapshots in Milvus's messages: what is asked for, and what answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.adapters.milvus_messages import milvus_pb2
from migrator.adapters.milvus_snapshots import Snapshots
from migrator.errors import MilvusRefused, MilvusUnimplemented
from migrator.model.collection import CollectionRef
from migrator.model.snapshot import RestoreState, is_whole_uri, snapshot_name

if TYPE_CHECKING:
    from migrator.adapters.milvus_values import Message

BOOKS, COPY = CollectionRef("db1", "books"), CollectionRef("db2", "copy")


class Server:
    """Gives one answer, or raises it, and keeps what it was asked."""

    def __init__(self, *answers: Message | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Message]] = []

    def __call__(self, method: str, request: Message, what: str, timeout_s: float) -> Message:  # noqa: ARG002 - see there
        self.asked.append((method, request))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_restore_of_the_own_names_both_collections() -> None:
    server = Server(milvus_pb2.RestoreSnapshotResponse(job_id=7))
    assert Snapshots(server).restore(BOOKS, "s", COPY) == 7
    assert server.asked == [
        (
            "RestoreSnapshot",
            milvus_pb2.RestoreSnapshotRequest(
                name="s",
                db_name="db1",
                collection_name="books",
                target_db_name="db2",
                target_collection_name="copy",
            ),
        )
    ]


def test_a_restore_of_another_cluster_s_sends_no_secret() -> None:
    server = Server(milvus_pb2.RestoreExternalSnapshotResponse(job_id=7))
    Snapshots(server).restore_elsewhere("s3://b/files/snapshots/1/metadata/2.json", COPY)
    ((_, request),) = server.asked
    assert request.external_spec == ""
    assert (request.db_name, request.target_collection_name) == ("db2", "copy")


@pytest.mark.parametrize(
    ("answer", "can"),
    [
        (MilvusUnimplemented("not implemented"), False),
        (MilvusRefused("job not found[job=1]"), True),
        (milvus_pb2.GetExportSnapshotStateResponse(), True),
    ],
)
def test_a_server_tells_whether_it_restores_those_of_others(answer: Message | Exception, can: bool) -> None:  # noqa: FBT001 - an answer
    assert Snapshots(Server(answer)).restores_elsewhere() is can


def test_a_refusal_for_another_reason_is_one() -> None:
    with pytest.raises(MilvusRefused, match="privilege"):
        Snapshots(Server(MilvusRefused("the user lacks a privilege"))).restores_elsewhere()


def test_a_state_of_a_later_release_is_told_in_words() -> None:
    info = milvus_pb2.RestoreSnapshotInfo(job_id=7, collection_name="copy", state=9)
    server = Server(milvus_pb2.GetRestoreSnapshotStateResponse(info=info))
    with pytest.raises(MilvusRefused, match="restore 7 of copy in the state 9"):
        Snapshots(server).find_restore(7)


def test_restores_into_other_names_are_left_out() -> None:
    jobs = [
        milvus_pb2.RestoreSnapshotInfo(job_id=1, db_name="db2", collection_name="copy", state=2, progress=30),
        milvus_pb2.RestoreSnapshotInfo(job_id=2, db_name="db1", collection_name="copy", state=3),
        milvus_pb2.RestoreSnapshotInfo(job_id=3, db_name="db2", collection_name="copy", state=4, reason="no room"),
    ]
    found = Snapshots(Server(milvus_pb2.ListRestoreSnapshotJobsResponse(jobs=jobs))).list_restores(COPY)
    assert [(job.job_id, job.state, job.failure) for job in found] == [
        (1, RestoreState.RUNNING, ""),
        (3, RestoreState.FAILED, "no room"),
    ]


def test_a_snapshot_that_is_gone_is_not_dropped_again() -> None:
    server = Server(milvus_pb2.ListSnapshotsResponse(snapshots=["other"]))
    Snapshots(server).drop(BOOKS, "s")
    assert [method for method, _ in server.asked] == ["ListSnapshots"]


def test_names_begin_with_a_letter() -> None:
    assert snapshot_name("20260101-a.b", 45) == "migrator_20260101_a_b_45"


@pytest.mark.parametrize(
    ("location", "is_whole"),
    [
        ("s3://b/files/snapshots/1/metadata/2.json", True),
        ("minio://host:9000/b/snapshots/1/metadata/2.json", True),
        ("files/snapshots/1/metadata/2.json", False),
        ("s3://b/files/../snapshots/1/metadata/2.json", False),
        ("s3://key@b/snapshots/1/metadata/2.json", False),
        ("s3://b/snapshots/1/metadata/2.json?x=1", False),
        ("s3://b/snapshots/1/2.json", False),
    ],
)
def test_addresses_are_taken_as_a_whole_or_not(location: str, is_whole: bool) -> None:  # noqa: FBT001 - as above
    assert is_whole_uri(location) is is_whole
