"""What this version cannot do yet is said, and not ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.spec.loaded import LoadedPlan
from tests.support.spec_cases import KEYS, TARGET, complaints_of, load_text, plan_text, storage

if TYPE_CHECKING:
    from pathlib import Path

DUMP = f"{{backup: {{storage: {storage('backup')}, name: my_backup}}}}"
OPTIONS = [
    ("transfer: {mode: in_place}", "transfer.mode"),
]


def refused(folder: Path, text: str, field: str) -> None:
    found = complaints_of(folder, text)
    assert found.keys() == {field}
    assert "not supported yet" in found[field].message
    assert found[field].hint
    assert found[field].position is not None


@pytest.mark.parametrize(("option", "field"), OPTIONS)
def test_options_to_come(tmp_path: Path, option: str, field: str) -> None:
    refused(tmp_path, plan_text(more=f"options: {{{option}}}\n"), f"options.{field}")


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


@pytest.mark.parametrize("mode", ["auto", "server_side", "stream"])
def test_these_ways_of_copying_are_there(tmp_path: Path, mode: str) -> None:
    load_text(tmp_path, plan_text(more=f"options: {{transfer: {{mode: {mode}}}}}\n"))
