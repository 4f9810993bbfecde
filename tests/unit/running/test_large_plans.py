"""Plans of many collections: what is asked for, how often, and how much of it is held; counts, and no times."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from migrator.planning.pace import Pace
from migrator.planning.planner import make_plan
from migrator.running.journal import Journal, StepEvent
from migrator.running.refresh import refresh
from migrator.running.runs import StateDirectory
from migrator.running.track import Track
from migrator.steps.abreast import ABREAST
from tests.support.builders import FakeClock, a_loaded_plan
from tests.support.generated import GeneratedStore, Size, Traffic, generated_readers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.model.observed import ObservedState
    from migrator.model.segment import StoredObject
    from migrator.planning.plan import Plan
    from migrator.spec.loaded import LoadedPlan

SIZE = Size(collections=40, segments=3)


def all_of_it(folder: Path) -> LoadedPlan:
    """A plan of whatever the source has."""
    return a_loaded_plan(folder, collections="['*']")


def looked_at(folder: Path, traffic: Traffic, *, version: str = "2.3.5") -> ObservedState:
    """What a refresh finds."""
    return refresh(all_of_it(folder), generated_readers(SIZE, traffic, version=version), ())


def planned(folder: Path) -> tuple[LoadedPlan, Plan]:
    """A plan for both."""
    loaded = all_of_it(folder)
    observed = replace(looked_at(folder, Traffic()), target_version="2.3.5")
    return loaded, make_plan(loaded, observed)


@pytest.mark.parametrize("version", ["2.3.5", "2.6.0"])
def test_each_collection_is_asked_for_once(tmp_path: Path, version: str) -> None:
    traffic = Traffic()
    observed = looked_at(tmp_path, traffic, version=version)
    assert len(observed.source) == SIZE.collections
    assert sum(each.estimate.objects for each in observed.source) == SIZE.objects
    for call in ("find_collection", "list_segments", "count_rows"):
        assert traffic.calls[call] == SIZE.collections, call
    assert traffic.calls["list_objects"] <= 2 * SIZE.collections + 10


def test_looks_go_side_by_side_and_are_told_in_order(tmp_path: Path) -> None:
    traffic = Traffic()
    observed = looked_at(tmp_path, traffic)
    assert [each.collection.ref for each in observed.source] == sorted(observed.source_names)
    assert traffic.most_at_once <= ABREAST


def test_of_a_listing_no_object_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that comes is the only one that is alive, but for the sample."""
    listing = GeneratedStore.list_objects
    alive: set[int] = set()
    most = 0

    class Told(str):
        """A key that tells of its end."""

        __slots__ = ()

        def __del__(self) -> None:
            alive.discard(id(self))

    def watched(store: GeneratedStore, prefix: str) -> Iterator[StoredObject]:
        nonlocal most
        for found in listing(store, prefix):
            key = Told(found.key)
            alive.add(id(key))
            most = max(most, len(alive))
            yield replace(found, key=key)
            del key

    monkeypatch.setattr(GeneratedStore, "list_objects", watched)
    looked_at(tmp_path, Traffic())
    assert 0 < most <= 3 * ABREAST + SIZE.collections < SIZE.objects


def test_a_run_file_has_a_line_for_each_step_and_is_read_back(tmp_path: Path) -> None:
    loaded, plan = planned(tmp_path)
    run = StateDirectory(tmp_path / "state", FakeClock()).begin(loaded, plan)
    lines = run.file.read_text().splitlines()
    assert sum(line.startswith('{"kind": ') for line in lines) == len(plan.steps)
    assert max(map(len, lines)) < 10_000
    (found,) = StateDirectory(tmp_path / "state", FakeClock()).runs()
    assert found == run


def test_a_run_file_that_is_one_text_is_read_as_well(tmp_path: Path) -> None:
    """As earlier versions wrote it."""
    loaded, plan = planned(tmp_path)
    run = StateDirectory(tmp_path / "state", FakeClock()).begin(loaded, plan)
    run.file.write_text(json.dumps(json.loads(run.file.read_text()), indent=1))
    (found,) = StateDirectory(tmp_path / "state", FakeClock()).runs()
    assert found == run


def test_a_run_that_somebody_holds_is_not_read_again(tmp_path: Path) -> None:
    loaded, plan = planned(tmp_path)
    state = StateDirectory(tmp_path / "state", FakeClock())
    state.begin(loaded, plan)
    (held,) = state.runs()
    assert next(state.runs()) is held
    assert next(state.latest_runs()) is held


def test_only_runs_of_the_plan_are_read(tmp_path: Path) -> None:
    loaded, plan = planned(tmp_path)
    state = StateDirectory(tmp_path / "state", FakeClock())
    run = state.begin(loaded, plan)
    other = state.begin(replace(loaded, name="a-to-b-too"), replace(plan, name="a-to-b-too"))
    other.file.write_text("{")
    assert list(state.runs("a-to-b")) == [run]


def test_what_all_steps_are_at_is_what_each_is_at(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", FakeClock())
    histories = {
        "finished": (StepEvent.STARTED, StepEvent.FINISHED),
        "anew": (StepEvent.STARTED, StepEvent.FINISHED, StepEvent.RENEWED),
        "again": (StepEvent.STARTED, StepEvent.RENEWED, StepEvent.STARTED, StepEvent.NOTED, StepEvent.FINISHED),
        "failed": (StepEvent.STARTED, StepEvent.NOTED, StepEvent.FAILED, StepEvent.NOTED),
        "noted": (StepEvent.NOTED,),
    }
    for key, events in histories.items():
        for event in events:
            journal.add(key, event, {"of": key})
    assert journal.finished() == {key for key in histories if journal.is_finished(key)} == {"finished", "again"}
    assert journal.begun() == {"finished", "anew", "again", "failed"}
    last = {key: entry for key in histories if (entry := journal.last_event(key))}
    assert journal.last_events() == last
    assert journal.last_kinds() == {key: entry.event for key, entry in last.items()}
    journal.close()


def test_of_many_steps_what_is_left_is_summed_up_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, clock = all_of_it(tmp_path), FakeClock()
    readers = generated_readers(Size(collections=700, segments=1), Traffic())
    plan = make_plan(loaded, replace(refresh(loaded, readers, ()), target_version="2.3.5"))
    left = Mock(wraps=Pace().left)
    monkeypatch.setattr(Pace, "left", left)
    track = Track(plan, clock, finished=[plan.steps[0].key])
    for _ in range(20):
        track.view()
        clock.sleep(1.0)
    assert len(plan.steps) > 4_000
    assert left.call_count == 4
