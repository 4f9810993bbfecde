"""What a Milvus 2.3.5 does, in memory and on a real server: all that the steps rely on."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import MilvusRefused
from migrator.model.collection import (
    DEFAULT_RESOURCE_GROUP,
    CollectionRef,
    ConsistencyLevel,
    Index,
    KeyValues,
    LoadState,
    ResourceGroup,
)
from migrator.model.import_job import ImportState, ImportTag
from migrator.model.segment import LogKind, Segment, SegmentState
from migrator.steps.flush import flush_and_wait
from tests.support.builders import a_key_schema, a_schema, an_index, some_rows

if TYPE_CHECKING:
    from tests.support.subject import Subject


# -- collections ------------------------------------------------------------------------------------------------------


def test_it_tells_its_version(subject: Subject) -> None:
    assert subject.milvus.version() == "2.3.5"
    assert "default" in subject.milvus.list_databases()


def test_time_goes_on(subject: Subject) -> None:
    stamps = [subject.milvus.allocate_timestamp() for _ in range(20)]
    assert stamps == sorted(set(stamps))
    before = subject.milvus.allocate_timestamp() >> 18
    subject.clock.sleep(0.05)
    assert 40 <= (subject.milvus.allocate_timestamp() >> 18) - before < 60_000


def test_a_collection_is_described_as_it_was_asked_for(subject: Subject) -> None:
    before = subject.milvus.allocate_timestamp()
    ref = subject.create(a_schema(enable_dynamic_field=True))
    found = subject.find(ref)
    assert found.schema == a_schema(enable_dynamic_field=True)
    assert found.ref == ref
    assert before < found.created_ts < subject.milvus.allocate_timestamp()
    assert (found.shards_num, found.consistency_level) == (1, ConsistencyLevel.BOUNDED)
    assert found.properties == (("collection.ttl.seconds", "0"),)
    assert [partition.name for partition in found.partitions] == ["_default"]
    assert (found.indexes, found.aliases) == ((), ())
    assert (found.load_state, found.loaded_partitions, found.replica_number) == (LoadState.NOT_LOADED, (), 0)
    assert ref.name in subject.milvus.list_collections("default")


def test_fields_are_numbered_in_their_order_whatever_was_asked_for(subject: Subject) -> None:
    fields = tuple(replace(field, field_id=field.field_id + 50) for field in a_schema().fields)
    assert subject.find(subject.create(a_schema(fields=fields))).schema == a_schema()


def test_what_is_not_there_is_none(subject: Subject) -> None:
    assert subject.milvus.find_collection(CollectionRef("default", "nowhere")) is None


def test_creating_twice_is_refused_where_something_differs(subject: Subject) -> None:
    ref = subject.create()
    with pytest.raises(MilvusRefused):
        subject.request(ref, a_schema(fields=a_schema().fields[::2]))
    assert subject.find(ref).schema == a_schema()


def test_creating_twice_leaves_an_equal_collection_as_it_is(subject: Subject) -> None:
    """No refusal tells that somebody was quicker: only id and time do."""
    ref = subject.create()
    before = subject.find(ref)
    subject.request(ref, a_schema())
    assert subject.find(ref) == before


def test_a_database_is_made_once(subject: Subject) -> None:
    name = f"db_{secrets.token_hex(4)}"
    subject.milvus.create_database(name)
    assert name in subject.milvus.list_databases()
    assert subject.milvus.list_collections(name) == ()
    with pytest.raises(MilvusRefused):
        subject.milvus.create_database(name)
    ref = CollectionRef(name, "c")
    subject.request(ref, a_schema())
    assert subject.find(ref).ref == ref
    assert subject.milvus.list_collections(name) == ("c",)


def test_a_partition_is_made_once_and_again_without_harm(subject: Subject) -> None:
    ref = subject.create()
    subject.milvus.create_partition(ref, "old")
    subject.milvus.create_partition(ref, "old")
    assert [partition.name for partition in subject.milvus.list_partitions(ref)] == ["_default", "old"]


def test_a_partition_key_makes_physical_partitions(subject: Subject) -> None:
    ref = subject.create(a_key_schema(), num_partitions=3)
    found = subject.find(ref)
    assert [partition.name for partition in found.partitions] == ["_default_0", "_default_1", "_default_2"]
    assert found.num_partitions == 3
    with pytest.raises(MilvusRefused):
        subject.milvus.create_partition(ref, "old")


def test_a_number_of_partitions_needs_a_key(subject: Subject) -> None:
    with pytest.raises(MilvusRefused):
        subject.create(num_partitions=3)


# -- segments ---------------------------------------------------------------------------------------------------------


def test_growing_rows_are_in_no_segment_until_a_flush(subject: Subject) -> None:
    ref = subject.create(a_schema(enable_dynamic_field=True))
    subject.insert(ref, some_rows(5))
    assert subject.milvus.list_segments(ref) == ()
    before = subject.milvus.allocate_timestamp()
    flushed = subject.flush(ref)
    assert flushed.cut_ts > before
    (segment,) = subject.milvus.list_segments(ref)
    partition_id = subject.find(ref).partitions[0].partition_id
    assert segment == Segment(flushed.segment_ids[0], partition_id, 5, SegmentState.FLUSHED)
    binlogs = subject.binlogs(ref)
    assert {binlog.segment_id for binlog in binlogs} == {segment.segment_id}
    assert {binlog.field_id for binlog in binlogs} == subject.find(ref).schema.stored_field_ids


def test_a_flush_names_what_was_flushed_before_too(subject: Subject) -> None:
    ref = subject.create()
    subject.insert(ref, some_rows(2))
    first = subject.flush(ref)
    subject.insert(ref, some_rows(2, start=10))
    second = subject.flush(ref)
    assert set(first.segment_ids) < set(second.segment_ids)
    assert {s.segment_id for s in subject.milvus.list_segments(ref)} == set(second.segment_ids)
    assert subject.flush(ref).segment_ids == second.segment_ids


def test_a_flush_writes_deletes_of_flushed_rows(subject: Subject) -> None:
    ref = subject.create()
    subject.insert(ref, some_rows(5))
    subject.flush(ref)
    subject.delete(ref, [0, 1])
    assert all(binlog.kind is LogKind.INSERT for binlog in subject.binlogs(ref))
    subject.flush(ref)
    assert [binlog.kind for binlog in subject.binlogs(ref)].count(LogKind.DELTA) == 1
    assert [segment.num_rows for segment in subject.milvus.list_segments(ref)] == [5]


def test_compactions_are_told(subject: Subject) -> None:
    assert all(compaction.sources for compaction in subject.milvus.list_compactions())


def test_several_collections_are_flushed_by_one_request_each_with_a_cut(subject: Subject) -> None:
    refs = [subject.create(), subject.create()]
    for ref in refs:
        subject.insert(ref, some_rows(2))
    before = subject.milvus.allocate_timestamp()
    results = flush_and_wait(subject.milvus, refs, subject.clock)
    assert all(before < results[ref].cut_ts < subject.milvus.allocate_timestamp() for ref in refs)
    assert [len(results[ref].segment_ids) for ref in refs] == [1, 1]


# -- indexes, loading, counting ---------------------------------------------------------------------------------------


def test_an_index_is_built_when_nothing_is_pending(subject: Subject) -> None:
    ref = subject.create()
    subject.insert(ref, some_rows(5))
    subject.flush(ref)
    subject.milvus.create_index(ref, an_index())
    subject.until(lambda: all(p.is_built and p.total_rows == 5 for p in subject.milvus.index_progress(ref)))
    (index,) = subject.find(ref).indexes
    assert (index.field_name, index.name, sorted(index.params)) == ("vec", "vec_idx", sorted(an_index().params))


def test_an_equal_index_is_left_alone_and_another_refused(subject: Subject) -> None:
    ref = subject.create()
    subject.milvus.create_index(ref, an_index())
    subject.milvus.create_index(ref, an_index())
    flat = Index(field_name="vec", name="vec_idx", params=(("index_type", "FLAT"), ("metric_type", "L2")))
    with pytest.raises(MilvusRefused):
        subject.milvus.create_index(ref, flat)
    assert len(subject.milvus.index_progress(ref)) == 1


def test_without_an_index_nothing_is_loaded_or_counted(subject: Subject) -> None:
    ref = subject.create()
    with pytest.raises(MilvusRefused):
        subject.milvus.load(ref, partitions=(), replica_number=1)
    with pytest.raises(MilvusRefused):
        subject.milvus.count_rows(ref)
    assert subject.milvus.load_state(ref) is LoadState.NOT_LOADED
    assert subject.milvus.load_progress(ref) == 0
    assert subject.milvus.index_progress(ref) == ()


def test_a_loaded_collection_is_counted_growing_rows_and_deletes_too(subject: Subject) -> None:
    ref = subject.create()
    subject.milvus.create_partition(ref, "old")
    subject.insert(ref, some_rows(5))
    subject.insert(ref, some_rows(3, start=10), "old")
    subject.flush(ref)
    assert subject.count(ref) == 8
    subject.insert(ref, some_rows(2, start=20))
    subject.delete(ref, [0])
    assert subject.milvus.count_rows(ref) == 9
    assert subject.milvus.count_rows(ref, "_default") == 6
    assert subject.milvus.count_rows(ref, "old") == 3
    found = subject.find(ref)
    assert (found.load_state, found.loaded_partitions) == (LoadState.LOADED, ("_default", "old"))
    assert found.replica_number == 1
    assert subject.milvus.load_progress(ref) == 100
    subject.milvus.release(ref)
    subject.until(lambda: subject.milvus.load_state(ref) is LoadState.NOT_LOADED)


def test_a_partition_is_loaded_by_itself(subject: Subject) -> None:
    ref = subject.create()
    subject.milvus.create_partition(ref, "old")
    subject.insert(ref, some_rows(3), "old")
    subject.milvus.create_index(ref, an_index())
    subject.load(ref, "old")
    assert subject.find(ref).loaded_partitions == ("old",)
    assert subject.milvus.count_rows(ref, "old") == 3
    assert subject.milvus.count_rows(ref) == 3
    with pytest.raises(MilvusRefused):
        subject.milvus.count_rows(ref, "_default")


def test_a_partition_key_is_counted_as_a_whole_only(subject: Subject) -> None:
    ref = subject.create(a_key_schema(), num_partitions=2)
    subject.milvus.create_index(ref, an_index())
    subject.load(ref)
    assert subject.milvus.count_rows(ref) == 0
    with pytest.raises(MilvusRefused):
        subject.milvus.count_rows(ref, "_default_0")


# -- aliases ----------------------------------------------------------------------------------------------------------


def test_an_alias_is_no_name_of_a_collection(subject: Subject) -> None:
    ref, alias = subject.create(), f"a_{secrets.token_hex(4)}"
    subject.milvus.create_alias(ref, alias)
    assert subject.find(ref).aliases == (alias,)
    assert alias in subject.milvus.list_aliases("default")
    assert alias not in subject.milvus.list_collections("default")
    assert subject.milvus.find_collection(CollectionRef("default", alias)) is None


def test_an_alias_is_taken_from_its_collection_only(subject: Subject) -> None:
    ref, other = subject.create(), subject.create()
    subject.milvus.create_alias(ref, f"{ref.name}_live")
    subject.milvus.drop_alias(other, f"{ref.name}_live")
    assert subject.find(ref).aliases == (f"{ref.name}_live",)
    for _ in range(2):
        subject.milvus.drop_alias(ref, f"{ref.name}_live")
        assert subject.find(ref).aliases == ()


def test_an_alias_moves_to_another_collection_and_again_without_harm(subject: Subject) -> None:
    ref, other = subject.create(), subject.create()
    alias = CollectionRef(ref.database, f"{ref.name}_alias")
    with pytest.raises(MilvusRefused):
        subject.milvus.alter_alias(ref, alias.name)
    assert subject.milvus.find_alias(alias) is None
    subject.milvus.create_alias(ref, alias.name)
    assert subject.milvus.find_alias(alias) == ref.name
    assert subject.milvus.find_alias(ref) is None
    for _ in range(2):
        subject.milvus.alter_alias(other, alias.name)
        assert subject.milvus.find_alias(alias) == other.name
    assert (subject.find(ref).aliases, subject.find(other).aliases) == ((), (alias.name,))


def test_no_alias_has_the_name_of_a_collection(subject: Subject) -> None:
    ref, other = subject.create(), subject.create()
    for give in (subject.milvus.create_alias, subject.milvus.alter_alias):
        with pytest.raises(MilvusRefused):
            give(ref, other.name)


def test_a_load_without_the_nodes_for_it_is_refused_at_once(subject: Subject) -> None:
    """So many replicas as nodes, in a group that is there."""
    ref = subject.create()
    subject.milvus.create_index(ref, an_index())
    assert subject.milvus.list_resource_groups() == (ResourceGroup(DEFAULT_RESOURCE_GROUP, 1),)
    for replicas, groups in ((2, ()), (1, ("nowhere",))):
        with pytest.raises(MilvusRefused):
            subject.milvus.load(ref, partitions=(), replica_number=replicas, resource_groups=groups)
    subject.milvus.load(ref, partitions=(), replica_number=1, resource_groups=(DEFAULT_RESOURCE_GROUP,))
    subject.until(lambda: subject.milvus.load_state(ref) is LoadState.LOADED)
    assert subject.find(ref).resource_groups == (DEFAULT_RESOURCE_GROUP,)


@pytest.mark.parametrize(
    "params",
    [
        (("index_type", "AUTOINDEX"), ("metric_type", "COSINE")),
        (("index_type", "IVF_FLAT"), ("metric_type", "L2"), ("params", '{"nlist": 16}')),
        (("index_type", "HNSW"), ("metric_type", "IP"), ("params", '{"M": 8, "efConstruction": 64}')),
    ],
    ids=lambda params: params[0][1],
)
def test_an_index_is_told_as_it_was_asked_for(subject: Subject, params: KeyValues) -> None:
    ref = subject.create()
    index = an_index(params=params)
    subject.milvus.create_index(ref, index)
    assert index.is_like(subject.find(ref).indexes[0])


def test_a_collection_is_dropped_by_its_name_and_again_without_harm(subject: Subject) -> None:
    ref = subject.create()
    subject.milvus.create_alias(ref, f"{ref.name}_live")
    subject.milvus.drop_collection(CollectionRef("default", f"{ref.name}_live"))
    subject.find(ref)
    subject.milvus.drop_alias(ref, f"{ref.name}_live")
    for _ in range(2):
        subject.milvus.drop_collection(ref)
        assert subject.milvus.find_collection(ref) is None


def test_a_database_is_dropped_once_it_is_empty(subject: Subject) -> None:
    ref = CollectionRef(f"d_{secrets.token_hex(6)}", "c")
    subject.milvus.create_database(ref.database)
    subject.request(ref, a_schema())
    with pytest.raises(MilvusRefused, match="not empty"):
        subject.milvus.drop_database(ref.database)
    subject.milvus.drop_collection(ref)
    for _ in range(2):
        subject.milvus.drop_database(ref.database)
        assert ref.database not in subject.milvus.list_databases()


def test_a_name_is_given_once(subject: Subject) -> None:
    ref, other, alias = subject.create(), subject.create(), f"a_{secrets.token_hex(4)}"
    subject.milvus.create_alias(ref, alias)
    for name in (alias, other.name):
        with pytest.raises(MilvusRefused):
            subject.milvus.create_alias(other, name)
    with pytest.raises(MilvusRefused):
        subject.request(CollectionRef("default", alias), a_schema())


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["default", "other"])
def test_a_renamed_collection_is_all_it_was(subject: Subject, database: str) -> None:
    """Loaded, with growing rows and an alias; it takes new rows at once, and its old name is free at once."""
    if database == "other":
        database = f"d_{secrets.token_hex(6)}"
        subject.milvus.create_database(database)
    ref = CollectionRef(database, f"c_{secrets.token_hex(6)}")
    new = replace(ref, name=f"{ref.name}_renamed")
    subject.request(ref, a_schema())
    subject.milvus.create_partition(ref, "old")
    subject.insert(ref, some_rows(3), "old")
    subject.flush(ref)
    subject.milvus.create_index(ref, an_index())
    subject.load(ref)
    subject.insert(ref, some_rows(2, start=10))
    subject.milvus.create_alias(ref, f"{ref.name}_live")
    before = subject.find(ref)
    subject.milvus.rename_collection(ref, new.name)
    assert subject.milvus.find_collection(ref) is None
    assert subject.find(new) == replace(before, ref=new)
    assert subject.milvus.count_rows(new) == 5
    subject.insert(new, some_rows(1, start=20))
    assert subject.milvus.count_rows(new) == 6
    assert subject.milvus.count_rows(replace(ref, name=f"{ref.name}_live")) == 6
    subject.request(ref, a_schema())
    assert subject.find(ref).collection_id != before.collection_id
    assert subject.milvus.list_segments(ref) == ()


def test_a_name_that_is_taken_is_given_to_no_other(subject: Subject) -> None:
    ref, other = subject.create(), subject.create()
    alias = CollectionRef("default", f"{other.name}_live")
    subject.milvus.create_alias(other, alias.name)
    for name in (other.name, alias.name, ref.name):
        with pytest.raises(MilvusRefused, match="duplicated new collection name"):
            subject.milvus.rename_collection(ref, name)
    for old in (alias, CollectionRef("default", "nobody")):
        with pytest.raises(MilvusRefused):
            subject.milvus.rename_collection(old, "somebody")
    assert subject.find(ref).collection_id != subject.find(other).collection_id


def test_an_alias_is_moved_in_one_act_and_again_without_harm(subject: Subject) -> None:
    ref, other = subject.create(), subject.create()
    alias = f"{ref.name}_live"
    with pytest.raises(MilvusRefused):
        subject.milvus.alter_alias(ref, alias)
    subject.milvus.create_alias(ref, alias)
    for _ in range(2):
        subject.milvus.alter_alias(other, alias)
        assert (subject.find(ref).aliases, subject.find(other).aliases) == ((), (alias,))


def test_an_import_into_a_collection_that_is_renamed_meanwhile(subject: Subject, filled: CollectionRef) -> None:
    """The job goes on with the collection, and is listed."""
    ref, batch = subject.create(), subject.batch(filled)
    tag = ImportTag(run_id="run-1", batch_key=f"import:{ref}:0001", attempt=1)
    job_id = subject.milvus.start_import(ref, batch, end_ts=subject.milvus.allocate_timestamp(), tag=tag)
    new = replace(ref, name=f"{ref.name}_renamed")
    subject.milvus.rename_collection(ref, new.name)
    subject.until(lambda: subject.get_job(new, job_id).state in {ImportState.COMPLETED, ImportState.FAILED})
    job = subject.get_job(new, job_id)
    assert (job.state, job.rows) == (ImportState.COMPLETED, 4)
    assert subject.count(new) == 4
    assert job_id in {job.job_id for job in subject.milvus.list_import_jobs(new) if job.has_tag(tag)}


# -- imports ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(subject: Subject) -> CollectionRef:
    """Five rows in two segments, one of them deleted."""
    ref = subject.create()
    subject.insert(ref, some_rows(3))
    subject.flush(ref)
    subject.insert(ref, some_rows(2, start=10))
    subject.delete(ref, [0])
    subject.flush(ref)
    return ref


def test_an_import_brings_rows_without_deleted_ones(subject: Subject, filled: CollectionRef) -> None:
    ref = subject.create()
    job = subject.bring(ref, subject.batch(filled))
    assert (job.state, job.rows, job.failure) == (ImportState.COMPLETED, 4, "")
    assert sum(segment.num_rows for segment in subject.milvus.list_segments(ref)) == 4
    assert subject.count(ref) == 4


def test_a_job_carries_its_tag_and_is_listed(subject: Subject, filled: CollectionRef) -> None:
    ref, batch = subject.create(), subject.batch(filled)
    bound = subject.milvus.allocate_timestamp()
    job = subject.bring(ref, batch, end_ts=bound)
    assert job.has_tag(ImportTag(run_id="run-1", batch_key="contract", attempt=1))
    assert not job.has_tag(ImportTag(run_id="run-1", batch_key="contract", attempt=2))
    assert dict(job.tags)["end_ts"] == str(bound >> 18)
    assert job.paths == batch.entries[0]
    assert job in subject.milvus.list_import_jobs(ref)


def test_a_request_sent_twice_doubles_the_rows(subject: Subject, filled: CollectionRef) -> None:
    ref = subject.create()
    for _ in range(2):
        assert subject.bring(ref, subject.batch(filled)).rows == 4
    assert subject.count(ref) == 8


def test_a_prefix_that_is_not_there_completes_with_no_rows(subject: Subject, filled: CollectionRef) -> None:
    ref = subject.create()
    job = subject.bring(ref, subject.batch(filled, entries=(("nowhere/insert_log/1/2/",),)))
    assert (job.state, job.rows, job.failure) == (ImportState.COMPLETED, 0, "")


@pytest.mark.parametrize("deltas", [(), ("nowhere/delta_log/1/2/",)])
def test_without_their_deltas_deleted_rows_come_back(
    subject: Subject, filled: CollectionRef, deltas: tuple[str, ...]
) -> None:
    ((inserts, _),) = subject.batch(filled).entries
    assert subject.bring(subject.create(), subject.batch(filled, entries=((inserts, *deltas),))).rows == 5


def test_one_segment_is_brought_by_its_own_folder(subject: Subject, filled: CollectionRef) -> None:
    batch = subject.batch(filled)
    own = subject.batch(filled, entries=((f"{batch.entries[0][0]}{max(batch.segment_ids)}/",),))
    assert subject.bring(subject.create(), own).rows == 2


def test_nothing_newer_than_the_bound_is_brought(subject: Subject) -> None:
    ref = subject.create()
    subject.insert(ref, some_rows(3))
    bound = subject.flush(ref).cut_ts
    subject.clock.sleep(0.01)
    subject.insert(ref, some_rows(2, start=10))
    subject.delete(ref, [0])
    subject.flush(ref)
    assert subject.bring(subject.create(), subject.batch(ref), end_ts=bound).rows == 3
    assert subject.bring(subject.create(), subject.batch(ref)).rows == 4


def test_what_does_not_fit_the_schema_fails_in_the_job(subject: Subject, filled: CollectionRef) -> None:
    job = subject.bring(subject.create(a_schema(enable_dynamic_field=True)), subject.batch(filled))
    assert (job.state, job.rows) == (ImportState.FAILED, 0)
    assert "the field 103 has no binlog file" in job.failure
    assert not job.is_lost_to_restart


def test_a_request_that_cannot_be_is_refused_at_once(subject: Subject, filled: CollectionRef) -> None:
    batch, tag = subject.batch(filled), ImportTag(run_id="r", batch_key="b", attempt=1)
    by_key = subject.create(a_key_schema(), num_partitions=2)
    for ref, request in (
        (subject.create(), replace(batch, partition_name="nowhere")),
        (by_key, replace(batch, partition_name="")),
    ):
        with pytest.raises(MilvusRefused):
            subject.milvus.start_import(ref, request, end_ts=1 << 18, tag=tag)


def test_a_job_nobody_sent_is_none(subject: Subject) -> None:
    assert subject.milvus.find_import_job(subject.create(), 4711) is None


def test_imported_rows_are_in_the_index_in_the_end(subject: Subject, filled: CollectionRef) -> None:
    ref = subject.create()
    subject.milvus.create_index(ref, an_index())
    subject.bring(ref, subject.batch(filled))
    subject.until(lambda: all(p.is_built and p.total_rows == 4 for p in subject.milvus.index_progress(ref)))
