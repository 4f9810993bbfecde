"""Adding what the target lacks of roles and grants: what is noted, and what refusals do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.errors import RunError
from migrator.model.collection import CollectionRef
from migrator.model.rbac import Binding
from migrator.steps.base import Evidence
from migrator.steps.restore_rbac import RestoreRbac, is_own_right
from tests.support.builders import Pair, a_context, a_grant

if TYPE_CHECKING:
    from pathlib import Path

READER = Binding(role="reader", user="alice")
STEP = RestoreRbac(roles=("reader", "writer"), grants=(a_grant(),), bindings=(READER,))


def test_only_what_was_missing_is_added_and_the_runs_own(tmp_path: Path) -> None:
    pair = Pair()
    pair.target.create_user("alice")
    pair.target.create_role("reader")
    with a_context(pair, tmp_path) as ctx:
        outcome = STEP.apply(ctx, Evidence.ABSENT)
        assert STEP.probe(ctx.reading()) is Evidence.DONE
        assert {right for right in STEP.rights if is_own_right(ctx.ledger, right)} == {"writer", a_grant(), READER}
    assert outcome.detail.startswith("added 3: role writer, Query on Collection")


def test_what_a_new_role_has_of_an_earlier_one_of_its_name_is_told(tmp_path: Path) -> None:
    pair = Pair()
    pair.target.create_database("db1")
    pair.target.create_role("writer")
    pair.target.grant(a_grant(CollectionRef("db1", "films"), role="writer"))
    pair.target.drop_role("writer")  # which Milvus 2.3 does, and keeps the grant
    with a_context(pair, tmp_path) as ctx:
        outcome = RestoreRbac(roles=("writer",)).apply(ctx, Evidence.ABSENT)
    assert outcome.detail.endswith("of the same name: Query on Collection db1.films to writer")


def test_a_refusal_keeps_nothing_else_from_being_added(tmp_path: Path) -> None:
    pair = Pair()  # without alice
    with a_context(pair, tmp_path) as ctx:
        with pytest.raises(RunError, match=r"1 of 4 .* role reader to user alice: .* not found the user"):
            STEP.apply(ctx, Evidence.ABSENT)
        assert not is_own_right(ctx.ledger, READER)
        found = pair.target.read_rbac()
        assert found.roles == ("reader", "writer")
        assert a_grant() in found.grants
        pair.target.create_user("alice")
        STEP.apply(ctx, Evidence.ABSENT)
        assert is_own_right(ctx.ledger, READER)
