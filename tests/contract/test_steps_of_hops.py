"""A migration whose dump lies in another store than the target's: killed at every point, with one end.

The service copies the source's files across its buckets; to the target's store, another service, they are streamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.model.collection import CollectionRef
from migrator.model.import_job import ImportState
from migrator.steps.copy_segments import CopySegments
from migrator.steps.drop_forwarded import DropForwarded
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_segments import ImportSegments
from tests.contract.test_steps import FILMS, Undisturbed, World, a_source, described, rows_of, strikes
from tests.support.builders import BOOKS, KEYS, Pair
from tests.support.mortality import Fate

if TYPE_CHECKING:
    from pathlib import Path

FILMS_BAK = CollectionRef("db1", "films_bak")
APART = f"staging: {{storage: {{endpoint: 'http://two:9000', bucket: dumps, credentials: {KEYS}}}}}\n"
KINDS = [ForwardSegments.kind, ImportSegments.kind, DropForwarded.kind]


def an_apart_pair() -> Pair:
    """Staging sees the source's bucket and copies out of it; the target's store sees neither."""
    pair = Pair(apart=(MemoryStore("dumps"), MemoryStore("bucket_B")))
    pair.staging.service = {"bucket_A": pair.store}
    return a_source(pair)


def what_is_left(pair: Pair) -> dict[str, object]:
    """The target, and all that lies in its store and in staging and is not Milvus's own."""
    state: dict[str, object] = {}
    for ref in (BOOKS, FILMS_BAK):
        found = pair.target.find_collection(ref)
        state[str(ref)] = (found and described(found), found and rows_of(pair.target, ref))
    imports = [found.key for found in pair.imports.list_objects("")]
    state["imports"] = [key for key in imports if not key.startswith("files_B/")]
    state["binlogs"] = sorted(
        pair.staging.read(each.key) for each in pair.staging.list_objects("backup/a_to_b/binlogs")
    )
    return state


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed.record(tmp_path_factory.mktemp("apart"), an_apart_pair, more=APART, state_of=what_is_left)


def test_the_target_gets_it_all_and_nothing_stays_beside(tmp_path: Path, apart: Undisturbed) -> None:
    world = World.make(tmp_path, an_apart_pair(), more=APART)
    sources = world.pair.keys("files_A")
    world.require_done(Fate())
    pair = world.pair
    for source, target in ((BOOKS, BOOKS), (FILMS, FILMS_BAK)):
        assert rows_of(pair.target, target) == rows_of(pair.source, source)
        jobs = pair.target.list_import_jobs(target)
        assert jobs
        assert all(path.startswith(".migrator/imports/run-1/binlogs/") for job in jobs for path in job.paths if path)
    assert what_is_left(pair) == apart.state
    assert apart.state["imports"] == []
    assert sources.items() <= pair.keys("").items()
    assert not list(pair.store.list_objects("backup"))
    assert not list(pair.store.list_objects(".migrator"))


@pytest.mark.parametrize("kind", [CopySegments.kind, *KINDS])
def test_a_run_killed_at_any_point_ends_as_if_it_had_not_been(kind: str, apart: Undisturbed, tmp_path: Path) -> None:
    for number in strikes(apart, kind):
        point = apart.points[number]
        world = apart.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None, f"point {number} was not reached: {point}"
        world.require_done(Fate())
        assert what_is_left(world.pair) == apart.state, point


@pytest.mark.parametrize("kind", KINDS)
def test_lost_replies_are_made_good(kind: str, apart: Undisturbed, tmp_path: Path) -> None:
    assert strikes(apart, kind)
    for number in strikes(apart, kind):
        if apart.points[number].is_request:
            world = apart.world(tmp_path / str(number))
            world.require_done(Fate(strike_at=number, lost_reply=True))
            assert what_is_left(world.pair) == apart.state, apart.points[number]


def test_what_was_brought_before_a_kill_is_not_brought_again(apart: Undisturbed, tmp_path: Path) -> None:
    writes = [n for n in strikes(apart, ForwardSegments.kind) if apart.points[n].what == "write_stream"]
    struck = writes[len(writes) // 2]
    world, fate = apart.world(tmp_path), Fate()
    world.attempt(Fate(strike_at=struck))
    there = {found.key for found in world.pair.imports.list_objects(".migrator")}
    assert there
    world.require_done(fate)
    again = sum(point.what == "write_stream" and point.moment == "before" for point in fate.points)
    meta_files = 5
    assert again - meta_files == len(writes) // 2 - len(there)


def test_nothing_is_dropped_that_a_job_still_reads(apart: Undisturbed, tmp_path: Path) -> None:
    for number in strikes(apart, DropForwarded.kind):
        if apart.points[number].what == "delete":
            world = apart.world(tmp_path / str(number))
            world.attempt(Fate(strike_at=number))
            jobs = [job for ref in (BOOKS, FILMS_BAK) for job in world.pair.target.list_import_jobs(ref)]
            read = {job.state for job in jobs}
            assert read == {ImportState.COMPLETED}


@pytest.mark.parametrize("what", ["lost", "changed"])
def test_a_file_that_somebody_takes_from_the_target_is_brought_again(
    apart: Undisturbed, tmp_path: Path, what: str
) -> None:
    first = strikes(apart, ImportSegments.kind)[0]
    world = apart.world(tmp_path)
    world.attempt(Fate(strike_at=first))
    victim = next(iter(world.pair.imports.list_objects(".migrator/imports"))).key
    if what == "lost":
        world.pair.imports.delete([victim])
    else:
        world.pair.imports.write(victim, b"[]")
    world.require_done(Fate())
    assert what_is_left(world.pair) == apart.state


def test_a_strange_file_beside_them_stops_the_import(apart: Undisturbed, tmp_path: Path) -> None:
    first = strikes(apart, ImportSegments.kind)[0]
    world = apart.world(tmp_path)
    world.attempt(Fate(strike_at=first))
    victim = next(iter(world.pair.imports.list_objects(".migrator/imports"))).key
    world.pair.imports.write(f"{victim}7", b"[]")
    result = world.attempt(Fate())
    assert result is not None
    assert any("which this run did not put there" in error.message for error in result.failures.values())
    world.pair.imports.delete([f"{victim}7"])
    world.require_done(Fate())
    assert what_is_left(world.pair) == apart.state
