"""Undoing what a run added to roles: nothing of others goes, and what they gave to a role of the run needs force."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from migrator.model.collection import CollectionRef
from migrator.model.rbac import Binding
from migrator.planning.planner import make_plan
from migrator.running.refresh import refresh
from migrator.running.rollback import Fate, Rollback, Verdict
from migrator.running.runs import Run, StateDirectory
from tests.support.builders import HeldLease, Pair, a_context, a_grant, a_loaded_plan, fill, run_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from migrator.running.rollback import Ending, Remnant

FILMS = CollectionRef("db1", "films")
ALICE = Binding(role="writer", user="alice")


@dataclass(frozen=True, slots=True)
class Scene:
    """A run that added to `reader`, which was there, and made `writer`."""

    pair: Pair
    state: StateDirectory
    run: Run

    @classmethod
    def make(cls, folder: Path) -> Scene:
        """The run is done."""
        pair = Pair()
        fill(pair, FILMS)
        for milvus in (pair.source, pair.target):
            milvus.create_role("reader")
            milvus.create_user("alice")
        pair.target.grant(a_grant(privilege="Search"))
        pair.source.create_role("writer")
        for role in ("reader", "writer"):
            pair.source.grant(a_grant(FILMS, role=role))
        for role in ("reader", "writer"):
            pair.source.add_to_role(Binding(role=role, user="alice"))
        loaded = a_loaded_plan(folder, collections="[db1.films]", more="options: {rbac: true}\n")
        state = StateDirectory(folder / "state", pair.clock)
        run = state.begin(loaded, make_plan(loaded, refresh(loaded, pair.readers(), ())))
        with state.journal(run, read_only=False) as journal, a_context(pair, folder, run_id=run.run_id) as ctx:
            assert run_steps(run.plan.steps, replace(ctx, ledger=journal), journal).failures == {}
        return cls(pair, state, run)

    def roll_back(
        self, *, force: bool = False, between: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, Remnant], dict[str, Ending]]:
        """Look, let something happen, carry out."""
        pair = self.pair
        with self.state.journal(self.run, read_only=False) as journal:
            undoing = Rollback(
                self.run, journal, pair.target, pair.store, lease=HeldLease(), clock=pair.clock, tell=lambda _: None
            )
            found = undoing.survey()
            between()
            endings = undoing.carry_out(found, force=force, on_end=lambda _: None)
        return {remnant.name: remnant for remnant in found}, {ending.remnant.name: ending for ending in endings}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.make(tmp_path)


def test_what_the_run_added_goes_and_the_rest_is_as_it_was(scene: Scene) -> None:
    before = Pair().target
    before.create_role("reader")
    before.create_user("alice")
    before.grant(a_grant(privilege="Search"))
    found, endings = scene.roll_back()
    assert (found["reader"].kind, found["writer"].kind) == ("rights of role", "role")
    assert found["writer"].reason == "1 grant and 1 user, added by this run"
    assert {ending.fate for ending in endings.values()} <= {Fate.REMOVED, Fate.KEPT}
    assert scene.pair.target.read_rbac() == before.read_rbac()
    scene.pair.target.create_database("db1")
    scene.pair.target.create_role("writer")
    assert not [g for g in scene.pair.target.read_rbac().grants if g.role == "writer"]  # none outlived its database


def test_what_others_gave_to_a_role_of_the_run_goes_only_by_force(scene: Scene) -> None:
    theirs = a_grant(role="writer", privilege="Insert")
    scene.pair.target.grant(theirs)
    found, endings = scene.roll_back()
    assert found["writer"].verdict is Verdict.FORCE
    assert "Insert on Collection" in found["writer"].reason
    assert (endings["writer"].fate, endings["reader"].fate) == (Fate.LEFT_ALONE, Fate.REMOVED)
    assert theirs in scene.pair.target.read_rbac().grants
    _, endings = scene.roll_back(force=True)
    assert endings["writer"].fate is Fate.REMOVED
    assert scene.pair.target.read_rbac().roles == ("reader",)


def test_what_others_give_while_a_person_decides_stays(scene: Scene) -> None:
    theirs = Binding(role="writer", user="root")
    _, endings = scene.roll_back(between=lambda: scene.pair.target.add_to_role(theirs))
    assert endings["writer"].fate is Fate.FAILED
    assert "role writer to user root meanwhile" in endings["writer"].message
    assert {theirs, ALICE} <= set(scene.pair.target.read_rbac().bindings)


def test_what_is_given_again_after_the_rollback_is_not_the_runs(scene: Scene) -> None:
    scene.pair.target.grant(a_grant(role="writer", privilege="Insert"))
    scene.roll_back()
    again = a_grant(FILMS)
    scene.pair.target.create_database("db1")
    scene.pair.target.grant(again)
    found, _ = scene.roll_back(force=True)
    assert found["reader"].verdict is Verdict.GONE
    assert again in scene.pair.target.read_rbac().grants


def test_a_role_that_is_gone_is_no_obstacle(scene: Scene) -> None:
    for grant in scene.pair.target.read_rbac().grants:
        if grant.role == "writer":
            scene.pair.target.revoke(grant)
    scene.pair.target.drop_role("writer")
    _, endings = scene.roll_back()
    assert endings["writer"].fate is Fate.GONE
