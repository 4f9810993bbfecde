"""Where this tool keeps its own: outside of all that Milvus or a dump calls its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.planning.places import (
    beats_folder,
    claims_folder,
    dump_place,
    dumps_folder,
    flat,
    mirror_folder,
    targets_folder,
)
from migrator.spec.load import load_plan
from migrator.spec.places import is_within
from tests.support.builders import plan_text

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.spec.loaded import LoadedPlan

OF_ITS_OWN = (targets_folder, dumps_folder, beats_folder, claims_folder, mirror_folder)
DISK = """\
version: 1
name: a-to-b
source: {milvus: {uri: http://milvus_A:19530}, storage: {provider: local, root_path: /var/milvus/a}}
target: {milvus: {uri: http://milvus_B:19530}, storage: {provider: local, root_path: /var/milvus/b}}
staging: {root_path: /var/backup}
collections: [books]
"""
TEXTS = {
    "one bucket": plan_text(),
    "a dump of another name": plan_text(more="staging: {backup_name: weekly, root_path: archive/dumps}\n"),
    "a file system": DISK,
}


def load(folder: Path, text: str) -> LoadedPlan:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plan(path, variables={}, clusters=None)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nothing_of_its_own_lies_in_a_root_path_or_in_the_dump(tmp_path: Path, text: str) -> None:
    loaded = load(tmp_path, text)
    assert loaded.target is not None
    taken = [loaded.source_storage.root_path, loaded.target.storage.root_path, loaded.staging.prefix]
    for folder in (each(loaded) for each in OF_ITS_OWN):
        assert "/.migrator/" in f"/{folder}"
        assert not [other for other in taken if is_within(folder, other)]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_two_of_them_meet(tmp_path: Path, text: str) -> None:
    loaded = load(tmp_path, text)
    folders = [each(loaded) for each in OF_ITS_OWN]
    assert [(one, other) for one in folders for other in folders if one != other and is_within(one, other)] == []


def test_plans_that_share_a_dump_find_the_same_places_and_others_do_not(tmp_path: Path) -> None:
    text = plan_text(more="staging: {backup_name: weekly}\n")
    one = load(tmp_path, text)
    other = load(tmp_path, text.replace("root_path: files_B", "root_path: files_C"))
    assert dump_place(one) == dump_place(other) == "bucket_A/backup/weekly"
    assert (dumps_folder(one), claims_folder(one)) == (dumps_folder(other), claims_folder(other))
    assert targets_folder(one) != targets_folder(other)
    assert claims_folder(load(tmp_path, plan_text())) != claims_folder(one)


@pytest.mark.parametrize(("one", "other"), [("a", "a/b"), ("a/b", "a/bc"), ("backup/x", "x")])
def test_names_that_nest_do_not_nest_any_more(one: str, other: str) -> None:
    assert flat(one) != flat(other)
    assert not is_within(flat(other), flat(one))
    assert flat(f"/{one}/") == flat(one)
