"""Reading both sides: what a plan is made from, and what only shows online."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import Complaint, PlanError, StoreRefused
from migrator.model.collection import CollectionRef, LoadState
from migrator.model.observed import MigratedRecord
from migrator.planning.places import dump_place
from migrator.planning.planner import make_plan
from migrator.running.refresh import Readers, refresh, source_names
from tests.support.builders import BOOKS, Pair, a_loaded_plan, create, fill, flush, some_rows

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.observed import ObservedState


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    fill(pair)
    return pair


def observed(folder: Path, pair: Pair, *, collections: str = "[books]", more: str = "") -> ObservedState:
    return refresh(a_loaded_plan(folder, collections=collections, more=more), pair.readers(), ())


def only_finding(state: ObservedState) -> Complaint:
    assert len(state.findings) == 1, state.findings
    assert state.findings[0].hint
    assert state.findings[0].position is not None
    return state.findings[0]


def test_what_is_there_is_observed_and_nothing_is_changed(tmp_path: Path, pair: Pair) -> None:
    files, source = pair.keys(""), pair.source.find_collection(BOOKS)
    state = observed(tmp_path, pair)
    assert state.findings == ()
    assert state.source_names == (BOOKS,)
    (books,) = state.source
    assert books.collection == source
    assert (books.estimate.segments, books.estimate.rows, books.estimate.objects) == (1, 3, 5)
    assert books.estimate.counted_rows == 3
    assert books.estimate.import_requests == 1
    assert books.estimate.size_bytes == sum(len(data) for data in pair.keys("files_A").values())
    assert (state.target_names, state.target_aliases, state.same_milvus) == ((), (), False)
    assert pair.keys("") == files
    assert pair.target.list_collections("default") == ()


def test_an_encrypted_database_is_complained_about(tmp_path: Path, pair: Pair) -> None:
    pair.source.encrypted.add("default")
    finding = only_finding(observed(tmp_path, pair))
    assert "the database default of the source is encrypted" in finding.message


def test_an_unloaded_collection_is_not_loaded_to_be_counted(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, loaded=False)
    assert observed(tmp_path, pair).source[0].estimate.counted_rows is None
    assert pair.source.load_state(BOOKS) is LoadState.NOT_LOADED


def test_rows_that_only_grow_yet_take_a_request_once_they_are_flushed(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, rows=0)
    pair.source.insert(BOOKS, some_rows(2))
    assert observed(tmp_path, pair).source[0].estimate.import_requests == 1
    unflushed = observed(tmp_path, pair, more="options: {flush: never}\n")
    assert unflushed.source[0].estimate.import_requests == 0


def test_leftovers_of_a_compaction_are_not_counted(tmp_path: Path, pair: Pair) -> None:
    pair.source.insert(BOOKS, some_rows(2, start=10))
    flush(pair.source)
    pair.source.compact(BOOKS)
    estimate = observed(tmp_path, pair).source[0].estimate
    assert (estimate.segments, estimate.rows, estimate.objects) == (1, 5, 5)


def test_one_milvus_on_both_sides_is_known_by_its_collections(tmp_path: Path, pair: Pair) -> None:
    twice = Pair(clock=pair.clock, store=pair.store)
    twice.source = twice.target = pair.source
    state = observed(tmp_path, twice, collections="[{source: books, target: books_bak}]")
    assert state.same_milvus
    assert state.findings == ()


def test_a_wrong_root_path_is_told_with_the_likely_one(tmp_path: Path, pair: Pair) -> None:
    for key, data in pair.keys("files_A").items():
        pair.store.write(f"deep/{key}", data)
    pair.store.delete(pair.keys("files_A"))
    found = only_finding(observed(tmp_path, pair))
    assert (found.field, found.value) == ("source.storage.root_path", "files_A")
    assert "has 1 segments at the source, and none of their files lies under files_A/insert_log/" in found.message
    assert found.hint == "set it to deep/files_A, where they lie"


def test_a_bucket_without_the_files_is_told(tmp_path: Path, pair: Pair) -> None:
    pair.store.delete(pair.keys("files_A"))
    assert "milvus.yaml" in only_finding(observed(tmp_path, pair)).hint


def test_two_servers_in_one_place_are_told(tmp_path: Path, pair: Pair) -> None:
    for key, data in pair.keys("files_A").items():
        pair.store.write(key.replace("files_A", "files_B", 1), data)
    assert only_finding(observed(tmp_path, pair)).field == "target.storage.root_path"


def test_a_dump_of_others_is_told(tmp_path: Path, pair: Pair) -> None:
    pair.store.write("backup/a_to_b/meta/full_meta.json", b"{}")
    found = only_finding(observed(tmp_path, pair))
    assert found.field == "staging.backup_name"
    assert "backup/a_to_b/meta/full_meta.json" in found.message


def test_findings_keep_a_plan_from_being_made(tmp_path: Path, pair: Pair) -> None:
    pair.store.write("backup/a_to_b/x", b"")
    loaded = a_loaded_plan(tmp_path)
    with pytest.raises(PlanError) as caught:
        make_plan(loaded, refresh(loaded, pair.readers(), ()))
    assert caught.value.exit_code == 11


def test_names_that_are_taken_at_the_target_are_observed(tmp_path: Path, pair: Pair) -> None:
    create(pair.target)
    pair.target.create_alias(BOOKS, "library")
    state = observed(tmp_path, pair)
    assert [target.ref for target in state.target_names] == [BOOKS]
    assert state.target_aliases == (CollectionRef("default", "library"),)


def test_an_alias_that_is_a_collection_at_the_target_is_not_carried(tmp_path: Path, pair: Pair) -> None:
    """No mapping aims at it, and it is in the way all the same."""
    pair.source.create_alias(BOOKS, "library")
    create(pair.target, CollectionRef("default", "library"))
    loaded = a_loaded_plan(tmp_path)
    plan = make_plan(loaded, refresh(loaded, pair.readers(), ()))
    assert not [step for step in plan.steps if step.kind == "switch_alias"]
    assert "alias library: the name of a collection at the target" in plan.collections[0].not_carried


def test_a_database_the_target_lacks_is_no_fault(tmp_path: Path, pair: Pair) -> None:
    state = observed(tmp_path, pair, collections="[{source: books, target: db1.books}]")
    assert state.target_databases == ("default",)
    assert state.findings == ()


FULL_META = b'{"collection_backups": [{"collection_id": 9, "collection_name": "old"}]}'


def a_record(dump: str) -> MigratedRecord:
    return MigratedRecord(
        source=BOOKS,
        target=BOOKS,
        source_collection_id=1,
        target_collection_id=2,
        raw_rows=3,
        rows_at_cut=(),
        held_still=True,
        verified=True,
        dump=dump,
        rows=3,
        run_id="run-0",
    )


def test_a_dump_this_plan_wrote_is_added_to(tmp_path: Path, pair: Pair) -> None:
    loaded = a_loaded_plan(tmp_path)
    pair.store.write(f"{loaded.staging.prefix}/meta/full_meta.json", FULL_META)
    state = refresh(loaded, pair.readers(), (a_record(dump_place(loaded)),))
    assert state.findings == ()
    assert state.dump_collections == ((9, "old"),)


@pytest.mark.parametrize("content", [b'{"collection_ba', b"[]", b'{"collection_backups": [{"collection_id": "9"}]}'])
def test_a_dump_that_somebody_damaged_is_told(tmp_path: Path, pair: Pair, content: bytes) -> None:
    loaded = a_loaded_plan(tmp_path)
    pair.store.write(f"{loaded.staging.prefix}/meta/full_meta.json", content)
    finding = only_finding(refresh(loaded, pair.readers(), (a_record(dump_place(loaded)),)))
    assert finding.field == "staging.backup_name"
    assert "meta/full_meta.json is not as a run wrote it" in finding.message


@pytest.mark.parametrize("dump", ["bucket_A/backup/another", None])
def test_a_dump_of_others_is_never_added_to(tmp_path: Path, pair: Pair, dump: str | None) -> None:
    loaded = a_loaded_plan(tmp_path)
    pair.store.write(f"{loaded.staging.prefix}/meta/full_meta.json", FULL_META)
    finding = only_finding(refresh(loaded, pair.readers(), (a_record(dump),) if dump else ()))
    assert finding.field == "staging.backup_name"
    assert "no finished run of this plan" in finding.message


class BoundStore(MemoryStore):
    """A key that may list its own folders, and not the bucket."""

    def list_folders(self, prefix: str) -> tuple[str, ...]:
        if not prefix:
            raise StoreRefused("listing the bucket was refused")
        return super().list_folders(prefix)


def bound(pair: Pair) -> Readers:
    store = BoundStore()
    for key, data in pair.keys("").items():
        store.write(key, data)
    return replace(pair.readers(), source_store=store, staging=store)


def test_a_key_bound_to_the_folders_of_the_plan_is_enough(tmp_path: Path, pair: Pair) -> None:
    assert refresh(a_loaded_plan(tmp_path), bound(pair), ()).findings == ()


def test_a_wrong_root_path_is_named_even_where_nobody_may_look_for_the_right_one(tmp_path: Path, pair: Pair) -> None:
    loaded = a_loaded_plan(tmp_path)
    assert loaded.source is not None
    storage = loaded.source.storage.model_copy(update={"root_path": "file"})
    wrong = replace(loaded, source=loaded.source.model_copy(update={"storage": storage}))
    finding = only_finding(refresh(wrong, bound(pair), ()))
    assert finding.field == "source.storage.root_path"
    assert "milvus.yaml" in finding.hint


# -- users, roles and grants ------------------------------------------------------------------------------------------


def test_access_is_read_only_where_the_plan_asks_for_it(tmp_path: Path, pair: Pair) -> None:
    pair.source.create_role("reader")
    create(pair.target, CollectionRef("db1", "films"))
    pair.target.create_alias(CollectionRef("db1", "films"), "cinema")
    assert observed(tmp_path, pair).access is None
    found = observed(tmp_path, pair, more="options: {rbac: true}\n").access
    assert found is not None
    assert (found.source.roles, found.target.roles) == (("reader",), ())
    assert set(found.target_names) == {CollectionRef("db1", "films"), CollectionRef("db1", "cinema")}


def test_the_scratch_collection_of_a_preflight_is_nobody_s_source() -> None:
    pair = Pair()
    fill(pair)
    create(pair.source, CollectionRef("default", "_migrator_canary_0123456789ab"))
    assert source_names(pair.source) == (BOOKS,)
