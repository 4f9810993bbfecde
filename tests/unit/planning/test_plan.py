"""Plans as JSON, there and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from migrator.errors import RunError
from migrator.model.collection import CollectionRef, ConsistencyLevel, DataType, FieldSchema
from migrator.model.rbac import Binding
from migrator.model.shape import Shape
from migrator.model.snapshot import SnapshotWay
from migrator.planning.plan import digest_of, plan_from_plain, plan_to_plain, step_from_plain, step_to_plain
from migrator.planning.planner import make_plan
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.commit_imports import CommitImports, ImportedCollection
from migrator.steps.copy_segments import CopySegments
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_database import CreateDatabase
from migrator.steps.create_index import CreateIndex
from migrator.steps.create_snapshot import CreateSnapshot
from migrator.steps.drop_forwarded import DropForwarded
from migrator.steps.drop_snapshot import DropSnapshot
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.flush import Flush
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_deletes import ImportDeletes
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.registry import STEP_KINDS
from migrator.steps.restore_rbac import RestoreRbac
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.resume_functions import ResumeFunctions
from migrator.steps.retire_predecessor import RetirePredecessor
from migrator.steps.seal_dump import DumpedCollection, SealDump
from migrator.steps.switch_alias import AliasMove, SwitchAlias
from migrator.steps.transfer import TransferMode
from migrator.steps.verification import Depth, Level
from migrator.steps.verify_collection import VerifyCollection
from tests.support.builders import BOOKS, a_collection, a_grant, a_loaded_plan, a_schema, an_index, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.steps.base import Step

BAK = CollectionRef("db1", "books_bak")
ODD_FIELD = FieldSchema(
    field_id=103, name="tags", data_type=DataType.ARRAY, element_type=DataType.VARCHAR, default_value_base64="MgNuL2E="
)
STEPS: list[Step] = [
    Flush(collections=(BOOKS, BAK), enabled=False),
    DumpMeta(
        needs=("flush",),
        collection="books_bak",
        planned=a_collection(),
        source_root="files_A",
        may_flush=False,
        partitions=("_default",),
    ),
    CopySegments(
        source=BOOKS,
        collection_id=2**62,
        source_root="files_A",
        dump_prefix="backup/x",
        plan="a-to-b",
        claims_folder=".migrator/dumps/backup~x",
        earlier_runs=("run-1",),
        mode=TransferMode.STREAM,
        concurrency=3,
        part_size=5,
    ),
    ForwardSegments(
        source=BOOKS,
        collection_id=2**62,
        dump_prefix="backup/x",
        imports_folder=".migrator/imports",
        staging_bucket="dumps",
        target_bucket=None,
        mode=TransferMode.SERVER_SIDE,
    ),
    DropForwarded(target=BAK, collection_id=2**62, imports_folder=".migrator/imports"),
    SealDump(
        follows=("copy_segments:default.books",),
        dump_prefix="backup/x",
        name="x",
        source_version="2.3.5",
        collections=(DumpedCollection(source=BOOKS, collection_id=1),),
    ),
    CreateDatabase(name="db1"),
    CreateCollection(
        target=BAK,
        schema=a_schema(fields=(*a_schema().fields, ODD_FIELD)),
        shards_num=2,
        consistency_level=ConsistencyLevel.STRONG,
        properties=(("collection.ttl.seconds", "0"),),
        partitions=("_default", "old"),
    ),
    ImportSegments(
        source=BOOKS, target=BAK, collection_id=1, dump_prefix="backup/x", segments_per_job=4, stall_timeout_s=0.5
    ),
    CommitImports(collections=(ImportedCollection(source=BOOKS, target=BAK),), compares_counts=False),
    ImportDeletes(source=BOOKS, target=BAK, collection_id=1, dump_prefix="backup/x", max_jobs=1),
    ResumeFunctions(target=BAK),
    CreateSnapshot(planned=a_collection(indexes=(an_index(),)), may_flush=False),
    RestoreSnapshot(
        target=BAK,
        schema=a_schema(),
        shards_num=2,
        consistency_level=ConsistencyLevel.STRONG,
        partitions=("_default", "old"),
        source=BOOKS,
        way=SnapshotWay.REFERENCE,
    ),
    DropSnapshot(source=BOOKS, target=BAK, target_root="files_B"),
    CreateIndex(target=BAK, indexes=(an_index(), an_index("title", params=()))),
    LoadCollection(target=BAK, partitions=("old",), replica_number=2, resource_groups=("rg1", "rg2")),
    VerifyCollection(
        source=BOOKS,
        target=BAK,
        collection_id=1,
        dump_prefix="backup/x",
        depth=Depth(level=Level.SAMPLE, sample=5, seed=1),
        load_source=True,
        shape=Shape.of(a_collection()),
    ),
    RetirePredecessor(
        target=BAK,
        temporary=CollectionRef("default", "bak_mig_1"),
        retired=CollectionRef("default", "bak_retired_7"),
        predecessor_id=7,
    ),
    SwitchAlias(target=BAK, aliases=("library", "shelf"), moves=(AliasMove(alias="shelf", owner="old"),)),
    CleanStaging(
        dump_prefix="backup/x", claims_folder=".migrator/dumps/backup~x", collection_ids=(2**62,), targets=(BAK,)
    ),
    RestoreRbac(roles=("reader",), grants=(a_grant(),), bindings=(Binding(role="reader", user="alice"),)),
]


def through_json(plain: object) -> dict[str, object]:
    read: dict[str, object] = json.loads(json.dumps(plain))
    return read


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_every_kind_of_step_is_read_back_as_it_was(kind: str) -> None:
    found = [step for step in STEPS if step.kind == kind]
    assert found, f"give STEPS of this file a step of kind {kind}"
    for step in found:
        assert step_from_plain(through_json(step_to_plain(step))) == step


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_a_step_is_told_with_kind_key_and_description(step: Step) -> None:
    plain = step_to_plain(step)
    assert (plain["kind"], plain["key"]) == (step.kind, step.key)
    assert plain["describe"] == step.describe()
    assert step.key.split(":")[0] == step.kind


def test_kinds_are_registered_under_their_own_names() -> None:
    assert {kind: step.kind for kind, step in STEP_KINDS.items()} == {kind: kind for kind in STEP_KINDS}


def test_a_whole_plan_is_read_back_as_it_was(tmp_path: Path) -> None:
    loaded = a_loaded_plan(tmp_path, collections="['*']")
    state = an_observed_state(a_collection("books", aliases=("library",)), a_collection("films", indexes=()))
    plan = make_plan(loaded, state)
    assert plan_from_plain(through_json(plan_to_plain(plan))) == plan


def test_a_kind_of_a_later_version_is_refused_by_name() -> None:
    plain = step_to_plain(STEPS[0]) | {"kind": "polish_segments"}
    with pytest.raises(RunError, match="'polish_segments', which this version") as caught:
        step_from_plain(plain)
    assert "version of migrator that began the run" in caught.value.hint


def test_a_plan_of_a_later_format_is_refused(tmp_path: Path) -> None:
    plan = make_plan(a_loaded_plan(tmp_path), an_observed_state())
    with pytest.raises(RunError, match="the plan has format 2"):
        plan_from_plain(plan_to_plain(plan) | {"format_version": 2})


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of({"b": [2, 1]}) != digest_of({"b": [1, 2]})
