"""Plan file and observed state to a plan, as values."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from migrator.errors import Complaint, PlanError
from migrator.model.collection import CollectionRef, ConsistencyLevel, LoadState, Partition
from migrator.model.observed import MigratedRecord, ObservedTarget
from migrator.planning.plan import Action, Plan, plan_to_plain
from migrator.planning.planner import make_plan
from migrator.steps.base import Step
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_database import CreateDatabase
from migrator.steps.flush import Flush
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.retire_predecessor import RetirePredecessor
from migrator.steps.switch_alias import SwitchAlias
from tests.support.builders import (
    BOOKS,
    a_collection,
    a_key_schema,
    a_loaded_plan,
    an_estimate,
    an_index,
    an_observed_state,
)

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import Collection
S = TypeVar("S", bound=Step)
BAK = "[{source: books, target: books_bak}]"
TAKEN = ObservedTarget(ref=BOOKS, collection_id=77, created_ts=5)
RECORD = MigratedRecord(
    source=BOOKS,
    target=BOOKS,
    source_collection_id=a_collection().collection_id,
    target_collection_id=TAKEN.collection_id,
    raw_rows=3,
    rows_at_cut=(("_default", 3),),
    held_still=True,
    verified=True,
    dump="bucket_A/backup/my_backup",
    rows=3,
    run_id="run-0",
)


def planned(folder: Path, *collections: Collection, text: str = "[books]", more: str = "", **state: Any) -> Plan:  # noqa: ANN401
    return make_plan(a_loaded_plan(folder, collections=text, more=more), an_observed_state(*collections, **state))


def complaints(
    folder: Path,
    *collections: Collection,
    text: str = "[books]",
    more: str = "",
    only: str | None = None,
    **state: Any,  # noqa: ANN401 - any member of the state
) -> list[Complaint]:
    loaded = a_loaded_plan(folder, collections=text, more=more)
    with pytest.raises(PlanError) as caught:
        make_plan(loaded, an_observed_state(*collections, **state), only=only)
    assert caught.value.exit_code == 11
    return list(caught.value.complaints)


def only_complaint(folder: Path, *collections: Collection, **named: Any) -> Complaint:  # noqa: ANN401 - as above
    found = complaints(folder, *collections, **named)
    assert len(found) == 1, [str(complaint) for complaint in found]
    assert found[0].hint
    return found[0]


def step_of(plan: Plan, kind: type[S]) -> S:
    (found,) = [step for step in plan.steps if isinstance(step, kind)]
    return found


def as_bytes(plan: Plan) -> str:
    return json.dumps(plan_to_plain(plan))


# -- what is planned --------------------------------------------------------------------------------------------------


def test_one_collection_becomes_one_chain(tmp_path: Path) -> None:
    plan = planned(tmp_path, a_collection(aliases=("library",)), text=BAK)
    assert [step.key for step in plan.steps] == [
        "flush",
        "dump_meta:default.books",
        "copy_segments:default.books",
        "create_collection:default.books_bak",
        "import_segments:default.books_bak",
        "create_index:default.books_bak",
        "load_collection:default.books_bak",
        "verify_collection:default.books_bak",
        "switch_alias:default.books_bak",
        "seal_dump:backup/a_to_b",
    ]
    keys = {step.key for step in plan.steps}
    assert all({*step.needs, *step.follows} <= keys for step in plan.steps)
    assert plan.has_changes


def test_collections_do_not_wait_for_one_another(tmp_path: Path) -> None:
    plan = planned(tmp_path, a_collection("books"), a_collection("films"), text="['*']")
    films = {step.key for step in plan.steps if step.collection == "films"}
    for step in plan.steps:
        if step.collection == "books":
            assert not films & {*step.needs, *step.follows}


def test_equal_inputs_give_equal_plans_byte_for_byte(tmp_path: Path) -> None:
    names = ["c", "a", "b"]
    first = planned(tmp_path, *map(a_collection, names), text="['*']")
    state = an_observed_state(*map(a_collection, sorted(names)))
    again = make_plan(a_loaded_plan(tmp_path, collections="['*']"), state)
    assert as_bytes(first) == as_bytes(again)
    assert first == again


def test_a_missing_database_is_created_once_and_before(tmp_path: Path) -> None:
    collections = (a_collection("db1.a"), a_collection("db1.b"))
    plan = planned(tmp_path, *collections, text='["db1.*"]')
    assert step_of(plan, CreateDatabase).name == "db1"
    for step in plan.steps:
        if isinstance(step, CreateCollection):
            assert "create_database:db1" in step.needs
    there = planned(tmp_path, *collections, text='["db1.*"]', target_databases=("db1", "default"))
    assert not [step for step in there.steps if isinstance(step, CreateDatabase)]


def test_a_partition_key_travels_as_a_number_of_partitions(tmp_path: Path) -> None:
    partitions = tuple(Partition(number, f"_default_{number}") for number in range(4))
    plan = planned(tmp_path, a_collection(schema=a_key_schema(), partitions=partitions, num_partitions=4))
    create = step_of(plan, CreateCollection)
    assert (create.partitions, create.num_partitions) == ((), 4)


def test_explicit_partitions_travel_by_name(tmp_path: Path) -> None:
    partitions = (Partition(1, "_default"), Partition(2, "old"))
    create = step_of(planned(tmp_path, a_collection(partitions=partitions)), CreateCollection)
    assert (create.partitions, create.num_partitions) == (("_default", "old"), None)


def test_options_reach_the_steps(tmp_path: Path) -> None:
    more = "options: {flush: never, import: {max_jobs: 2, segments_per_job: 5, stall_timeout: 1m}, verify: none}\n"
    plan = planned(tmp_path, more=more)
    bring = step_of(plan, ImportSegments)
    assert (bring.max_jobs, bring.segments_per_job, bring.stall_timeout_s) == (2, 5, 60)
    assert not step_of(plan, Flush).enabled
    assert "verify_collection" not in {step.kind for step in plan.steps}
    assert "reappear" in plan.notices[0]


# -- load -------------------------------------------------------------------------------------------------------------

UNLOADED: dict[str, Any] = {"load_state": LoadState.NOT_LOADED, "loaded_partitions": (), "replica_number": 0}


@pytest.mark.parametrize(
    ("load", "is_loaded", "loads"),
    [
        ("as_source", True, True),
        ("as_source", False, False),
        ("always", False, True),
        ("never", True, False),
        ("never", False, False),
    ],
)
def test_load_follows_the_mapping(tmp_path: Path, load: str, is_loaded: bool, loads: bool) -> None:  # noqa: FBT001
    collection = a_collection() if is_loaded else a_collection(**UNLOADED)
    plan = planned(tmp_path, collection, text=f"[{{source: books, load: {load}}}]")
    assert ("load_collection" in {step.kind for step in plan.steps}) == loads
    assert any("loaded" in text for text in plan.collections[0].changed) == (loads and not is_loaded)
    assert ("load state: load: never" in plan.collections[0].not_carried) == (is_loaded and not loads)


def test_a_part_that_is_loaded_is_loaded_in_part(tmp_path: Path) -> None:
    partitions = (Partition(1, "_default"), Partition(2, "old"))
    plan = planned(tmp_path, a_collection(partitions=partitions, loaded_partitions=("old",), replica_number=2))
    assert step_of(plan, LoadCollection).partitions == ("old",)
    assert step_of(plan, LoadCollection).replica_number == 2


# -- overrides and what does not come along ---------------------------------------------------------------------------


def test_overrides_are_made_and_shown(tmp_path: Path) -> None:
    create = "{shards_num: 2, consistency_level: Strong, description: other, properties: {collection.ttl.seconds: 0}}"
    collection = a_collection(properties=(("mmap.enabled", "true"),))
    plan = planned(tmp_path, collection, text=f"[{{source: books, create: {create}}}]")
    assert plan.collections[0].changed == (
        "shards 1 → 2",
        "consistency Bounded → Strong",
        "description",
        "property collection.ttl.seconds: unset → 0",
    )
    step = step_of(plan, CreateCollection)
    assert step.schema.description == "other"
    assert (step.shards_num, step.consistency_level) == (2, ConsistencyLevel.STRONG)
    assert dict(step.properties) == {"mmap.enabled": "true", "collection.ttl.seconds": "0"}


def test_overrides_that_change_nothing_are_not_shown(tmp_path: Path) -> None:
    text = "[{source: books, create: {shards_num: 1, consistency_level: Bounded, description: demo}}]"
    assert planned(tmp_path, text=text).collections[0].changed == ()


def test_what_comes_along_is_listed(tmp_path: Path) -> None:
    carried = planned(tmp_path, a_collection(aliases=("library",))).collections[0].carried
    assert carried == (
        "3 fields: id int64 (primary key), title varchar, vec float_vector",
        "1 partition: _default",
        "description",
        "1 shard",
        "consistency Bounded",
        "index HNSW COSINE on vec",
        "alias library",
        "loaded",
    )


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"target_aliases": (CollectionRef("default", "library"),)}, "taken at the target"),
        ({"target_taken": (CollectionRef("default", "library"),)}, "the name of a collection at the target"),
    ],
    ids=["by an alias", "by a collection"],
)
def test_an_alias_that_is_taken_is_not_carried(tmp_path: Path, state: dict[str, Any], why: str) -> None:
    plan = planned(tmp_path, a_collection(aliases=("free", "library")), **state)
    assert step_of(plan, SwitchAlias).aliases == ("free",)
    assert f"alias library: {why}" in plan.collections[0].not_carried


def test_an_alias_taken_in_another_database_is_free(tmp_path: Path) -> None:
    elsewhere = (CollectionRef("db1", "library"),)
    plan = planned(tmp_path, a_collection(aliases=("library",)), target_aliases=elsewhere)
    assert step_of(plan, SwitchAlias).aliases == ("library",)


def test_an_alias_that_is_the_name_of_another_new_collection_is_not_carried(tmp_path: Path) -> None:
    text = "[{source: books, target: books_bak}, {source: films, target: library}]"
    plan = planned(tmp_path, a_collection("books", aliases=("library",)), a_collection("films"), text=text)
    assert not [step for step in plan.steps if isinstance(step, SwitchAlias)]
    assert any("alias library" in text for text in plan.collections[0].not_carried)


def test_an_alias_of_two_databases_that_meet_in_one_is_carried_once(tmp_path: Path) -> None:
    collections = (a_collection("db1.a", aliases=("library",)), a_collection("db2.b", aliases=("library",)))
    plan = planned(tmp_path, *collections, text='["db1.a", {source: db2.b, target: db1.b}]')
    assert step_of(plan, SwitchAlias).target == CollectionRef("db1", "a")


def test_row_timestamps_are_said_not_to_come_along(tmp_path: Path) -> None:
    assert "row timestamps" in planned(tmp_path).collections[0].not_carried[-1]


# -- selection --------------------------------------------------------------------------------------------------------


def mapped(plan: Plan) -> dict[str, str]:
    return {str(each.source): str(each.target) for each in plan.collections}


def test_globs_reach_over_databases_and_leave_out_what_is_excluded(tmp_path: Path) -> None:
    names = ["a", "db1.a", "db1.tmp_b", "db2.a"]
    text = """[{source: "*.*", exclude: ["db1.tmp_*"], target: "default.{{ database }}_{{ collection }}"}]"""
    plan = planned(tmp_path, *map(a_collection, names), text=text)
    assert mapped(plan) == {
        "default.a": "default.default_a",
        "db1.a": "default.db1_a",
        "db2.a": "default.db2_a",
    }


def test_a_star_is_the_default_database(tmp_path: Path) -> None:
    assert mapped(planned(tmp_path, a_collection("a"), a_collection("db1.a"), text="['*']")).keys() == {"default.a"}


def test_an_exact_name_beats_a_glob(tmp_path: Path) -> None:
    text = """["*", {source: books, target: books_bak}]"""
    plan = planned(tmp_path, a_collection("books"), a_collection("films"), text=text)
    assert mapped(plan) == {"default.books": "default.books_bak", "default.films": "default.films"}


def test_variables_reach_the_target(tmp_path: Path) -> None:
    loaded = a_loaded_plan(
        tmp_path,
        collections="""[{source: books, target: "books{{ vars.suffix }}"}]""",
        more="vars: {suffix: _bak}\n",
        variables={"suffix": "_new"},
    )
    assert mapped(make_plan(loaded, an_observed_state())) == {"default.books": "default.books_new"}


@pytest.mark.parametrize("pattern", ["books", "default.books", "b*", "db1.books_bak", "db1.*"])
def test_only_is_held_against_source_and_target(tmp_path: Path, pattern: str) -> None:
    loaded = a_loaded_plan(tmp_path, collections="[{source: books, target: db1.books_bak}, films]")
    state = an_observed_state(a_collection("books"), a_collection("films"))
    assert mapped(make_plan(loaded, state, only=pattern)) == {"default.books": "db1.books_bak"}


# -- again ------------------------------------------------------------------------------------------------------------


def test_a_mapping_that_was_migrated_is_left_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, target_names=(TAKEN,), migrated=(RECORD,))
    assert plan.collections[0].action is Action.DONE
    assert plan.collections[0].notices == ()
    assert "before, nothing to do" in plan.collections[0].reason
    assert not plan.has_changes
    assert plan.notices == ()


def test_a_source_that_moved_since_is_said_so(tmp_path: Path) -> None:
    plan = planned(tmp_path, target_names=(TAKEN,), migrated=(RECORD,), rows=4)
    assert plan.collections[0].action is Action.DONE
    assert plan.collections[0].notices == ("the source has changed since run run-0 migrated it",)


def test_one_more_mapping_is_one_change(tmp_path: Path) -> None:
    collections = (a_collection("books"), a_collection("films"))
    plan = planned(tmp_path, *collections, text="['*']", target_names=(TAKEN,), migrated=(RECORD,))
    assert {str(each.source): each.action for each in plan.collections} == {
        "default.books": Action.DONE,
        "default.films": Action.MIGRATE,
    }
    assert {step.collection for step in plan.steps} == {"", "films"}
    assert step_of(plan, Flush).collections == (CollectionRef("default", "films"),)


def test_a_target_that_was_dropped_since_is_migrated_again(tmp_path: Path) -> None:
    assert planned(tmp_path, migrated=(RECORD,)).collections[0].action is Action.MIGRATE


def test_skip_leaves_what_exists_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, text="[{source: books, if_exists: skip}]", target_names=(TAKEN,))
    assert plan.collections[0].action is Action.SKIP
    assert "is left alone" in plan.collections[0].reason
    assert not plan.has_changes


def test_skip_does_not_hide_that_it_was_migrated(tmp_path: Path) -> None:
    text = "[{source: books, if_exists: skip}]"
    assert planned(tmp_path, text=text, target_names=(TAKEN,), migrated=(RECORD,)).collections[0].action is Action.DONE


# -- the digest -------------------------------------------------------------------------------------------------------


def test_the_digest_does_not_change_with_estimates_or_places(tmp_path: Path) -> None:
    first = planned(tmp_path, rows=3)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert planned(elsewhere, rows=5000).digest == first.digest
    state = an_observed_state()
    moved = replace(state, source=(replace(state.source[0], estimate=an_estimate(objects=45, segments=9)),))
    assert make_plan(a_loaded_plan(tmp_path), moved).digest == first.digest


def test_the_digest_does_not_change_with_what_is_read_again_anyway(tmp_path: Path) -> None:
    schema_only = a_collection(load_state=LoadState.LOADED, loaded_partitions=("_default",))
    assert planned(tmp_path, schema_only).digest == planned(tmp_path).digest


@pytest.mark.parametrize(
    "change",
    [
        {"text": BAK},
        {"text": "[{source: books, create: {shards_num: 2}}]"},
        {"more": "options: {import: {max_jobs: 2}}\n"},
        {"more": "vars: {suffix: _new}\n"},
        {"more": "staging: {backup_name: other}\n"},
        {"more": "description: other\n"},
        {"source_version": "2.3.6"},
        {"target_version": "2.3.6"},
        {"target_names": (replace(TAKEN, ref=CollectionRef("default", "other")),)},
    ],
    ids=str,
)
def test_the_digest_changes_with_what_decides(tmp_path: Path, change: dict[str, Any]) -> None:
    assert planned(tmp_path, **change).digest != planned(tmp_path).digest


@pytest.mark.parametrize(
    "collection",
    [
        a_collection(collection_id=5),
        a_collection(schema=a_key_schema(), partitions=(Partition(7, "_default_0"),)),
        a_collection(indexes=(an_index(name="other"),)),
        a_collection(partitions=(Partition(8, "_default"),)),
        a_collection(properties=(("mmap.enabled", "true"),)),
        a_collection(aliases=("library",)),
        a_collection(**UNLOADED),
    ],
    ids=["id", "schema", "index", "partition", "property", "alias", "load state"],
)
def test_the_digest_changes_with_the_source(tmp_path: Path, collection: Collection) -> None:
    assert planned(tmp_path, collection).digest != planned(tmp_path).digest


def test_the_digest_changes_with_a_variable_of_the_command_line(tmp_path: Path) -> None:
    more = "vars: {suffix: _bak}\n"
    plain = make_plan(a_loaded_plan(tmp_path, more=more), an_observed_state())
    other = make_plan(a_loaded_plan(tmp_path, more=more, variables={"suffix": "_x"}), an_observed_state())
    assert plain.digest != other.digest


# -- complaints -------------------------------------------------------------------------------------------------------


def test_a_target_that_exists_is_a_conflict(tmp_path: Path) -> None:
    found = only_complaint(tmp_path, target_names=(TAKEN,))
    assert found.field == "collections[0].target"
    assert found.message == "the target already has a collection books, and no run of this plan made it"
    assert found.position is not None


@pytest.mark.parametrize(
    ("record", "who"),
    [
        (replace(RECORD, source_collection_id=5), "source"),
        (replace(RECORD, target_collection_id=5), "target"),
    ],
)
def test_a_collection_made_anew_since_is_a_conflict(tmp_path: Path, record: MigratedRecord, who: str) -> None:
    found = only_complaint(tmp_path, target_names=(TAKEN,), migrated=(record,))
    assert found.field == "collections[0].target"
    assert f"the {who} collection was dropped and created again" in found.message


def test_the_record_of_another_target_is_no_record(tmp_path: Path) -> None:
    record = replace(RECORD, target=CollectionRef("default", "other"))
    assert "no run of this plan made it" in only_complaint(tmp_path, target_names=(TAKEN,), migrated=(record,)).message


def test_what_is_there_is_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    taken = replace(TAKEN, rows=5, aliases=("library", "shelf"))
    state: dict[str, Any] = {
        "target_names": (taken,),
        "target_taken": (BOOKS,),
        "target_aliases": names("library", "shelf"),
    }
    books = a_collection(aliases=("library", "reading"))
    plan = planned(tmp_path, books, text="[{source: books, if_exists: replace}]", **state)
    retire = step_of(plan, RetirePredecessor)
    assert (retire.target, retire.predecessor_id) == (BOOKS, 77)
    assert retire.retired.name == "books_retired_77"
    assert retire.temporary.name.startswith("books_mig_")
    keys = [step.key for step in plan.steps]
    built = [f"{kind}:{retire.temporary}" for kind in ("create_collection", "import_segments", "create_index")]
    assert set(built) <= set(keys)
    assert keys[-3:] == [retire.key, "switch_alias:default.books", "seal_dump:backup/a_to_b"]
    assert retire.needs == (f"verify_collection:{retire.temporary}",)
    (told,) = plan.collections
    assert told.action is Action.MIGRATE
    assert told.replaces is not None
    assert "5 rows" in told.replaces.in_words()
    assert "kept as books_retired_77 until migrator clean" in told.replaces.in_words()
    assert any("library, shelf" in notice for notice in told.notices)
    assert not [text for text in told.not_carried if "alias" in text]
    assert step_of(plan, SwitchAlias).aliases == ("reading",)
    more = planned(tmp_path, books, text="[{source: books, if_exists: replace}]", **state, rows=9)
    assert more.digest == plan.digest


def names(*found: str) -> tuple[CollectionRef, ...]:
    return tuple(CollectionRef("default", name) for name in found)


@pytest.mark.parametrize("if_exists", ["fail", "skip", "replace"])
def test_a_target_that_is_free_is_simply_created(tmp_path: Path, if_exists: str) -> None:
    plan = planned(tmp_path, text=f"[{{source: books, if_exists: {if_exists}}}]")
    assert plan == replace(planned(tmp_path), digest=plan.digest)


def test_what_this_plan_migrated_is_not_replaced(tmp_path: Path) -> None:
    text = "[{source: books, if_exists: replace}]"
    plan = planned(tmp_path, text=text, target_names=(TAKEN,), target_taken=(BOOKS,), migrated=(RECORD,))
    assert [collection.action for collection in plan.collections] == [Action.DONE]
    other = replace(RECORD, source_collection_id=1)
    plan = planned(tmp_path, text=text, target_names=(TAKEN,), target_taken=(BOOKS,), migrated=(other,))
    assert step_of(plan, RetirePredecessor).predecessor_id == TAKEN.collection_id


def test_a_source_is_never_replaced(tmp_path: Path) -> None:
    text = "[{source: books, target: films, if_exists: replace}, {source: films, target: films_bak}]"
    films = ObservedTarget(ref=CollectionRef("default", "films"), collection_id=5, created_ts=5)
    state: dict[str, Any] = {"target_names": (films,), "target_taken": (films.ref, BOOKS)}
    collections = (a_collection(), a_collection("films"))
    complaint = only_complaint(tmp_path, *collections, text=text, same_milvus=True, **state)
    assert "films would be replaced, and is a source of this plan" in complaint.message
    assert complaint.field == "collections[0].target"
    assert step_of(planned(tmp_path, *collections, text=text, **state), RetirePredecessor).target == films.ref


@pytest.mark.parametrize("place", ["target_taken", "target_aliases"])
@pytest.mark.parametrize("which", ["temporary", "retired"])
def test_the_names_that_replacing_needs_have_to_be_free(tmp_path: Path, place: str, which: str) -> None:
    text = "[{source: books, if_exists: replace}]"
    state: dict[str, Any] = {"target_names": (TAKEN,)}
    name = getattr(step_of(planned(tmp_path, text=text, **state), RetirePredecessor), which)
    complaint = only_complaint(tmp_path, text=text, **state, **{place: (name,)})
    assert f"replacing books needs the name {name.name}, which is taken" in complaint.message


def test_names_stay_within_what_milvus_allows(tmp_path: Path) -> None:
    taken = [
        ObservedTarget(ref=CollectionRef("default", f"{'x' * 254}{letter}"), collection_id=number, created_ts=5)
        for number, letter in enumerate("ab")
    ]
    collections = [a_collection(each.ref.name) for each in taken]
    plan = planned(
        tmp_path, *collections, text="['*']", more="defaults: {if_exists: replace}\n", target_names=tuple(taken)
    )
    steps = [step for step in plan.steps if isinstance(step, RetirePredecessor)]
    found = {name for step in steps for name in (step.temporary.name, step.retired.name)}
    assert len(found) == 4
    assert max(map(len, found)) == 255


def test_an_alias_in_the_way_is_a_conflict(tmp_path: Path) -> None:
    found = only_complaint(tmp_path, target_aliases=(BOOKS,))
    assert (found.field, found.message) == ("collections[0].target", "books is an alias at the target")


def test_a_mapping_onto_itself_is_a_conflict(tmp_path: Path) -> None:
    found = only_complaint(tmp_path, same_milvus=True, target_names=(TAKEN,))
    assert found.field == "collections[0].target"
    assert "mapped onto itself" in found.message


def test_a_clone_inside_one_milvus_is_fine(tmp_path: Path) -> None:
    assert planned(tmp_path, text=BAK, same_milvus=True).has_changes


def test_a_dump_that_holds_the_collection_is_a_conflict(tmp_path: Path) -> None:
    dumped = ((a_collection().collection_id, "books"),)
    found = only_complaint(tmp_path, dump_collections=dumped)
    assert found.field == "staging.backup_name"
    assert "already holds books" in found.message


def test_load_always_needs_an_index(tmp_path: Path) -> None:
    found = only_complaint(tmp_path, a_collection(indexes=()), text="[{source: books, load: always}]")
    assert found.field == "collections[0].load"


@pytest.mark.parametrize(
    ("versions", "field", "said"),
    [
        ({"source_version": "2.2.8"}, "source.milvus.uri", "2.2.9 is the oldest supported"),
        ({"source_version": "3.1.0"}, "source.milvus.uri", "not supported yet"),
        ({"source_version": "2.4.0"}, "target.milvus.uri", "an older line cannot read what a newer one wrote"),
        ({"target_version": "2.2.16"}, "target.milvus.uri", "2.3.0 is the oldest supported"),
        ({"target_version": "3.1.0"}, "target.milvus.uri", "not supported yet"),
        ({"target_version": "dev"}, "target.milvus.uri", "'dev', which cannot be read as one"),
    ],
)
def test_versions_are_held_against_what_is_supported(
    tmp_path: Path, versions: dict[str, Any], field: str, said: str
) -> None:
    found = only_complaint(tmp_path, **versions)
    assert found.field == field
    assert said in found.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[magazines]", "the source has no collection magazines"),
        ("['mag*']", "no collection of the source matches mag*"),
    ],
)
def test_a_mapping_that_finds_nothing_is_told_what_there_is(tmp_path: Path, text: str, said: str) -> None:
    found = only_complaint(tmp_path, text=text)
    assert (found.field, found.message) == ("collections[0].source", said)
    assert found.hint == "the source holds: books"


def test_two_globs_that_meet_are_a_conflict(tmp_path: Path) -> None:
    found = only_complaint(tmp_path, text="""["b*", {source: "*s", target: "{{ collection }}_bak"}]""")
    assert found.field == "collections[1].source"
    assert "books is selected by" in found.message


def test_names_that_meet_after_expansion_are_a_conflict(tmp_path: Path) -> None:
    collections = (a_collection("a"), a_collection("b"))
    found = only_complaint(tmp_path, *collections, text="[{source: '*', target: one}]")
    assert found.field == "collections[0].target"
    assert found.message == "b and a would both become one"


def test_a_target_no_name_can_be_is_told(tmp_path: Path) -> None:
    long = "x" * 250
    found = only_complaint(
        tmp_path, a_collection(long), text="""[{source: "x*", target: "{{ collection }}_bak12345"}]"""
    )
    assert found.field == "collections[0].target"
    assert "the target of" in found.message


def test_only_that_matches_nothing_is_told_what_there_is(tmp_path: Path) -> None:
    found = only_complaint(tmp_path, only="films")
    assert found.message == "--only films matches no mapping"
    assert "default.books" in found.hint


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    finding = Complaint("found online", field="source.storage.root_path")
    found = complaints(
        tmp_path,
        text="[books, films]",
        target_names=(TAKEN,),
        findings=(finding,),
        target_version="2.4.0",
    )
    assert {complaint.field for complaint in found} == {
        "source.storage.root_path",
        "target.milvus.uri",
        "collections[1].source",
        "collections[0].target",
    }


def test_rows_that_cannot_be_verified_are_noticed_beforehand(tmp_path: Path) -> None:
    """They are in the dump alone, and nothing here reads one."""
    unloaded = a_collection(load_state=LoadState.NOT_LOADED, loaded_partitions=(), replica_number=0)

    def notices(more: str = "", *, reads_dumps: bool = False) -> str:
        observed = an_observed_state(unloaded, reads_dumps=reads_dumps)
        return "; ".join(make_plan(a_loaded_plan(tmp_path, more=more), observed).notices)

    assert "so that only pyarrow can compare their rows (pip install 'migrator[binlogs]'): books" in notices()
    assert "pyarrow" not in notices(reads_dumps=True)
    assert "pyarrow" not in notices("options: {verify: counts}\n")
    assert "pyarrow" not in notices("options: {verify: {load_source: true}}\n")
