"""A run that replaced a collection: undone, killed while it is undone, met by others, and cleaned up after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import MilvusUnavailable
from migrator.model.collection import Collection, CollectionRef
from migrator.planning.plan import Action
from migrator.planning.planner import make_plan
from migrator.running.cleaning import Cleaning, Leftover, remove_all
from migrator.running.journal import StepEvent
from migrator.running.leasing import PlanStores
from migrator.running.predecessors import RENAME_SETTLES_S
from migrator.running.refresh import refresh
from migrator.running.rollback import Ending, Fate, Kind, Remnant, Rollback, Verdict
from migrator.running.runs import Run, StateDirectory
from migrator.steps.retire_predecessor import RetirePredecessor
from tests.support.builders import (
    BOOKS,
    HeldLease,
    Pair,
    a_context,
    a_loaded_plan,
    an_index,
    create,
    fill,
    load,
    run_steps,
    some_rows,
)
from tests.support.mortality import Fate as Doom
from tests.support.mortality import Killed, MortalJournal, mortal_store, mortal_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from migrator.planning.plan import Plan
    from migrator.ports.milvus import MilvusTarget
    from migrator.spec.loaded import LoadedPlan

OPTIONS = "options: {transfer: {concurrency: 1}}\n"


def a_pair() -> Pair:
    """Four books at the source, with an alias, and five older ones at the target, with another."""
    pair = Pair()
    fill(pair, rows=4)
    pair.source.create_alias(BOOKS, "library")
    create(pair.target)
    pair.target.insert(BOOKS, some_rows(5, start=100))
    pair.target.create_index(BOOKS, an_index())
    load(pair.target, pair.clock)
    pair.target.create_alias(BOOKS, "shelf")
    return pair


@dataclass(slots=True)
class Scene:
    """A run that replaces the target's books."""

    folder: Path
    pair: Pair
    state: StateDirectory
    run: Run

    @classmethod
    def make(cls, folder: Path, *, more: str = OPTIONS) -> Scene:
        """Begin it; nothing is done."""
        folder.mkdir(exist_ok=True)
        pair = a_pair()
        state = StateDirectory(folder / "state", pair.clock)
        return cls(folder, pair, state, state.begin(*planned(folder, pair, state, more)))

    def apply(self, *, until: str = "") -> Scene:
        """Do the run, or its steps before the first of a kind."""
        kinds = [step.kind for step in self.run.plan.steps]
        steps = self.run.plan.steps[: kinds.index(until) if until else None]
        with (
            self.state.journal(self.run, read_only=False) as journal,
            a_context(self.pair, self.folder, run_id=self.run.run_id) as ctx,
        ):
            assert run_steps(steps, replace(ctx, ledger=journal), journal).failures == {}
        return self

    def die_in_the_renames(self, what: str, moment: str) -> Scene:
        """Kill the process that applies the step at one of its requests."""
        self.apply(until="retire_predecessor")
        points = Doom()
        probe = Scene.make(self.folder / "probe").apply(until="retire_predecessor")
        probe.retire(points)
        number = [(point.what, point.moment) for point in points.points].index((what, moment))
        with pytest.raises(Killed):
            self.retire(Doom(strike_at=number))
        return self

    def retire(self, doom: Doom) -> None:
        """One attempt at the step."""
        journal = MortalJournal(self.run.folder / "journal.db", self.pair.clock, doom)
        try:
            with a_context(self.pair, self.folder, run_id=self.run.run_id) as ctx:
                mortal = replace(ctx, ledger=journal, target=mortal_target(self.pair.target, doom))
                journal.add(self.step.key, StepEvent.STARTED)
                self.step.apply(mortal, self.step.probe(mortal.reading()))
        finally:
            journal.close()

    @property
    def step(self) -> RetirePredecessor:
        """The renames."""
        (found,) = [step for step in self.run.plan.steps if isinstance(step, RetirePredecessor)]
        return found

    def undo(self, *, force: bool = False, target: MilvusTarget | None = None) -> dict[Kind, Ending]:
        """Look, and carry out."""
        told: list[str] = []
        with self.state.journal(self.run, read_only=False) as journal:
            undoing = Rollback(
                self.run,
                journal,
                target or self.pair.target,
                self.pair.store,
                lease=HeldLease(),
                clock=self.pair.clock,
                tell=told.append,
            )
            self.surveyed = undoing.survey()
            endings = undoing.carry_out(self.surveyed, force=force, on_end=lambda _: None)
        return {ending.remnant.kind: ending for ending in endings}

    surveyed: list[Remnant] | None = None

    def found(self, kind: Kind) -> Remnant:
        """What the last rollback found."""
        assert self.surveyed is not None
        (found,) = [remnant for remnant in self.surveyed if remnant.kind is kind]
        return found

    def clean(self, open_target: Callable[[LoadedPlan], MilvusTarget] | None = None) -> list[Leftover]:
        """What `clean` finds at the target."""
        places = [PlanStores(loaded=self.run.loaded, staging=self.pair.store, target=self.pair.store)]
        cleaning = Cleaning(
            self.state,
            self.run.plan.name,
            places,
            open_target=open_target or (lambda _: self.pair.target),
            clock=self.pair.clock,
            tell=lambda _: None,
        )
        return [each for each in cleaning.find() if each.kind in {"collection", "target"}]

    def there(self) -> dict[str, tuple[int, tuple[str, ...], int]]:
        """The target's collections: id, aliases, rows."""
        found = {}
        for name in self.pair.target.list_collections("default"):
            ref = CollectionRef("default", name)
            found[name] = (
                get(self.pair, ref).collection_id,
                get(self.pair, ref).aliases,
                len(self.pair.target.rows(ref)),
            )
        return found


