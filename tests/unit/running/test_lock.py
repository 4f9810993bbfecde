"""Leases: one run at a time per target collection and per dump, and none for the dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import LockHeld, StoreUnavailable
from migrator.model.collection import CollectionRef
from migrator.running.lock import (
    BEAT_S,
    EXPIRES_S,
    LeaseName,
    LeasePlaces,
    Leases,
    break_lease,
    find_holder,
    identity_of,
    read_pulse,
)
from migrator.spec.load import load_plan
from tests.support.builders import FakeClock, plan_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOOKS = CollectionRef("default", "books_bak")
MANY = [CollectionRef("default", f"c{number:02d}") for number in range(20)]
DUMP = "backup/my_backup"
OWN = ".migrator/leases"
PLACES = LeasePlaces(targets=f"{OWN}/targets/files_B", dumps=f"{OWN}/dumps", beats=f"{OWN}/beats")
HERE = "host-1/boot-1/1:1"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def leases(
    store: MemoryStore,
    clock: FakeClock,
    run_id: str,
    *,
    home: str = HERE,
    dump: str = DUMP,
    places: LeasePlaces = PLACES,
) -> Leases:
    """Those of a process; each has a dump of its own unless it is told which."""
    return Leases(store, places, dump, run_id=run_id, home=home, clock=clock)


def a_dead_process(store: MemoryStore, clock: FakeClock, *targets: CollectionRef, home: str = HERE) -> Leases:
    """What it held, as run-1, when it was killed."""
    dead = leases(store, clock, "run-1", home=home)
    dead._beat()
    dead.acquire(targets or [BOOKS], timeout_s=0, on_wait=nobody)
    return dead


def nobody(name: str, holder: str) -> None:
    pytest.fail(f"nobody was to be waited for, and {holder} holds {name}")


def patient(_: str, __: str) -> None:
    """Wait for whom it may be."""


def keys(store: MemoryStore) -> list[str]:
    return [entry.key for entry in store.list_objects("")]


# -- taking and giving back -------------------------------------------------------------------------------------------


def test_a_lease_that_is_free_is_taken_held_and_given_back(store: MemoryStore, clock: FakeClock) -> None:
    with leases(store, clock, "run-1") as mine:
        mine.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        mine.require_held(BOOKS)
        mine.require_dump_held()
        assert any(key.startswith(f"{OWN}/targets/files_B/default.books_bak/") for key in keys(store))
        assert any(key.startswith(f"{OWN}/dumps/backup~my_backup/") for key in keys(store))
    assert keys(store) == []


def test_a_lease_never_taken_is_not_held(store: MemoryStore, clock: FakeClock) -> None:
    with leases(store, clock, "run-1") as mine:
        with pytest.raises(LockHeld):
            mine.require_held(BOOKS)
        with pytest.raises(LockHeld):
            mine.require_dump_held()


def beating(other: Leases, told: list[str]) -> Callable[[str, str], None]:
    def on_wait(name: str, holder: str) -> None:
        told.append(f"{name}, {holder}")
        other._beat()

    return on_wait


@pytest.mark.parametrize(
    ("dump", "guarded"),
    [("backup/other", "the target collection books_bak"), (DUMP, "the dump backup/my_backup")],
    ids=["target", "dump"],
)
def test_a_living_holder_is_waited_for_by_name_and_then_refused(
    store: MemoryStore, clock: FakeClock, dump: str, guarded: str
) -> None:
    told: list[str] = []
    with leases(store, clock, "run-1") as first, leases(store, clock, "run-2", dump=dump) as second:
        first.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        with pytest.raises(LockHeld, match=rf"{guarded} is held by run run-1 \(process \d+ on ") as caught:
            second.acquire([BOOKS], timeout_s=120, on_wait=beating(first, told))
        assert caught.value.exit_code == 21
        assert clock.monotonic() >= 120
        assert told[0].startswith(f"{guarded}, run run-1 (process ")
        first.require_held(BOOKS)
        first.require_dump_held()


def test_a_lease_given_back_meanwhile_is_taken(store: MemoryStore, clock: FakeClock) -> None:
    first = leases(store, clock, "run-1")
    with leases(store, clock, "run-2") as second:
        with first:
            first.acquire([BOOKS], timeout_s=0, on_wait=nobody)
            with pytest.raises(LockHeld):
                second.acquire([BOOKS], timeout_s=0, on_wait=patient)
        second.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        second.require_held(BOOKS)


def test_a_process_that_may_not_have_all_leaves_nothing_behind(store: MemoryStore, clock: FakeClock) -> None:
    with leases(store, clock, "run-1") as first:
        first.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        before = keys(store)
        with leases(store, clock, "run-2", dump="backup/other") as second, pytest.raises(LockHeld):
            second.acquire([*MANY, BOOKS], timeout_s=0, on_wait=patient)
        assert keys(store) == before


def test_who_waits_for_one_lease_holds_none_that_comes_after_it(store: MemoryStore, clock: FakeClock) -> None:
    held: list[list[CollectionRef]] = []
    with leases(store, clock, "run-1") as first, leases(store, clock, "run-2", dump="backup/other") as second:
        first.acquire([MANY[3]], timeout_s=0, on_wait=nobody)

        def look(_: str, __: str) -> None:
            first._beat()
            held.append(
                [each for each in MANY if (who := find_holder(store, PLACES.target(each))) and "run-2" in str(who)]
            )

        with pytest.raises(LockHeld):
            second.acquire(MANY, timeout_s=5, on_wait=look)
        assert held[0] == MANY[:3]


# -- the dead ---------------------------------------------------------------------------------------------------------


def test_the_lease_of_a_dead_holder_expires(store: MemoryStore, clock: FakeClock) -> None:
    dead = a_dead_process(store, clock)
    with leases(store, clock, "run-2") as mine:
        mine.acquire([BOOKS], timeout_s=60, on_wait=patient)
        assert EXPIRES_S <= clock.monotonic() <= EXPIRES_S + 5
        mine.require_held(BOOKS)
        with pytest.raises(LockHeld, match=r"the lease of the target collection books_bak was lost to run run-2"):
            dead.require_held(BOOKS)
        with pytest.raises(LockHeld, match=r"the lease of the dump backup/my_backup was lost to run run-2"):
            dead.require_dump_held()


def test_all_leases_of_a_dead_process_expire_together(store: MemoryStore, clock: FakeClock) -> None:
    a_dead_process(store, clock, *MANY)
    with leases(store, clock, "run-2") as mine:
        mine.acquire(MANY, timeout_s=60, on_wait=patient)
        assert clock.monotonic() <= EXPIRES_S + 5
        for target in MANY:
            mine.require_held(target)
    assert keys(store) == []


def test_a_dead_process_without_a_heartbeat_expires_too(store: MemoryStore, clock: FakeClock) -> None:
    dead = a_dead_process(store, clock)
    store.delete([dead._beat_key])
    with leases(store, clock, "run-2") as mine:
        mine.acquire([BOOKS], timeout_s=60, on_wait=patient)
        mine.require_held(BOOKS)


@pytest.mark.parametrize(
    ("run_id", "home", "at_once"),
    [
        ("run-1", HERE, True),
        ("run-1", "host-1/boot-1/1:2", False),
        ("run-1", "host-1/boot-2/1:1", False),
        ("run-1", "host-2/boot-1/1:1", False),
        ("run-2", HERE, False),
    ],
    ids=["the same run", "another state directory", "after a restart", "another machine", "another run"],
)
def test_only_the_same_run_of_the_same_state_directory_takes_its_lease_back_at_once(
    store: MemoryStore, clock: FakeClock, run_id: str, home: str, *, at_once: bool
) -> None:
    """There the local lock says that the other process ended; elsewhere it may well live."""
    a_dead_process(store, clock)
    with leases(store, clock, run_id, home=home) as resumed:
        resumed.acquire([BOOKS], timeout_s=60, on_wait=nobody if at_once else patient)
        resumed.require_held(BOOKS)
        assert (clock.monotonic() < EXPIRES_S) == at_once


def test_a_living_process_of_the_same_run_with_another_state_directory_is_refused(
    store: MemoryStore, clock: FakeClock
) -> None:
    """A copy of the state directory on the same machine: two processes that go on with one run."""
    with leases(store, clock, "run-1") as first, leases(store, clock, "run-1", home="host-1/boot-1/1:2") as second:
        first.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        with pytest.raises(LockHeld, match="is held by run run-1"):
            second.acquire([BOOKS], timeout_s=120, on_wait=beating(first, []))
        first.require_held(BOOKS)


def test_a_state_directory_is_told_by_what_it_is_and_not_by_its_name(tmp_path: Path) -> None:
    one, other, link = tmp_path / "one", tmp_path / "other", tmp_path / "link"
    one.mkdir()
    other.mkdir()
    link.symlink_to(one)
    assert identity_of(one) == identity_of(link)
    assert identity_of(one) != identity_of(other)
    one.rename(tmp_path / "moved")
    assert identity_of(tmp_path / "moved") != identity_of(other)


# -- holding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage_s", [BEAT_S, EXPIRES_S, 3600.0])
def test_an_outage_nobody_made_use_of_keeps_the_lease(store: MemoryStore, clock: FakeClock, outage_s: float) -> None:
    mine = a_dead_process(store, clock)
    clock.sleep(outage_s)
    mine.require_held(BOOKS)
    mine.require_dump_held()


def test_whoever_waits_for_a_holder_that_comes_back_waits_for_its_end_again(
    store: MemoryStore, clock: FakeClock
) -> None:
    silent = a_dead_process(store, clock)
    came_back_at = EXPIRES_S - 2

    def on_wait(_: str, __: str) -> None:
        if came_back_at <= clock.monotonic() < came_back_at + 1:
            silent.require_held(BOOKS)

    with leases(store, clock, "run-2") as second:
        with pytest.raises(LockHeld):
            second.acquire([BOOKS], timeout_s=EXPIRES_S + 10, on_wait=on_wait)
        second.acquire([BOOKS], timeout_s=EXPIRES_S, on_wait=patient)
        with pytest.raises(LockHeld, match="was lost to run run-2"):
            silent.require_held(BOOKS)


def test_during_an_outage_nothing_counts_as_held_or_lost(
    store: MemoryStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is worth another try, and after it the lease is still there."""
    mine = a_dead_process(store, clock)
    clock.sleep(EXPIRES_S)

    def down(*_: object, **__: object) -> bool:
        raise StoreUnavailable("nothing answers")

    with monkeypatch.context() as outage:
        outage.setattr(store, "write", down)
        with pytest.raises(StoreUnavailable):
            mine.require_held(BOOKS)
    mine.require_held(BOOKS)


