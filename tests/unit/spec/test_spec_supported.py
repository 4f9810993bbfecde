"""Sources, targets, staging and ways of copying that a plan file may ask for, and in which combinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.spec.loaded import LoadedPlan
from tests.support.spec_cases import KEYS, TARGET, complaints_of, load_text, plan_text, storage

if TYPE_CHECKING:
    from pathlib import Path

DUMP = f"{{backup: {{storage: {storage('backup')}, name: my_backup}}}}"


def test_a_backup_as_source_is_there(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, plan_text(source=DUMP))
    assert loaded.source is None
    assert loaded.source_prefix == f"{loaded.source_storage.root_path}/my_backup"
    assert LoadedPlan.from_frozen(loaded.frozen()) == loaded


def test_a_backup_as_source_is_checked(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, plan_text(source=DUMP.replace("my_backup", "my-backup")))
    assert "source.backup.name" in found


@pytest.mark.parametrize("target", ["target: null\n", ""])
def test_a_plan_without_target_is_there(tmp_path: Path, target: str) -> None:
    text = plan_text(more=f"staging: {{storage: {storage('x').replace('root_path: x, ', '')}}}\n")
    loaded = load_text(tmp_path, text.replace(f"target: {TARGET}\n", target))
    assert loaded.target is None
    assert loaded.staging.storage.bucket == "bucket_A"


def test_a_backup_is_not_backed_up(tmp_path: Path) -> None:
    text = plan_text(source=DUMP, more=f"staging: {{storage: {storage('x').replace('root_path: x, ', '')}}}\n")
    found = complaints_of(tmp_path, text.replace(f"target: {TARGET}\n", ""))
    assert "needs a target" in found["target"].message


def test_a_backup_is_not_written_into(tmp_path: Path) -> None:
    root = load_text(tmp_path, plan_text(source=DUMP)).source_storage.root_path
    more = f"staging: {{root_path: {root}, backup_name: my_backup}}\n"
    found = complaints_of(tmp_path, plan_text(source=DUMP, more=more))
    assert "overlaps the backup" in found["staging.backup_name"].message


def test_a_plan_without_target_needs_its_staging_in_full(tmp_path: Path) -> None:
    text = plan_text(more="staging: {keep: false}\n").replace(f"target: {TARGET}\n", "")
    found = complaints_of(tmp_path, text)
    assert found.keys() == {"staging.storage", "staging.keep"}
    assert "needed in full" in found["staging.storage"].message


def test_another_bucket_for_the_dump_is_there(tmp_path: Path) -> None:
    assert (
        load_text(tmp_path, plan_text(more="staging: {storage: {bucket: other}}\n")).staging.storage.bucket == "other"
    )
    elsewhere = f"staging: {{storage: {{endpoint: 'http://o:1', credentials: {KEYS}}}}}\n"
    assert load_text(tmp_path, plan_text(more=elsewhere)).staging.storage.endpoint == "http://o:1"


@pytest.mark.parametrize("mode", ["auto", "server_side", "stream", "in_place"])
def test_these_ways_of_copying_are_there(tmp_path: Path, mode: str) -> None:
    load_text(tmp_path, plan_text(more=f"options: {{transfer: {{mode: {mode}}}}}\n"))


def test_nothing_is_read_in_place_without_a_target(tmp_path: Path) -> None:
    staging = f"staging: {{storage: {storage('x').replace('root_path: x, ', '')}}}\n"
    more = f"{staging}options: {{transfer: {{mode: in_place}}}}\n"
    found = complaints_of(tmp_path, plan_text(more=more).replace(f"target: {TARGET}\n", ""))
    assert found.keys() == {"options.transfer.mode"}
    assert "without a target" in found["options.transfer.mode"].message
