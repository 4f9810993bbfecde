"""The double takes imports as strictly as the facts say, version by version: what a real 2.3.5 wrote goes into each."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.double_cases import VERSIONS, Seed, bed, double_of, run, seed, submit, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["bed", "double_of"]


@pytest.fixture(scope="module")
def kinds(bed: Bed) -> Seed:
    """Every kind of field, with deletes."""
    return seed(bed)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A collection of the test's own."""
    text: str = request.node.name.replace("[", "_").replace(".", "_").replace("-", "_")
    return text.rstrip("]")[:60]


@pytest.mark.parametrize("version", VERSIONS)
def test_real_rows_arrive(double_of: DoubleOf, kinds: Seed, name: str, version: str) -> None:
    double = double_of(version)
    kinds.create(double, name)
    for partition in kinds.partitions:
        job = run(double, name, partition, kinds.entries(partition), backup="true")
        assert job["state"] == "Completed", job
        assert job["importedRows"] == len({row["id"] for row in kinds.rows[partition]}) + (partition == "_default")
    found = double.rows(name)
    for partition, rows in kinds.rows.items():
        newest = {row["id"]: row for row in sorted(found[partition], key=lambda row: int(row["Timestamp"]))}
        assert {key: _comparable(row) for key, row in newest.items()} == {row["id"]: _comparable(row) for row in rows}
    original = max(int(row["Timestamp"]) for row in found["east"]) < kinds.told["cut_ts"]
    assert original  # E.6: from 2.4.5 on rows keep their times


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Vectors and row ids are told otherwise."""
    told = {key: value for key, value in row.items() if key not in {"vector", "RowID", "Timestamp"}}
    told["a_float"] = struct.pack("<f", row["a_float"])
    told["many_float"] = [struct.pack("<f", each) for each in row["many_float"]]
    return told


def test_before_2_4_5_rows_get_the_time_of_the_import(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    double = double_of("2.4.4")
    kinds.create(double, name)
    assert run(double, name, "east", kinds.entries("east"), backup="true")["state"] == "Completed"
    assert min(int(row["Timestamp"]) for row in double.rows(name)["east"]) > kinds.told["cut_ts"]


def test_a_prefix_is_listed_one_level_deep(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    double = double_of("2.5.20")
    kinds.create(double, name)
    segments = kinds.segments("_default")
    whole = run(double, name, "_default", [[kinds.path("_default")]], backup="true")
    assert [each["fileName"] for each in whole["details"]] == [f"[{path}/]" for path in segments]
    as_one = run(double, name, "_default", [[kinds.path("_default").rstrip("/")]], backup="true")
    assert len(as_one["details"]) == 1
    assert as_one["importedRows"] == whole["importedRows"]
    fields = run(double, name, "_default", [[f"{segments[0]}/"]], backup="true")  # a slash too many
    assert fields["state"] == "Failed"
    assert "no binlog for field" in fields["reason"]
    apart = run(double, name, "_default", [[segments[0], kinds.path("_default", "delta_log")]], backup="true")
    assert apart["details"][0]["fileName"].count("/ files_A/delta_log") == 1
    assert run(double, name, "_default", [[segments[0], ""]], backup="true")["importedRows"] > apart["importedRows"]
    assert any("empty second path" in sin for sin in double.ask("sins"))


@pytest.mark.parametrize(
    ("files", "options", "partition", "reason"),
    [
        ([["nowhere/"]], {"backup": "true"}, "east", "no binlog to import"),
        ([["a", "b", "c"]], {"backup": "true"}, "east", "too many input paths"),
        ([], {"backup": "true"}, "east", "import request is empty"),
        ([["a"]], {"backup": "true"}, "", "partition not specified"),
        ([["a"]], {"backup": "true"}, "west", "partition not found"),
        ([["a"]], {"backup": True}, "east", "into Go struct field .options of type string"),
        ([["a"]], {}, "east", "unexpected file type"),
        ([["a"]] * 1025, {"backup": "true"}, "east", "should not exceed 1024"),
        ([["a"]], {"backup": "true", "timeout": "soon"}, "east", "invalid duration"),
        ([["a"]], {"backup": "true", "end_ts": "-1"}, "east", "ParseUint"),
        (
            [["a"]],
            {"backup": "true", "start_ts": "470651369907290114", "end_ts": "470651351003437778"},
            "east",
            "larger",
        ),
    ],
)
def test_a_wrong_request_makes_no_job(  # noqa: PLR0917 - the columns of a table
    double_of: DoubleOf, kinds: Seed, files: object, options: dict[str, object], partition: str, reason: str
) -> None:
    double = double_of("2.5.20")
    with double.client() as client:
        is_there = client.has_collection("wrong")
    if not is_there:
        kinds.create(double, "wrong")
    answer = submit(double, "wrong", partition, files, **options)
    assert "data" not in answer  # the code of an unknown partition is 200, which is what 2.4.0 says of success
    assert reason in answer["message"]
    assert not double.rest("jobs/import/list", {"collectionName": "wrong"})["data"]["records"]


def test_ids_are_texts_and_unknown_things_are_told(double_of: DoubleOf) -> None:
    double = double_of("2.5.20")
    assert "of type string" in double.rest("jobs/import/describe", {"jobId": 5})["message"]
    assert "import job does not exist, jobID=5" in double.rest("jobs/import/describe", {"jobId": "5"})["message"]
    assert "can't find collection" in submit(double, "nobody", "p", [["a"]], backup="true")["message"]
    assert double.rest("jobs/import/commit", {"jobId": "5"})["code"] == 404
    assert double_of("2.4.5").rest("jobs/import/describe", {"jobId": "5"})["code"] == 404
    assert double_of("2.5.5").rest("segments/describe", {})["code"] == 404


@pytest.mark.parametrize(("version", "unit"), [("2.4.5", 18), ("2.5.5", 18), ("2.4.24", 0), ("2.6.12", 0)])
def test_bounds_have_the_unit_of_the_version(
    double_of: DoubleOf, kinds: Seed, name: str, version: str, unit: int
) -> None:
    double = double_of(version)
    kinds.create(double, name)
    cut = 470651353300467720  # between two inserts, in the same millisecond
    right = run(double, name, "_default", kinds.entries("_default"), backup="true", end_ts=str(cut >> unit))
    assert right["state"] == "Completed"
    expected = 4 if unit == 0 else 0  # 0, 1, 3 and 7 or so are before; a millisecond ends before its logical part
    assert (right["importedRows"] > 0) == (expected > 0)
    wrong = submit(double, name, "_default", kinds.entries("_default"), backup="true", endTs=str(cut >> (18 - unit)))
    if unit == 0:
        assert "not a plausible hybrid timestamp" in wrong["message"]
    else:  # B.5: no bound at all
        assert wait(double, wrong["data"]["jobId"])["importedRows"] == 6


def test_fields_have_to_agree(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    for version in ("2.5.20", "2.6.12"):
        double = double_of(version)
        kinds.create(double, f"{name}_less", without="a_bool")  # all behind it have other ids now
        job = run(double, f"{name}_less", "east", kinds.entries("east"), backup="true")
        assert job["state"] == "Failed"
        kinds.create(double, f"{name}_more", more=True)
        job = run(double, f"{name}_more", "east", kinds.entries("east"), backup="true")
        assert job["state"] == "Failed"


def test_orphans_break_a_job(bed: Bed, double_of: DoubleOf, kinds: Seed, name: str) -> None:
    double = double_of("2.6.12")
    kinds.create(double, name)
    stage = f"stage/{name}/7/"
    bed.copy(f"{kinds.segments('east')[0]}/", stage)
    bed.write(f"{stage}101/9", bed.read(bed.keys(f"{stage}101/")[0]))
    job = run(double, name, "east", [[f"stage/{name}/"]], backup="true")
    assert job["state"] == "Failed"
    assert "misaligned binlog count, field101:2, field0:1" in job["reason"]
    assert double.rows(name)["east"] == []
    assert run(double, name, "east", kinds.entries("east"), backup="true", storage_version="2")["state"] == "Failed"


def test_a_job_waits_for_its_commit_on_3_0(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    double = double_of("3.0.0")
    kinds.create(double, name)
    files = kinds.entries("east")
    job_id = submit(double, name, "east", files, backup="true", auto_commit="false")["data"]["jobId"]
    wait(double, job_id, "Uncommitted")
    assert double.rows(name)["east"] == []
    for _ in range(2):
        assert double.rest("jobs/import/commit", {"jobId": job_id})["code"] == 0
    assert wait(double, job_id)["state"] == "Completed"
    assert len(double.rows(name)["east"]) == 2
    gone = submit(double, name, "east", files, backup="true", auto_commit="false")["data"]["jobId"]
    wait(double, gone, "Uncommitted")
    for _ in range(2):
        assert double.rest("jobs/import/abort", {"jobId": gone})["code"] == 0
    assert wait(double, gone)["state"] == "Failed"
    assert double.rest("jobs/import/commit", {"jobId": gone})["code"] != 0
    assert len(double.rows(name)["east"]) == 2


def test_a_request_twice_imports_twice(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    double = double_of("2.4.24")
    kinds.create(double, name)
    with double.client() as client:
        client.load_collection(name)
        for copies in (1, 2):
            run(double, name, "east", kinds.entries("east"), backup="true")
            assert client.query(name, "", output_fields=["count(*)"])[0]["count(*)"] == 2 * copies
        assert len(client.query(name, "id >= 0", output_fields=["id"])) == 2


def test_replies_are_lost_and_late_and_limits_are_told(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    double = double_of("2.5.20")
    kinds.create(double, name)

    def jobs() -> list[str]:
        records = double.rest("jobs/import/list", {"collectionName": name})["data"]["records"]
        return [each["jobId"] for each in records]

    double.misbehave("jobs/import/create", "lose_reply")
    with pytest.raises(Exception, match="disconnected"):
        submit(double, name, "east", kinds.entries("east"), backup="true")
    assert len(jobs()) == 1
    double.misbehave("jobs/import/create", "timeout", delay_s=0.3)
    assert "timeout" in submit(double, name, "east", kinds.entries("east"), backup="true")["message"]
    assert len(jobs()) == 1
    time.sleep(1)
    assert len(jobs()) == 2
    double.misbehave("jobs/import/create", "slow", delay_s=1.5)
    body: dict[str, Any] = {"collectionName": name, "partitionName": "east", "files": kinds.entries("east")}
    body["options"] = {"backup": "true"}
    assert "timeout" in double.rest("jobs/import/create", body, Request_Timeout="1")["message"]
    time.sleep(1)
    assert len(jobs()) == 3
    double.misbehave("jobs/import/create", "limit")
    assert "rate limit exceeded" in submit(double, name, "east", kinds.entries("east"), backup="true")["message"]
    for job_id in jobs():
        wait(double, job_id)
    double.ask("fail_next_job", reason="disk is full")
    assert "disk is full" in run(double, name, "east", kinds.entries("east"), backup="true")["reason"]
    double.ask("settings", max_jobs=0)
    assert "reached the limit" in submit(double, name, "east", kinds.entries("east"), backup="true")["message"]
    double.ask("settings", max_jobs=1024, disk_quota_bytes=10)
    assert "quota" in submit(double, name, "east", kinds.entries("east"), backup="true")["message"]
    answer = submit(double, name, "east", kinds.entries("east"), backup="true", skip_disk_quota_check="true")
    double.ask("settings", disk_quota_bytes=0)
    double.ask("restart", down_s=0.1)
    assert wait(double, answer["data"]["jobId"])["state"] == "Completed"
    double.ask("forget_jobs")
    assert jobs() == []


def test_the_jobs_of_a_dropped_collection_fail(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    double = double_of("2.5.20")
    kinds.create(double, name)
    double.ask("settings", job_s=0.5)
    job_id = submit(double, name, "east", kinds.entries("east"), backup="true")["data"]["jobId"]
    with double.client() as client:
        client.drop_collection(name)
    double.ask("settings", job_s=0.02)
    assert wait(double, job_id)["state"] == "Failed"


def test_expired_rows_are_gone_at_once_but_on_3_0(double_of: DoubleOf, kinds: Seed, name: str) -> None:
    for version, rows in (("2.4.4", 2), ("2.6.12", 0), ("3.0.0", 2)):  # E.6: from the import, the row, the commit
        double = double_of(version)
        kinds.create(double, name)
        with double.client() as client:
            client.alter_collection_properties(name, {"collection.ttl.seconds": "600"})
        assert run(double, name, "east", kinds.entries("east"), backup="true")["state"] == "Completed"
        assert len(double.rows(name)["east"]) == rows
