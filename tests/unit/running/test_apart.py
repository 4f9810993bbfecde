"""A dump apart from the target's storage: seen when it is planned, leased in both, rolled back and cleaned in both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import LockHeld, PlanError
from migrator.planning.planner import make_plan
from migrator.running.cleaning import Cleaning, Leftover
from migrator.running.journal import StepEvent
from migrator.running.leasing import PlanLeases, PlanStores
from migrator.running.refresh import refresh
from migrator.running.rollback import Fate, Kind, Rollback
from migrator.running.runs import Run, StateDirectory
from migrator.running.unlocking import break_held, find_held
from migrator.steps.drop_forwarded import DropForwarded
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_segments import ImportSegments
from tests.support.builders import BOOKS, KEYS, Pair, a_context, a_loaded_plan, fill, flush, run_steps, some_rows

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan
    from migrator.spec.loaded import LoadedPlan

APART = f"staging: {{storage: {{endpoint: 'http://two:9000', bucket: dumps, credentials: {KEYS}}}}}\n"
LEASES = ".migrator/leases"
IMPORTS = ".migrator/imports"


def an_apart_pair() -> Pair:
    """Books, with staging and the target each on a service of its own."""
    pair = Pair(apart=(MemoryStore("dumps"), MemoryStore("bucket_B")))
    fill(pair)
    return pair


def load(folder: Path, *, more: str = APART, mode: str = "auto") -> LoadedPlan:
    return a_loaded_plan(folder, more=f"{more}options: {{transfer: {{concurrency: 1, mode: {mode}}}}}\n")


def planned(pair: Pair, loaded: LoadedPlan) -> Plan:
    return make_plan(loaded, refresh(loaded, pair.readers(), ()))


def keys(store: MemoryStore, prefix: str) -> list[str]:
    return [found.key for found in store.list_objects(prefix)]


# -- what a plan sees -------------------------------------------------------------------------------------------------


def kinds(plan: Plan) -> list[str]:
    return [step.kind for step in plan.steps]


def test_another_store_gets_a_second_hop_that_the_plan_tells_of(tmp_path: Path) -> None:
    plan = planned(an_apart_pair(), load(tmp_path))
    order = [kind for kind in kinds(plan) if kind in {"copy_segments", "forward_segments", "import_segments"}]
    assert order == ["copy_segments", "forward_segments", "import_segments"]
    (drop,) = [step for step in plan.steps if isinstance(step, DropForwarded)]
    assert drop.needs == ("import_segments:default.books",)
    told = "\n".join(plan.notices)
    assert "brought to bucket_A/.migrator/imports/ too, which takes as much space there once more" in told
    assert "the files are streamed through this machine: memory://dumps does not show files_A/" in told


def test_the_same_address_gets_none(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair)
    plan = planned(pair, load(tmp_path, more=""))
    assert "forward_segments" not in kinds(plan)
    assert not any("streamed" in notice or "space there" in notice for notice in plan.notices)


@pytest.mark.parametrize("has_objects", [True, False])
def test_another_address_of_the_same_bucket_is_told_by_its_objects(tmp_path: Path, *, has_objects: bool) -> None:
    pair = Pair()
    fill(pair)
    if has_objects:
        pair.store.write("files_B/insert_log/1", b"x")
    assert ("forward_segments" in kinds(planned(pair, load(tmp_path)))) is not has_objects


def test_a_service_that_copies_across_its_buckets_is_named(tmp_path: Path) -> None:
    pair = an_apart_pair()
    pair.staging.service = {"bucket_A": pair.store}
    assert any("copies the files out of its bucket bucket_A" in each for each in planned(pair, load(tmp_path)).notices)


def test_server_side_is_refused_when_it_is_planned(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        planned(an_apart_pair(), load(tmp_path, mode="server_side"))
    (complaint,) = caught.value.complaints
    assert complaint.field == "options.transfer.mode"
    assert "memory://dumps does not show" in complaint.message


# -- leases -----------------------------------------------------------------------------------------------------------


def stores(pair: Pair, loaded: LoadedPlan) -> PlanStores:
    return PlanStores(loaded=loaded, staging=pair.staging, target=pair.imports)


def leases(pair: Pair, loaded: LoadedPlan, run_id: str) -> PlanLeases:
    return stores(pair, loaded).leases(run_id=run_id, home=f"home of {run_id}", clock=pair.clock)


def test_each_lease_lies_where_what_it_guards_does(tmp_path: Path) -> None:
    pair, loaded = an_apart_pair(), load(tmp_path)
    with leases(pair, loaded, "run-1") as mine:
        mine.acquire([BOOKS], timeout_s=0, on_wait=lambda *_: None)
        mine.require_held(BOOKS)
        mine.require_dump_held()
        assert [key.rpartition("/")[0] for key in keys(pair.imports, f"{LEASES}/targets")] == [
            f"{LEASES}/targets/files_B/default.books"
        ]
        assert [key.rpartition("/")[0] for key in keys(pair.staging, f"{LEASES}/dumps")] == [
            f"{LEASES}/dumps/backup~a_to_b"
        ]
        assert not keys(pair.staging, f"{LEASES}/targets")
        assert not keys(pair.imports, f"{LEASES}/dumps")
    assert keys(pair.staging, LEASES) == keys(pair.imports, LEASES) == []


def test_a_plan_with_its_dump_in_the_targets_bucket_meets_it_there(tmp_path: Path) -> None:
    """Both name the target's lease alike."""
    pair, apart = an_apart_pair(), load(tmp_path)
    beside = a_loaded_plan(tmp_path, name="other")
    others = PlanStores(loaded=beside, staging=pair.imports, target=pair.imports)
    with leases(pair, apart, "run-1") as mine:
        mine.acquire([BOOKS], timeout_s=0, on_wait=lambda *_: None)
        with others.leases(run_id="run-2", home="elsewhere", clock=pair.clock) as theirs:
            with pytest.raises(LockHeld, match="the target collection books is held by run run-1"):
                theirs.acquire([BOOKS], timeout_s=3, on_wait=lambda *_: None)
            mine.require_held(BOOKS)


