"""What is said of a backup before it is restored: why not, what stays behind, and what is doubtful."""

from __future__ import annotations

import json
from typing import Any

import pytest

from migrator.adapters.backup import BackupMilvus
from migrator.adapters.memory import MemoryStore
from migrator.errors import BackupUnreadable, ObjectMissing
from migrator.model.backup_meta import BackupInfo, CollectionBackup
from migrator.model.collection import CollectionRef
from migrator.model.rbac import Binding
from migrator.running.refresh_backup import doubts, left_behind, unrestorable
from migrator.steps.backup_tree import find_files, read_backup
from tests.support.builders import BOOKS, a_grant

Plain = dict[str, Any]
KEY = "backup/nightly/meta/full_meta.json"
INSERT = "backup/nightly/binlogs/insert_log/1/2/3/3"


def segment(**changes: object) -> Plain:
    return {"segment_id": 3, "partition_id": 2, "num_of_rows": 4, "group_id": 3, "size": 9} | changes


def partition(*segments: Plain, **changes: object) -> Plain:
    found = list(segments) or [segment()]
    return {"partition_id": 2, "partition_name": "_default", "segment_backups": found} | changes


def collection(*partitions: Plain, **changes: object) -> Plain:
    fields = [{"fieldID": 100, "name": "id", "is_primary_key": True, "data_type": 5}]
    found = list(partitions) or [partition()]
    schema = {"name": "books", "fields": fields}
    return {"collection_id": 1, "collection_name": "books", "schema": schema, "partition_backups": found} | changes


def a_store(*collections: Plain, files: tuple[str, ...] = (), **changes: object) -> MemoryStore:
    """A backup whose only segment has a file for each field, and `files` below its binlogs."""
    store = MemoryStore()
    meta = {"name": "nightly", "collection_backups": list(collections) or [collection()]} | changes
    store.write(KEY, json.dumps(meta).encode())
    for place in [*(f"insert_log/1/2/3/3/{field}/9" for field in (0, 1, 100)), *files]:
        store.write(f"backup/nightly/binlogs/{place}", b"content")
    return store


def info_of(**changes: Any) -> BackupInfo:  # noqa: ANN401 - any member
    return read_backup(a_store(**changes), "backup/nightly")


# -- what is told twice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collections", "said"),
    [
        ([collection(), collection(collection_id=4)], "the collection books twice"),
        ([collection(), collection(collection_name="films")], "books and films by one collection id, 1"),
        ([collection(partition(), partition(partition_id=5))], "the partition '_default' twice in books"),
        ([collection(partition(), partition(partition_name="old"))], "the partition id 2 twice in books"),
        (
            [collection(partition(), partition(partition_id=5, partition_name="old"))],
            "the segment 3 in two partitions, _default and old, in books",
        ),
        ([collection(partition(segment(), segment(num_of_rows=5)))], "the segment 3 twice, and not in the same words"),
    ],
)
def test_what_clashes_is_refused(collections: list[Plain], said: str) -> None:
    with pytest.raises(BackupUnreadable, match=r"full_meta\.json names ") as caught:
        read_backup(a_store(*collections), "backup/nightly")
    assert said in caught.value.message
    assert caught.value.hint


def test_a_segment_that_is_named_twice_in_the_same_words_comes_once() -> None:
    store = a_store(collection(partition(segment(), segment())))
    (info,) = read_backup(store, "backup/nightly").collection_backups
    files = find_files(store, "backup/nightly/binlogs", info)
    assert ([each.num_rows for each in files.segments], len(files.binlogs)) == ([4], 3)
    assert list(doubts(info)) == ["segments that the backup's meta names more than once: 1; their rows come once"]


# -- files and meta that do not fit -----------------------------------------------------------------------------------


def test_deletes_that_only_a_lost_file_told_of_are_not_left_out() -> None:
    store = a_store(files=("delta_log/1/-1/7/8",))
    (info,) = read_backup(store, "backup/nightly").collection_backups
    with pytest.raises(BackupUnreadable, match=r"delta_log/1/-1/7/8 holds deletes for all partitions"):
        find_files(store, "backup/nightly/binlogs", info)


def test_a_file_that_is_missing_or_has_another_size_is_named() -> None:
    logs = [{"fieldID": 100, "binlogs": [{"log_id": 9, "log_size": 7}, {"log_id": 10, "log_size": 7}]}]
    for entry, kind, said in (
        (logs, ObjectMissing, f"names {INSERT}/100/10, and it is not there"),
        ([{"fieldID": 100, "binlogs": [{"log_id": 9, "log_size": 8}]}], BackupUnreadable, "has 7 bytes, and its meta"),
    ):
        store = a_store(collection(partition(segment(binlogs=entry))))
        (info,) = read_backup(store, "backup/nightly").collection_backups
        with pytest.raises(kind) as caught:
            find_files(store, "backup/nightly/binlogs", info)
        assert said in caught.value.message


# -- what is said -----------------------------------------------------------------------------------------------------


def test_what_a_backup_holds_beside_collections_is_said() -> None:
    databases = [{"db_name": "shop", "properties": [{"key": "database.replica.number", "value": "2"}]}]
    info = info_of(database_backups=databases, rbac_meta={"privilege_groups": [{"group_name": "readers"}]})
    stays = "properties of database shop do not come along, since Milvus 2.3 has none: database.replica.number=2"
    assert list(left_behind(info, wants_access=False)) == [stays]
    assert list(left_behind(info, wants_access=True)) == [
        stays,
        "privilege groups do not come along, since they come with Milvus 2.5: readers",
    ]
    assert list(left_behind(info_of(), wants_access=True)) == ["the backup holds no users, roles and grants"]


def test_an_encrypted_database_is_refused() -> None:
    (reason,) = unrestorable(info_of(database_backups=[{"db_name": "vault", "ezk": "x"}]), "2.3.5")
    assert "its database vault is encrypted" in reason


def test_what_a_collection_had_and_nobody_can_bring_is_said() -> None:
    told = collection(has_index=True, novel=1)
    told["schema"] |= {"fields": [{"fieldID": 100, "name": "id", "data_type": 5, "shiny": True}]}
    found = list(doubts(CollectionBackup.model_validate(told)))
    assert found == [
        "the backup says that it had indexes, and not which: none comes along",
        "this version does not know, and leaves behind, what its meta says of novel, schema.fields.shiny",
    ]


def test_roles_of_a_backup_are_read_and_passwords_are_not() -> None:
    meta = {
        "users": [{"user": "root"}, {"user": "bob", "password": "hash", "roles": [{"name": "reader"}]}],
        "roles": [{"name": "reader"}, {"name": "public"}],
        "grants": [
            {
                "role": {"name": "reader"},
                "object": {"name": "Collection"},
                "object_name": "books",
                "grantor": {"user": {"name": "root"}, "privilege": {"name": "Query"}},
            }
        ],
    }
    source = BackupMilvus(a_store(rbac_meta=meta), "backup/nightly")
    found = source.read_rbac()
    assert (found.users, found.roles, found.bindings) == (("bob",), ("reader",), (Binding(role="reader", user="bob"),))
    assert found.grants == (a_grant(BOOKS),)
    assert "hash" not in repr(source.info.rbac_meta)
    assert source.list_collections("default") == ("books",)
    assert source.find_collection(CollectionRef("default", "nobody")) is None
