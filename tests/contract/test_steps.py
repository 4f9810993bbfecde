"""Every kind of step: killed at every point, resumed, done twice, with one effect.

A whole migration on memory adapters is the scenario of all of them: two collections, in two databases, one of them
loaded, with partitions, growing rows, fresh deletes and an alias; a role with grants, and a user at both sides who
has it. Another one, that deletes its dump, is in `test_steps_of_words.py`; one whose dump lies apart from the target in
`test_steps_of_hops.py`.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.memory import MemoryBinlogs, MemoryStore
from migrator.model.collection import Collection, CollectionRef, LoadState
from migrator.model.rbac import Binding
from migrator.model.segment import LogKind
from migrator.planning.planner import make_plan
from migrator.running.clock import StopSignal
from migrator.running.executor import Executor
from migrator.running.journal import StepEvent
from migrator.running.refresh import refresh
from migrator.running.retry import RetryPolicy
from migrator.steps.base import Evidence, StepContext
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.commit_imports import CommitImports
from migrator.steps.drop_forwarded import DropForwarded
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_deletes import ImportDeletes
from migrator.steps.registry import STEP_KINDS
from migrator.steps.resume_functions import ResumeFunctions
from tests.support.builders import (
    BOOKS,
    HeldLease,
    Pair,
    a_grant,
    a_key_schema,
    a_loaded_plan,
    an_index,
    create,
    fill,
    flush,
    load,
    silent,
    some_rows,
)
from tests.support.mortality import (
    Fate,
    FateWatcher,
    Killed,
    MortalJournal,
    Point,
    mortal_source,
    mortal_store,
    mortal_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from migrator.adapters.memory import MemoryMilvus
    from migrator.planning.plan import Plan
    from migrator.running.executor import RunResult
    from migrator.steps.base import Step

FILMS = CollectionRef("db1", "films")
COLLECTIONS = """[books, {source: db1.films, target: "db1.{{ collection }}_bak"}]"""
OPTIONS = "options: {transfer: {concurrency: 1, mode: %s}, verify: full, rbac: true}\n"
MOST_ATTEMPTS = 400
ELSEWHERE = {
    step.kind for step in (CleanStaging, ForwardSegments, DropForwarded, CommitImports, ImportDeletes, ResumeFunctions)
} | {"create_snapshot", "restore_snapshot", "drop_snapshot"}
"""Kinds that the scenarios of other files have."""


def a_source(pair: Pair | None = None) -> Pair:
    """Two collections worth migrating, and a target without them."""
    pair = pair or Pair()
    source = pair.source
    create(source, BOOKS)
    source.create_partition(BOOKS, "old")
    source.insert(BOOKS, some_rows(4))
    source.insert(BOOKS, some_rows(3, start=10), "old")
    flush(source, BOOKS)
    source.delete(BOOKS, [1])
    source.insert(BOOKS, some_rows(2, start=20))  # still growing, as the delete is
    source.create_index(BOOKS, an_index())
    source.create_alias(BOOKS, "library")
    load(source, pair.clock, BOOKS)
    create(source, FILMS)
    source.insert(FILMS, some_rows(2))
    flush(source, FILMS)
    source.create_index(FILMS, an_index())
    give_access(pair)
    return pair


def give_access(pair: Pair) -> None:
    """A role with two grants, one of them on a collection that is renamed, and alice, who has it."""
    for milvus in (pair.source, pair.target):
        milvus.create_user("alice")
    pair.source.create_role("reader")
    for ref in (BOOKS, FILMS):
        pair.source.grant(a_grant(ref))
    pair.source.add_to_role(Binding(role="reader", user="alice"))


@dataclass(frozen=True, slots=True)
class World:
    """Two clusters, a plan between them, and the folder of its run."""

    pair: Pair
    plan: Plan
    folder: Path

    @classmethod
    def make(
        cls,
        folder: Path,
        pair: Pair | None = None,
        *,
        collections: str = COLLECTIONS,
        mode: str = "auto",
        more: str = "",
        text: str = "",
    ) -> World:
        """Plan the migration of what `a_source` holds; `text` is all of a plan file that is none from A to B."""
        pair = pair or a_source()
        folder.mkdir(exist_ok=True)
        loaded = a_loaded_plan(folder, collections=collections, more=OPTIONS % mode + more, text=text)
        readers = pair.readers() if loaded.target else replace(pair.readers(), target=None, target_store=None)
        return cls(pair, make_plan(loaded, refresh(loaded, readers, ())), folder)

    def context(self, journal: MortalJournal, workers: ThreadPoolExecutor, fate: Fate) -> StepContext:
        """What the steps of one attempt get to see."""
        return StepContext(
            run_id="run-1",
            ledger=journal,
            source=mortal_source(self.pair.source, fate),
            target=mortal_target(self.pair.target, fate),
            source_store=mortal_store(self.pair.store, fate),
            target_store=mortal_store(self.pair.imports, fate),
            staging=mortal_store(self.pair.staging, fate),
            clock=self.pair.clock,
            lease=HeldLease(),
            workers=workers,
            dump_reader=BinlogDumps(MemoryBinlogs()),
            progress=silent,
        )

    def attempt(self, fate: Fate) -> RunResult | None:
        """One process: it opens the journal as it was left, and does what it can; None if it died of it."""
        journal = MortalJournal(self.folder / "journal.db", self.pair.clock, fate)
        try:
            with ThreadPoolExecutor(1) as workers:
                ctx = self.context(journal, workers, fate)
                return Executor(
                    self.plan.steps,
                    journal,
                    lambda progress: replace(ctx, progress=progress),
                    clock=self.pair.clock,
                    stop=StopSignal(),
                    watcher=FateWatcher(fate),
                    policy=RetryPolicy(),
                    parallelism=1,
                ).run()
        except Killed:
            return None
        finally:
            journal.close()

    def require_done(self, fate: Fate) -> None:
        """An attempt that nothing disturbs has to finish the run."""
        result = self.attempt(fate)
        assert result is not None
        assert result.bugs == []
        assert {key: str(error) for key, error in result.failures.items()} == {}
        assert result.is_complete
        assert result.exit_code == 0

    def do_all_again(self) -> None:
        """Apply every step once more, the way a resume would that does not know it was finished."""
        fate = Fate()
        journal = MortalJournal(self.folder / "journal.db", self.pair.clock, fate)
        try:
            with ThreadPoolExecutor(1) as workers:
                ctx = self.context(journal, workers, fate)
                for step in self.plan.steps:
                    again(step, ctx)
        finally:
            journal.close()


def again(step: Step, ctx: StepContext) -> None:
    evidence = step.probe(ctx.reading())
    if evidence is not Evidence.DONE:
        step.apply(ctx, evidence)


def described(found: Collection) -> Collection:
    """A collection without its ids and times, which no two runs share."""
    partitions = tuple(replace(partition, partition_id=0) for partition in found.partitions)
    return replace(found, collection_id=0, created_ts=0, partitions=partitions)


def rows_of(milvus: MemoryMilvus, ref: CollectionRef) -> list[str]:
    return sorted(map(str, milvus.rows(ref)))


def end_state(pair: Pair) -> dict[str, object]:
    """All that a migration leaves behind, with everything in it that may not depend on luck."""
    state: dict[str, object] = {}
    for side, milvus in (("source", pair.source), ("target", pair.target)):
        for database in milvus.list_databases():
            for name in milvus.list_collections(database):
                ref = CollectionRef(database, name)
                found = milvus.find_collection(ref)
                assert found is not None
                state[f"{side} {ref}"] = (described(found), rows_of(milvus, ref))
    state["access"] = (pair.source.read_rbac(), pair.target.read_rbac())
    binlogs = pair.keys("backup/a_to_b/binlogs")
    state["binlogs"] = Counter((key.rpartition("/")[0], data) for key, data in binlogs.items())
    state["meta"] = sorted(pair.keys("backup/a_to_b/meta"))
    assert len(binlogs) + 5 == len(pair.keys("backup"))
    return state


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """How the migration goes and ends when nothing happens, and which points it passes."""

    plan: Plan
    points: tuple[Point, ...]
    state: dict[str, object]
    empty_journal: bytes

    make_pair: Callable[[], Pair]

    @classmethod
    def record(
        cls,
        folder: Path,
        make_pair: Callable[[], Pair],
        *,
        collections: str = COLLECTIONS,
        more: str = "",
        text: str = "",
        state_of: Callable[[Pair], dict[str, object]] = end_state,
    ) -> Undisturbed:
        """Let it happen once."""
        world, fate = World.make(folder, make_pair(), collections=collections, more=more, text=text), Fate()
        MortalJournal(world.folder / "journal.db", world.pair.clock, fate).close()
        empty_journal = (world.folder / "journal.db").read_bytes()
        world.require_done(fate)
        return cls(world.plan, tuple(fate.points), state_of(world.pair), empty_journal, make_pair)

    def world(self, folder: Path) -> World:
        """The same world anew: ids come from the clock, so the plan fits it; making a journal costs more than a run."""
        folder.mkdir(exist_ok=True)
        (folder / "journal.db").write_bytes(self.empty_journal)
        return World(self.make_pair(), self.plan, folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed.record(tmp_path_factory.mktemp("undisturbed"), a_source)


def strikes(undisturbed: Undisturbed, kind: str) -> list[int]:
    """The numbers of the points that belong to a kind of step."""
    return [number for number, point in enumerate(undisturbed.points) if point.kind == kind]


# -- the migration by itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(STEP_KINDS.keys() - ELSEWHERE))
def test_the_scenarios_have_every_kind_of_step(kind: str, undisturbed: Undisturbed, replaced: Undisturbed) -> None:
    found = strikes(undisturbed, kind) or strikes(replaced, kind)
    assert found, f"give a scenario of this file a step of kind {kind}"


def test_the_migration_brings_all_of_it_along(undisturbed: Undisturbed, tmp_path: Path) -> None:
    world = World.make(tmp_path)
    before = end_state_of_source(world.pair)
    files = world.pair.keys("files_A")
    world.require_done(Fate())
    pair = world.pair
    assert end_state(pair) == undisturbed.state
    assert end_state_of_source(pair) == before
    assert files.items() <= pair.keys("files_A").items()
    for source, target in ((BOOKS, BOOKS), (FILMS, CollectionRef("db1", "films_bak"))):
        theirs, ours = pair.source.find_collection(source), pair.target.find_collection(target)
        assert theirs is not None
        assert ours is not None
        assert described(replace(ours, ref=theirs.ref)) == described(theirs)
        assert rows_of(pair.target, target) == rows_of(pair.source, source)
    given = {grant for grant in pair.target.read_rbac().grants if grant.role == "reader"}
    assert given == {a_grant(BOOKS), a_grant(CollectionRef("db1", "films_bak"))}
    assert pair.target.read_rbac().bindings == (Binding(role="reader", user="alice"),)


def end_state_of_source(pair: Pair) -> list[object]:
    return [(pair.source.find_collection(ref), rows_of(pair.source, ref)) for ref in (BOOKS, FILMS)]


def test_every_step_done_again_changes_nothing(tmp_path: Path) -> None:
    world = World.make(tmp_path)
    world.require_done(Fate())
    state, meta = end_state(world.pair), world.pair.keys("backup/a_to_b/meta")
    jobs = world.pair.target.list_import_jobs(BOOKS)
    world.do_all_again()
    assert end_state(world.pair) == state
    assert world.pair.keys("backup/a_to_b/meta") == meta
    assert world.pair.target.list_import_jobs(BOOKS) == jobs


# -- death ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_a_run_killed_at_any_point_ends_as_if_it_had_not_been(
    kind: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    for number in strikes(undisturbed, kind):
        point = undisturbed.points[number]
        world, fate = undisturbed.world(tmp_path / str(number)), Fate(strike_at=number)
        assert world.attempt(fate) is None, f"point {number} was not reached: {point}"
        assert fate.points == list(undisturbed.points[: number + 1])
        world.require_done(Fate())
        assert end_state(world.pair) == undisturbed.state, point


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(undisturbed: Undisturbed, tmp_path: Path) -> None:
    world = undisturbed.world(tmp_path)
    for number in range(MOST_ATTEMPTS):
        result = world.attempt(Fate(strike_at=number))
        if result is not None:
            assert result.is_complete
            break
    assert end_state(world.pair) == undisturbed.state


# -- lost replies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_a_request_or_reply_that_is_lost_is_made_good_by_the_same_attempt(
    kind: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    for number in strikes(undisturbed, kind):
        point = undisturbed.points[number]
        if not point.is_request:
            continue
        world = undisturbed.world(tmp_path / str(number))
        world.require_done(Fate(strike_at=number, lost_reply=True))
        assert end_state(world.pair) == undisturbed.state, point


# -- a source that does not hold still --------------------------------------------------------------------------------


class EventfulStore(MemoryStore):
    """A bucket in which something happens just before a copy: before the one of number `at`, or before each."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: Callable[[], None] = lambda: None
        self.at: int | None = None
        self._copies = 0

    def copy_inside(self, source_key: str, key: str) -> None:
        """Perhaps without the object that was there a moment ago."""
        self._count()
        super().copy_inside(source_key, key)

    def stream(self, key: str, *, part_size: int) -> Iterator[bytes]:
        """As above."""
        self._count()
        return super().stream(key, part_size=part_size)

    def _count(self) -> None:
        self._copies += 1
        if self.at in {None, self._copies}:
            self.happens()