def test_a_broken_lease_is_lost(store: MemoryStore, clock: FakeClock) -> None:
    mine = a_dead_process(store, clock)
    break_lease(store, PLACES.target(BOOKS))
    with pytest.raises(LockHeld, match="books_bak was lost: somebody broke it"):
        mine.require_held(BOOKS)
    mine.require_dump_held()
    with leases(store, clock, "run-2", dump="backup/other") as second:
        second.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        with pytest.raises(LockHeld, match="books_bak was lost to run run-2"):
            mine.require_held(BOOKS)


def test_whoever_lost_a_lease_does_not_give_it_back(store: MemoryStore, clock: FakeClock) -> None:
    """Numbers come again: what lies under the lost one's number may be another's by now."""
    with leases(store, clock, "run-2", dump="backup/other") as second:
        with leases(store, clock, "run-1") as first:
            first.acquire([BOOKS], timeout_s=0, on_wait=nobody)
            break_lease(store, PLACES.target(BOOKS))
            second.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        second.require_held(BOOKS)


def test_a_person_is_shown_who_holds_a_lease_and_whether_it_lives(store: MemoryStore, clock: FakeClock) -> None:
    lease = PLACES.target(BOOKS)
    assert find_holder(store, lease) is None
    mine = a_dead_process(store, clock)
    holder = find_holder(store, lease)
    assert holder is not None
    assert (holder.run_id, holder.home, holder.since) == ("run-1", HERE, "2026-01-01T00:00:00+00:00")
    pulse = read_pulse(store, holder)
    assert pulse == read_pulse(store, holder)
    mine._beat()
    assert pulse != read_pulse(store, holder)
    store.delete([mine._beat_key])
    assert read_pulse(store, holder) is None


