"""Undoing a run that went by snapshots: none stays at the source, and nothing is dropped under a restore."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import MilvusUnavailable
from migrator.running.journal import StepEvent
from migrator.running.rollback import CREATION_SETTLES_S, Fate, Rollback, Verdict, is_rolled_back
from migrator.running.runs import StateDirectory
from migrator.steps.create_snapshot import CreateSnapshot
from migrator.steps.restore_snapshot import RestoreSnapshot
from tests.support.builders import BOOKS, HeldLease, Pair, a_context, fill, flush, run_steps, some_rows
from tests.support.mortality import Fate as Doom
from tests.support.mortality import Killed, mortal_source, mortal_target
from tests.unit.running.test_rollback import begin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from migrator.ports.milvus import MilvusSource
    from migrator.running.rollback import Ending
    from migrator.running.runs import Run


@dataclass(frozen=True, slots=True)
class Scene:
    """A run of one collection on two clusters in memory."""

    pair: Pair
    state: StateDirectory
    run: Run
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Scene:
        pair = Pair(versions=("3.0.1", "3.0.1"))
        fill(pair, BOOKS, rows=5)
        state = StateDirectory(folder / "state", pair.clock)
        return cls(pair, state, begin(folder, pair, state, "[books]"), folder)

    def apply(self, *, until: str = "", dies_in: str = "") -> None:
        """Do its steps before the first of a kind; or die after a writing call of that name."""
        kinds = [step.kind for step in self.run.plan.steps]
        steps = self.run.plan.steps[: kinds.index(until) if until else None]
        doom = _Doom(dies_in)
        source, target = mortal_source(self.pair.source, doom), mortal_target(self.pair.target, doom)
        with (
            self.state.journal(self.run, read_only=False) as journal,
            a_context(self.pair, self.folder, run_id=self.run.run_id) as ctx,
        ):
            try:
                run_steps(steps, replace(ctx, ledger=journal, source=source, target=target), journal)
            except Killed:
                assert dies_in

    def roll_back(
        self, *, force: bool = False, told: list[str] | None = None, source: Callable[[], MilvusSource] | None = None
    ) -> dict[str, Ending]:
        pair = self.pair
        with self.state.journal(self.run, read_only=False) as journal:
            rollback = Rollback(
                self.run,
                journal,
                pair.target,
                pair.store,
                lease=HeldLease(),
                clock=pair.clock,
                tell=(told if told is not None else []).append,
                open_source=source or (lambda: pair.source),
            )
            endings = rollback.carry_out(rollback.survey(), force=force, on_end=lambda _: None)
            return {str(ending.remnant.kind): ending for ending in endings}

    def require_nothing_left(self) -> None:
        assert self.pair.target.list_collections("default") == ()
        assert self.pair.source.snapshots.names(BOOKS) == []
        assert self.state.rollback_of(self.run) is StepEvent.ROLLED_BACK


@dataclass(slots=True)
class _Doom(Doom):
    """Dies after the first call of a name."""

    dies_in: str = ""

    def __init__(self, dies_in: str) -> None:
        Doom.__init__(self)
        self.dies_in = dies_in

    def pass_point(self, what: str, moment: str) -> None:
        if (what, moment) == (self.dies_in, "after"):
            self.is_dead = True
        self.require_alive()


@pytest.mark.parametrize("until", [CreateSnapshot.kind, RestoreSnapshot.kind, "create_index", "drop_snapshot", ""])
def test_whatever_was_done_goes(until: str, tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply(until=until)
    scene.roll_back()
    scene.require_nothing_left()


def test_a_restore_under_way_is_waited_for_and_what_it_made_goes(tmp_path: Path) -> None:
    scene, told = Scene.make(tmp_path), list[str]()
    scene.apply(dies_in="restore_elsewhere")
    scene.roll_back(told=told)
    assert "waiting for 1 restore of this run to end" in told
    scene.require_nothing_left()


def test_a_snapshot_whose_creation_was_under_way_is_given_the_time_to_turn_up(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply(dies_in="create_snapshot")
    began = scene.pair.clock.monotonic()
    scene.roll_back()
    assert scene.pair.clock.monotonic() - began < CREATION_SETTLES_S  # it was there
    scene.require_nothing_left()


def test_a_source_that_is_away_keeps_the_rollback_open_unless_it_is_forced(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply(until="drop_snapshot")

    def away() -> MilvusSource:
        raise MilvusUnavailable("no answer")

    endings = scene.roll_back(source=away)
    assert endings["collection"].fate is Fate.REMOVED
    assert endings["snapshot"].remnant.verdict is Verdict.FORCE
    assert "no answer" in endings["snapshot"].remnant.reason
    assert not is_rolled_back(endings.values())
    assert is_rolled_back(scene.roll_back(source=away, force=True).values())
    assert len(scene.pair.source.snapshots.names(BOOKS)) == 1


def test_rows_that_others_wrote_into_a_restored_collection_stay(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.apply()
    scene.pair.target.insert(BOOKS, some_rows(2, start=50))
    flush(scene.pair.target, BOOKS)
    endings = scene.roll_back()
    assert endings["collection"].fate is Fate.LEFT_ALONE
    assert "somebody wrote 2 rows to it" in endings["collection"].remnant.reason


def test_rows_that_were_deleted_at_the_source_are_no_difference(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.pair.source.delete(BOOKS, [1])
    scene.apply()
    assert len(scene.pair.target.rows(BOOKS)) == 4
    scene.roll_back()
    scene.require_nothing_left()
