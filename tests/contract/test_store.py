"""What every object store does, in memory, on the local file system, and on services that check their keys."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import ObjectMissing
from tests.support.services.kinds import depot_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.ports.store import ObjectStore

MEBIBYTE = 1024**2


KINDS = ["memory", "local", "s3", "azure", "google", pytest.param("rgw", marks=pytest.mark.rgw)]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def store(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    if kind == "memory":
        yield MemoryStore()
        return
    with depot_of(kind, tmp_path_factory.mktemp(kind)) as depot:
        yield depot.open()


@pytest.fixture
def folder(kind: str, tmp_path: Path) -> str:
    """A place of its own for each test."""
    return str(tmp_path).lstrip("/") if kind == "local" else f"contract/{secrets.token_hex(8)}"


def keys(store: ObjectStore, prefix: str) -> list[str]:
    return sorted(found.key.removeprefix(f"{prefix}/") for found in store.list_objects(prefix))


def test_what_is_written_is_read_listed_and_found(store: ObjectStore, folder: str) -> None:
    assert store.write(f"{folder}/a/b", b"hello")
    assert store.read(f"{folder}/a/b") == b"hello"
    found = store.find_object(f"{folder}/a/b")
    assert found is not None
    assert (found.key, found.size_bytes) == (f"{folder}/a/b", 5)
    assert found.etag
    assert list(store.list_objects(folder)) == [found]


def test_what_is_not_there_is_none_empty_or_an_error(store: ObjectStore, folder: str) -> None:
    assert store.find_object(f"{folder}/a") is None
    assert list(store.list_objects(f"{folder}/a")) == []
    assert store.list_folders(f"{folder}/a") == ()
    with pytest.raises(ObjectMissing):
        store.read(f"{folder}/a")
    with pytest.raises(ObjectMissing):
        list(store.stream(f"{folder}/a", part_size=5))
    with pytest.raises(ObjectMissing):
        store.copy_inside(f"{folder}/a", f"{folder}/b")


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(store: ObjectStore, folder: str) -> None:
    for name in ("12/a", "12/b/c", "123/a", "1"):
        store.write(f"{folder}/{name}", b"x")
    assert keys(store, f"{folder}/12") == ["a", "b/c"]
    assert keys(store, f"{folder}/1") == []
    assert keys(store, f"{folder}/12/a") == []


def test_folders_are_told_by_their_last_names(store: ObjectStore, folder: str) -> None:
    for name in ("b/x/1", "a/y", "file"):
        store.write(f"{folder}/{name}", b"x")
    assert store.list_folders(folder) == ("a", "b")
    assert store.list_folders(f"{folder}/b") == ("x",)
    assert folder.split("/", maxsplit=1)[0] in store.list_folders("")


def test_an_etag_changes_with_the_content_and_stays_without(store: ObjectStore, folder: str) -> None:
    store.write(f"{folder}/a", b"one")
    first = store.find_object(f"{folder}/a")
    assert store.find_object(f"{folder}/a") == first
    store.write(f"{folder}/a", b"two")
    assert store.find_object(f"{folder}/a") != first
    assert store.read(f"{folder}/a") == b"two"


def test_a_create_leaves_what_is_there(store: ObjectStore, folder: str) -> None:
    assert store.write(f"{folder}/a", b"one", create_only=True) is True
    assert store.write(f"{folder}/a", b"two", create_only=True) is False
    assert store.write(f"{folder}/a", b"one", create_only=True) is False
    assert store.read(f"{folder}/a") == b"one"


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 10])
def test_bytes_come_back_as_they_were(store: ObjectStore, folder: str, data: bytes) -> None:
    store.write(f"{folder}/a", data)
    assert store.read(f"{folder}/a") == data
    assert b"".join(store.stream(f"{folder}/a", part_size=100)) == data
    store.write_stream(f"{folder}/b", [data], multipart=False, part_size=100)
    assert store.read(f"{folder}/b") == data


@pytest.mark.parametrize("multipart", [True, False])
def test_a_stream_is_written_whole(store: ObjectStore, folder: str, *, multipart: bool) -> None:
    parts = [bytes([number]) * MEBIBYTE for number in range(12)]
    store.write_stream(f"{folder}/a", iter(parts), multipart=multipart, part_size=5 * MEBIBYTE)
    found = store.find_object(f"{folder}/a")
    assert found is not None
    assert found.size_bytes == 12 * MEBIBYTE
    read = list(store.stream(f"{folder}/a", part_size=MEBIBYTE))
    assert b"".join(read) == b"".join(parts)
    assert len(read) > 2


@pytest.mark.parametrize("multipart", [True, False])
def test_a_stream_leads_from_store_to_store(store: ObjectStore, folder: str, *, multipart: bool) -> None:
    data = bytes(range(256)) * 4 * 7 * 1024
    store.write(f"{folder}/a", data)
    parts = store.stream(f"{folder}/a", part_size=MEBIBYTE)
    store.write_stream(f"{folder}/b", parts, multipart=multipart, part_size=5 * MEBIBYTE)
    assert store.read(f"{folder}/b") == data


def test_a_stream_that_breaks_writes_nothing(store: ObjectStore, folder: str) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 6 * MEBIBYTE
        raise ObjectMissing("the source's object has vanished")

    with pytest.raises(Exception, match="has vanished"):
        store.write_stream(f"{folder}/a", broken(), multipart=True, part_size=5 * MEBIBYTE)
    assert store.find_object(f"{folder}/a") is None


def test_a_copy_equals_its_source(store: ObjectStore, folder: str) -> None:
    store.write(f"{folder}/a", b"hello")
    store.copy_inside(f"{folder}/a", f"{folder}/new/deep/b")
    assert store.read(f"{folder}/new/deep/b") == b"hello"
    assert store.read(f"{folder}/a") == b"hello"
    store.write(f"{folder}/a", b"other")
    store.copy_inside(f"{folder}/a", f"{folder}/new/deep/b")
    assert store.read(f"{folder}/new/deep/b") == b"other"


def test_deleting_is_done_when_it_is_gone(store: ObjectStore, folder: str) -> None:
    store.write(f"{folder}/a", b"x")
    store.write(f"{folder}/b", b"x")
    store.delete([f"{folder}/a", f"{folder}/gone"])
    assert keys(store, folder) == ["b"]


def test_a_folder_goes_with_its_last_object_and_not_before(store: ObjectStore, folder: str) -> None:
    for name in ("a/b/c", "a/d/e"):
        store.write(f"{folder}/{name}", b"x")
    store.delete([f"{folder}/a/b/c"])
    store.drop_empty_folders(f"{folder}/a")
    assert store.list_folders(f"{folder}/a") == ("d",)
    store.delete([f"{folder}/a/d/e"])
    store.drop_empty_folders(f"{folder}/a")
    assert store.list_folders(folder) == ()


@pytest.mark.parametrize("name", ["with space", "ünï", "100%25", "a+b", "x=1&y", "(1)", "semi;colon"])
def test_names_need_no_care(store: ObjectStore, folder: str, name: str) -> None:
    store.write(f"{folder}/{name}/a", b"x")
    assert keys(store, folder) == [f"{name}/a"]
    assert store.list_folders(folder) == (name,)
    found = store.find_object(f"{folder}/{name}/a")
    assert found is not None
    assert store.read(found.key) == b"x"


def test_more_objects_than_a_page_are_all_listed(store: ObjectStore, folder: str) -> None:
    for number in range(1100):
        store.write(f"{folder}/{number}", b"")
    assert len(keys(store, folder)) == 1100


def test_a_server_is_told_a_key_in_its_own_way(store: ObjectStore, folder: str, kind: str) -> None:
    path = store.server_path(f"{folder}/a")
    assert path == (f"/{folder}/a" if kind == "local" else f"{folder}/a")
    assert store.place
