"""Runs that took an alias or deleted their dump, afterwards: rolled back, applied again, looked for by others."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.memory import MemoryBinlogs
from migrator.errors import PlanError
from migrator.model.collection import CollectionRef
from migrator.planning.plan import Action
from migrator.planning.planner import make_plan
from migrator.running.comparison import Comparer, open_past
from migrator.running.refresh import refresh
from migrator.running.retry import RetryPolicy
from migrator.running.rollback import Fate, Verdict
from migrator.running.runs import StateDirectory
from migrator.steps.verification import Depth, Level
from migrator.workflow import summary
from tests.support.builders import BOOKS, HeldLease, Pair, a_loaded_plan, create, fill, flush, load, some_rows
from tests.support.mortality import Fate as Doom
from tests.support.mortality import Killed, MortalJournal, mortal_store, mortal_target
from tests.unit.running.test_rollback import OPTIONS, Scene, begin

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan

OLD, NEW, LIBRARY = (CollectionRef("default", name) for name in ("old", "new", "library"))
MOVE = "[{source: books, target: new, aliases: move}]"
TIDY = OPTIONS + "staging: {keep: false}\n"


def an_aliased_pair() -> Pair:
    """The alias of books is another collection's at the target."""
    pair = Pair()
    fill(pair)
    pair.source.create_alias(BOOKS, "library")
    create(pair.target, OLD)
    pair.target.create_alias(OLD, "library")
    return pair


def a_scene(folder: Path, *, more: str, collections: str = "[books]", pair: Pair | None = None) -> Scene:
    pair = pair or Pair()
    if not pair.source.list_collections("default"):
        fill(pair)
    state = StateDirectory(folder / "state", pair.clock)
    return Scene(pair, state, begin(folder, pair, state, collections, more=more), folder)


def planned(scene: Scene, *, collections: str = "[books]", more: str = TIDY) -> Plan:
    loaded = a_loaded_plan(scene.folder, collections=collections, more=more)
    return make_plan(loaded, refresh(loaded, scene.pair.readers(), scene.state.migrated(loaded.name)))


# -- an alias that was moved ------------------------------------------------------------------------------------------


def test_a_moved_alias_goes_back(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, pair=an_aliased_pair(), collections=MOVE)
    scene.apply()
    assert scene.pair.target.find_alias(LIBRARY) == "new"
    assert scene.survey()["new"].reason == "3 rows, as this run left it; the alias library goes back to old"
    assert scene.roll_back()["new"].fate is Fate.REMOVED
    assert scene.pair.target.find_alias(LIBRARY) == "old"
    assert scene.pair.target.list_collections("default") == ("old",)


def test_an_alias_whose_owner_is_gone_goes_with_the_collection(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, pair=an_aliased_pair(), collections=MOVE)
    scene.apply()
    scene.pair.target.drop_collection(OLD)
    create(scene.pair.target, OLD)  # another one of that name never had it
    scene.roll_back()
    assert scene.pair.target.list_aliases("default") == ()


def test_an_alias_that_somebody_moved_on_is_left_where_it_is(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, pair=an_aliased_pair(), collections=MOVE)
    scene.apply()
    create(scene.pair.target, CollectionRef("default", "newer"))
    scene.pair.target.alter_alias(CollectionRef("default", "newer"), "library")
    scene.roll_back()
    assert scene.pair.target.find_alias(LIBRARY) == "newer"


def test_a_rollback_killed_anywhere_gives_the_alias_back(tmp_path: Path) -> None:
    for number in range(40):
        scene = Scene.make(tmp_path / str(number), pair=an_aliased_pair(), collections=MOVE)
        scene.apply()
        doom = Doom(strike_at=number)
        journal = MortalJournal(scene.run.folder / "journal.db", scene.pair.clock, doom)
        rollback = scene.process(journal, HeldLease(), lambda _: None)
        rollback._target = mortal_target(scene.pair.target, doom)
        rollback._staging = mortal_store(scene.pair.store, doom)
        try:
            rollback.carry_out(rollback.survey(), force=False, on_end=lambda _: None)
        except Killed:
            pass
        else:
            assert number > 5
            return
        finally:
            journal.close()
        scene.roll_back()
        assert scene.pair.target.find_alias(LIBRARY) == "old", number
        assert scene.pair.target.list_collections("default") == ("old",)
    pytest.fail("more points than expected")


