"""Keys of binlogs, batches, tags and timestamps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.model.codec import from_plain, to_plain
from migrator.model.collection import Collection, CollectionRef
from migrator.model.import_job import ImportJob, ImportState, ImportTag
from migrator.model.segment import ALL_PARTITIONS, Binlog, LogKind, SegmentBatch, StoredObject, parse_binlog
from migrator.model.timestamps import as_utc, at_millisecond, physical_ms
from tests.support.builders import a_binlog, a_collection, a_schema

IDS = st.integers(min_value=0, max_value=2**63 - 1)


def parsed(key: str, root: str = "files_A") -> Binlog | None:
    return parse_binlog(StoredObject(key, 10, '"4"'), root)


def test_an_insert_log_is_read_from_its_key() -> None:
    assert parsed("files_A/insert_log/1/2/3/100/4") == a_binlog()


def test_a_delta_log_has_no_field() -> None:
    assert parsed("files_A/delta_log/1/2/3/4") == a_binlog(field_id=None)


def test_deletes_of_all_partitions_lie_without_a_group_in_the_dump() -> None:
    found = parsed("files_A/delta_log/1/-1/3/4")
    assert found is not None
    assert (found.partition_id, found.field_id, found.staged_suffix) == (ALL_PARTITIONS, None, "delta_log/1/-1/3/4")


@pytest.mark.parametrize("root", ["", "files_A", "a/b/c", "var/lib/milvus", "insert_log", "Dätei x"])
def test_a_root_path_may_be_anything(root: str) -> None:
    key = "/".join(part for part in (root, "insert_log/1/2/3/0/4") if part)
    found = parsed(key, root)
    assert found is not None
    assert (found.kind, found.collection_id, found.field_id, found.log_id) == (LogKind.INSERT, 1, 0, 4)


@pytest.mark.parametrize(
    "key",
    [
        "files_A/stats_log/1/2/3/100/4",
        "files_A/index_files/1/2/3/4",
        "files_A/insert_log/1/2/3/100",
        "files_A/insert_log/1/2/3/100/4/5",
        "files_A/delta_log/1/2/3",
        "files_A/delta_log/1/2/3/100/4",
        "files_A/insert_log/1/-1/3/100/4",
        "files_A/delta_log/-1/2/3/4",
        "files_A/delta_log/1/-2/3/4",
        "files_A/insert_log/1/2/3/100/x",
        "files_A/insert_log/1/2/3/100/",
        "files_A/insert_log/1/2/3/100/٤",
        "files_A/insert_log/1/2/3/1.0/4",
        "files_AB/insert_log/1/2/3/100/4",
        "files_B/insert_log/1/2/3/100/4",
        "files_A/",
        "",
    ],
)
def test_other_keys_are_no_binlogs(key: str) -> None:
    assert parsed(key) is None


@given(IDS, IDS, IDS, st.none() | IDS, IDS)
def test_every_binlog_is_read_back_from_its_key(
    collection_id: int, partition_id: int, segment_id: int, field_id: int | None, log_id: int
) -> None:
    binlog = a_binlog(
        collection_id=collection_id,
        partition_id=partition_id,
        segment_id=segment_id,
        field_id=field_id,
        log_id=log_id,
    )
    assert parse_binlog(binlog.source, "files_A") == binlog


def test_in_a_dump_the_segment_stands_for_its_group() -> None:
    assert a_binlog().staged_suffix == "insert_log/1/2/3/3/100/4"
    assert a_binlog(field_id=None).staged_suffix == "delta_log/1/2/3/3/4"


# -- batches ----------------------------------------------------------------------------------------------------------


def a_batch(rows: int, *, deltas: bool) -> SegmentBatch:
    return SegmentBatch(
        number=1,
        partition_id=2,
        partition_name="_default",
        segment_ids=(3,),
        rows=rows,
        objects=5,
        delta_objects=int(deltas),
        size_bytes=10,
        entries=(("x/", "y/") if deltas else ("x/",),),
    )


@pytest.mark.parametrize(
    ("rows", "deltas", "imported", "allowed"),
    [
        (10, False, 10, True),
        (10, False, 9, True),
        (10, False, 1, True),
        (10, False, 0, False),
        (10, False, 11, False),
        (10, True, 0, True),
        (10, True, 10, True),
        (10, True, 11, False),
        (0, False, 0, True),
        (0, False, 1, False),
    ],
)
def test_rows_an_import_may_have_brought(rows: int, imported: int, *, deltas: bool, allowed: bool) -> None:
    assert a_batch(rows, deltas=deltas).allows_rows(imported) == allowed


# -- jobs -------------------------------------------------------------------------------------------------------------

TAG = ImportTag(run_id="run-1", batch_key="import_segments:default.books:0001", attempt=2)


def a_job(tags: dict[str, str], failure: str = "") -> ImportJob:
    return ImportJob(
        job_id=1,
        state=ImportState.FAILED,
        rows=0,
        progress_percent=0,
        paths=(),
        tags=tuple(tags.items()),
        failure=failure,
    )


def test_a_job_is_known_by_every_part_of_its_tag() -> None:
    options = TAG.as_options()
    assert a_job({"backup": "true", **options}).has_tag(TAG)
    for key in options:
        assert not a_job({**options, key: "other"}).has_tag(TAG)
        assert not a_job({name: value for name, value in options.items() if name != key}).has_tag(TAG)


@pytest.mark.parametrize(
    ("failure", "is_lost"),
    [
        ("task marked failed as service restarted", True),
        ("the import task has timed out", True),
        ("failed to iterate events reader, error: parquet: file is smaller than indicated metadata size", False),
        ("the field 103 has no binlog file: importing data failed", False),
        ("", False),
    ],
)
def test_a_restart_is_told_from_a_fault(failure: str, *, is_lost: bool) -> None:
    assert a_job({}, failure).is_lost_to_restart == is_lost


# -- timestamps -------------------------------------------------------------------------------------------------------


def test_a_hybrid_timestamp_is_milliseconds_and_a_counter() -> None:
    hybrid = 1_754_769_000_123 << 18 | 7
    assert physical_ms(hybrid) == 1_754_769_000_123
    assert at_millisecond(hybrid) == hybrid - 7
    assert as_utc(hybrid) == datetime(2025, 8, 9, 19, 50, 0, 123000, tzinfo=UTC)


# -- collections ------------------------------------------------------------------------------------------------------


def test_a_dynamic_field_is_stored_under_the_first_free_id() -> None:
    assert a_schema().stored_field_ids == {0, 1, 100, 101, 102}
    assert a_schema(enable_dynamic_field=True).stored_field_ids == {0, 1, 100, 101, 102, 103}


@pytest.mark.parametrize(("text", "short"), [("books", "books"), ("default.books", "books"), ("db1.a", "db1.a")])
def test_a_name_is_read_and_written(text: str, short: str) -> None:
    assert CollectionRef.parse(text).short == short


def test_values_travel_as_plain_data() -> None:
    collection = a_collection(aliases=("a",), properties=(("x", "y"),))
    assert from_plain(Collection, to_plain(collection)) == collection
