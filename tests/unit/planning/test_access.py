"""Users, roles and grants of both sides to what is added, as values."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.model.collection import CollectionRef
from migrator.model.observed import ObservedAccess
from migrator.model.rbac import Binding, Grant, Rbac
from migrator.planning.plan import Access, Plan, plan_from_plain, plan_to_plain
from migrator.planning.planner import make_plan
from migrator.reports.to_text import plan_lines
from migrator.steps.restore_rbac import RestoreRbac
from tests.support.builders import BOOKS, a_collection, a_grant, a_loaded_plan, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import Collection

READS = "Query on Collection default.books to reader"
RENAMED = "[{source: books, target: books_bak}]"
BAK = CollectionRef("default", "books_bak")
OTHER = CollectionRef("default", "other")
READER = Binding(role="reader", user="alice")
GLOBAL = Grant(role="reader", database="*", object_type="Global", object_name="*", privilege="CreateCollection")


def planned(
    folder: Path,
    source: Rbac,
    target: Rbac | None = None,
    *collections: Collection,
    text: str = "[books]",
    names: tuple[CollectionRef, ...] = (),
    only: str | None = None,
    **state: Any,  # noqa: ANN401 - any member
) -> Plan:
    """The plan between two sides, the target with collections or aliases of these `names`."""
    access = ObservedAccess(source=source, target=target or Rbac(), target_names=names)
    observed = an_observed_state(*collections, access=access, **state)
    return make_plan(a_loaded_plan(folder, collections=text, more="options: {rbac: true}\n"), observed, only=only)


def told(plan: Plan) -> Access:
    assert plan.access is not None
    return plan.access


def step_of(plan: Plan) -> RestoreRbac:
    (step,) = (step for step in plan.steps if isinstance(step, RestoreRbac))
    return step


def granted(plan: Plan) -> tuple[Grant, ...]:
    return step_of(plan).grants if plan.has_changes and "restore_rbac" in {s.kind for s in plan.steps} else ()


def test_what_is_missing_is_added_after_everything_else(tmp_path: Path) -> None:
    source = Rbac(users=("alice",), roles=("reader",), grants=(a_grant(), GLOBAL), bindings=(READER,))
    plan = planned(tmp_path, source, Rbac(users=("alice",)))
    step = step_of(plan)
    assert (step.roles, set(step.grants), step.bindings) == (("reader",), {a_grant(), GLOBAL}, (READER,))
    assert plan.steps[-1] is step
    needed = {key for other in plan.steps for key in other.needs}
    assert set(step.follows) == {other.key for other in plan.steps[:-1] if other.key not in needed}
    assert told(plan).added[0] == "role reader"
    assert told(plan).not_carried == ()


def test_what_the_target_has_is_neither_added_nor_taken_away(tmp_path: Path) -> None:
    source = Rbac(users=("alice",), roles=("reader",), grants=(a_grant(),), bindings=(READER,))
    theirs = Binding(role="reader", user="carol")
    target = Rbac(
        users=("alice", "carol"),
        roles=("auditor", "reader"),
        grants=(a_grant(), a_grant(privilege="Insert"), a_grant(role="auditor")),
        bindings=(READER, theirs, Binding(role="auditor", user="carol")),
    )
    plan = planned(tmp_path, source, target)
    assert "restore_rbac" not in {step.kind for step in plan.steps}
    assert told(plan).added == ()
    assert told(plan).stays == (
        "user carol",
        "role auditor",
        "Insert on Collection default.books to reader",
        "role reader to user carol",
    )


def test_a_grant_goes_where_its_collection_goes(tmp_path: Path) -> None:
    films = CollectionRef("db1", "films")
    source = Rbac(roles=("reader",), grants=(a_grant(), a_grant(films)))
    plan = planned(
        tmp_path,
        source,
        None,
        a_collection(),
        a_collection("db1.films"),
        text='[{source: books, target: books_bak}, {source: db1.films, target: "db2.films"}]',
    )
    moved = CollectionRef("db2", "films")
    assert set(granted(plan)) == {a_grant(BAK), a_grant(moved)}
    assert told(plan).changed == (
        f"{READS}: granted on default.books_bak at the target",
        f"{a_grant(films)}: granted on db2.films at the target",
    )
    there = planned(tmp_path, source, Rbac(roles=("reader",), grants=(a_grant(BAK),)), text=RENAMED)
    assert "Query on Collection default.books_bak to reader" not in told(there).added + told(there).stays


def test_a_grant_on_a_name_in_every_database_covers_the_new_name_too(tmp_path: Path) -> None:
    everywhere = a_grant(CollectionRef("*", "books"))
    source = Rbac(roles=("reader",), grants=(everywhere,))
    assert granted(planned(tmp_path, source, text=RENAMED)) == (a_grant(BAK),)
    both = planned(tmp_path, source, text=RENAMED, names=(CollectionRef("db9", "books"),))
    assert set(granted(both)) == {everywhere, a_grant(BAK)}


def test_a_grant_on_an_alias_goes_with_the_alias(tmp_path: Path) -> None:
    alias = CollectionRef("default", "library")
    source = Rbac(roles=("reader",), grants=(a_grant(alias),))
    books = a_collection(aliases=("library",))
    assert granted(planned(tmp_path, source, None, books, text=RENAMED)) == (a_grant(alias),)


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        (a_grant(OTHER), "no mapping brings other"),
        (a_grant(CollectionRef("*", "other")), "no mapping brings other"),
        (a_grant(CollectionRef("db9", "other")), "the target has no database db9"),
        (a_grant(CollectionRef("db9", "*")), "the target has no database db9"),
        (replace(GLOBAL, database="db9"), "the target has no database db9"),
        (replace(GLOBAL, object_type="User", object_name="dave"), "the target has no user dave"),
    ],
)
def test_a_grant_on_what_the_target_lacks_is_left_behind_and_told(grant: Grant, said: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, Rbac(roles=("reader",), grants=(grant,)))
    assert granted(plan) == ()
    (text,) = told(plan).not_carried
    assert text.startswith(f"{grant}: {said}")


def test_a_grant_on_what_the_target_has_of_its_own_is_carried_as_it_is(tmp_path: Path) -> None:
    grants = (a_grant(CollectionRef("db9", "*")), a_grant(OTHER), replace(GLOBAL, object_type="User"))
    plan = planned(
        tmp_path,
        Rbac(roles=("reader",), grants=grants),
        names=(OTHER,),
        target_databases=("db9", "default"),
    )
    assert set(granted(plan)) == set(grants)


def test_a_user_the_target_lacks_is_told_and_gets_its_roles_once_it_is_there(tmp_path: Path) -> None:
    source = Rbac(users=("alice", "bob"), roles=("reader",), bindings=(READER,))
    plan = planned(tmp_path, source, Rbac(roles=("reader",)))
    assert "restore_rbac" not in {step.kind for step in plan.steps}
    for_alice, for_bob = told(plan).not_carried
    assert for_alice.startswith("user alice, with reader: ")
    assert for_bob.startswith("user bob: ")
    assert "2.4.9" in for_alice
    assert "with its password" in for_alice
    later = planned(tmp_path, source, Rbac(roles=("reader",), users=("alice",)))
    assert told(later).added == ("role reader to user alice",)
    root = planned(tmp_path, Rbac(roles=("reader",), bindings=(Binding(role="reader", user="root"),)))
    assert "role reader to user root" in told(root).added


def test_one_milvus_at_both_sides_gets_the_grants_of_the_new_names(tmp_path: Path) -> None:
    both = Rbac(users=("alice",), roles=("reader",), grants=(a_grant(),), bindings=(READER,))
    plan = planned(tmp_path, both, both, text=RENAMED, names=(BOOKS,), same_milvus=True)
    assert told(plan).added == ("Query on Collection default.books_bak to reader",)
    assert told(plan).stays == ()


def test_a_part_of_the_plan_leaves_access_for_later(tmp_path: Path) -> None:
    source = Rbac(roles=("reader",), grants=(a_grant(),))
    collections = (a_collection(), a_collection("films"))
    part = planned(tmp_path, source, None, *collections, text="[books, films]", only="books")
    assert part.access is None
    assert "restore_rbac" not in {step.kind for step in part.steps}
    assert any("--only" in notice for notice in part.notices)
    whole = planned(tmp_path, source, None, *collections, text="[books, films]", only="*")
    assert step_of(whole).grants == (a_grant(),)


def test_the_plan_travels_and_reads_as_text(tmp_path: Path) -> None:
    source = Rbac(users=("bob",), roles=("reader",), grants=(a_grant(), a_grant(OTHER)))
    plan = planned(tmp_path, source, Rbac(users=("carol",)), text=RENAMED)
    assert plan_from_plain(json.loads(json.dumps(plan_to_plain(plan)))) == plan
    lines = [line.text.strip() for line in plan_lines(plan)]
    assert "+ role reader" in lines
    assert f"~ {READS}: granted on default.books_bak at the target" in lines
    assert "= stays: user carol" in lines
    assert "2 roles and grants to add." in lines
    assert sum(line.startswith("~ not carried: ") for line in lines) == 2


def test_many_additions_are_summed_up_unless_all_is_asked_for(tmp_path: Path) -> None:
    plan = planned(tmp_path, Rbac(roles=tuple(f"role{i:02}" for i in range(30))))
    assert "+ … and 18 more (-v lists them)" in [line.text.strip() for line in plan_lines(plan)]
    assert "+ role role29" in [line.text.strip() for line in plan_lines(plan, verbose=True)]