def test_a_lease_given_back_while_it_is_looked_at_is_free(store: MemoryStore, clock: FakeClock) -> None:
    """Between listing and reading."""
    a_dead_process(store, clock)
    lease = PLACES.target(BOOKS)

    class Listed(MemoryStore):
        def read(self, key: str) -> bytes:
            break_lease(store, lease)
            return store.read(key)

    looking = Listed()
    looking._objects = store._objects
    assert find_holder(looking, lease) is None


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("backup/a", "backup/a/b"), ("a", "a/b"), ("backup/a", "backup/ab")])
def test_dumps_whose_names_nest_do_not_meet(store: MemoryStore, clock: FakeClock, names: tuple[str, str]) -> None:
    outer, inner = names
    with leases(store, clock, "run-1", dump=outer) as first, leases(store, clock, "run-2", dump=inner) as second:
        second.acquire([], timeout_s=0, on_wait=nobody)
        first.acquire([], timeout_s=0, on_wait=nobody)
        break_lease(store, PLACES.dump(outer))
        second.require_dump_held()
        with pytest.raises(LockHeld):
            first.require_dump_held()


def places_of(folder: Path, *, target_root: str = "files_B", more: str = "") -> tuple[LeasePlaces, str]:
    """Where the leases of a plan file lie, and the prefix of its dump."""
    path = folder / "plan.yaml"
    text = plan_text(more=f"staging: {{backup_name: weekly}}\n{more}")
    path.write_text(text.replace("root_path: files_B", f"root_path: {target_root}"), encoding="utf-8")
    loaded = load_plan(path, variables={}, clusters=None)
    return LeasePlaces.of(loaded), loaded.staging.prefix.strip("/")


