"""How long a plan takes: a range that holds the truth, and narrows with what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.planning.pace import Pace, Stretch, Work, measure, works_of
from migrator.planning.planner import make_plan
from migrator.running.refresh import refresh
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from pathlib import Path

IMPORTS = {
    f"import_segments:c{n}": Work(kind="import_segments", collection=f"c{n}", size_bytes=30_000_000, requests=1)
    for n in range(40)
}


def in_turn(seconds: float, number: int) -> dict[str, Stretch]:
    """So many imports, each waiting for the one before it, as a run of four at a time sees them."""
    return {
        f"import_segments:c{n}": Stretch(began_s=max(0, n - 3) * seconds, ended_s=(n + 1) * seconds)
        for n in range(number)
    }


def test_a_plan_says_what_each_step_has_to_do(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair)
    plan = make_plan(a_loaded_plan(tmp_path), refresh(a_loaded_plan(tmp_path), pair.readers(), ()))
    works = works_of(plan)
    assert set(works) == {step.key for step in plan.steps}
    books = plan.collections[0].estimate
    assert works["import_segments:default.books"].requests == books.import_requests
    assert works["copy_segments:default.books"].objects == books.objects
    expected = Pace().left(works)
    assert 0 < expected.fast_s < expected.slow_s
    assert expected.rests_on == "a guess: no run yet"


def test_past_runs_make_the_range_narrower_and_hold_the_truth() -> None:
    guess = Pace().left(IMPORTS)
    past = [measure(IMPORTS, in_turn(seconds, 40)) for seconds in (2.5, 3.0)]
    known = Pace.of_runs(past).left(IMPORTS)
    assert known.fast_s < 40 * 2.5
    assert known.slow_s > 40 * 3.0
    assert known.slow_s - known.fast_s < (guess.slow_s - guess.fast_s) / 2
    assert known.rests_on == "from 2 past runs"


def test_imports_that_wait_for_one_another_are_charged_once() -> None:
    assert measure(IMPORTS, in_turn(3.0, 40))["import_segments"].took_s == pytest.approx(120)


def test_a_far_smaller_run_leaves_the_slow_end_to_the_guess() -> None:
    one = dict(list(IMPORTS.items())[:1])
    past = Pace.of_runs([measure(one, in_turn(2.5, 1))])
    assert past.left(one).rests_on == "from 1 past run"
    far = past.left(IMPORTS)
    assert far.rests_on == "from 1 past run, far smaller than this"
    assert far.slow_s == pytest.approx(Pace().left(IMPORTS).slow_s)


def test_the_first_batches_beat_what_past_runs_told() -> None:
    past = Pace.of_runs([measure(IMPORTS, in_turn(2.5, 40))])
    slower = measure(IMPORTS, in_turn(10.0, 10))
    left = past.after(slower).left(IMPORTS, dict.fromkeys(in_turn(10.0, 10), 1.0))
    assert left.fast_s < 300 < left.slow_s < 450
    assert left.rests_on == "from this run so far"
    assert past.after(measure(IMPORTS, in_turn(0.5, 1))) == past, "half a second says nothing"


def test_what_is_half_done_counts_half_and_what_is_done_not_at_all() -> None:
    one = dict(list(IMPORTS.items())[:1])
    key = next(iter(one))
    whole, half = (Pace().left(one, {key: share}) for share in (0.0, 0.5))
    done = Pace().left(one, {key: 1.0})
    assert half.slow_s == pytest.approx((whole.slow_s) / 2)
    assert (done.fast_s, done.slow_s) == (0, 0)


def test_collections_side_by_side_take_less_than_one_after_another() -> None:
    works = {
        f"{kind}:c{n}": Work(kind=kind, collection=f"c{n}", rows=100_000, objects=50, size_bytes=50_000_000, requests=1)
        for n in range(8)
        for kind in ("copy_segments", "import_segments", "create_index", "load_collection", "verify_collection")
    }
    together, alone = Pace().left(works), Pace().each(works)
    assert set(alone) == {f"c{n}" for n in range(8)}
    assert together.slow_s < sum(each.slow_s for each in alone.values())
    assert together.fast_s >= max(each.fast_s for each in alone.values())
    assert Pace().left(works, parallelism=1).fast_s >= together.fast_s
    empty = {key: replace(work, rows=0, objects=0, size_bytes=0) for key, work in works.items()}
    assert Pace().left(empty).slow_s < together.slow_s
