"""A worker by itself: it opens what it is told of with its own credentials, and answers whatever happens."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from migrator import __version__, worker
from migrator.model.segment import StoredObject
from migrator.model.shard import Cargo, CopyShard, StoreRole
from migrator.running.assignment import Assignment, places_of
from migrator.spec.load import load_plan
from tests.support.builders import a_loaded_plan

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MIB = 1024**2
SECRET = "never-to-be-logged-0815"  # noqa: S105 - of this test


def an_assignment(folder: Path, *names: str) -> Assignment:
    """Files of one directory for another one."""
    plan = folder / "plan.yaml"
    side = "{{milvus: {{uri: 'http://{0}:19530'}}, storage: {{provider: local, root_path: {1}/{0}}}}}"
    plan.write_text(
        f"version: 1\nname: files\nsource: {side.format('a', folder)}\ntarget: {side.format('b', folder)}\n"
        f"staging: {{root_path: {folder}/dump}}\ncollections: [books]\n",
        encoding="utf-8",
    )
    cargo = tuple(
        Cargo(StoredObject(f"{folder}/a/{name}".lstrip("/"), len(name)), f"{folder}/dump/{name}".lstrip("/"))
        for name in names
    )
    shard = CopyShard(
        origin=StoreRole.SOURCE,
        destination=StoreRole.STAGING,
        cargo=cargo,
        part_size=8 * MIB,
        multipart_threshold=64 * MIB,
        concurrency=2,
        limit_bytes_per_s=None,
    )
    return Assignment(version=__version__, attempt=str(folder), places=places_of(load_plan(plan)), copy=shard)


def answered(assignment: Assignment) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(worker.work(assignment.to_json()))
    return answer


def test_files_are_brought_and_told_of(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("one", "three"):
        (tmp_path / "a" / name).write_text(name, encoding="utf-8")
    assert answered(an_assignment(tmp_path, "one", "three")) == {"landed": [0, 1], "failure": None}
    assert (tmp_path / "dump" / "three").read_text(encoding="utf-8") == "three"


def test_one_that_is_not_there_is_told_beside_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("one", encoding="utf-8")
    answer = answered(an_assignment(tmp_path, "one", "gone"))
    assert answer["failure"]["fate"] == "vanished"
    assert answer["failure"]["key"].endswith("a/gone")
    assert set(answer["landed"]) <= {0}


def test_another_version_is_refused(tmp_path: Path) -> None:
    answer = answered(replace(an_assignment(tmp_path), version="0.0.1"))
    assert answer["failure"]["kind"] == "EngineRefused"
    assert answer["failure"]["message"] == f"a worker has migrator {__version__}, and the run 0.0.1"


def test_a_credential_that_the_worker_lacks_is_named_by_its_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KEY", "SECRET"):
        monkeypatch.delenv(name, raising=False)
    places = places_of(a_loaded_plan(tmp_path))
    answer = answered(replace(an_assignment(tmp_path, "one"), places=places))
    assert answer["failure"]["kind"] == "StoreRefused"
    assert answer["failure"]["message"] == (
        "source.storage.credentials.access_key_id cannot be read: the environment variable KEY is not set"
    )


def test_a_bug_is_logged_without_what_was_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(worker, "copy_shard", broken)
    monkeypatch.setattr(worker, "resolved_secrets", lambda: frozenset({SECRET}))
    with caplog.at_level(logging.ERROR):
        answer = worker.work(an_assignment(tmp_path, "one").to_json())
    assert "a worker failed with ValueError" in answer
    assert "ValueError: ***" in caplog.text
    assert SECRET not in answer + caplog.text