def a_pair_with(happens: Callable[[Pair], None], *, at: int | None) -> Pair:
    """Books in two segments, one of them with a delta log: 11 objects to copy, delta log first."""
    store = EventfulStore()
    pair = Pair(store=store)
    create(pair.source)
    pair.source.insert(BOOKS, some_rows(4))
    flush(pair.source)
    pair.source.delete(BOOKS, [1])
    pair.source.insert(BOOKS, some_rows(2, start=20))
    pair.source.create_index(BOOKS, an_index())
    load(pair.source, pair.clock)
    store.happens, store.at = (lambda: happens(pair)), at
    return pair


def compact_and_collect(pair: Pair) -> None:
    """A compaction makes a new segment of the same rows, and the old one's files are taken away; a row goes too."""
    old = list(pair.keys("files_A"))
    pair.source.compact(BOOKS)
    pair.store.delete(old)
    pair.source.delete(BOOKS, [2])


def of_log(pair: Pair, kind: LogKind, number: int) -> str:
    return list(pair.keys(f"files_A/{kind}"))[number]


def rewrite(number: int) -> Callable[[Pair], None]:
    """The same content in other bytes."""

    def happens(pair: Pair) -> None:
        key = of_log(pair, LogKind.INSERT, number)
        pair.store.write(key, pair.store.read(key) + b" ")

    return happens


