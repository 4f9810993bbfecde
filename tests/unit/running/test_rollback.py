"""Undoing a run: what it created goes, what others did to it stays, and killing the rollback changes neither."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import ImportStalled, LockHeld, MilvusUnavailable
from migrator.model.capabilities import capabilities
from migrator.model.collection import CollectionRef
from migrator.planning.planner import make_plan
from migrator.running.journal import Journal, StepEvent
from migrator.running.refresh import refresh
from migrator.running.rollback import CREATION_SETTLES_S, Ending, Fate, Remnant, Rollback, Verdict
from migrator.running.runs import Run, StateDirectory
from tests.support.builders import (
    BOOKS,
    HeldLease,
    Pair,
    a_context,
    a_loaded_plan,
    an_index,
    create,
    fill,
    flush,
    load,
    run_steps,
    some_rows,
)
from tests.support.mortality import Fate as Doom
from tests.support.mortality import Killed, MortalJournal, mortal_store, mortal_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from migrator.ports.lease import Lease

Things = tuple[tuple[str, ...], list[tuple[str, str]], tuple[str, ...], list[str]]
"""Databases, collections and aliases at the target, and the objects of dumps."""

FILMS = CollectionRef("db1", "films")
BAK = CollectionRef("db1", "films_bak")
BOTH = """[books, {source: db1.films, target: "db1.{{ collection }}_bak"}]"""
OPTIONS = "options: {transfer: {concurrency: 1}}\n"
DUMP = "backup/a_to_b"


def a_pair() -> Pair:
    """Books, loaded and with an alias, and films in a database that the target lacks."""
    pair = Pair()
    fill(pair, BOOKS, rows=5)
    pair.source.create_alias(BOOKS, "library")
    fill(pair, FILMS, rows=2, loaded=False)
    return pair


@dataclass(frozen=True, slots=True)
class Scene:
    """A run on two clusters in memory."""

    pair: Pair
    state: StateDirectory
    run: Run
    folder: Path

    @classmethod
    def make(cls, folder: Path, *, pair: Pair | None = None, collections: str = BOTH) -> Scene:
        """Begin a run; nothing of it is done."""
        pair = pair or a_pair()
        folder.mkdir(exist_ok=True)
        state = StateDirectory(folder / "state", pair.clock)
        return cls(pair, state, begin(folder, pair, state, collections), folder)

    def apply(self, *, until: str = "") -> None:
        """Do the run, or its steps before the first of a kind."""
        kinds = [step.kind for step in self.run.plan.steps]
        steps = self.run.plan.steps[: kinds.index(until) if until else None]
        with self.state.journal(self.run, read_only=False) as journal:
            journal._db.execute("PRAGMA synchronous=OFF")  # what is written survives a process, if not the machine
            with a_context(self.pair, self.folder, run_id=self.run.run_id) as ctx:
                result = run_steps(steps, replace(ctx, ledger=journal), journal)
        assert result.failures == {}

    @contextmanager
    def rollback(self, *, told: list[str] | None = None, lease: Lease | None = None) -> Iterator[Rollback]:
        """A process that rolls back."""
        said = [] if told is None else told
        with self.state.journal(self.run, read_only=False) as journal:
            yield self.process(journal, lease or HeldLease(), said.append)

    def process(self, journal: Journal, lease: Lease, tell: Callable[[str], None]) -> Rollback:
        pair = self.pair
        return Rollback(self.run, journal, pair.target, pair.store, lease=lease, clock=pair.clock, tell=tell)

    def survey(self) -> dict[str, Remnant]:
        """What is found, by name; a kept part of the dump by `kept`."""
        with self.rollback() as rollback:
            return {"kept" if r.verdict is Verdict.KEEP else r.name: r for r in rollback.survey()}

    def roll_back(self, *, force: bool = False) -> dict[str, Ending]:
        """Look, and carry out."""
        with self.rollback() as rollback:
            endings = rollback.carry_out(rollback.survey(), force=force, on_end=lambda _: None)
            return {ending.remnant.name: ending for ending in endings}

    def how_far(self) -> StepEvent | None:
        """What the journal says."""
        return self.state.rollback_of(self.run)

    def own_things(self) -> Things:
        """All that a run of this plan may have created."""
        target = self.pair.target
        collections = [(db, name) for db in target.list_databases() for name in target.list_collections(db)]
        return (target.list_databases(), collections, target.list_aliases("default"), sorted(self.pair.keys("backup")))


def begin(folder: Path, pair: Pair, state: StateDirectory, collections: str = BOTH, *, more: str = OPTIONS) -> Run:
    loaded = a_loaded_plan(folder, collections=collections, more=more)
    pair.clock.sleep(1)
    return state.begin(loaded, make_plan(loaded, refresh(loaded, pair.readers(), state.migrated(loaded.name))))


NOTHING: Things = (("default",), [], (), [])


# -- all of it --------------------------------------------------------------------------------------------------------


def test_a_finished_run_goes_but_for_its_dump(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    dump = scene.pair.keys(DUMP)
    found = scene.survey()
    assert found["books"].aliases == ("library",)
    assert found["books"].reason == "5 rows, as this run left it"
    assert found["db1"].verdict is Verdict.REMOVE
    assert "choose another staging.backup_name" in found["kept"].reason

    endings = scene.roll_back()
    assert {name: ending.fate for name, ending in endings.items()} == {
        "books": Fate.REMOVED,
        "db1.films_bak": Fate.REMOVED,
        "db1": Fate.REMOVED,
        "bucket_A/backup/a_to_b": Fate.KEPT,
    }
    assert scene.own_things() == (("default",), [], (), sorted(dump))
    assert scene.pair.keys(DUMP) == dump
    assert scene.how_far() is StepEvent.ROLLED_BACK
    assert scene.pair.keys(".migrator/dumps") == {}


def test_a_run_that_is_rolled_back_is_over_and_leaves_no_record(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    assert len(scene.state.migrated("a-to-b")) == 2
    scene.roll_back()
    assert scene.state.migrated("a-to-b") == ()
    assert scene.state.unfinished() == []
    again = begin(tmp_path, scene.pair, scene.state, more=OPTIONS + "staging: {backup_name: second}\n")
    second = Scene(scene.pair, scene.state, again, tmp_path)
    second.apply()
    assert len(scene.state.migrated("a-to-b")) == 2
    assert len(scene.pair.target.rows(BOOKS)) == 5


@pytest.mark.parametrize("kind", ["flush", "copy_segments", "create_collection", "import_segments", "seal_dump"])
def test_an_unfinished_run_goes_with_its_dump(kind: str, tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply(until=kind)
    scene.roll_back()
    assert scene.own_things() == NOTHING
    assert scene.how_far() is StepEvent.ROLLED_BACK
    assert scene.state.unfinished() == []
    assert scene.pair.keys(".migrator") == {}


def test_a_run_that_created_nothing_is_rolled_back_at_once(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    assert scene.survey() == {}
    assert scene.roll_back() == {}
    assert scene.how_far() is StepEvent.ROLLED_BACK


def test_what_is_gone_already_is_no_obstacle(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    scene.pair.target.drop_collection(BAK)
    scene.pair.target.drop_database("db1")
    found = scene.survey()
    assert (found["db1.films_bak"].verdict, found["db1"].verdict) == (Verdict.GONE, Verdict.GONE)
    scene.roll_back()
    assert scene.how_far() is StepEvent.ROLLED_BACK


def test_the_source_and_what_others_keep_are_as_before(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    create(scene.pair.target, CollectionRef("default", "others"))
    scene.pair.store.write("backup/other_dump/meta/full_meta.json", b"{}")
    scene.apply()
    rows, files = scene.pair.source.rows(BOOKS), scene.pair.keys("files_A")
    scene.roll_back()
    assert scene.pair.source.rows(BOOKS) == rows
    assert scene.pair.keys("files_A") == files
    assert scene.pair.target.list_collections("default") == ("others",)
    assert "backup/other_dump/meta/full_meta.json" in scene.pair.keys("backup")


# -- what others did --------------------------------------------------------------------------------------------------


def write_loaded(pair: Pair) -> None:
    pair.target.insert(BOOKS, some_rows(2, start=50))


def replace_rows(pair: Pair) -> None:
    pair.target.delete(BOOKS, [1, 2])
    pair.target.insert(BOOKS, some_rows(2, start=1))


def delete_loaded(pair: Pair) -> None:
    pair.target.delete(BOOKS, [1])


def give_alias(pair: Pair) -> None:
    pair.target.create_alias(BOOKS, "favourites")


def recreate(pair: Pair) -> None:
    pair.target.drop_collection(BOOKS)
    create(pair.target, BOOKS)
    pair.target.insert(BOOKS, some_rows(3))
    pair.target.create_index(BOOKS, an_index())
    load(pair.target, pair.clock, BOOKS)


def release_and_write(pair: Pair) -> None:
    pair.target.release(BOOKS)
    pair.target.insert(BOOKS, some_rows(4, start=90))


def compact_after_writing(pair: Pair) -> None:
    write_loaded(pair)
    flush(pair.target, BOOKS)
    pair.target.compact(BOOKS)


@pytest.mark.parametrize(
    ("meddle", "said"),
    [
        (write_loaded, "somebody wrote 2 rows to it beside the 5 of this run, which would be lost"),
        (replace_rows, "somebody wrote 2 rows"),
        (delete_loaded, "it holds 4 rows, and this run brought 5: somebody deleted some"),
        (give_alias, "somebody gave it an alias, favourites, which would be lost"),
        (recreate, "somebody dropped it and created another one of this name, which holds 3 rows"),
        (release_and_write, "somebody wrote 4 rows"),
        (compact_after_writing, "somebody wrote 2 rows"),
    ],
)
def test_what_others_changed_goes_only_by_force(meddle: Callable[[Pair], None], said: str, tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    meddle(scene.pair)
    found = scene.survey()["books"]
    assert found.verdict is Verdict.FORCE
    assert said in found.reason
    rows = scene.pair.target.rows(BOOKS)

    endings = scene.roll_back()
    assert endings["books"].fate is Fate.LEFT_ALONE
    assert endings["db1.films_bak"].fate is Fate.REMOVED
    assert scene.pair.target.rows(BOOKS) == rows
    assert scene.how_far() is StepEvent.ROLLBACK_STARTED
    assert scene.state.unfinished() == [scene.run]
    assert scene.state.migrated("a-to-b") == ()

    scene.roll_back(force=True)
    assert scene.pair.target.list_collections("default") == ()
    assert scene.pair.target.list_aliases("default") == ()
    assert scene.how_far() is StepEvent.ROLLED_BACK


def test_where_nothing_goes_nothing_is_begun(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, collections="[books]")
    scene.apply()
    write_loaded(scene.pair)
    scene.roll_back()
    assert scene.how_far() is None
    assert len(scene.state.migrated("a-to-b")) == 1


def test_compaction_and_loading_are_no_change(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    scene.pair.target.compact(BOOKS)
    load(scene.pair.target, scene.pair.clock, BAK)
    assert {r.verdict for r in scene.survey().values()} == {Verdict.REMOVE, Verdict.KEEP}


def test_what_was_left_alone_and_then_renamed_is_no_obstacle(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    recreate(scene.pair)
    scene.roll_back()
    scene.pair.target.drop_collection(BOOKS)  # as far as the name goes
    scene.roll_back()
    assert scene.how_far() is StepEvent.ROLLED_BACK


def test_what_appears_after_it_was_dropped_is_not_the_runs(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    write_loaded(scene.pair)
    scene.roll_back()  # begun: films are gone, books are left
    create(scene.pair.target, BAK)
    endings = scene.roll_back(force=True)
    assert endings["db1.films_bak"].fate is Fate.GONE
    assert scene.pair.target.list_collections("db1") == ("films_bak",)
    assert scene.how_far() is StepEvent.ROLLED_BACK


def test_a_database_that_others_use_is_kept(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    create(scene.pair.target, CollectionRef("db1", "theirs"))
    assert scene.survey()["kept"].reason == "it holds theirs" or "finished" in scene.survey()["kept"].reason
    endings = scene.roll_back()
    assert endings["db1"].fate is Fate.KEPT
    assert scene.pair.target.list_collections("db1") == ("theirs",)
    assert scene.how_far() is StepEvent.ROLLED_BACK


def test_a_database_that_was_there_before_is_not_the_runs(tmp_path: Path) -> None:
    pair = a_pair()
    pair.target.create_database("db1")
    scene = Scene.make(tmp_path, pair=pair)
    scene.apply()
    scene.roll_back()
    assert pair.target.list_databases() == ("db1", "default")


def test_a_database_with_something_left_alone_stays_too(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    scene.pair.target.insert(BAK, some_rows(1, start=70))
    endings = scene.roll_back()
    assert endings["db1.films_bak"].fate is Fate.LEFT_ALONE
    assert endings["db1"].fate is Fate.LEFT_ALONE
    scene.roll_back(force=True)
    assert scene.pair.target.list_databases() == ("default",)


def test_a_lease_that_is_lost_stops_it(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    lease = HeldLease(LockHeld("lost"))
    with scene.rollback(lease=lease) as rollback, pytest.raises(LockHeld):
        rollback.carry_out(rollback.survey(), force=False, on_end=lambda _: None)
    assert len(scene.pair.target.list_collections("default")) == 1
    scene.roll_back()
    assert scene.how_far() is StepEvent.ROLLED_BACK


# -- imports under way ------------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """The run's process is no more."""


