"""Every plan file in `plans/` is planned against clusters that hold what it speaks of."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.model.collection import Partition
from migrator.planning.plan import Action
from migrator.planning.planner import make_plan
from migrator.spec.load import load_plan
from tests.support.builders import a_collection, an_observed_state

PLANS = Path(__file__).resolve().parents[3] / "plans"
EXAMPLES = sorted(path for path in PLANS.glob("*.yaml") if "cluster" not in path.name)
NAMES = (
    "coll",
    "books",
    "events",
    "orders",
    "tmp_x",
    "catalogue.books",
    "catalogue.authors",
    "search.docs",
    "shop.items",
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_worked_example_can_be_planned(path: Path) -> None:
    loaded = load_plan(path)
    days = tuple(
        Partition(name=name, partition_id=number) for number, name in enumerate(("_default", "2025_12", "2026_01"), 1)
    )
    collections = [
        a_collection(name, collection_id=1000 + number, partitions=days) for number, name in enumerate(NAMES)
    ]
    observed = an_observed_state(*collections, target_version="" if loaded.target is None else "2.3.5")
    plan = make_plan(loaded, observed)
    assert plan.has_changes
    assert all(each.action is Action.MIGRATE for each in plan.collections)