def test_they_are_found_and_broken_in_both_stores(tmp_path: Path) -> None:
    pair, loaded = an_apart_pair(), load(tmp_path)
    with leases(pair, loaded, "run-1") as mine:
        mine.acquire([BOOKS], timeout_s=0, on_wait=lambda *_: None)
        held = find_held(stores(pair, loaded).names([BOOKS]), clock=pair.clock, tell=lambda _: None)
        assert [each.lease.label for each in held] == ["the dump backup/a_to_b", "the target collection books"]
        break_held(held)
        with pytest.raises(LockHeld, match="somebody broke it"):
            mine.require_held(BOOKS)
        with pytest.raises(LockHeld, match="somebody broke it"):
            mine.require_dump_held()


# -- what is left of a run --------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Pair:
    return an_apart_pair()


@pytest.fixture
def state(tmp_path: Path, pair: Pair) -> StateDirectory:
    state = StateDirectory(tmp_path / "state", pair.clock)
    (tmp_path / "state").mkdir()
    return state


def begin(folder: Path, pair: Pair, state: StateDirectory, *, until: str = "") -> Run:
    """A run, done up to a step of a kind, or wholly."""
    loaded = load(folder)
    run = state.begin(loaded, planned(pair, loaded))
    listed = kinds(run.plan)
    with state.journal(run, read_only=False) as journal, a_context(pair, folder, run_id=run.run_id) as ctx:
        steps = run.plan.steps[: listed.index(until) if until else None]
        assert run_steps(steps, replace(ctx, ledger=journal), journal).failures == {}
    return run


