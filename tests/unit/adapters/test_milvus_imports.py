"""Import requests over REST, as a server of each version reads them, and what its answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from migrator.adapters.milvus_imports import RestImports, request_of
from migrator.errors import ImportsFull, MilvusRefused, NothingToImport, TooManyFiles
from migrator.model.capabilities import capabilities
from migrator.model.collection import CollectionRef
from migrator.model.import_job import ImportState, ImportTag, lies_below
from migrator.model.segment import SegmentBatch

if TYPE_CHECKING:
    from migrator.adapters.milvus_rest import RestMilvus

REF = CollectionRef("db1", "books")
CUT = (1_700_000_000_123 << 18) + 7
MS = "1700000000123"
INSERTS, DELTAS = "backup/x/binlogs/insert_log/1/2/3/", "backup/x/binlogs/delta_log/1/2/3/"
TAG = ImportTag(run_id="run-1", batch_key="import_segments:db1.books:0001", attempt=1)


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
        "entries": ((INSERTS, DELTAS), ("backup/x/binlogs/insert_log/1/2/4/",)),
    }
    return SegmentBatch(**members | changes)


@pytest.mark.parametrize(
    ("version", "changes", "options"),
    [
        ("2.4.5", {}, {"backup": "true", "end_ts": MS}),
        ("2.4.23", {}, {"backup": "true", "end_ts": MS, "skip_disk_quota_check": "true"}),
        ("2.4.24", {}, {"backup": "true", "end_ts": str(CUT), "skip_disk_quota_check": "true"}),
        ("2.5.5", {"storage_version": 2}, {"backup": "true", "end_ts": MS, "skip_disk_quota_check": "true"}),
        ("2.5.6", {"is_l0": True}, {"l0_import": "true", "end_ts": str(CUT), "skip_disk_quota_check": "true"}),
        (
            "2.6.12",
            {"storage_version": 2},
            {"backup": "true", "end_ts": str(CUT), "skip_disk_quota_check": "true", "storage_version": "2"},
        ),
        (
            "3.0.0",
            {},
            {"backup": "true", "end_ts": str(CUT), "skip_disk_quota_check": "true", "auto_commit": "false"},
        ),
    ],
)
def test_a_request_is_in_the_words_of_the_version(
    version: str, changes: dict[str, Any], options: dict[str, str]
) -> None:
    assert request_of(REF, a_batch(**changes), end_ts=CUT, server=capabilities(version)) == {
        "dbName": "db1",
        "collectionName": "books",
        "partitionName": "_default_3",
        "files": [[INSERTS, DELTAS], ["backup/x/binlogs/insert_log/1/2/4/"]],
        "options": options,
    }


class Scripted:
    """A REST interface that answers as told, and remembers what it was asked."""

    uri = "http://b"

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[tuple[str, object, dict[str, Any]]] = []

    def ask(self, path: str, body: object, **how: Any) -> object:  # noqa: ANN401 - as the real one
        self.asked.append((path, body, how))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def imports(answer: object, version: str = "2.5.20") -> tuple[RestImports, Scripted]:
    rest = Scripted(answer)
    return RestImports(cast("RestMilvus", rest), capabilities(version)), rest


def test_jobs_are_asked_about_by_text_and_with_their_database() -> None:
    told = {
        "jobId": "449577000000000123",
        "state": "Importing",
        "progress": 40,
        "importedRows": 500,
        "details": [{"fileName": f"[{INSERTS}449/ {DELTAS}449/]"}],
    }
    for version, call in (("2.4.12", "get_progress"), ("2.4.13", "describe")):
        door, rest = imports(told, version)
        job = door.find(REF, 449577000000000123)
        ((path, body, _),) = rest.asked
        assert (path, body) == (
            f"/v2/vectordb/jobs/import/{call}",
            {"dbName": "db1", "jobId": "449577000000000123"},
        )
    assert job is not None
    assert (job.job_id, job.state, job.rows) == (449577000000000123, ImportState.RUNNING, 500)
    assert job.paths == (f"{INSERTS}449/ {DELTAS}449/",)


@pytest.mark.parametrize(("entries", "timeout_s"), [(2, 61), (256, 188), (1024, 240)])
def test_a_creation_is_given_time_by_what_is_listed_and_less_than_lost_jobs_are_waited_for(
    entries: int, timeout_s: int
) -> None:
    door, rest = imports({"jobId": "7"})
    many = a_batch(entries=tuple((f"{INSERTS}{number}/",) for number in range(entries)))
    assert door.start(REF, many, end_ts=CUT, tag=TAG) == 7
    ((path, _, how),) = rest.asked
    assert (path, how) == ("/v2/vectordb/jobs/import/create", {"headers": {}, "timeout_s": timeout_s})
    assert timeout_s < capabilities("2.5.20").settle_s


@pytest.mark.parametrize(
    ("told", "is_below"),
    [
        ("stage/1/2/3/9/ stage/deltas/9/", True),
        ("/stage/1/2/3/9", True),
        ("stage/1/2/3", True),
        ("stage/1/2/3 stage/deltas/3", True),
        ("stage/1/2/34/9/", False),
        ("other/stage/1/2/3/9/", False),
        ("", False),
    ],
)
def test_a_told_path_is_known_whatever_its_slashes(told: str, *, is_below: bool) -> None:
    for prefix in ("stage/1/2/3", "stage/1/2/3/", "/stage/1/2/3/"):
        assert lies_below(told, ["elsewhere/", prefix]) is is_below


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("The number of jobs has reached the limit, please try again later", ImportsFull),
        ("The max number of import files should not exceed 1024, but got 2000", TooManyFiles),
        ("no binlog to import, input=[...]", NothingToImport),
        ("quota exceeded[reason=disk quota exceeded]", MilvusRefused),
    ],
)
def test_what_a_refusal_means(said: str, kind: type[Exception]) -> None:
    door, _ = imports(MilvusRefused(f"/create was refused: {said} (code 2100)"))
    with pytest.raises(kind, match=said[:12]):
        door.start(REF, a_batch(), end_ts=CUT, tag=TAG)


def test_a_forgotten_job_is_none_and_a_collection_that_is_gone_has_no_jobs() -> None:
    door, _ = imports(MilvusRefused("import job does not exist, jobID=7 (code 2100)"))
    assert door.find(REF, 7) is None
    door, _ = imports(MilvusRefused("collection not found[database=db1][collection=books] (code 100)"))
    assert door.list(REF) == ()
