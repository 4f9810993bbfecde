"""Snapshots of Milvus 3.0 as the way of a migration, killed at every point: one snapshot, one restore, none left."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import PlanError
from migrator.model.collection import CollectionRef
from migrator.steps.create_snapshot import CreateSnapshot
from migrator.steps.drop_snapshot import DropSnapshot
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.seal_dump import SealDump
from tests.contract.test_steps import FILMS, REPLACING, Undisturbed, World, described, rows_of, strikes
from tests.support.builders import BOOKS, Pair, an_index, create, flush, load, some_rows
from tests.support.mortality import Fate

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [CreateSnapshot.kind, RestoreSnapshot.kind, DropSnapshot.kind]
VERIFIED = [*KINDS, "create_index", "load_collection", "verify_collection", "switch_alias"]


def a_pair(versions: tuple[str, str] = ("3.0.1", "3.0.2"), pair: Pair | None = None) -> Pair:
    """Books with two partitions, deletes, rows that still grow, an index and an alias; loaded."""
    pair = pair or Pair(versions=versions)
    create(pair.source, BOOKS)
    pair.source.create_partition(BOOKS, "old")
    pair.source.insert(BOOKS, some_rows(4))
    pair.source.insert(BOOKS, some_rows(3, start=10), "old")
    flush(pair.source, BOOKS)
    pair.source.delete(BOOKS, [1, 11])
    pair.source.insert(BOOKS, some_rows(1, start=20))
    pair.source.create_index(BOOKS, an_index())
    pair.source.create_alias(BOOKS, "library")
    load(pair.source, pair.clock, BOOKS)
    return pair


def left_behind(pair: Pair) -> dict[str, object]:
    """What stands at the target, how often it was restored, what snapshots are left, and the dump."""
    found = pair.target.find_collection(BOOKS)
    assert found is not None
    return {
        "collection": (described(found), rows_of(pair.target, BOOKS)),
        "restores": [job.state for job in pair.target.list_restores(BOOKS)],
        "snapshots": pair.source.snapshots.names(BOOKS),
        "dump": sorted(pair.keys("backup")),
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed.record(folder, a_pair, collections="[books]", state_of=left_behind)


def test_a_snapshot_brings_all_of_it_along_and_is_dropped(undisturbed: Undisturbed, tmp_path: Path) -> None:
    world = World.make(tmp_path, a_pair(), collections="[books]")
    world.require_done(Fate())
    source, target = world.pair.source, world.pair.target
    theirs, ours = source.find_collection(BOOKS), target.find_collection(BOOKS)
    assert theirs is not None
    assert ours is not None
    assert described(ours) == described(theirs)
    assert rows_of(target, BOOKS) == rows_of(source, BOOKS)
    assert left_behind(world.pair)["snapshots"] == []
    assert left_behind(world.pair)["dump"] == []
    assert [step.kind for step in world.plan.steps][1:3] == KINDS[:2]
    assert undisturbed.state == left_behind(world.pair)


@pytest.mark.parametrize("kind", VERIFIED)
def test_a_run_killed_at_any_point_ends_as_if_it_had_not_been(
    kind: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert strikes(undisturbed, kind)
    for number in strikes(undisturbed, kind):
        world = undisturbed.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        world.require_done(Fate())
        assert left_behind(world.pair) == undisturbed.state, undisturbed.points[number]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_or_reply_that_is_lost_is_made_good_by_the_same_attempt(
    kind: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    for number in strikes(undisturbed, kind):
        if undisturbed.points[number].is_request:
            world = undisturbed.world(tmp_path / str(number))
            world.require_done(Fate(strike_at=number, lost_reply=True))
            assert left_behind(world.pair) == undisturbed.state, undisturbed.points[number]


def test_every_step_done_again_changes_nothing(undisturbed: Undisturbed, tmp_path: Path) -> None:
    world = undisturbed.world(tmp_path)
    world.require_done(Fate())
    world.do_all_again()
    assert left_behind(world.pair) == undisturbed.state


def test_a_restore_that_fails_ends_the_attempt_and_is_made_anew_by_the_next(tmp_path: Path) -> None:
    pair = a_pair()
    world = World.make(tmp_path, pair, collections="[books]")
    pair.target.snapshots.failure = "copy object timed out"
    result = world.attempt(Fate())
    assert result is not None
    assert result.exit_code == 20
    assert "copy object timed out" in result.failures[f"restore_snapshot:{BOOKS}"].message
    assert pair.target.find_collection(BOOKS) is not None  # of what it left nothing is believed
    world.require_done(Fate())
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
    assert pair.source.snapshots.names(BOOKS) == []


def test_files_that_only_a_manifest_names_are_refused_without_snapshots(tmp_path: Path) -> None:
    pair = a_pair(("3.0.1", "3.0.0"))
    listed = pair.source.list_segments
    pair.source.list_segments = lambda ref: tuple(  # type: ignore[method-assign] # of storage that no import reads
        replace(each, storage_version=3) for each in listed(ref)
    )
    with pytest.raises(PlanError, match=r"storage version 3, which no import reads \(and none is possible: the target"):
        World.make(tmp_path, pair, collections="[books]")


def test_a_restore_without_rows_is_not_believed(tmp_path: Path) -> None:
    pair = a_pair()
    world = World.make(tmp_path, pair, collections="[books]")
    pair.target.list_segments = lambda ref: ()  # type: ignore[method-assign] # noqa: ARG005 - of a hollow collection
    result = world.attempt(Fate())
    assert result is not None
    assert result.exit_code == 20
    assert "brought none of 8 rows" in result.failures[f"restore_snapshot:{BOOKS}"].message
    assert len(pair.source.snapshots.names(BOOKS)) == 1


def test_a_restore_that_nobody_remembers_leaves_the_run_in_doubt(undisturbed: Undisturbed, tmp_path: Path) -> None:
    after = next(n for n in strikes(undisturbed, RestoreSnapshot.kind) if "restore" in undisturbed.points[n].what) + 1
    world = undisturbed.world(tmp_path)
    assert world.attempt(Fate(strike_at=after)) is None
    world.pair.clock.sleep(10)
    world.pair.target.snapshots.work()
    world.pair.target.snapshots.forget_restores()
    result = world.attempt(Fate())
    assert result is not None
    assert result.exit_code == 22
    assert "no longer remembers the restore of books" in result.failures[f"restore_snapshot:{BOOKS}"].message


def test_a_server_restores_its_own_snapshot_for_itself(tmp_path: Path) -> None:
    """From 3.0.0 on, which does not know those of others."""
    pair = Pair(versions=("3.0.0", "3.0.0"))
    pair.target = pair.source
    a_pair(pair=pair)
    world = World.make(tmp_path, pair, collections="[{source: books, target: copied}]")
    world.require_done(Fate())
    assert [step.kind for step in world.plan.steps][1:3] == KINDS[:2]
    assert pair.source.snapshots.names(BOOKS) == []


def test_what_is_replaced_is_kept_until_the_restored_one_is_verified(tmp_path: Path) -> None:
    pair = a_pair()
    create(pair.target)
    pair.target.insert(BOOKS, some_rows(3, start=100))
    World.make(tmp_path, pair, collections=REPLACING).require_done(Fate())
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
    assert len(pair.target.list_collections("default")) == 2


MIXED = """[books, {source: db1.films, target: films, create: {shards_num: 2}}]"""


def a_mixed_pair() -> Pair:
    """Books as above, and films, which get another shard on the way and so go by their binlogs."""
    pair = a_pair()
    create(pair.source, FILMS)
    pair.source.insert(FILMS, some_rows(2))
    flush(pair.source, FILMS)
    pair.source.create_index(FILMS, an_index())
    load(pair.source, pair.clock, FILMS)
    return pair


@pytest.mark.parametrize("keep", ["true", "false"])
def test_a_run_of_both_ways_makes_a_dump_of_what_goes_by_binlogs(tmp_path: Path, keep: str) -> None:
    pair = a_mixed_pair()
    world = World.make(tmp_path, pair, collections=MIXED, more=f"staging: {{keep: {keep}}}\n")
    world.require_done(Fate())
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
    assert rows_of(pair.target, CollectionRef("default", "films")) == rows_of(pair.source, FILMS)
    (seal,) = [step for step in world.plan.steps if isinstance(step, SealDump)]
    assert [each.source for each in seal.collections] == [FILMS]
    if keep == "true":
        (entry,) = json.loads(pair.keys("backup")["backup/a_to_b/meta/full_meta.json"])["collection_backups"]
        assert entry["collection_name"] == "films"
    else:
        assert pair.keys("backup") == {}