def roll_back(run: Run, pair: Pair, state: StateDirectory, folder: Path) -> dict[Kind, Fate]:
    with state.journal(run, read_only=False) as journal, a_context(pair, folder, run_id=run.run_id) as ctx:
        undoing = Rollback(
            run,
            journal,
            pair.target,
            pair.staging,
            imports=pair.imports,
            lease=ctx.lease,
            clock=pair.clock,
            tell=lambda _: None,
        )
        endings = undoing.carry_out(undoing.survey(), force=False, on_end=lambda _: None)
        return {ending.remnant.kind: ending.fate for ending in endings}


def clean(folder: Path, pair: Pair, state: StateDirectory) -> list[Leftover]:
    places = [stores(pair, load(folder))]
    found = Cleaning(
        state, "a-to-b", places, open_target=lambda _: pair.target, clock=pair.clock, tell=lambda _: None
    ).find()
    return [leftover for leftover in found if leftover.kind == "files for imports"]


def test_a_rollback_deletes_what_was_brought(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state, until=ImportSegments.kind)
    assert keys(pair.imports, f"{IMPORTS}/{run.run_id}")
    fates = roll_back(run, pair, state, tmp_path)
    assert fates == {Kind.COLLECTION: Fate.REMOVED, Kind.DUMP: Fate.REMOVED, Kind.IMPORTS: Fate.REMOVED}
    assert keys(pair.imports, ".migrator") == keys(pair.staging, "") == []
    assert state.rollback_of(run) is StepEvent.ROLLED_BACK


def test_of_a_run_that_is_done_nothing_is_left_to_roll_back_there(
    tmp_path: Path, pair: Pair, state: StateDirectory
) -> None:
    run = begin(tmp_path, pair, state)
    assert Kind.IMPORTS not in roll_back(run, pair, state, tmp_path)


def test_clean_leaves_what_an_unfinished_run_needs(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state, until=ImportSegments.kind)
    (found,) = clean(tmp_path, pair, state)
    assert not found.goes
    assert f"migrator rollback {run.run_id}" in found.reason


@pytest.mark.parametrize("is_rolled_back", [True, False])
def test_clean_deletes_what_a_run_left_that_is_over(
    tmp_path: Path, pair: Pair, state: StateDirectory, *, is_rolled_back: bool
) -> None:
    run = begin(tmp_path, pair, state, until=ForwardSegments.kind if is_rolled_back else "")
    pair.imports.write(f"{IMPORTS}/{run.run_id}/binlogs/insert_log/1/2/3/3/100/4", b"x")
    pair.imports.write(f"{IMPORTS}/other-20260101T000000Z-0000/binlogs/insert_log/1", b"x")
    if is_rolled_back:
        with state.journal(run, read_only=False) as journal:
            journal.add("", StepEvent.ROLLED_BACK)
    (found,) = clean(tmp_path, pair, state)
    assert found.remove is not None
    found.remove()
    assert keys(pair.imports, IMPORTS) == [f"{IMPORTS}/other-20260101T000000Z-0000/binlogs/insert_log/1"]


def test_a_new_generation_takes_the_old_ones_files_along(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    """The source was compacted after its files were brought: what the new listing has not goes from both stores."""
    run = begin(tmp_path, pair, state, until=ImportSegments.kind)
    before = keys(pair.imports, IMPORTS)
    pair.source.insert(BOOKS, some_rows(2, start=10))
    flush(pair.source)
    pair.source.compact(BOOKS)
    with state.journal(run, read_only=False) as journal, a_context(pair, tmp_path, run_id=run.run_id) as ctx:
        for step in run.plan.steps:
            if step.kind in {"flush", "dump_meta", "copy_segments", "forward_segments"}:
                journal.add(step.key, StepEvent.RENEWED)
        assert run_steps(run.plan.steps, replace(ctx, ledger=journal), journal).failures == {}
    assert before
    assert keys(pair.imports, IMPORTS) == []
    assert len(pair.target.rows(BOOKS)) == 5
