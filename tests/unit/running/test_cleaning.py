"""Leftovers: what nobody will ask for again goes, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import LockHeld
from migrator.model.collection import CollectionRef
from migrator.planning.places import claims_folder
from migrator.planning.planner import make_plan
from migrator.running.cleaning import Cleaning, Leftover, plan_of, plans_with_folders, remove_all
from migrator.running.journal import StepEvent
from migrator.running.leasing import PlanStores
from migrator.running.lock import LeasePlaces, Leases, identity_of
from migrator.running.refresh import refresh
from migrator.running.rollback import Rollback
from migrator.running.runs import Run, StateDirectory
from migrator.running.unlocking import WATCH_S, break_held, find_held
from tests.support.builders import BOOKS, FakeClock, HeldLease, Pair, a_context, a_loaded_plan, fill, run_steps

if TYPE_CHECKING:
    from pathlib import Path

DUMP = "backup/a_to_b"


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    fill(pair)
    return pair


@pytest.fixture
def state(tmp_path: Path, pair: Pair) -> StateDirectory:
    state = StateDirectory(tmp_path / "state", pair.clock)
    (tmp_path / "state").mkdir()
    return state


def begin(folder: Path, pair: Pair, state: StateDirectory, *, until: str | None = None) -> Run:
    """A run, done up to a step of a kind; `flush` is nothing of it, None is all."""
    loaded = a_loaded_plan(folder, more="options: {transfer: {concurrency: 1}}\n")
    pair.clock.sleep(1)
    run = state.begin(loaded, make_plan(loaded, refresh(loaded, pair.readers(), state.migrated("a-to-b"))))
    kinds = [step.kind for step in run.plan.steps]
    steps = run.plan.steps[: kinds.index(until) if until else None]
    with state.journal(run, read_only=False) as journal, a_context(pair, folder, run_id=run.run_id) as ctx:
        assert run_steps(steps, replace(ctx, ledger=journal), journal).failures == {}
    return run


def roll_back(run: Run, pair: Pair, state: StateDirectory) -> None:
    with state.journal(run, read_only=False) as journal:
        undoing = Rollback(
            run, journal, pair.target, pair.store, lease=HeldLease(), clock=pair.clock, tell=lambda _: None
        )
        undoing.carry_out(undoing.survey(), force=False, on_end=lambda _: None)


def stores(pair: Pair, folder: Path) -> PlanStores:
    return PlanStores(loaded=a_loaded_plan(folder), staging=pair.store, target=pair.store)


def cleaning(
    folder: Path, pair: Pair, state: StateDirectory, told: list[str] | None = None, *, clock: FakeClock | None = None
) -> Cleaning:
    places = [stores(pair, folder)]
    tell = (told if told is not None else []).append
    return Cleaning(state, "a-to-b", places, open_target=lambda _: pair.target, clock=clock or pair.clock, tell=tell)


def seen(found: list[Leftover]) -> list[tuple[str, bool]]:
    return [(leftover.kind, leftover.goes) for leftover in found]


def delete(found: list[Leftover]) -> list[str]:
    return [failure for _, failure in remove_all(found)]


def leases(pair: Pair, loaded_folder: Path, *, run_id: str, home: str, clock: FakeClock | None = None) -> Leases:
    places = LeasePlaces.of(a_loaded_plan(loaded_folder))
    return Leases(pair.store, places, DUMP, run_id=run_id, home=home, clock=clock or pair.clock)


def die_holding(taken: Leases) -> None:
    """Take what a run takes, and die."""
    taken._beat()
    taken.acquire([BOOKS], timeout_s=0, on_wait=lambda *_: None)


def test_a_runs_plan_is_in_its_id() -> None:
    assert plan_of("a-to-b-20260101T000001Z-1f2e") == "a-to-b"
    assert plan_of("a-to-b") is None


def test_where_nothing_is_left_nothing_is_found(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    assert cleaning(tmp_path, pair, state).find() == []
    begin(tmp_path, pair, state)
    objects = pair.keys("")
    assert cleaning(tmp_path, pair, state).find() == []
    assert pair.keys("") == objects


# -- runs -------------------------------------------------------------------------------------------------------------


def test_runs_that_never_began_go(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    half = state.folder / "runs" / "a-to-b-20260101T000001Z-1f2e"
    half.mkdir(parents=True)
    (half / "run.part").write_text("{")
    other = state.folder / "runs" / "other-20260101T000001Z-1f2e"
    other.mkdir()
    begin(tmp_path, pair, state, until="flush")
    assert plans_with_folders(state) == {"a-to-b", "other"}

    found = cleaning(tmp_path, pair, state).find()
    assert seen(found) == [("run", True), ("run", True)]
    assert delete(found) == ["", ""]
    assert [path.name for path in (state.folder / "runs").iterdir()] == [other.name]


def test_runs_that_were_begun_stay(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state, until="dump_meta")
    assert cleaning(tmp_path, pair, state).find() == []
    assert list(state.runs()) == [run]


# -- dumps ------------------------------------------------------------------------------------------------------------


def test_the_unfinished_dump_of_a_run_that_is_rolled_back_goes(
    tmp_path: Path, pair: Pair, state: StateDirectory
) -> None:
    run = begin(tmp_path, pair, state, until="seal_dump")
    with state.journal(run, read_only=False) as journal:
        journal.add("", StepEvent.ROLLED_BACK)
    found = cleaning(tmp_path, pair, state).find()
    assert seen(found) == [("dump", True)]
    assert run.run_id in found[0].reason
    assert delete(found) == [""]
    assert pair.keys("backup") == pair.keys(".migrator") == {}


def test_a_finished_dump_stays_whatever_became_of_its_run(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    dump = pair.keys(DUMP)
    with state.journal(run, read_only=False) as journal:
        journal.add("", StepEvent.ROLLED_BACK)
    delete(cleaning(tmp_path, pair, state).find())
    assert pair.keys(DUMP) == dump


def test_the_dump_of_a_run_that_can_be_resumed_is_left_alone(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state, until="seal_dump")
    found = cleaning(tmp_path, pair, state).find()
    assert seen(found) == [("dump", False)]
    assert f"migrator rollback {run.run_id}" in found[0].reason
    assert delete(found) == []


def test_the_dump_of_a_run_that_is_not_known_is_left_alone(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    folder = claims_folder(a_loaded_plan(tmp_path))
    claim = b'{"run_id": "theirs", "plan": "their-plan", "since": "2026"}'
    pair.store.write(f"{folder}/theirs.json", claim)
    pair.store.write(f"{DUMP}/binlogs/insert_log/1/2/3", b"x")
    found = cleaning(tmp_path, pair, state).find()
    assert seen(found) == [("dump", False)]
    assert "run theirs of plan their-plan, which this state directory does not know" in found[0].reason
    assert delete(found) == []


def test_a_dump_that_somebody_works_on_is_not_deleted(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state, until="seal_dump")
    with state.journal(run, read_only=False) as journal:
        journal.add("", StepEvent.ROLLED_BACK)
    found = cleaning(tmp_path, pair, state).find()
    dump = pair.keys(DUMP)
    holder = leases(pair, tmp_path, run_id="another", home="elsewhere")
    die_holding(holder)

    class Beating(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            holder._beat()

    beating = Beating()
    alive = Cleaning(
        state,
        "a-to-b",
        [stores(pair, tmp_path)],
        open_target=lambda _: pair.target,
        clock=beating,
        tell=lambda _: None,
    ).find()
    assert "the dump backup/a_to_b is held by run another" in delete([f for f in alive if f.kind == "dump"])[0]
    assert pair.keys(DUMP) == dump
    assert len(found) == 1


# -- leases -----------------------------------------------------------------------------------------------------------


def test_leases_of_processes_that_died_here_go_at_once(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    die_holding(leases(pair, tmp_path, run_id=run.run_id, home=identity_of(state.folder)))
    began = pair.clock.monotonic()
    found = cleaning(tmp_path, pair, state).find()
    assert seen(found) == [("lease", True), ("lease", True), ("heartbeat", True)]
    assert pair.clock.monotonic() == began
    assert delete(found) == ["", "", ""]
    assert pair.keys(".migrator/leases") == {}


def test_leases_of_processes_elsewhere_are_watched(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    die_holding(leases(pair, tmp_path, run_id=run.run_id, home="before the machine was started anew"))
    told: list[str] = []
    found = cleaning(tmp_path, pair, state, told).find()
    assert "watching for 26 s" in told[0]
    delete(found)
    assert pair.keys(".migrator/leases") == {}


def test_leases_of_the_living_stay(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    alive = leases(pair, tmp_path, run_id=run.run_id, home="another machine")
    die_holding(alive)

    class Beating(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            alive._beat()

    places = [stores(pair, tmp_path)]
    assert (
        Cleaning(
            state, "a-to-b", places, open_target=lambda _: pair.target, clock=Beating(), tell=lambda _: None
        ).find()
        == []
    )


def test_leases_of_others_are_not_even_looked_at(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    begin(tmp_path, pair, state)
    die_holding(leases(pair, tmp_path, run_id="theirs", home="elsewhere"))
    began = pair.clock.monotonic()
    assert cleaning(tmp_path, pair, state).find() == []
    assert pair.clock.monotonic() == began


# -- breaking them ----------------------------------------------------------------------------------------------------


def test_a_lease_that_is_broken_stops_its_holder(tmp_path: Path, pair: Pair) -> None:
    others = CollectionRef("default", "others")
    with leases(pair, tmp_path, run_id="run-1", home="here") as holder:
        holder.acquire([BOOKS], timeout_s=0, on_wait=lambda *_: None)
        told: list[str] = []
        names = stores(pair, tmp_path).names([BOOKS, others])
        held = find_held(names, clock=pair.clock, tell=told.append)
        assert [(each.lease.label, each.holder.run_id, each.is_beating) for each in held] == [
            ("the dump backup/a_to_b", "run-1", False),
            ("the target collection books", "run-1", False),
        ]
        assert f"{WATCH_S:.0f} s" in told[0]
        holder.require_held(BOOKS)
        break_held(held)
        with pytest.raises(LockHeld, match="somebody broke it"):
            holder.require_held(BOOKS)
        with pytest.raises(LockHeld, match="somebody broke it"):
            holder.require_dump_held()


def test_a_heart_that_beats_is_told_from_one_that_stands_still(tmp_path: Path, pair: Pair) -> None:
    with leases(pair, tmp_path, run_id="run-1", home="here") as holder:
        holder.acquire([BOOKS], timeout_s=0, on_wait=lambda *_: None)
        names = stores(pair, tmp_path).names([BOOKS])
        held = find_held(names, clock=pair.clock, tell=lambda _: holder._beat())
        assert [each.is_beating for each in held] == [True, True]


def test_where_nobody_holds_anything_nobody_is_watched(tmp_path: Path, pair: Pair) -> None:
    names, slept = stores(pair, tmp_path).names([BOOKS]), list(pair.clock.sleeps)
    assert find_held(names, clock=pair.clock, tell=pytest.fail) == []
    assert pair.clock.sleeps == slept
