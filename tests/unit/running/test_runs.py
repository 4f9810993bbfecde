"""The state directory: what a run was frozen from, which runs are unfinished, and who holds what."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import LockHeld, RunError, StalePlan
from migrator.planning.planner import make_plan
from migrator.running.events import StepState
from migrator.running.journal import StepEvent
from migrator.running.refresh import refresh
from migrator.running.runs import Run, StateDirectory, file_digest
from tests.support.builders import BOOKS, Pair, SetClock, a_context, a_loaded_plan, fill, run_steps

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    fill(pair)
    return pair


@pytest.fixture
def state(tmp_path: Path, pair: Pair) -> StateDirectory:
    return StateDirectory(tmp_path / "state", pair.clock)


def planned(folder: Path, pair: Pair, state: StateDirectory, *, name: str = "a-to-b", more: str = "") -> Plan:
    loaded = a_loaded_plan(folder, name=name, more=more)
    return make_plan(loaded, refresh(loaded, pair.readers(), state.migrated(name)))


def begin(folder: Path, pair: Pair, state: StateDirectory, *, name: str = "a-to-b") -> Run:
    loaded = a_loaded_plan(folder, name=name)
    pair.clock.sleep(1)
    return state.begin(loaded, planned(folder, pair, state, name=name))


def finish(run: Run, state: StateDirectory, *, leave: str = "") -> None:
    with state.journal(run, read_only=False) as journal:
        for step in run.plan.steps:
            if step.kind != leave:
                journal.add(step.key, StepEvent.FINISHED)


def do(run: Run, state: StateDirectory, pair: Pair, folder: Path) -> None:
    """Really do it."""
    with state.journal(run, read_only=False) as journal, a_context(pair, folder, run_id=run.run_id) as ctx:
        assert run_steps(run.plan.steps, replace(ctx, ledger=journal), journal).is_complete


def test_a_run_is_read_back_as_it_was_frozen(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    assert state.find_runs(run.run_id) == [run]
    assert list(state.runs()) == [run]
    assert run.run_id.startswith("a-to-b-20260101T0000")


def test_nothing_secret_is_in_it_and_nobody_else_may_read_it(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    path = run.folder / "run.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.folder.stat().st_mode) == 0o700
    assert '"secret_access_key": {\n' in path.read_text()
    assert not list(run.folder.glob("*.part"))


def test_an_edit_of_the_plan_file_does_not_reach_a_run(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    (tmp_path / "plan.yaml").write_text("edited")
    assert state.find_runs(run.run_id)[0].loaded == run.loaded
    digests = dict(run.loaded.file_digests)
    assert file_digest(str(tmp_path / "plan.yaml")) != digests[str(tmp_path / "plan.yaml")]
    assert file_digest(str(tmp_path / "gone")) is None


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    first, second = begin(tmp_path, pair, state), begin(tmp_path, pair, state)
    assert state.find_runs(second.run_id[:-1]) == [second]
    assert len(state.find_runs("a-to-b")) == 2
    assert state.find_runs("x") == []
    assert [run.run_id for run in state.runs()] == [first.run_id, second.run_id]


def test_a_folder_of_a_run_that_never_began_is_no_run(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    (run.folder.parent / "half").mkdir()
    (run.folder.parent / "half" / "run.part").write_text("{")
    assert list(state.runs()) == [run]


def test_a_run_of_a_later_format_is_refused(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    path = begin(tmp_path, pair, state).folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with pytest.raises(RunError, match=r"run.json has format 2"):
        list(state.runs())


def test_without_a_state_directory_there_are_no_runs(state: StateDirectory) -> None:
    assert list(state.runs()) == []
    assert state.unfinished() == []
    assert state.migrated("a-to-b") == ()
    assert not state.folder.exists()


# -- unfinished -------------------------------------------------------------------------------------------------------


def test_a_run_is_unfinished_until_its_last_step_is_finished(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    assert state.unfinished("a-to-b") == [run]
    finish(run, state, leave="seal_dump")
    assert state.unfinished("a-to-b") == [run]
    finish(run, state)
    assert state.unfinished("a-to-b") == []


def test_unfinished_runs_are_told_by_plan(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    first, second = begin(tmp_path, pair, state), begin(tmp_path, pair, state, name="other")
    assert state.unfinished("other") == [second]
    assert state.unfinished() == [first, second]


def test_a_journal_is_read_beside_its_writer_and_not_written(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    with state.journal(run, read_only=False) as writer, state.journal(run) as reader:
        writer.add("a", StepEvent.STARTED)
        assert reader.was_started("a")
        with pytest.raises(RunError, match="cannot be used: attempt to write a readonly database"):
            reader.add("a", StepEvent.FINISHED)


def test_states_are_as_the_journal_tells(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    keys = [step.key for step in run.plan.steps]
    with state.journal(run, read_only=False) as journal:
        for key, events in {
            keys[0]: (StepEvent.STARTED, StepEvent.FINISHED),
            keys[1]: (StepEvent.STARTED, StepEvent.FAILED),
            keys[2]: (StepEvent.STARTED, StepEvent.PARKED),
            keys[3]: (StepEvent.STARTED, StepEvent.NOTED),
        }.items():
            for event in events:
                journal.add(key, event)
        states = run.states(journal)
    assert [states[key] for key in keys[:5]] == [
        StepState.FINISHED,
        StepState.FAILED,
        StepState.PARKED,
        StepState.RUNNING,
        StepState.WAITING,
    ]


def test_a_run_file_that_was_edited_is_refused(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    path = run.folder / "run.json"
    whole = path.read_text()
    for edited in (
        whole.replace('"concurrency": ', '"concurrency": 1'),
        whole.replace("files_B", "files_C"),
        f"{whole}\n",
    ):
        path.write_text(edited)
        for read_only in (True, False):
            with (
                pytest.raises(StalePlan, match="is not the one this journal was kept for") as caught,
                state.journal(run, read_only=read_only),
            ):
                pass
            assert caught.value.exit_code == 12
        with pytest.raises(StalePlan):
            state.unfinished()
    path.write_text(whole)
    assert state.unfinished() == [run]


def test_runs_stay_in_their_order_when_the_clock_is_set_back(tmp_path: Path, pair: Pair) -> None:
    clock = SetClock(pair.clock)
    state = StateDirectory(tmp_path / "state", clock)
    began = []
    for ahead_s in (0.0, -3600.0, -86400.0, 5.0):
        clock.ahead_s = ahead_s
        began.append(begin(tmp_path, pair, state))
    assert list(state.runs()) == began
    moments = [run.created_at for run in began]
    assert moments == sorted(set(moments))


@pytest.mark.parametrize(
    ("events", "is_kept"),
    [
        ([], False),
        ([StepEvent.STARTED], True),
        ([StepEvent.STARTED, StepEvent.PARKED], True),
        ([StepEvent.STARTED, StepEvent.RENEWED], True),
    ],
    ids=["never", "started", "parked", "begun anew"],
)
def test_a_run_is_discarded_only_if_none_of_its_steps_was_ever_started(
    tmp_path: Path, pair: Pair, state: StateDirectory, events: list[StepEvent], *, is_kept: bool
) -> None:
    run = begin(tmp_path, pair, state)
    with state.journal(run, read_only=False) as journal:
        journal.add("", StepEvent.STARTED)  # the attempt, before its first step
        for event in events:
            journal.add(run.plan.steps[0].key, event)
        journal.add("", StepEvent.FINISHED)
    state.discard_unstarted(run)
    assert run.folder.exists() == is_kept
    assert list(state.runs()) == ([run] if is_kept else [])


# -- migrated ---------------------------------------------------------------------------------------------------------


def test_what_was_done_is_remembered_and_planned_as_done(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    assert state.migrated("a-to-b") == ()
    do(run, state, pair, tmp_path)
    (record,) = state.migrated("a-to-b")
    ours = pair.target.find_collection(BOOKS)
    assert ours is not None
    assert (record.run_id, record.target_collection_id, record.rows) == (run.run_id, ours.collection_id, 3)
    plan = planned(tmp_path, pair, state)
    assert not plan.has_changes
    assert plan.collections[0].notices == ()
    assert state.migrated("other") == ()


def test_a_source_that_moved_since_is_noticed(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    do(begin(tmp_path, pair, state), state, pair, tmp_path)
    pair.source.delete(BOOKS, [0])
    plan = planned(tmp_path, pair, state)
    assert not plan.has_changes
    assert "the source has changed since" in plan.collections[0].notices[0]


def test_half_of_a_mapping_is_no_record(tmp_path: Path, pair: Pair, state: StateDirectory) -> None:
    run = begin(tmp_path, pair, state)
    finish(run, state, leave="verify_collection")
    assert state.migrated("a-to-b") == ()


def test_what_was_brought_can_be_compared_though_its_verification_failed(
    tmp_path: Path, pair: Pair, state: StateDirectory
) -> None:
    run = begin(tmp_path, pair, state)
    before = [step for step in run.plan.steps if step.kind not in {"verify_collection", "switch_alias", "seal_dump"}]
    with state.journal(run, read_only=False) as journal, a_context(pair, tmp_path, run_id=run.run_id) as ctx:
        assert run_steps(before, replace(ctx, ledger=journal), journal).is_complete
    assert state.migrated("a-to-b") == ()
    (record,) = state.brought("a-to-b")
    assert (record.rows, record.verified) == (3, False)


# -- the local lock ---------------------------------------------------------------------------------------------------


def test_a_plan_is_applied_by_one_process_at_a_time(pair: Pair, state: StateDirectory) -> None:
    with state.exclusive("a-to-b", timeout_s=2):
        with (
            pytest.raises(LockHeld, match=r"a-to-b is being applied by process \d+ on ") as caught,
            state.exclusive("a-to-b", timeout_s=2),
        ):
            pass
        assert caught.value.exit_code == 21
        assert pair.clock.monotonic() >= 2
        with state.exclusive("other", timeout_s=2):
            pass
    with state.exclusive("a-to-b", timeout_s=2):
        pass


def test_the_lock_is_let_go_however_the_run_ends(state: StateDirectory) -> None:
    with pytest.raises(KeyboardInterrupt), state.exclusive("a-to-b", timeout_s=2):
        raise KeyboardInterrupt
    with state.exclusive("a-to-b", timeout_s=2):
        pass