def live_files(pair: Pair) -> dict[str, bytes]:
    """What a dump of the source as it is now has to hold, by its place in the dump."""
    wanted = {}
    segments = {str(segment.segment_id) for segment in pair.source.list_segments(BOOKS)}
    for key, data in pair.keys("files_A").items():
        _, kind, collection, partition, segment, *rest = key.split("/")
        if segment in segments:
            wanted["/".join([kind, collection, partition, segment, segment, *rest])] = data
    return wanted


def dumped_files(pair: Pair) -> dict[str, bytes]:
    return {
        key.removeprefix("backup/a_to_b/binlogs/"): data for key, data in pair.keys("backup/a_to_b/binlogs").items()
    }


def a_moving_pair() -> Pair:
    return a_pair_with(compact_and_collect, at=5)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed.record(tmp_path_factory.mktemp("moved"), a_moving_pair, collections="[books]")


@pytest.mark.parametrize(
    ("happens", "at", "rows"),
    [
        (compact_and_collect, 1, 4),
        (compact_and_collect, 5, 4),
        (compact_and_collect, 11, 4),
        (rewrite(-1), 5, 5),
        (rewrite(0), 5, 5),
        (rewrite(0), 11, 5),
    ],
    ids=["vanished first", "vanished", "vanished last", "changed", "changed once copied", "changed at the end"],
)
@pytest.mark.parametrize("mode", ["auto", "stream"])
def test_a_listing_that_is_outdated_is_made_anew_by_the_same_attempt(
    tmp_path: Path, happens: Callable[[Pair], None], at: int, rows: int, mode: str
) -> None:
    pair = a_pair_with(happens, at=at)
    world = World.make(tmp_path, pair, collections="[books]", mode=mode)
    world.require_done(Fate())
    assert len(rows_of(pair.target, BOOKS)) == rows
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
    assert dumped_files(pair) == live_files(pair)
    assert len(pair.target.list_import_jobs(BOOKS)) == 1


