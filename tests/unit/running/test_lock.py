"""Leases: one run at a time per target collection and per dump, and none for the dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import LockHeld
from migrator.model.collection import CollectionRef
from migrator.running.lock import EXPIRES_S, Leases, dump_lease, target_lease
from tests.support.builders import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

BOOKS = CollectionRef("default", "books_bak")
NAME = target_lease(BOOKS)
FOLDER = ".migrator/leases/files_B"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def leases(store: MemoryStore, clock: FakeClock, run_id: str) -> Leases:
    return Leases(store, FOLDER, run_id=run_id, clock=clock)


def nobody(name: str, holder: str) -> None:
    pytest.fail(f"nobody was to be waited for, and {holder} holds {name}")


def keys(store: MemoryStore) -> list[str]:
    return [entry.key for entry in store.list_objects("")]


def test_a_lease_that_is_free_is_taken_held_and_given_back(store: MemoryStore, clock: FakeClock) -> None:
    with leases(store, clock, "run-1") as mine:
        mine.acquire([NAME, dump_lease("backup/my_backup")], timeout_s=0, on_wait=nobody)
        mine.require_held(BOOKS)
        assert any(key.startswith(f"{FOLDER}/targets/default.books_bak/") for key in keys(store))
        assert any(key.startswith(f"{FOLDER}/dumps/backup/my_backup/") for key in keys(store))
    assert keys(store) == []


def beating(other: Leases, told: list[str]) -> Callable[[str, str], None]:
    def on_wait(name: str, holder: str) -> None:
        told.append(f"{name} {holder}")
        other._beat()

    return on_wait


def test_a_living_holder_is_waited_for_by_name_and_then_refused(store: MemoryStore, clock: FakeClock) -> None:
    told: list[str] = []
    with leases(store, clock, "run-1") as first, leases(store, clock, "run-2") as second:
        first.acquire([NAME], timeout_s=0, on_wait=nobody)
        with pytest.raises(LockHeld, match=r"targets/default\.books_bak is held by run run-1 \(process \d+ on "):
            second.acquire([NAME], timeout_s=120, on_wait=beating(first, told))
        assert clock.monotonic() >= 120
        assert "run-1" in told[0]
        first.require_held(BOOKS)


def test_a_lease_given_back_meanwhile_is_taken(store: MemoryStore, clock: FakeClock) -> None:
    first = leases(store, clock, "run-1")
    with leases(store, clock, "run-2") as second:
        with first:
            first.acquire([NAME], timeout_s=0, on_wait=nobody)
            with pytest.raises(LockHeld):
                second.acquire([NAME], timeout_s=0, on_wait=lambda *_: None)
        second.acquire([NAME], timeout_s=0, on_wait=nobody)
        second.require_held(BOOKS)


def test_the_lease_of_a_dead_holder_expires(store: MemoryStore, clock: FakeClock) -> None:
    dead = leases(store, clock, "run-1")
    dead._beat()
    dead.acquire([NAME], timeout_s=0, on_wait=nobody)
    with leases(store, clock, "run-2") as mine:
        mine.acquire([NAME], timeout_s=60, on_wait=lambda *_: None)
        assert EXPIRES_S <= clock.monotonic() <= 30
        mine._beat()  # its thread beats in real time, which this clock does not follow
        mine.require_held(BOOKS)
        with pytest.raises(LockHeld, match=r"the lease of books_bak was lost"):
            dead.require_held(BOOKS)


def test_the_same_run_on_the_same_host_takes_its_lease_back_at_once(store: MemoryStore, clock: FakeClock) -> None:
    killed = leases(store, clock, "run-1")
    killed._beat()
    killed.acquire([NAME], timeout_s=0, on_wait=nobody)
    with leases(store, clock, "run-1") as resumed:
        resumed.acquire([NAME], timeout_s=0, on_wait=nobody)
        resumed.require_held(BOOKS)
        assert clock.monotonic() == 0


def test_a_holder_that_could_not_beat_for_long_stops(store: MemoryStore, clock: FakeClock) -> None:
    mine = leases(store, clock, "run-1")
    mine._beat()
    mine.acquire([NAME], timeout_s=0, on_wait=nobody)
    clock.sleep(EXPIRES_S)
    with pytest.raises(LockHeld, match="was lost"):
        mine.require_held(BOOKS)


def test_a_lease_never_taken_is_not_held(store: MemoryStore, clock: FakeClock) -> None:
    with leases(store, clock, "run-1") as mine, pytest.raises(LockHeld):
        mine.require_held(BOOKS)