def test_two_plans_with_one_backup_name_exclude_each_other_whatever_their_targets(
    store: MemoryStore, clock: FakeClock, tmp_path: Path
) -> None:
    (ours, dump), (theirs, same_dump) = places_of(tmp_path), places_of(tmp_path, target_root="files_C")
    with (
        leases(store, clock, "run-1", places=ours, dump=dump) as first,
        leases(store, clock, "run-2", places=theirs, dump=same_dump) as second,
    ):
        first.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        with pytest.raises(LockHeld, match=r"the dump backup/weekly is held by run run-1"):
            second.acquire([BOOKS], timeout_s=0, on_wait=patient)


def test_collections_of_one_name_at_two_targets_that_share_a_bucket_do_not_meet(
    store: MemoryStore, clock: FakeClock, tmp_path: Path
) -> None:
    (ours, _), (theirs, _) = places_of(tmp_path), places_of(tmp_path, target_root="files_C")
    with (
        leases(store, clock, "run-1", places=ours, dump="backup/a") as first,
        leases(store, clock, "run-2", places=theirs, dump="backup/b") as second,
    ):
        first.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        second.acquire([BOOKS], timeout_s=0, on_wait=nobody)
        first.require_held(BOOKS)
        second.require_held(BOOKS)


def test_leases_are_called_by_what_they_guard() -> None:
    label = "the target collection db1.books"
    assert PLACES.target(CollectionRef("db1", "books")) == LeaseName(
        path=f"{OWN}/targets/files_B/db1.books", label=label
    )
    assert PLACES.dump("backup/x").label == "the dump backup/x"