def test_imports_under_way_are_waited_for(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, collections="[books]")
    scene.apply(until="import_segments")
    scene.pair.clock.error = Stopped()
    with pytest.raises(Stopped):
        scene.apply()
    scene.pair.clock.error = None
    told: list[str] = []
    with scene.rollback(told=told) as rollback:
        found = rollback.survey()
        assert told[0] == "waiting for 1 import job of this run to end"
        assert found[0].reason == "5 rows, as this run left it"
        rollback.carry_out(found, force=False, on_end=lambda _: None)
    assert scene.own_things() == NOTHING


def test_an_import_that_never_moves_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene.make(tmp_path, collections="[books]")
    scene.apply(until="import_segments")
    scene.pair.clock.error = Stopped()
    with pytest.raises(Stopped):
        scene.apply()
    scene.pair.clock.error = None
    jobs = scene.pair.target.list_import_jobs(BOOKS)
    monkeypatch.setattr(type(scene.pair.target), "list_import_jobs", lambda *_: jobs)
    with scene.rollback() as rollback, pytest.raises(ImportStalled, match=r"has not moved for 30 minutes"):
        rollback.survey()


def lose_replies(scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch, *, arrives: bool) -> None:
    """Let the run send a request, which arrives or not, and die before its reply."""
    send = getattr(type(scene.pair.target), name)

    def lost(*args: object, **named: object) -> None:
        if arrives:
            send(*args, **named)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(type(scene.pair.target), name, lost)
        with pytest.raises(Stopped):
            scene.apply()


