"""What the words of a mapping make of a source: partitions, indexes, load state, aliases; and what is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from migrator.errors import Complaint, PlanError
from migrator.model.collection import (
    DEFAULT_RESOURCE_GROUP,
    CollectionRef,
    DataType,
    FieldSchema,
    Index,
    LoadState,
    Partition,
    ResourceGroup,
)
from migrator.model.observed import MigratedRecord, ObservedTarget
from migrator.planning.indexes import plan_indexes
from migrator.planning.plan import Action
from migrator.planning.planner import make_plan
from migrator.reports.exceptions import Remark, told_once
from migrator.reports.to_text import plan_lines
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_index import CreateIndex
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.load_collection import LoadCollection
from migrator.steps.switch_alias import AliasMove, SwitchAlias
from tests.support.builders import (
    BOOKS,
    a_collection,
    a_key_schema,
    a_loaded_plan,
    a_schema,
    an_index,
    an_observed_state,
)

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import Collection
    from migrator.planning.plan import Plan, PlannedCollection
    from migrator.steps.base import Step

S = TypeVar("S")
PARTITIONS = (Partition(1, "_default"), Partition(2, "p_2023"), Partition(3, "p_2024"))
PARTED = a_collection(
    partitions=PARTITIONS, loaded_partitions=tuple(each.name for each in PARTITIONS), num_partitions=3
)
UNLOADED: dict[str, Any] = {"load_state": LoadState.NOT_LOADED, "loaded_partitions": (), "replica_number": 0}
TTL = (("collection.ttl.seconds", "3600"),)


def planned(
    folder: Path,
    *collections: Collection,
    words: str = "",
    more: str = "",
    source: str = "*",
    **state: Any,  # noqa: ANN401 - any member of the state
) -> Plan:
    text = f"[{{source: '{source}', {words}}}]"
    return make_plan(a_loaded_plan(folder, collections=text, more=more), an_observed_state(*collections, **state))


def complaint(folder: Path, *collections: Collection, words: str, **state: Any) -> Complaint:  # noqa: ANN401 - as above
    with pytest.raises(PlanError) as caught:
        planned(folder, *collections, words=words, **state)
    assert caught.value.exit_code == 11
    assert len(caught.value.complaints) == 1, str(caught.value)
    found = caught.value.complaints[0]
    assert found.hint
    assert found.position is not None
    return found


def find(plan: Plan, kind: type[S]) -> S | None:
    return next((step for step in plan.steps if isinstance(step, kind)), None)


def get(plan: Plan, kind: type[S]) -> S:
    found = find(plan, kind)
    assert found is not None
    return found


def the(plan: Plan) -> PlannedCollection:
    (only,) = plan.collections
    return only


# -- partitions -------------------------------------------------------------------------------------------------------


def test_only_the_chosen_partitions_come_along(tmp_path: Path) -> None:
    plan = planned(tmp_path, PARTED, words="partitions: ['p_*']")
    assert get(plan, DumpMeta).partitions == ("p_2023", "p_2024")
    assert get(plan, CreateCollection).partitions == ("p_2023", "p_2024")
    assert get(plan, LoadCollection).partitions == ()
    assert "partition _default: not among partitions" in the(plan).not_carried
    assert "2 partitions: p_2023, p_2024" in the(plan).carried


def test_a_choice_of_all_is_no_choice(tmp_path: Path) -> None:
    assert get(planned(tmp_path, PARTED, words="partitions: ['*']"), DumpMeta).partitions == ()


def test_what_is_loaded_of_the_chosen_ones_is_loaded(tmp_path: Path) -> None:
    partly = replace(PARTED, loaded_partitions=("_default", "p_2023"))
    assert get(planned(tmp_path, partly, words="partitions: ['p_*']"), LoadCollection).partitions == ("p_2023",)
    unloaded = planned(tmp_path, partly, words="partitions: [p_2024]")
    assert find(unloaded, LoadCollection) is None
    assert "not loaded" in the(unloaded).carried


def test_variables_reach_partitions(tmp_path: Path) -> None:
    plan = planned(tmp_path, PARTED, words="partitions: ['p_{{ vars.year }}']", more="vars: {year: '2023'}\n")
    assert get(plan, DumpMeta).partitions == ("p_2023",)


def test_a_partition_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = complaint(tmp_path, PARTED, words="partitions: [p_2023, p_1999]")
    assert (found.field, found.message) == ("collections[0].partitions", "books has no partition p_1999")
    assert found.hint == "it has: _default, p_2023, p_2024"


def test_a_partition_key_has_no_partitions_to_choose(tmp_path: Path) -> None:
    keyed = a_collection(schema=a_key_schema(), partitions=(Partition(1, "_default_0"), Partition(2, "_default_1")))
    found = complaint(tmp_path, keyed, words="partitions: [_default_0]")
    assert found.field == "collections[0].partitions"
    assert "a partition subset of the partition-key collection books" in found.message


def test_a_choice_that_grew_since_the_run_is_told_and_not_ignored(tmp_path: Path) -> None:
    record = MigratedRecord(
        source=BOOKS,
        target=BOOKS,
        source_collection_id=PARTED.collection_id,
        target_collection_id=77,
        raw_rows=3,
        rows_at_cut=(("p_2023", 3),),
        held_still=True,
        verified=True,
        dump="",
        rows=3,
        run_id="run-0",
        partitions=("p_2023",),
    )
    taken = ObservedTarget(ref=BOOKS, collection_id=77, created_ts=5)
    done: dict[str, Any] = {"target_names": (taken,), "migrated": (record,)}
    same = planned(tmp_path, PARTED, words="partitions: [p_2023]", **done)
    assert (the(same).action, the(same).notices) == (Action.DONE, ())
    (notice,) = the(planned(tmp_path, PARTED, words="partitions: ['p_*']", **done)).notices
    assert notice.startswith("partition p_2024 did not come along in run run-0")


# -- indexes ----------------------------------------------------------------------------------------------------------

SCALAR = Index(field_name="title", name="t", params=(("index_type", "Trie"),))


def test_auto_keeps_name_and_metric_and_leaves_scalars_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, a_collection(indexes=(an_index(), SCALAR)), words="indexes: auto")
    auto = Index(field_name="vec", name="vec_idx", params=(("index_type", "AUTOINDEX"), ("metric_type", "COSINE")))
    assert get(plan, CreateIndex).indexes == (auto, SCALAR)
    assert the(plan).changed == ("index HNSW COSINE on vec → AUTOINDEX COSINE",)
    assert "index Trie on title" in the(plan).carried


def test_auto_leaves_a_metric_alone_that_it_has_not() -> None:
    binary = replace(a_schema().fields[2], data_type=DataType.BINARY_VECTOR)
    index = an_index(params=(("index_type", "BIN_FLAT"), ("metric_type", "SUBSTRUCTURE")))
    collection = a_collection(schema=a_schema(fields=(*a_schema().fields[:2], binary)), indexes=(index,))
    assert plan_indexes("auto", collection).indexes == (index,)


def test_auto_of_autoindex_is_no_change(tmp_path: Path) -> None:
    index = an_index(params=(("index_type", "AUTOINDEX"), ("metric_type", "L2")))
    plan = planned(tmp_path, a_collection(indexes=(index,)), words="indexes: auto")
    assert the(plan).changed == ()


def test_none_builds_none_and_loads_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path, words="indexes: none")
    assert find(plan, CreateIndex) is None
    assert find(plan, LoadCollection) is None
    assert the(plan).changed == ("index HNSW COSINE on vec: not built", "not loaded: no index on vec")


def test_a_list_replaces_all(tmp_path: Path) -> None:
    listed = (
        "[{field: vec, index_type: IVF_FLAT, params: {nlist: 64}}, {field: title, index_type: marisa-trie, name: t}]"
    )
    plan = planned(tmp_path, words=f"indexes: {listed}")
    first, second = get(plan, CreateIndex).indexes
    assert dict(first.params) == {"index_type": "IVF_FLAT", "metric_type": "COSINE", "params": '{"nlist": 64}'}
    assert (first.name, second.name) == ("vec", "t")
    assert second.params == (("index_type", "Trie"),)
    assert the(plan).changed == (
        "index HNSW COSINE on vec → IVF_FLAT COSINE",
        "index Trie on title: built, though the source has none",
    )


def test_a_list_without_the_vector_cannot_be_loaded(tmp_path: Path) -> None:
    words = "indexes: [{field: title, index_type: Trie}]"
    assert "not loaded: no index on vec" in the(planned(tmp_path, words=words)).changed
    assert complaint(tmp_path, words=f"{words}, load: always").field == "collections[0].load"


def test_a_list_makes_a_source_without_index_loadable(tmp_path: Path) -> None:
    words = "indexes: [{field: vec, index_type: FLAT, metric_type: L2}], load: always"
    assert find(planned(tmp_path, a_collection(indexes=(), **UNLOADED), words=words), LoadCollection) is not None


@pytest.mark.parametrize(
    ("index", "said", "hint"),
    [
        ("field: nope, index_type: FLAT", "has no field 'nope'", "it has: id, title, vec"),
        ("field: vec, index_type: BIN_FLAT", "BIN_FLAT is no index for vec", "use AUTOINDEX, FLAT"),
        ("field: vec, index_type: GPU_CAGRA", "GPU_CAGRA is no index for vec", "use AUTOINDEX, FLAT"),
        ("field: vec, index_type: FLAT, metric_type: HAMMING", "HAMMING does not fit FLAT", "L2, IP or COSINE"),
        ("field: vec, index_type: FLAT, metric_type: l2", "l2 does not fit FLAT", "L2, IP or COSINE"),
        ("field: vec, index_type: AUTOINDEX, params: {M: 8}", "takes no params", "remove params"),
        ("field: vec, index_type: HNSW, params: {M: 8}", "HNSW on vec needs efConstruction", "params"),
        ("field: vec, index_type: IVF_FLAT", "IVF_FLAT on vec needs nlist", "params"),
        ("field: vec, index_type: IVF_PQ, params: {nlist: 8, m: 3}", "does not divide the 2 dimensions", "another m"),
        ("field: vec, index_type: FLAT, name: 9a", "'9a' is not an index name", "letter or underscore first"),
        ("field: title, index_type: STL_SORT", "which is of type varchar", "use Trie"),
        ("field: id, index_type: INVERTED", "which is of type int64", "use STL_SORT"),
        ("field: title, index_type: Trie, metric_type: L2", "has no metric", "remove metric_type"),
    ],
)
def test_an_index_that_cannot_be_is_told_before_the_night(tmp_path: Path, index: str, said: str, hint: str) -> None:
    found = complaint(tmp_path, words=f"indexes: [{{{index}}}]")
    assert found.field == "collections[0].indexes"
    assert said in found.message
    assert hint in found.hint


def test_a_metric_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    found = complaint(tmp_path, a_collection(indexes=()), words="indexes: [{field: vec, index_type: FLAT}]")
    assert "no metric_type" in found.message


def test_two_indexes_on_one_field_are_refused(tmp_path: Path) -> None:
    words = "indexes: [{field: vec, index_type: FLAT}, {field: vec, index_type: DISKANN, name: other}]"
    assert "on one field" in complaint(tmp_path, words=words).message


@pytest.mark.parametrize("kind", [DataType.JSON, DataType.BOOL, DataType.ARRAY])
def test_fields_that_no_index_can_be_on(tmp_path: Path, kind: DataType) -> None:
    odd = FieldSchema(field_id=103, name="odd", data_type=kind)
    collection = a_collection(schema=a_schema(fields=(*a_schema().fields, odd)))
    assert "builds none" in complaint(tmp_path, collection, words="indexes: [{field: odd, index_type: Trie}]").hint


@pytest.mark.parametrize(
    ("told", "is_like"),
    [
        ((("index_type", "HNSW"), ("metric_type", "L2"), ("params", '{"efConstruction":200, "M": "16"}')), True),
        ((("metric_type", "L2"), ("index_type", "HNSW"), ("M", "16"), ("efConstruction", "200")), True),
        ((("index_type", "HNSW"), ("metric_type", "L2"), ("params", '{"M": 8, "efConstruction": 200}')), False),
        ((("index_type", "HNSW"), ("metric_type", "IP"), ("params", '{"M": 16, "efConstruction": 200}')), False),
    ],
)
def test_an_index_is_known_again_by_what_it_says_not_by_how(told: Any, *, is_like: bool) -> None:  # noqa: ANN401
    params = (("index_type", "HNSW"), ("metric_type", "L2"), ("params", '{"M": 16, "efConstruction": 200}'))
    assert an_index(params=params).is_like(an_index(params=told)) == is_like


def test_autoindex_is_known_again_whatever_it_was_resolved_to() -> None:
    wanted = an_index(params=(("index_type", "AUTOINDEX"), ("metric_type", "L2")))
    assert wanted.is_like(an_index(params=(("index_type", "AUTOINDEX"), ("metric_type", "L2"), ("M", "18"))))
    assert not wanted.is_like(an_index(params=(("index_type", "AUTOINDEX"), ("metric_type", "IP"))))
    assert SCALAR.is_like(replace(SCALAR, params=(("index_type", "marisa-trie"),)))


# -- aliases ----------------------------------------------------------------------------------------------------------

LIBRARY = CollectionRef("default", "library")
ALIASED = a_collection(aliases=("free", "library"))
HELD: dict[str, Any] = {"target_aliases": (LIBRARY,), "alias_owners": ((LIBRARY, "old"),)}


def test_none_gives_none(tmp_path: Path) -> None:
    plan = planned(tmp_path, ALIASED, words="aliases: none")
    assert find(plan, SwitchAlias) is None
    assert the(plan).not_carried[:2] == ("alias free: aliases: none", "alias library: aliases: none")


def test_move_takes_what_others_have_and_says_from_whom(tmp_path: Path) -> None:
    plan = planned(tmp_path, ALIASED, words="aliases: move", **HELD)
    step = get(plan, SwitchAlias)
    assert (step.aliases, step.moves) == (("free", "library"), (AliasMove(alias="library", owner="old"),))
    assert step.describe() == "create the alias free and move the alias library from old to books"
    assert the(plan).changed == ("alias library: moved from old",)
    assert "alias free" in the(plan).carried


def test_copy_does_not_move(tmp_path: Path) -> None:
    plan = planned(tmp_path, ALIASED, words="aliases: copy", **HELD)
    assert get(plan, SwitchAlias).moves == ()
    assert "alias library: taken at the target" in the(plan).not_carried


def test_a_list_is_given_whatever_the_source_has(tmp_path: Path) -> None:
    plan = planned(tmp_path, ALIASED, words="aliases: [free, reading, free]")
    assert get(plan, SwitchAlias).aliases == ("free", "reading")
    assert the(plan).changed == ("alias reading: given by the plan",)
    assert "alias library: not among aliases" in the(plan).not_carried


@pytest.mark.parametrize(
    ("words", "state", "said"),
    [
        ("aliases: [library]", HELD, "the alias library for books is taken at the target"),
        ("aliases: [library]", {"target_taken": (LIBRARY,)}, "is the name of a collection at the target"),
        ("aliases: move", {"target_taken": (LIBRARY,)}, "is the name of a collection at the target"),
        ("aliases: [books]", {}, "is the name of a collection at the target"),
    ],
)
def test_an_alias_that_cannot_be_had_is_a_conflict(tmp_path: Path, words: str, state: Any, said: str) -> None:  # noqa: ANN401
    found = complaint(tmp_path, ALIASED, words=words, **state)
    assert found.field == "collections[0].aliases"
    assert said in found.message


def test_one_alias_is_not_given_to_two(tmp_path: Path) -> None:
    found = complaint(tmp_path, a_collection("a"), a_collection("b"), words="aliases: [one]")
    assert found.message == "the alias one for b is given to a already"


# -- loading ----------------------------------------------------------------------------------------------------------


def groups(**nodes: int) -> dict[str, Any]:
    return {"resource_groups": tuple(ResourceGroup(name, number) for name, number in nodes.items())}


def loaded_in(*names: str) -> Collection:
    return a_collection(replica_number=len(names), resource_groups=names)


def test_replicas_without_nodes_are_told_and_not_asked_for(tmp_path: Path) -> None:
    source = loaded_in(DEFAULT_RESOURCE_GROUP, DEFAULT_RESOURCE_GROUP)
    plan = planned(tmp_path, source, **groups(**{DEFAULT_RESOURCE_GROUP: 1}))
    assert get(plan, LoadCollection).replica_number == 1
    assert "2 replicas: the target has 1 query node" in the(plan).not_carried
    enough = planned(tmp_path, source, **groups(**{DEFAULT_RESOURCE_GROUP: 2}))
    assert get(enough, LoadCollection).replica_number == 2
    assert "loaded, 2 replicas" in the(enough).carried


def test_what_is_only_being_loaded_is_no_unloaded_source(tmp_path: Path) -> None:
    source = replace(PARTED, load_state=LoadState.LOADING, loaded_partitions=(), replica_number=0)
    plan = planned(tmp_path, source)
    assert get(plan, LoadCollection).partitions == ()
    assert any(text.startswith("the source is only being loaded now") for text in the(plan).notices)
    assert find(planned(tmp_path, source, words="partitions: ['p_*']"), LoadCollection) is not None
    assert "load state: load: never" in the(planned(tmp_path, source, words="load: never")).not_carried


def test_a_target_that_does_not_tell_its_nodes_is_trusted(tmp_path: Path) -> None:
    plan = planned(tmp_path, loaded_in(DEFAULT_RESOURCE_GROUP, DEFAULT_RESOURCE_GROUP))
    assert get(plan, LoadCollection).replica_number == 2


@pytest.mark.parametrize(
    ("names", "nodes", "named", "said"),
    [
        (("rg1",), {"rg1": 1, DEFAULT_RESOURCE_GROUP: 1}, ("rg1",), ""),
        (("rg1", "rg2"), {"rg1": 1, "rg2": 1, DEFAULT_RESOURCE_GROUP: 1}, ("rg1", "rg2"), ""),
        (("rg1",), {DEFAULT_RESOURCE_GROUP: 1}, (), "resource groups rg1: the target has no group rg1"),
        (("rg1",), {"rg1": 0, DEFAULT_RESOURCE_GROUP: 1}, (), "resource groups rg1: rg1 has too few query nodes"),
        (("a", "a", "b"), {"a": 2, "b": 1, DEFAULT_RESOURCE_GROUP: 3}, (), "one group for all replicas"),
    ],
)
def test_resource_groups_come_along_where_they_are(
    tmp_path: Path, names: tuple[str, ...], nodes: dict[str, int], named: tuple[str, ...], said: str
) -> None:
    plan = planned(tmp_path, loaded_in(*names), **groups(**nodes))
    assert get(plan, LoadCollection).resource_groups == named
    assert any(said in text for text in the(plan).not_carried)


def test_a_target_without_a_free_node_is_told(tmp_path: Path) -> None:
    plan = planned(tmp_path, loaded_in("rg1"), **groups(**{DEFAULT_RESOURCE_GROUP: 0}))
    assert "no query node" in the(plan).notices[0]


# -- the dump ---------------------------------------------------------------------------------------------------------


def test_a_dump_that_is_not_kept_goes_after_everything_else(tmp_path: Path) -> None:
    plan = planned(tmp_path, more="staging: {keep: false}\n")
    clean = get(plan, CleanStaging)
    assert plan.steps[-1] is clean
    assert set(clean.needs) == {step.key for step in plan.steps[:-1]}
    assert any("the dump is deleted" in notice for notice in plan.notices)


def test_a_dump_stays_where_nothing_else_is_said(tmp_path: Path) -> None:
    assert find(planned(tmp_path), CleanStaging) is None


# -- what is told -----------------------------------------------------------------------------------------------------


def test_everything_a_collection_has_is_told_of(tmp_path: Path) -> None:
    key = replace(a_key_schema().fields[0], auto_id=True)
    tags = FieldSchema(
        field_id=103,
        name="tags",
        data_type=DataType.ARRAY,
        element_type=DataType.VARCHAR,
        description="what it is about",
        default_value_base64="MgNuL2E=",
    )
    schema = a_schema(fields=(key, *a_key_schema().fields[1:], tags), enable_dynamic_field=True)
    keyed = a_collection(
        "db1.books", schema=schema, partitions=(Partition(1, "_default_0"), Partition(2, "_default_1")), shards_num=2
    )
    words = "create: {description: other, consistency_level: Strong, properties: {mmap.enabled: true}}, load: never"
    plan = planned(tmp_path, keyed, words=f"{words}, target: db2.books", source="db1.*")
    fields = "id int64 (primary key, auto id), title varchar (partition key), vec float_vector"
    assert the(plan).carried == (
        f"4 fields: {fields}, tags array of varchar (default value, described)",
        "dynamic field",
        "2 partitions of its partition key",
        "2 shards",
        "index HNSW COSINE on vec",
    )
    assert the(plan).changed == ("consistency Bounded → Strong", "description", "property mmap.enabled: unset → true")
    assert the(plan).not_carried[0] == "load state: load: never"
    assert "  + database db2" in text_of(plan)


def test_a_ttl_is_said_to_begin_anew(tmp_path: Path) -> None:
    assert "counts anew from the import" in the(planned(tmp_path, a_collection(properties=TTL))).notices[0]
    off = "create: {properties: {collection.ttl.seconds: 0}}"
    assert the(planned(tmp_path, a_collection(properties=TTL), words=off)).notices == ()


def test_users_are_told_of_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, a_collection("a"), a_collection("b"))
    assert sum("users, roles and grants" in notice for notice in plan.notices) == 1


def text_of(plan: Plan, *, verbose: bool = False) -> list[str]:
    return [line.text for line in plan_lines(plan, verbose=verbose)]


def many(number: int) -> list[Collection]:
    return [
        a_collection(f"c{each:02}", aliases=(f"alias_{each:02}",), properties=TTL, partitions=PARTITIONS)
        for each in range(number)
    ]


def test_sixty_collections_are_told_in_a_page(tmp_path: Path) -> None:
    taken = tuple(CollectionRef("default", f"alias_{each:02}") for each in range(12))
    plan = planned(tmp_path, *many(60), words="indexes: auto, partitions: ['p_*']", target_aliases=taken)
    told = text_of(plan)
    assert len(told) < 110
    assert "  ~ 60 collections: index HNSW COSINE on vec → AUTOINDEX COSINE" in told
    assert "  ~ not carried (60 collections): partition _default: not among partitions" in told
    assert (
        "  ~ not carried (12 collections): 12 aliases (alias_00, alias_01, alias_02, alias_03, alias_04, …): "
        "taken at the target"
    ) in told
    assert sum("counts anew" in line for line in told) == 1
    in_full = text_of(plan, verbose=True)
    for each in range(12):
        assert f"  ~ not carried (c{each:02}): alias alias_{each:02}: taken at the target" in in_full
    assert sum("3 fields: id int64 (primary key)" in line for line in in_full) == 60


def test_only_what_differs_in_a_name_is_gathered() -> None:
    notes = [Remark(f"c{each}", f"what is written to c{each} stays") for each in range(10)]
    names = [Remark(f"c{each}", f"alias a{each}: taken at the target") for each in range(10)]
    told = list(told_once([*notes, *names], verbose=False))
    assert told[:-1] == notes
    assert told[-1] == Remark("10 collections", "10 aliases (a0, a1, a2, a3, a4, …): taken at the target")


def test_every_word_reaches_the_digest(tmp_path: Path) -> None:
    words = ["", "indexes: auto", "indexes: none", "partitions: [p_2023]", "aliases: none", "aliases: [x]"]
    digests = {planned(tmp_path, replace(PARTED, aliases=("y",)), words=each).digest for each in words}
    digests.add(planned(tmp_path, replace(PARTED, aliases=("y",)), more="staging: {keep: false}\n").digest)
    assert len(digests) == len(words) + 1


def test_nothing_told_is_lost_on_its_way_through_json(tmp_path: Path) -> None:
    plan = planned(tmp_path, PARTED, words="partitions: [p_2023], indexes: none")
    steps: list[Step] = list(plan.steps)
    assert json.dumps([step.describe() for step in steps])


def test_a_key_that_no_filter_can_name_is_said_to_be_only_counted(tmp_path: Path) -> None:
    key, *others = a_schema().fields
    plan = planned(tmp_path, a_collection(schema=a_schema(fields=(replace(key, name="in"), *others))))
    assert any(text.endswith("so that rows are only counted: books") for text in plan.notices)
    assert not any("only counted" in text for text in planned(tmp_path, a_collection()).notices)
