"""What lies under a location of backups, and what of it may be deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import BackupUnreadable, LockHeld, RunError
from migrator.running.backup_shelf import BackupShelf
from migrator.running.lock import LeasePlaces, Leases
from tests.support.builders import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterable

META = {
    "id": "7f1c",
    "state_code": 0,
    "name": "nightly",
    "milvus_version": "v2.3.5",
    "collection_backups": [
        {
            "collection_id": 1,
            "collection_name": "books",
            "backup_timestamp": 460000123456782336,
            "size": 12,
            "partition_backups": [
                {
                    "partition_id": 2,
                    "partition_name": "_default",
                    "segment_backups": [{"segment_id": 3, "num_of_rows": 9}],
                }
            ],
        }
    ],
}


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore()
    found.write("backup/nightly/meta/full_meta.json", json.dumps(META).encode())
    found.write("backup/nightly/meta/backup_meta.json", b"{}")
    found.write("backup/nightly/binlogs/insert_log/1/2/3/3/0/4", b"x")
    found.write("backup/broken/meta/full_meta.json", b'{"name": ')
    found.write("backup/begun/binlogs/insert_log/1/2/3/3/0/4", b"x")
    found.write(".migrator/dumps/backup~begun/run-7.json", b'{"run_id": "run-7", "plan": "p", "since": ""}')
    found.write("backup/photos/cats/1.jpg", b"x")
    return found


@pytest.fixture
def shelf(store: MemoryStore) -> BackupShelf:
    return BackupShelf(store, "backup", is_bucket=True, clock=FakeClock())


def test_everything_is_listed_with_what_it_is(shelf: BackupShelf) -> None:
    found = {each.name: each for each in shelf.backups()}
    assert set(found) == {"nightly", "broken", "begun", "photos"}
    nightly = found["nightly"]
    assert (nightly.rows, nightly.collections, nightly.size_bytes) == (9, 1, 12)
    assert (nightly.milvus_version, nightly.format, nightly.whose) == ("2.3.5", "binlogs", "milvus-backup")
    assert nightly.created_at.startswith("2025-08-09")
    assert "cut off" in found["broken"].problem
    assert (found["begun"].problem, found["begun"].whose) == ("unfinished", "run run-7")
    assert "no meta files" in found["photos"].problem


def test_a_moment_that_no_calendar_has_is_an_unknown_date(store: MemoryStore, shelf: BackupShelf) -> None:
    odd = json.loads(json.dumps(META))
    odd["collection_backups"][0] |= {"backup_timestamp": 0, "backup_physical_timestamp": 1_754_700_000_000}
    store.write("backup/odd/meta/full_meta.json", json.dumps(odd).encode())
    found = {each.name: each for each in shelf.backups()}
    assert (found["odd"].created_at, found["odd"].problem, len(found)) == ("", "", 5)
    assert shelf.collections("odd")[0].created_at == ""


def test_a_backup_is_shown(shelf: BackupShelf) -> None:
    (books,) = shelf.collections("nightly")
    assert (books.name, books.partitions, books.segments, books.rows) == ("books", ("_default",), 1, 9)


@pytest.mark.parametrize("name", ["nightly", "broken"])
def test_a_backup_is_deleted_with_all_its_files(store: MemoryStore, shelf: BackupShelf, name: str) -> None:
    others = [found.key for found in store.list_objects("backup") if not found.key.startswith(f"backup/{name}/")]
    assert shelf.delete(name) > 0
    assert [found.key for found in store.list_objects("backup")] == others


class Dying(MemoryStore):
    """A store that dies of the first delete of a binlog."""

    deletes = 0

    def delete(self, keys: Iterable[str]) -> None:
        """Go on, or die."""
        listed = list(keys)
        if any("/binlogs/" in key for key in listed):
            raise KeyboardInterrupt
        super().delete(listed)


def test_what_says_that_it_is_a_backup_goes_first() -> None:
    store = Dying()
    store.write("backup/nightly/meta/full_meta.json", json.dumps(META).encode())
    store.write("backup/nightly/meta/segment_meta.json", b"{}")
    store.write("backup/nightly/binlogs/insert_log/1/2/3/3/0/4", b"x")
    with pytest.raises(KeyboardInterrupt):
        BackupShelf(store, "backup", is_bucket=True, clock=FakeClock()).delete("nightly")
    assert [found.key for found in store.list_objects("backup")] == ["backup/nightly/binlogs/insert_log/1/2/3/3/0/4"]


@pytest.mark.parametrize("name", ["", ".", "..", "nightly/meta", "nobody", "../files_A"])
def test_a_path_is_no_name(shelf: BackupShelf, name: str) -> None:
    with pytest.raises(BackupUnreadable, match="there is no backup"):
        shelf.require_deletable(name)


def test_what_is_unfinished_or_no_backup_at_all_is_left_alone(shelf: BackupShelf) -> None:
    with pytest.raises(RunError, match="unfinished") as caught:
        shelf.delete("begun")
    assert "migrator rollback run-7" in caught.value.hint
    with pytest.raises(RunError, match=r"photos holds cats/1\.jpg"):
        shelf.delete("photos")


def test_a_folder_with_a_note_in_it_is_left_alone(store: MemoryStore, shelf: BackupShelf) -> None:
    store.write("backup/nightly/read_me.txt", b"keep")
    with pytest.raises(RunError, match=r"nightly holds read_me\.txt"):
        shelf.delete("nightly")
    assert store.find_object("backup/nightly/meta/full_meta.json") is not None


def test_what_old_meta_files_do_not_say_is_unknown_and_not_zero(store: MemoryStore, shelf: BackupShelf) -> None:
    meta = json.loads(json.dumps(META))
    (segment,) = meta["collection_backups"][0]["partition_backups"][0]["segment_backups"]
    del segment["num_of_rows"], meta["collection_backups"][0]["size"]
    segment["binlogs"] = [{"binlogs": [{"log_id": 4, "log_size": 5}]}]
    store.write("backup/nightly/meta/full_meta.json", json.dumps(meta).encode())
    found = shelf.find("nightly")
    assert (found.rows, found.size_bytes) == (None, 5)
    assert shelf.collections("nightly")[0].rows is None


def test_who_is_recorded_is_counted(store: MemoryStore, shelf: BackupShelf) -> None:
    access = {"users": [{"user": "bob"}], "roles": [{"name": "reader"}, {"name": "writer"}]}
    store.write("backup/nightly/meta/full_meta.json", json.dumps(META | {"rbac_meta": access}).encode())
    found = shelf.find("nightly")
    assert (found.users, found.roles, found.grants) == (1, 2, 0)


def test_problems_are_told_without_the_folder_they_stand_beside(store: MemoryStore, shelf: BackupShelf) -> None:
    store.write("backup/half/meta/backup_meta.json", b"{}")
    found = {each.name: each.problem for each in shelf.backups()}
    assert found["photos"] == "no backup: it has no meta files"
    assert found["broken"] == "meta/full_meta.json is cut off after 9 bytes"
    assert found["half"].startswith("lacks meta/collection_meta.json and ")


def test_what_a_run_is_at_work_on_is_refused(store: MemoryStore, shelf: BackupShelf) -> None:
    places = LeasePlaces(targets="", dumps=".migrator/leases/dumps", beats=".migrator/leases/beats")
    with Leases(store, places, "backup/nightly", run_id="run-8", home="h", clock=FakeClock()) as leases:
        leases.acquire((), timeout_s=0, on_wait=lambda *_: None)
        with pytest.raises(LockHeld, match="run-8"):
            shelf.delete("nightly")
    assert store.find_object("backup/nightly/meta/full_meta.json") is not None