@pytest.mark.parametrize("arrives", [False, True])
def test_an_import_request_whose_reply_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, arrives: bool
) -> None:
    scene = Scene.make(tmp_path, collections="[books]")
    lose_replies(scene, "start_import", monkeypatch, arrives=arrives)
    began = scene.pair.clock.monotonic()
    scene.roll_back()
    assert (scene.pair.clock.monotonic() - began > capabilities("2.3.5").settle_s - 1) is not arrives
    assert scene.own_things() == NOTHING


@pytest.mark.parametrize("arrives", [False, True])
def test_a_creation_whose_reply_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, arrives: bool) -> None:
    scene = Scene.make(tmp_path, collections="[books]")
    lose_replies(scene, "create_collection", monkeypatch, arrives=arrives)
    began = scene.pair.clock.monotonic()
    found = scene.survey()["books"]
    assert found.verdict is (Verdict.REMOVE if arrives else Verdict.GONE)
    assert (scene.pair.clock.monotonic() - began > CREATION_SETTLES_S - 1) is not arrives
    scene.roll_back()
    assert scene.own_things() == NOTHING


def test_a_collection_that_may_not_be_the_runs_goes_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.make(tmp_path, collections="[books]")
    lose_replies(scene, "create_collection", monkeypatch, arrives=False)
    create(scene.pair.target, BOOKS)
    scene.pair.target.insert(BOOKS, some_rows(3))
    flush(scene.pair.target, BOOKS)
    found = scene.survey()["books"]
    assert found.verdict is Verdict.FORCE
    assert "is not the one this run asked for" in found.reason