def require_end_of(pair: Pair, moved: Undisturbed, point: Point) -> None:
    """All but the ids of what the source made meanwhile, which tell the time."""
    wanted, found = ({**state, "binlogs": None} for state in (moved.state, end_state(pair)))
    assert found == wanted, point
    assert dumped_files(pair) == live_files(pair), point


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_a_run_whose_source_moved_may_be_killed_at_any_point(kind: str, moved: Undisturbed, tmp_path: Path) -> None:
    for number in strikes(moved, kind):
        point = moved.points[number]
        world = moved.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None, f"point {number} was not reached: {point}"
        world.require_done(Fate())
        require_end_of(world.pair, moved, point)


@pytest.mark.parametrize("kind", ["copy_segments", "dump_meta"])
def test_a_run_whose_source_moved_makes_lost_replies_good(kind: str, moved: Undisturbed, tmp_path: Path) -> None:
    for number in strikes(moved, kind):
        if moved.points[number].is_request:
            world = moved.world(tmp_path / str(number))
            world.require_done(Fate(strike_at=number, lost_reply=True))
            require_end_of(world.pair, moved, moved.points[number])


@pytest.mark.parametrize("at", range(1, 12))
def test_a_delta_log_that_is_lost_while_its_segment_lives_on_fails_the_run(tmp_path: Path, at: int) -> None:
    """The new listing would forget its deletes, even those that were copied before."""
    kept: dict[str, bytes] = {}

    def lose(pair: Pair) -> None:
        key = of_log(pair, LogKind.DELTA, 0)
        kept[key] = pair.store.read(key)
        pair.store.delete([key])
        rewrite(-1)(pair)  # the listing has to be made anew whatever was copied

    pair = a_pair_with(lose, at=at)
    world = World.make(tmp_path, pair, collections="[books]")
    for _ in range(2):
        result = world.attempt(Fate())
        assert result is not None
        assert result.exit_code == 20
        assert f"{next(iter(kept))} is gone from the source" in result.failures["dump_meta:default.books"].message
        assert pair.target.list_import_jobs(BOOKS) == ()
    for key, data in kept.items():
        pair.store.write(key, data)
    world.require_done(Fate())
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)