def test_an_alias_that_moved_since_the_plan_stops_the_run(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, pair=an_aliased_pair(), collections=MOVE)
    create(scene.pair.target, CollectionRef("default", "newer"))
    scene.pair.target.alter_alias(CollectionRef("default", "newer"), "library")
    with pytest.raises(AssertionError, match="pointed at old when this was planned, and points at newer now"):
        scene.apply()
    assert scene.pair.target.find_alias(LIBRARY) == "newer"


# -- a dump that was deleted ------------------------------------------------------------------------------------------


def test_a_run_without_its_dump_is_done_and_stays_so(tmp_path: Path) -> None:
    scene = a_scene(tmp_path, more=TIDY)
    scene.apply()
    (record,) = scene.state.migrated("a-to-b")
    assert (record.dump, record.partitions) == ("", ("_default",))
    assert summary(scene.run, scene.state).dump == ""
    assert scene.pair.keys("backup") == scene.pair.keys(".migrator") == {}
    assert not planned(scene).has_changes


def test_a_dump_stays_where_no_rows_could_be_compared(tmp_path: Path) -> None:
    words, unread = "staging: {keep: false}\n", "[{source: books, indexes: none}]"
    scene = a_scene(tmp_path, more=words, collections=unread)
    assert any("no rows are compared" in notice and "books" in notice for notice in scene.run.plan.notices)
    scene.apply()
    with scene.state.journal(scene.run) as journal:
        cleaned = journal.last_event("clean_staging:backup/a_to_b")
    assert cleaned is not None
    assert cleaned.data["detail"] == "the dump is kept: no rows could be compared of default.books"
    (record,) = scene.state.migrated("a-to-b")
    assert (record.dump, record.verified) == ("bucket_A/backup/a_to_b", False)
    assert summary(scene.run, scene.state).dump == "bucket_A/backup/a_to_b"
    assert "backup/a_to_b/meta/full_meta.json" in scene.pair.keys("backup")
    assert not planned(scene, collections=unread, more=words).has_changes


def test_one_more_mapping_begins_a_dump_of_its_own(tmp_path: Path) -> None:
    scene = a_scene(tmp_path, more=TIDY)
    scene.apply()
    films = CollectionRef("default", "films")
    fill(scene.pair, films)
    more = begin(tmp_path, scene.pair, scene.state, "[books, films]", more=TIDY)
    assert {c.source.name: c.action for c in more.plan.collections} == {"books": Action.DONE, "films": Action.MIGRATE}
    Scene(scene.pair, scene.state, more, tmp_path).apply()
    assert len(scene.pair.target.rows(films)) == 3
    assert scene.pair.keys("backup") == {}


def test_what_others_put_there_since_is_theirs(tmp_path: Path) -> None:
    """A finished dump at the place of the deleted one is not taken for this plan's."""
    scene = a_scene(tmp_path, more=TIDY)
    scene.apply()
    scene.pair.store.write("backup/a_to_b/meta/full_meta.json", b'{"collection_backups": []}')
    fill(scene.pair, CollectionRef("default", "films"))
    with pytest.raises(PlanError, match="that no finished run of this plan put there"):
        planned(scene, collections="[books, films]")


def test_what_earlier_runs_left_in_the_dump_stays(tmp_path: Path) -> None:
    scene = a_scene(tmp_path, more=OPTIONS)
    scene.apply()
    kept = scene.pair.keys("backup/a_to_b/binlogs")
    meta = scene.pair.keys("backup/a_to_b/meta")
    fill(scene.pair, CollectionRef("default", "films"))
    second = begin(tmp_path, scene.pair, scene.state, "[books, films]", more=TIDY)
    Scene(scene.pair, scene.state, second, tmp_path).apply()
    assert scene.pair.keys("backup/a_to_b/binlogs") == kept
    there = scene.pair.keys("backup/a_to_b/meta")
    assert {key for key in meta if meta[key] != there[key]} <= {
        f"backup/a_to_b/meta/{name}.json"
        for name in ("full_meta", "backup_meta")  # by the id of the later task
    }
    assert b"films" not in b"".join(there.values())


