"""Plans with a backup at one end, killed at every point: one that makes it, and one that restores it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from migrator.adapters.backup import BackupMilvus
from migrator.model.collection import CollectionRef
from migrator.model.rbac import Binding
from tests.contract.test_steps import Undisturbed, World, described, rows_of, strikes
from tests.support.builders import BOOKS, KEYS, Pair, a_grant, an_index, create, flush, some_rows
from tests.support.go_reader import read_as_go
from tests.support.mortality import Fate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from migrator.adapters.memory import MemoryMilvus

STORAGE = "provider: minio, endpoint: http://one:9000, bucket: bucket_A, credentials: " + KEYS
OF_A, OF_B = (
    f"{{milvus: {{uri: http://milvus_{side}:19530}}, storage: {{{STORAGE}, root_path: files_{side}}}}}" for side in "AB"
)
MAKE = f"""\
version: 1
name: nightly
source: {OF_A}
staging: {{storage: {{{STORAGE}}}, root_path: backups, backup_name: nightly}}
collections: ["*.*"]
options: {{transfer: {{concurrency: 1}}}}
"""
RESTORE = f"""\
version: 1
name: restore
source: {{backup: {{storage: {{{STORAGE}, root_path: backups}}, name: nightly}}}}
target: {OF_B}
staging: {{root_path: restored}}
collections: [{{source: books, target: books_bak}}]
options: {{transfer: {{concurrency: 1}}, verify: counts, rbac: true}}
"""
KINDS = ["dump_meta", "copy_segments", "seal_dump", "import_segments", "restore_rbac"]
"""Steps to which it makes a difference that a backup is the source; the others are killed elsewhere."""
BAK = CollectionRef("default", "books_bak")
READER = {
    "users": [{"user": "root"}, {"user": "alice", "password": "$2a$10$hash", "roles": [{"name": "reader"}]}],
    "roles": [{"name": "reader"}, {"name": "admin"}],
    "grants": [
        {
            "role": {"name": "reader"},
            "object": {"name": "Collection"},
            "object_name": "books",
            "grantor": {"user": {"name": "root"}, "privilege": {"name": "Query"}},
            "db_name": "default",
        }
    ],
}


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """What holds `backups/nightly`, made by a run, with users and roles recorded as milvus-backup does."""
    world = World.make(tmp_path_factory.mktemp("made"), a_small_pair(), text=MAKE)
    world.require_done(Fate())
    key = "backups/nightly/meta/full_meta.json"
    meta: dict[str, Any] = json.loads(world.pair.store.read(key))
    world.pair.store.write(key, json.dumps(meta | {"rbac_meta": READER}).encode())
    return world.pair


def a_small_pair() -> Pair:
    """Books in two partitions, with a fresh delete, an alias and an index; nothing at the target."""
    pair = Pair()
    create(pair.source, BOOKS)
    pair.source.create_partition(BOOKS, "old")
    pair.source.insert(BOOKS, some_rows(3))
    pair.source.insert(BOOKS, some_rows(1, start=10), "old")
    flush(pair.source, BOOKS)
    pair.source.delete(BOOKS, [1])
    pair.source.create_index(BOOKS, an_index())
    pair.source.create_alias(BOOKS, "library")
    return pair


def a_restoring_pair(made: Pair) -> Pair:
    """The backup in a bucket, and an empty target with alice."""
    pair = Pair()
    for key, data in made.keys("backups").items():
        pair.store.write(key, data)
    pair.source = cast("MemoryMilvus", BackupMilvus(pair.store, "backups/nightly"))
    pair.target.create_user("alice")
    return pair


def what_arrived(pair: Pair) -> dict[str, object]:
    """The target, the copied dump but for ids of logs, and the backup, byte by byte."""
    state: dict[str, object] = {"access": pair.target.read_rbac(), "backup": pair.keys("backups")}
    found = pair.target.find_collection(BAK)
    assert found is not None
    state["collection"] = (described(found), rows_of(pair.target, BAK))
    state["dump"] = sorted(pair.keys("restored"))
    return state


def what_was_made(pair: Pair) -> dict[str, object]:
    """The backup as somebody finds it who reads it, and a target that nobody touched."""
    reader = BackupMilvus(pair.store, "backups/nightly")
    info, found = reader.info, reader.find_collection(BOOKS)
    assert found is not None
    files = {key.removeprefix("backups/nightly/"): data for key, data in pair.keys("backups").items()}
    listed = read_as_go(files)
    assert listed.collections.keys() == {str(BOOKS)}
    assert [pair.target.list_collections(database) for database in pair.target.list_databases()] == [()]
    return {
        "collection": described(found),
        "size": info.size == sum(len(data) for name, data in files.items() if name.startswith("binlogs/")),
        "imports": {place: len(pairs) for place, pairs in listed.imports.items()},
        "folders": sorted(name.rpartition("/")[0] for name in files),
        "rows": rows_of(pair.source, BOOKS),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed.record(tmp_path_factory.mktemp("making"), a_small_pair, text=MAKE, state_of=what_was_made)


@pytest.fixture(scope="module")
def make_pair(backup: Pair) -> Callable[[], Pair]:
    return lambda: a_restoring_pair(backup)


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory, make_pair: Callable[[], Pair]) -> Undisturbed:
    folder = tmp_path_factory.mktemp("restoring")
    return Undisturbed.record(folder, make_pair, text=RESTORE, state_of=what_arrived)


def test_a_restore_brings_what_the_source_was(restored: Undisturbed, backup: Pair, tmp_path: Path) -> None:
    world = restored.world(tmp_path)
    world.require_done(Fate())
    left, right = backup.source, world.pair.target
    assert rows_of(right, BAK) == rows_of(left, BOOKS)
    found = right.find_collection(BAK)
    assert found is not None
    assert found.aliases == ("library",)
    access = right.read_rbac()
    assert [grant for grant in access.grants if grant.role == "reader"] == [a_grant(BAK)]
    assert access.bindings == (Binding(role="reader", user="alice"),)
    assert world.pair.keys("backups") == backup.keys("backups")


@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_killed_at_any_point_ends_as_if_it_had_not_been(
    kind: str, restored: Undisturbed, tmp_path: Path
) -> None:
    assert strikes(restored, kind)
    for number in strikes(restored, kind):
        world = restored.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        world.require_done(Fate())
        assert what_arrived(world.pair) == restored.state, restored.points[number]


@pytest.mark.parametrize("kind", sorted({"flush", *KINDS} - {"import_segments", "restore_rbac"}))
def test_a_backup_whose_making_is_killed_at_any_point_is_whole(kind: str, made: Undisturbed, tmp_path: Path) -> None:
    assert strikes(made, kind)
    for number in strikes(made, kind):
        world = made.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        world.require_done(Fate())
        assert what_was_made(world.pair) == made.state, made.points[number]