def test_a_delta_log_that_is_lost_once_it_was_copied_is_not_missed(tmp_path: Path) -> None:
    pair = a_pair_with(lambda pair: pair.store.delete([of_log(pair, LogKind.DELTA, 0)]), at=5)
    World.make(tmp_path, pair, collections="[books]").require_done(Fate())
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)


def test_a_source_that_never_holds_still_ends_the_attempt_and_may_be_resumed(tmp_path: Path) -> None:
    def move(pair: Pair) -> None:
        old = list(pair.keys("files_A"))
        pair.source.compact(BOOKS)
        pair.store.delete(old)

    pair = a_pair_with(move, at=None)
    world = World.make(tmp_path, pair, collections="[books]")
    result = world.attempt(Fate())
    assert result is not None
    assert result.exit_code == 20
    failure = result.failures["copy_segments:default.books"]
    assert "has vanished since it was listed" in failure.message
    assert "dataCoord.gc.dropTolerance" in failure.hint
    assert pair.target.list_import_jobs(BOOKS) == ()
    pair.store.happens = lambda: None  # type: ignore[attr-defined] # an EventfulStore
    world.require_done(Fate())
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
    assert dumped_files(pair) == live_files(pair)


# -- in place of another one -------------------------------------------------------------------------------------------


def a_replacing_pair() -> Pair:
    """Books at both sides; those of the target are loaded, still grow, and have two aliases."""
    pair = Pair()
    fill(pair, rows=4)
    pair.source.create_alias(BOOKS, "library")
    create(pair.target)
    pair.target.insert(BOOKS, some_rows(3, start=100))
    pair.target.create_index(BOOKS, an_index())
    load(pair.target, pair.clock)
    pair.target.insert(BOOKS, some_rows(2, start=200))
    for alias in ("shelf", "stock"):
        pair.target.create_alias(BOOKS, alias)
    return pair


REPLACING = "[{source: books, if_exists: replace}]"


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed.record(tmp_path_factory.mktemp("replaced"), a_replacing_pair, collections=REPLACING)


