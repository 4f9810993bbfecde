"""Which step comes next: what is ready, the longest path first, in lanes that do not wait for one another.

Every edge of the graph is looked at once for each time its step comes to an end: a run of ten thousand steps costs no
more for each of them than one of ten does.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING

from migrator.running.events import StepState
from migrator.steps.create_index import CreateIndex
from migrator.steps.import_segments import DELETES, ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from migrator.steps.base import Step

OVER = frozenset({StepState.FINISHED, StepState.FAILED, StepState.BLOCKED, StepState.PARKED})


class Lane(StrEnum):
    """What a step mostly waits for: steps of one lane do not take the places of another's."""

    MOVING = "moving"
    """The source, the stores, and what is created in a moment."""
    IMPORTING = "importing"
    """The target's import queue."""
    PASSING = "passing"
    """Imports of what was empty when it was planned: the queue is nothing to them, unless rows have come since."""
    BUILDING = "building"
    """The target's index builders and query nodes."""
    VERIFYING = "verifying"
    """Both sides, and the dump."""


_LANES = {
    ImportSegments.kind: Lane.IMPORTING,
    DELETES: Lane.IMPORTING,
    CreateIndex.kind: Lane.BUILDING,
    LoadCollection.kind: Lane.BUILDING,
    VerifyCollection.kind: Lane.VERIFYING,
}


_WAITERS = 4
"""So many wait at the target where one works here: a tiny collection is loaded after two seconds, whatever is done."""


def lane_of(step: Step) -> Lane:
    """Where it stands in line."""
    return _LANES.get(step.kind, Lane.MOVING)


def _places(steps: Iterable[Step], parallelism: int) -> dict[Lane, int]:
    """How many steps of each lane go on at a time: of imports as many as the target may have jobs."""
    jobs = [step.max_jobs for step in steps if isinstance(step, ImportSegments)]
    return {
        Lane.MOVING: parallelism,
        Lane.IMPORTING: max([1, *jobs]),
        Lane.PASSING: max([1, *jobs]),
        Lane.BUILDING: _WAITERS * parallelism,
        Lane.VERIFYING: parallelism,
    }


class Schedule:
    """The order of one attempt: told of every step whose state moved, it knows what is ready; for one thread.

    `paths` are the seconds from the begin of each step to the end of all that stands on it: the longest goes first.
    Where they are equal, or not known, it is the plan's order. `passing` are the keys of imports that bring nothing.
    With a parallelism of 1 there is one lane, for one step at a time.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        *,
        paths: Mapping[str, float],
        parallelism: int,
        passing: frozenset[str] = frozenset(),
    ) -> None:
        self._steps = {step.key: step for step in steps}
        self._states = dict.fromkeys(self._steps, StepState.WAITING)
        self._ranks = {key: (-paths.get(key, 0.0), number) for number, key in enumerate(self._steps)}
        if parallelism == 1:
            self._lanes = dict.fromkeys(self._steps, Lane.MOVING)
            self._places = {Lane.MOVING: 1}
        else:
            lanes = {key: lane_of(step) for key, step in self._steps.items()}
            self._lanes = lanes | {key: Lane.PASSING for key in passing if key in lanes}
            self._places = _places(self._steps.values(), parallelism)
        self._taken: Counter[Lane] = Counter()
        self._unmet: dict[str, set[str]] = {}
        self._needed_by: dict[str, list[str]] = defaultdict(list)
        self._followed_by: dict[str, list[str]] = defaultdict(list)
        self._ready: dict[Lane, list[tuple[tuple[float, int], str]]] = {lane: [] for lane in self._places}
        for key, step in self._steps.items():
            self._unmet[key] = unmet = set(step.needs)
            if step.follows:
                unmet.update(each for each in step.follows if each in self._steps)
            for needed in step.needs:
                self._needed_by[needed].append(key)
            for followed in step.follows:
                self._followed_by[followed].append(key)
        for key in self._steps:
            self._offer(key)

    @property
    def most(self) -> int:
        """Steps that may go on at a time."""
        return sum(self._places.values())

    def take(self) -> Iterator[Step]:
        """What may begin now, as long as there are places; it counts as running from here on."""
        for lane, line in self._ready.items():
            while line and self._taken[lane] < self._places[lane]:
                _, key = heapq.heappop(line)
                if self._states[key] is StepState.WAITING and not self._unmet[key]:  # it may have moved since
                    self._states[key] = StepState.RUNNING
                    self._taken[lane] += 1
                    yield self._steps[key]

    def leave(self, step: Step) -> None:
        """Its place is free; what became of it is told by `moved`."""
        self._taken[self._lanes[step.key]] -= 1

    def moved(self, key: str, state: StepState, *, awaits: Iterable[str] = ()) -> list[tuple[str, str]]:
        """A step came to an end, or has to be done anew, and then it needs what it `awaits` too.

        Returns:
            The steps that will not come about for it, each with the one of its needs that is lost.
        """
        self._states[key] = state
        if state is StepState.WAITING:
            return self._begin_anew(key, awaits)
        self._release(self._followed_by[key], key)
        if state is StepState.FINISHED:
            self._release(self._needed_by[key], key)
            return []
        return self._block_what_needs(key)

    def _begin_anew(self, key: str, awaits: Iterable[str]) -> list[tuple[str, str]]:
        for other in (*self._needed_by[key], *self._followed_by[key]):
            self._unmet[other].add(key)
        for each in awaits:
            if self._states[each] is not StepState.FINISHED:
                self._unmet[key].add(each)
            if key not in self._needed_by[each]:
                self._needed_by[each].append(key)
        lost = next((each for each in sorted(self._unmet[key]) if self._is_lost(each)), None)
        if lost is not None:
            self._states[key] = StepState.BLOCKED
            self._release(self._followed_by[key], key)
            return [(key, lost), *self._block_what_needs(key)]
        self._offer(key)
        return []

    def _is_lost(self, key: str) -> bool:
        return self._states.get(key) in OVER - {StepState.FINISHED}

    def _block_what_needs(self, key: str) -> list[tuple[str, str]]:
        """And what needs that, to the end of the chain."""
        found = []
        lost = [key]
        while lost:
            gone = lost.pop()
            for other in self._needed_by[gone]:
                if self._states[other] is StepState.WAITING:
                    self._states[other] = StepState.BLOCKED
                    self._release(self._followed_by[other], other)
                    found.append((other, gone))
                    lost.append(other)
        return found

    def _release(self, others: Iterable[str], key: str) -> None:
        for other in others:
            self._unmet[other].discard(key)
            self._offer(other)

    def _offer(self, key: str) -> None:
        if not self._unmet[key] and self._states[key] is StepState.WAITING:
            heapq.heappush(self._ready[self._lanes[key]], (self._ranks[key], key))