@pytest.mark.parametrize("stop", ["", "clean_staging"])
def test_a_rollback_takes_the_rest_of_a_dump_that_was_being_deleted(tmp_path: Path, stop: str) -> None:
    scene = a_scene(tmp_path, more=TIDY)
    scene.apply(until=stop)
    if stop:
        scene.pair.store.delete(["backup/a_to_b/meta/full_meta.json", "backup/a_to_b/meta/backup_meta.json"])
    assert (scene.survey().get("bucket_A/backup/a_to_b") is not None) == bool(stop)
    endings = scene.roll_back()
    assert {ending.fate for ending in endings.values()} == {Fate.REMOVED}
    assert scene.pair.keys("backup") == scene.pair.keys(".migrator") == {}
    assert scene.pair.target.list_collections("default") == ()


def test_a_dump_that_is_whole_is_kept_by_a_rollback(tmp_path: Path) -> None:
    scene = a_scene(tmp_path, more=TIDY)
    scene.apply(until="clean_staging")
    assert scene.survey()["kept"].verdict is Verdict.KEEP


# -- partitions -------------------------------------------------------------------------------------------------------


def a_parted_pair() -> Pair:
    pair = Pair()
    fill(pair, loaded=False)
    pair.source.create_partition(BOOKS, "p_1")
    pair.source.insert(BOOKS, some_rows(4, start=10), "p_1")
    flush(pair.source)
    load(pair.source, pair.clock)
    return pair


def test_a_choice_of_partitions_is_estimated_compared_and_remembered(tmp_path: Path) -> None:
    words = "[{source: books, partitions: [p_1]}]"
    scene = a_scene(tmp_path, more=OPTIONS, collections=words, pair=a_parted_pair())
    (planned_books,) = scene.run.plan.collections
    assert (planned_books.estimate.rows, planned_books.estimate.counted_rows) == (4, 4)
    scene.apply()
    pair = scene.pair
    with scene.state.journal(scene.run) as journal:
        verdict = journal.last_event("verify_collection:default.books")
    assert verdict is not None
    assert str(verdict.data["detail"]).startswith("source and target are equal: every value of 4 rows; ")
    comparer = Comparer(
        source=pair.source,
        target=pair.target,
        source_store=pair.store,
        staging=pair.store,
        dump_reader=BinlogDumps(MemoryBinlogs()),
        clock=pair.clock,
        depth=Depth(level=Level.FULL),
        records=scene.state.migrated("a-to-b"),
        open_past=partial(open_past, scene.state),
        policy=RetryPolicy(max_elapsed_s=5, max_backoff_s=1),
        tell=lambda _: None,
    )
    found = comparer.compare((BOOKS, BOOKS), partitions=("p_1",))
    assert (found.exit_code, found.compared_with, found.keys, found.rows_compared) == (0, "source", 4, 4)
    (record,) = scene.state.migrated("a-to-b")
    assert record.partitions == ("p_1",)
    full = json.loads(pair.store.read("backup/a_to_b/meta/full_meta.json"))
    assert [each["partition_name"] for each in full["collection_backups"][0]["partition_backups"]] == ["p_1"]
    wider = planned(scene, collections="[books]", more=OPTIONS)
    assert not wider.has_changes
    assert "partition _default did not come along" in wider.collections[0].notices[0]


def test_rows_of_others_in_the_empty_default_are_a_difference(tmp_path: Path) -> None:
    words = "[{source: books, partitions: [p_1]}]"
    scene = a_scene(tmp_path, more=OPTIONS, collections=words, pair=a_parted_pair())
    scene.apply(until="verify_collection")
    scene.pair.target.insert(BOOKS, some_rows(1, start=100))
    with pytest.raises(AssertionError, match="partition '_default'"):
        scene.apply()


def test_a_busy_partition_that_stays_behind_is_not_waited_for(tmp_path: Path) -> None:
    """Its growing rows are sealed by the flush, and nothing of it has to hold still."""
    pair = a_parted_pair()
    pair.source.create_partition(BOOKS, "p_2")
    words = "[{source: books, partitions: [p_1]}]"
    scene = a_scene(tmp_path, more=OPTIONS, collections=words, pair=pair)
    scene.apply(until="dump_meta")
    pair.source.insert(BOOKS, some_rows(2, start=50), "p_2")
    flush(pair.source)  # a segment that the run's flush does not name
    scene.apply()
    assert len(pair.target.rows(BOOKS)) == 4