def test_rows_that_nobody_remembers_the_import_of_go_only_by_force(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, collections="[books]")
    scene.apply(until="import_segments")
    scene.pair.clock.error = Stopped()
    with pytest.raises(Stopped):
        scene.apply()
    scene.pair.clock.error = None
    scene.pair.clock.sleep(25 * 3600)
    found = scene.survey()["books"]
    assert found.verdict is Verdict.FORCE
    assert "no longer remembers what was imported, so its 5 rows may be of others" in found.reason


# -- the dump ---------------------------------------------------------------------------------------------------------


def test_of_a_shared_dump_only_the_runs_unfinished_part_goes(tmp_path: Path) -> None:
    first = Scene.make(tmp_path, collections="[books]")
    first.apply()
    files, levels = first.pair.keys(f"{DUMP}/binlogs"), first.pair.keys(f"{DUMP}/meta")
    run = begin(tmp_path, first.pair, first.state)
    second = Scene(first.pair, first.state, run, tmp_path)
    second.apply(until="seal_dump")
    first.pair.store.write(f"{DUMP}/meta/collection_meta.json", b"a seal that was killed")
    assert len(first.pair.keys(f"{DUMP}/binlogs")) > len(files)
    second.roll_back()
    assert first.pair.keys(f"{DUMP}/binlogs") == files
    now = first.pair.keys(f"{DUMP}/meta")
    assert now.keys() == levels.keys()
    assert now[f"{DUMP}/meta/full_meta.json"] == levels[f"{DUMP}/meta/full_meta.json"]
    assert now[f"{DUMP}/meta/collection_meta.json"] == levels[f"{DUMP}/meta/collection_meta.json"]
    assert [record.run_id for record in first.state.migrated("a-to-b")] == [first.run.run_id]
    assert first.pair.target.list_collections("default") == ("books",)


