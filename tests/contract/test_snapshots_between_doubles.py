"""Snapshots as the way between doubles of Milvus 3.0, as a user runs them: chosen, refused, lost, killed, undone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import DataType

from tests.contract.test_double_sources import _EXPECTED, _fill, _make, _told
from tests.contract.test_moves_between_doubles import a_plan
from tests.support.cli import Shell
from tests.support.double_cases import bed, double_of
from tests.support.double_cases import flushed as flush

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["bed", "double_of"]

OLD, NEW = "3.0.1", "3.0.x"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"KEY": "key", "SECRET": "secret"})


def kinds(plan: dict[str, Any]) -> list[str]:
    return [step["kind"] for step in plan["steps"]]


def snapshots(double: Double, name: str) -> list[str]:
    with double.client() as client:
        return list(client.list_snapshots(collection_name=name))


def run_of(shell: Shell) -> str:
    """The only run there was."""
    (run,) = (shell.folder / ".migrator" / "runs").iterdir()
    return run.name


def filled(double: Double, name: str) -> str:
    _make(double, name)
    _fill(double, name)
    return name


def test_rows_and_deletes_arrive_by_a_snapshot(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target = double_of(OLD), double_of(NEW)
    name = filled(source, "by_snapshot")
    plan = a_plan(shell, bed, source, target, name)
    told = shell.run("plan", plan).text
    assert "goes by a snapshot, which the target reads in the source's storage" in told
    shell.run("apply", plan, "--yes")
    assert _told(target, f"{name}_moved") == _EXPECTED
    assert snapshots(source, name) == []
    assert bed.keys(f"staged/{name}/") == []
    assert source.ask("sins") == target.ask("sins") == []
    (_,) = [call for call in source.calls("CreateSnapshot") if call["collection_name"] == name]
    (asked,) = [
        call for call in target.calls("RestoreExternalSnapshot") if call["target_collection_name"] == f"{name}_moved"
    ]
    assert asked["snapshot_metadata_uri"].startswith(f"s3://{bed.bucket}/{source.root_path}/snapshots/")
    assert "nothing to do" in shell.run("plan", plan).text
    shell.run("verify", plan)


@pytest.mark.parametrize("call", ["CreateSnapshot", "RestoreExternalSnapshot", "DropSnapshot"])
def test_a_reply_that_is_lost_makes_nothing_twice(bed: Bed, double_of: DoubleOf, shell: Shell, call: str) -> None:
    source, target = double_of(OLD), double_of(NEW)
    name = filled(source, f"lost_{call.lower()}")
    before = len(target.calls("RestoreExternalSnapshot"))
    (target if call.startswith("Restore") else source).misbehave(call, "lose_reply")
    shell.run("apply", a_plan(shell, bed, source, target, name), "--yes")
    assert _told(target, f"{name}_moved") == _EXPECTED
    assert snapshots(source, name) == []
    assert len(target.calls("RestoreExternalSnapshot")) == before + 1


@pytest.mark.parametrize("versions", [("3.0.0", NEW), (OLD, "3.0.0")], ids=["older source", "older target"])
def test_a_stub_of_a_first_release_is_told_from_the_call(
    bed: Bed, double_of: DoubleOf, shell: Shell, versions: tuple[str, str]
) -> None:
    """What restores of other clusters need is asked of the target alone; a first release takes snapshots already."""
    source, target = map(double_of, versions)
    name = filled(source, f"stub_{versions[0]}".replace(".", "_"))
    plan = a_plan(shell, bed, source, target, name)
    told = shell.run("plan", plan, "--format", "json").out
    shell.run("apply", plan, "--yes")
    assert _told(target, f"{name}_moved") == _EXPECTED
    assert ("restore_snapshot" in kinds(json.loads(told))) == (versions[1] == NEW)
    assert ("import_segments" in kinds(json.loads(told))) == (versions[1] != NEW)


def test_unimplemented_answers_lead_to_binlogs(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target = double_of(OLD), double_of(NEW)
    name = filled(source, "unimplemented")
    plan = a_plan(shell, bed, source, target, name)
    try:
        source.misbehave("ListSnapshots", "unimplemented", times=1000)
        target.misbehave("GetExportSnapshotState", "unimplemented", times=1000)
        told = shell.run("plan", plan).text
        shell.run("apply", plan, "--yes")
    finally:
        source.ask("behave")
        target.ask("behave")
    assert "goes by its binlogs, not by a snapshot: the source answers that it has none (UNIMPLEMENTED)" in told
    assert _told(target, f"{name}_moved") == _EXPECTED


def test_a_call_that_is_a_stub_behind_its_probe_ends_the_run_and_a_rollback_cleans_up(
    bed: Bed, double_of: DoubleOf, shell: Shell
) -> None:
    source, target = double_of(OLD), double_of(NEW)
    name = filled(source, "late_stub")
    plan = a_plan(shell, bed, source, target, name)
    target.misbehave("RestoreExternalSnapshot", "unimplemented")
    failed = shell.run("apply", plan, "--yes", code=20)
    assert "set options.transfer.format to binlogs" in failed.text
    assert len(snapshots(source, name)) == 1
    shell.run("rollback", run_of(shell), "--yes")
    assert snapshots(source, name) == []
    with target.client() as client:
        assert not client.has_collection(f"{name}_moved")


def test_a_restored_collection_is_rolled_back(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target = double_of(OLD), double_of(NEW)
    name = filled(source, "undone")
    shell.run("apply", a_plan(shell, bed, source, target, name), "--yes")
    shell.run("rollback", run_of(shell), "--yes")
    with target.client() as client:
        assert not client.has_collection(f"{name}_moved")


def test_texts_that_no_import_reads_go_by_a_snapshot_or_not_at_all(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, name = double_of(OLD), "texts"
    with source.client() as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field("page", DataType(25))
        client.create_collection(name, schema=schema)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_index(name, index)
        client.load_collection(name)
        client.insert(name, [{"id": n, "vector": [n, 1.0], "page": "long " * n} for n in range(9)])
    flush(source, name)
    refused = shell.run("plan", a_plan(shell, bed, source, double_of("3.0.0"), name), code=11).text
    assert "storage version 3, which no import reads (and none is possible: the target answers" in refused
    shell.run("apply", a_plan(shell, bed, source, double_of(NEW), name), "--yes")
    assert len(double_of(NEW).rows(f"{name}_moved")["_default"]) == 9