def test_a_replacement_takes_name_and_aliases_and_the_old_one_is_kept(tmp_path: Path) -> None:
    pair = a_replacing_pair()
    old = pair.target.find_collection(BOOKS)
    assert old is not None
    World.make(tmp_path, pair, collections=REPLACING).require_done(Fate())
    kept_as = CollectionRef("default", f"books_retired_{old.collection_id}")
    assert pair.target.list_collections("default") == ("books", kept_as.name)
    assert pair.target.find_collection(kept_as) == replace(old, ref=kept_as, aliases=())
    assert pair.target.count_rows(kept_as) == 5
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
    found = pair.target.find_collection(BOOKS)
    assert found is not None
    assert found.aliases == ("library", "shelf", "stock")
    assert found.load_state is LoadState.LOADED


def test_a_replacement_whose_every_step_is_done_twice_is_the_same(replaced: Undisturbed, tmp_path: Path) -> None:
    world = replaced.world(tmp_path)
    journal = MortalJournal(world.folder / "journal.db", world.pair.clock, Fate())
    try:
        with ThreadPoolExecutor(1) as workers:
            ctx = world.context(journal, workers, Fate())
            for step in world.plan.steps:
                again(step, ctx)
                again(step, ctx)
                journal.add(step.key, StepEvent.FINISHED)
    finally:
        journal.close()
    assert end_state(world.pair) == replaced.state


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_a_replacement_killed_at_any_point_ends_as_if_it_had_not_been(
    kind: str, replaced: Undisturbed, tmp_path: Path
) -> None:
    for number in strikes(replaced, kind):
        world = replaced.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        world.require_done(Fate())
        assert end_state(world.pair) == replaced.state, replaced.points[number]


def test_a_replacement_killed_again_and_again_ends_as_if_it_had_not_been(replaced: Undisturbed, tmp_path: Path) -> None:
    world = replaced.world(tmp_path)
    for number in range(MOST_ATTEMPTS):
        if world.attempt(Fate(strike_at=number)) is not None:
            break
    assert end_state(world.pair) == replaced.state


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_requests_and_replies_of_a_replacement_that_are_lost_are_made_good(
    kind: str, replaced: Undisturbed, tmp_path: Path
) -> None:
    for number in strikes(replaced, kind):
        if replaced.points[number].is_request:
            world = replaced.world(tmp_path / str(number))
            world.require_done(Fate(strike_at=number, lost_reply=True))
            assert end_state(world.pair) == replaced.state, replaced.points[number]


# -- other shapes -----------------------------------------------------------------------------------------------------


def test_a_partition_key_keeps_its_physical_partitions(tmp_path: Path) -> None:
    pair = Pair()
    create(pair.source, BOOKS, schema=a_key_schema(), num_partitions=3)
    for number in range(3):
        pair.source.insert(BOOKS, some_rows(2, start=10 * number), f"_default_{number}")
    pair.source.create_index(BOOKS, an_index())
    load(pair.source, pair.clock, BOOKS)
    world = World.make(tmp_path, pair, collections="[books]")
    world.require_done(Fate())
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
    assert len(pair.target.list_partitions(BOOKS)) == 3


def test_an_empty_collection_arrives_empty(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, rows=0)
    world = World.make(tmp_path, pair, collections="[books]")
    world.require_done(Fate())
    assert pair.target.count_rows(BOOKS) == 0
    assert pair.target.list_import_jobs(BOOKS) == ()


def test_a_collection_whose_rows_are_all_deleted_arrives_empty(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, rows=3)
    pair.source.delete(BOOKS, range(3))
    world = World.make(tmp_path, pair, collections="[books]")
    world.require_done(Fate())
    assert pair.target.count_rows(BOOKS) == 0


def test_a_collection_without_an_index_is_not_loaded(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, index=False)
    world = World.make(tmp_path, pair, collections="[books]")
    world.require_done(Fate())
    assert pair.target.load_state(BOOKS) is LoadState.NOT_LOADED
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)


def test_a_partly_loaded_collection_is_loaded_in_part(tmp_path: Path) -> None:
    pair = Pair()
    create(pair.source)
    pair.source.create_partition(BOOKS, "old")
    pair.source.insert(BOOKS, some_rows(2))
    pair.source.insert(BOOKS, some_rows(3, start=10), "old")
    pair.source.create_index(BOOKS, an_index())
    load(pair.source, pair.clock, BOOKS, "old")
    world = World.make(tmp_path, pair, collections="[books]")
    world.require_done(Fate())
    found = pair.target.find_collection(BOOKS)
    assert found is not None
    assert found.loaded_partitions == ("old",)
    assert rows_of(pair.target, BOOKS) == rows_of(pair.source, BOOKS)