def test_a_dump_without_the_runs_claim_is_not_touched(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply(until="create_collection")
    scene.pair.store.delete(scene.pair.keys(".migrator/dumps"))
    dump = scene.pair.keys(DUMP)
    assert dump
    scene.roll_back()
    assert scene.pair.keys(DUMP) == dump


def test_what_cannot_be_removed_is_said_and_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene.make(tmp_path)
    scene.apply(until="seal_dump")

    def fail(*_: object) -> None:
        raise MilvusUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(type(scene.pair.target), "drop_collection", fail)
        endings = scene.roll_back()
    assert (endings["books"].fate, endings["books"].message) == (Fate.FAILED, "no answer")
    assert endings["bucket_A/backup/a_to_b"].fate is Fate.REMOVED
    assert scene.how_far() is StepEvent.ROLLBACK_STARTED
    scene.roll_back()
    assert scene.own_things() == NOTHING


# -- death ------------------------------------------------------------------------------------------------------------


def attempt(scene: Scene, doom: Doom) -> bool:
    """One process that rolls back; whether it lived."""
    journal = MortalJournal(scene.run.folder / "journal.db", scene.pair.clock, doom)
    pair = scene.pair
    try:
        rollback = Rollback(
            scene.run,
            journal,
            mortal_target(pair.target, doom),
            mortal_store(pair.store, doom),
            lease=HeldLease(),
            clock=pair.clock,
            tell=lambda _: None,
        )
        rollback.carry_out(rollback.survey(), force=False, on_end=lambda _: None)
    except Killed:
        return False
    finally:
        journal.close()
    return True


@pytest.mark.parametrize("until", ["", "seal_dump"])
def test_a_rollback_killed_at_any_point_ends_the_same(until: str, tmp_path: Path) -> None:
    whole, undisturbed = Scene.make(tmp_path / "whole"), Doom()
    whole.apply(until=until)
    assert attempt(whole, undisturbed)
    ends = whole.own_things()
    assert len(undisturbed.points) > 10
    for number in range(len(undisturbed.points)):
        scene, doom = Scene.make(tmp_path / f"{number}"), Doom(strike_at=number)
        scene.apply(until=until)
        assert not attempt(scene, doom)
        attempt(scene, Doom())
        assert scene.own_things() == ends, doom.points[-1]
        assert scene.how_far() is StepEvent.ROLLED_BACK
        assert scene.pair.keys(".migrator/dumps") == {}


def test_a_rollback_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply(until="seal_dump")
    number = 0
    while not attempt(scene, Doom(strike_at=number)):
        number += 1
    assert number > 10
    assert scene.own_things() == NOTHING
    assert scene.how_far() is StepEvent.ROLLED_BACK