def planned(folder: Path, pair: Pair, state: StateDirectory, more: str = OPTIONS) -> tuple[LoadedPlan, Plan]:
    loaded = a_loaded_plan(folder, collections="[{source: books, if_exists: replace}]", more=more)
    pair.clock.sleep(1)
    return loaded, make_plan(loaded, refresh(loaded, pair.readers(), state.migrated(loaded.name)))


def get(pair: Pair, ref: CollectionRef) -> Collection:
    found = pair.target.find_collection(ref)
    assert found is not None
    return found


# -- afterwards -------------------------------------------------------------------------------------------------------


def test_a_replacement_is_known_under_its_own_name(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path).apply()
    (record,) = scene.state.migrated("a-to-b")
    assert (record.target, record.rows, record.verified) == (BOOKS, 4, True)
    assert record.target_collection_id == get(scene.pair, BOOKS).collection_id
    _, plan = planned(tmp_path, scene.pair, scene.state)
    assert [collection.action for collection in plan.collections] == [Action.DONE]
    assert scene.run.lease_targets() == [BOOKS, scene.step.temporary]


# -- undone -----------------------------------------------------------------------------------------------------------


def test_a_replacement_is_undone(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    before = scene.there()
    endings = scene.apply().undo()
    assert scene.there() == before
    assert endings[Kind.PREDECESSOR].fate is Fate.RESTORED
    assert endings[Kind.COLLECTION].fate is Fate.REMOVED
    assert (scene.found(Kind.COLLECTION).name, scene.found(Kind.COLLECTION).aliases) == ("books", ("library",))
    assert "gets its name back: books, with shelf" in scene.found(Kind.PREDECESSOR).reason
    assert scene.state.rollback_of(scene.run) is StepEvent.ROLLED_BACK
    assert planned(tmp_path, scene.pair, scene.state, "staging: {backup_name: other}\n")[1].has_changes


@pytest.mark.parametrize("until", ["create_index", "retire_predecessor", "switch_alias"])
def test_a_replacement_is_undone_wherever_it_stopped(tmp_path: Path, until: str) -> None:
    scene = Scene.make(tmp_path)
    before = scene.there()
    scene.apply(until=until).undo()
    assert scene.there() == before


@pytest.mark.parametrize("what", ["journal", "rename_collection", "alter_alias"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_replacement_killed_in_the_renames_is_undone(tmp_path: Path, what: str, moment: str) -> None:
    scene = Scene.make(tmp_path)
    before = scene.there()
    scene.die_in_the_renames(what, moment).undo()
    assert scene.there() == before
    assert scene.state.rollback_of(scene.run) is StepEvent.ROLLED_BACK


def test_a_rename_that_is_under_way_is_waited_for(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    before = scene.there()
    scene.die_in_the_renames("rename_collection", "before")
    began = scene.pair.clock.monotonic()
    scene.undo()
    assert scene.pair.clock.monotonic() - began >= RENAME_SETTLES_S - 2
    assert scene.there() == before


def test_undoing_killed_at_any_point_ends_the_same(tmp_path: Path) -> None:
    def attempt(scene: Scene, doom: Doom) -> bool:
        journal = MortalJournal(scene.run.folder / "journal.db", scene.pair.clock, doom)
        target, store = mortal_target(scene.pair.target, doom), mortal_store(scene.pair.store, doom)
        try:
            undoing = Rollback(
                scene.run, journal, target, store, lease=HeldLease(), clock=scene.pair.clock, tell=lambda _: None
            )
            undoing.carry_out(undoing.survey(), force=False, on_end=lambda _: None)
        except Killed:
            return False
        finally:
            journal.close()
        return True

    whole, undisturbed = Scene.make(tmp_path / "whole"), Doom()
    before = whole.there()
    assert attempt(whole.apply(), undisturbed)
    struck = {point.what for point in undisturbed.points}
    assert {"rename_collection", "alter_alias", "drop_alias", "drop_collection"} <= struck
    for number, point in enumerate(undisturbed.points):
        scene = Scene.make(tmp_path / f"{number}").apply()
        assert not attempt(scene, Doom(strike_at=number))
        attempt(scene, Doom())
        assert scene.there() == before, point
        assert scene.state.rollback_of(scene.run) is StepEvent.ROLLED_BACK


def test_rows_that_others_wrote_since_keep_it_where_it_is(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path).apply()
    scene.pair.target.insert(BOOKS, some_rows(2, start=500))
    after = scene.there()
    endings = scene.undo()
    assert {ending.fate for ending in endings.values()} >= {Fate.LEFT_ALONE}
    assert scene.there() == after
    assert "2 rows" in scene.found(Kind.COLLECTION).reason
    assert "is not as this run left it" in scene.found(Kind.PREDECESSOR).reason
    scene.undo(force=True)
    assert {name: rows for name, (_, _, rows) in scene.there().items()} == {"books": 5}


def test_what_was_renamed_away_makes_room_for_the_old_one(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path).apply()
    scene.pair.target.insert(BOOKS, some_rows(2, start=500))
    scene.pair.target.rename_collection(BOOKS, "keep")
    assert scene.undo()[Kind.PREDECESSOR].fate is Fate.RESTORED
    assert {name: rows for name, (_, _, rows) in scene.there().items()} == {"books": 5, "keep": 6}


@pytest.mark.parametrize("force", [False, True])
def test_a_stranger_under_the_name_is_never_touched(tmp_path: Path, *, force: bool) -> None:
    scene = Scene.make(tmp_path).apply()
    scene.pair.target.drop_collection(BOOKS)
    create(scene.pair.target)
    after = scene.there()
    scene.undo(force=force)
    assert scene.there() == after
    assert "another collection by now" in scene.found(Kind.PREDECESSOR).reason
    assert scene.state.rollback_of(scene.run) is not StepEvent.ROLLED_BACK


def test_an_alias_that_somebody_moved_is_theirs(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path).apply()
    other = CollectionRef("default", "other")
    create(scene.pair.target, other)
    scene.pair.target.alter_alias(other, "shelf")
    scene.undo()
    assert get(scene.pair, other).aliases == ("shelf",)
    assert get(scene.pair, BOOKS).aliases == ()


def test_aliases_that_went_with_the_new_one_are_made_anew(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    before = scene.there()
    scene.apply()
    scene.pair.target.drop_collection(BOOKS)
    scene.undo()
    assert scene.there() == before


# -- cleaned ----------------------------------------------------------------------------------------------------------


def test_a_predecessor_goes_with_clean_and_a_rollback_says_so(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path).apply()
    (leftover,) = scene.clean()
    assert (leftover.name, leftover.goes) == (scene.step.retired.short, True)
    assert [failure for _, failure in remove_all([leftover])] == [""]
    assert list(scene.there()) == ["books"]
    assert scene.clean() == []
    scene.undo()
    assert list(scene.there()) == ["books"]
    assert "migrator clean has deleted" in scene.found(Kind.COLLECTION).reason
    assert scene.found(Kind.COLLECTION).verdict is Verdict.FORCE
    assert scene.found(Kind.PREDECESSOR).verdict is Verdict.GONE
    scene.undo(force=True)
    assert scene.there() == {}


def test_of_two_runs_one_of_which_was_undone_the_other_has_the_predecessor(tmp_path: Path) -> None:
    first = Scene.make(tmp_path).apply()
    first.undo()
    first.pair.store.delete(list(first.pair.keys("backup")))
    first.pair.store.delete(list(first.pair.keys(".migrator")))
    run = first.state.begin(*planned(tmp_path, first.pair, first.state))
    again = Scene(tmp_path, first.pair, first.state, run).apply()
    (leftover,) = again.clean()
    assert (leftover.name, leftover.goes) == (again.step.retired.short, True)
    assert again.run.run_id in leftover.reason


def gone(scene: Scene) -> None:
    scene.pair.target.drop_collection(BOOKS)


def an_alias(scene: Scene) -> None:
    scene.pair.target.create_alias(scene.step.retired, "old_books")


@pytest.mark.parametrize(
    ("more", "until", "happens", "said"),
    [
        (OPTIONS, "switch_alias", lambda _: None, "which is unfinished"),
        ("options: {verify: none}\n", "", lambda _: None, "which verified nothing"),
        (OPTIONS, "", gone, "what it brought is not there any more"),
    ],
    ids=["unfinished", "not verified", "no successor"],
)
def test_a_predecessor_that_may_be_needed_stays(
    tmp_path: Path, more: str, until: str, happens: Callable[[Scene], None], said: str
) -> None:
    scene = Scene.make(tmp_path, more=more).apply(until=until)
    happens(scene)
    (leftover,) = scene.clean()
    assert not leftover.goes
    assert said in leftover.reason


@pytest.mark.parametrize("happens", [gone, an_alias])
def test_a_predecessor_is_looked_at_again_before_it_goes(tmp_path: Path, happens: Callable[[Scene], None]) -> None:
    scene = Scene.make(tmp_path).apply()
    found = scene.clean()
    happens(scene)
    assert [bool(failure) for _, failure in remove_all(found)] == [True]
    assert scene.step.retired.name in scene.there()


def test_a_target_that_is_down_is_said_and_stops_nothing(tmp_path: Path) -> None:
    def open_target(_: LoadedPlan) -> MilvusTarget:
        raise MilvusUnavailable("no Milvus answers")

    (leftover,) = Scene.make(tmp_path).apply().clean(open_target)
    assert (leftover.kind, leftover.goes) == ("target", False)
    assert "no Milvus answers" in leftover.reason


def test_what_was_built_after_its_run_was_rolled_back_goes(tmp_path: Path) -> None:
    """A creation whose reply was lost, and that came about late."""
    scene = Scene.make(tmp_path).apply(until="import_segments")
    scene.undo()
    assert scene.clean() == []
    create(scene.pair.target, scene.step.temporary)
    (leftover,) = scene.clean()
    assert leftover.goes
    assert [failure for _, failure in remove_all([leftover])] == [""]
    assert list(scene.there()) == ["books"]
