"""Which collections go by snapshots, and what a plan says of those that do not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import PlanError
from migrator.model.collection import Collection, DataType, FieldSchema
from migrator.model.snapshot import ObservedSnapshots
from migrator.planning.planner import make_plan
from tests.support.builders import a_collection, a_loaded_plan, a_schema, an_index, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan

ALL = ObservedSnapshots(at_source=True, at_target=True, shares_store=True)


def a_plan(
    folder: Path,
    *,
    collections: str = "[books]",
    more: str = "",
    versions: tuple[str, str] = ("3.0.1", "3.0.2"),
    found: Collection | None = None,
    **changes: Any,  # noqa: ANN401 - any member of any type
) -> Plan:
    loaded = a_loaded_plan(folder, collections=collections, more=more)
    told: dict[str, Any] = {"source_version": versions[0], "target_version": versions[1], "snapshots": ALL}
    observed = an_observed_state(found or a_collection(indexes=(an_index(),)), **told | changes)
    return make_plan(loaded, observed)


def told(plan: Plan) -> str:
    return " | ".join(plan.collections[0].notices)


def kinds(plan: Plan) -> list[str]:
    return [step.kind for step in plan.steps]


def test_a_collection_that_stays_as_it_is_goes_by_a_snapshot(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    assert kinds(plan)[:3] == ["flush", "create_snapshot", "restore_snapshot"]
    assert kinds(plan)[-1] == "drop_snapshot"
    assert not {"dump_meta", "copy_segments", "seal_dump", "import_segments"} & set(kinds(plan))
    assert "goes by a snapshot, which the target reads in the source's storage" in told(plan)


def test_one_milvus_needs_no_other_call_than_its_own(tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        collections="[{source: books, target: copied}]",
        versions=("3.0.0", "3.0.0"),
        same_milvus=True,
        snapshots=replace(ALL, at_target=False, shares_store=False),
    )
    assert "which the server restores itself" in told(plan)


@pytest.mark.parametrize(
    ("collections", "more", "changes", "reason"),
    [
        ("[{source: books, target: b, create: {shards_num: 2}}]", "", {}, "a restore keeps what `create` would change"),
        ("[{source: books, target: b, indexes: none}]", "", {}, "a restore keeps the source's indexes"),
        ("[books]", "", {"snapshots": replace(ALL, at_source=False)}, "the source answers that it has none"),
        ("[books]", "", {"snapshots": replace(ALL, at_target=False)}, "restores none of other clusters"),
        ("[books]", "", {"snapshots": replace(ALL, shares_store=False)}, "the target's storage is another"),
        ("[books]", "", {"versions": ("3.0.2", "3.0.1")}, "is older than the source"),
    ],
)
def test_others_go_by_their_binlogs_and_the_plan_says_why(
    tmp_path: Path, collections: str, more: str, changes: dict[str, Any], reason: str
) -> None:
    plan = a_plan(tmp_path, collections=collections, more=more, **changes)
    assert "restore_snapshot" not in kinds(plan)
    assert "import_segments" in kinds(plan)
    assert "goes by its binlogs, not by a snapshot: " in told(plan)
    assert reason in told(plan)


@pytest.mark.parametrize("word", ["format: binlogs", "mode: in_place"])
def test_a_plan_file_that_asks_for_another_way_is_not_told_why(tmp_path: Path, word: str) -> None:
    plan = a_plan(tmp_path, more=f"options: {{transfer: {{{word}}}}}")
    assert "restore_snapshot" not in kinds(plan)
    assert "snapshot" not in told(plan)


def test_older_servers_are_not_told_of_snapshots(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, versions=("2.5.20", "2.6.12"), snapshots=None)
    assert "snapshot" not in told(plan)


@pytest.mark.parametrize(
    ("snapshots", "reason"),
    [(None, "both sides have to be Milvus 3.0"), (replace(ALL, at_target=False), "UNIMPLEMENTED")],
)
def test_snapshots_that_are_asked_for_and_not_possible_are_no_plan(
    tmp_path: Path, snapshots: ObservedSnapshots | None, reason: str
) -> None:
    with pytest.raises(PlanError) as caught:
        a_plan(tmp_path, more="options: {transfer: {format: snapshots}}", snapshots=snapshots)
    (complaint,) = caught.value.complaints
    assert complaint.field == "options.transfer.format"
    assert reason in complaint.message


def test_files_that_only_a_manifest_names_need_snapshots_for_a_backup_too(tmp_path: Path) -> None:
    why = "has segments of storage version 3, which no import reads"
    found: dict[str, Any] = {"need_snapshots": ((a_collection().ref, why),)}
    assert "restore_snapshot" in kinds(a_plan(tmp_path, **found))
    with pytest.raises(PlanError, match="storage version 3"):
        a_plan(tmp_path, more="options: {transfer: {format: binlogs}}", **found)


def test_texts_and_odd_ids_come_by_snapshots_only(tmp_path: Path) -> None:
    text = FieldSchema(field_id=105, name="page", data_type=DataType.TEXT)
    found = a_collection(schema=a_schema(fields=(*a_schema().fields, text)), indexes=(an_index(),))
    assert "restore_snapshot" in kinds(a_plan(tmp_path, found=found))
    with pytest.raises(PlanError) as caught:
        a_plan(tmp_path, found=found, snapshots=replace(ALL, at_target=False))
    messages = [complaint.message for complaint in caught.value.complaints]
    assert any("it needs snapshots (and none is possible: the target answers" in message for message in messages)
    assert any("has the id 105" in message for message in messages)
