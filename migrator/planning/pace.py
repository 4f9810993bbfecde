"""How long a plan takes: a range from rates seen before, which past runs, or this run so far, make narrower.

Each kind of step has a guess, fast and slow, by what it has to do. What was measured is kept as a factor on the middle
of that guess, so that a small run tells something about a large one. Pure: whoever knows the times brings them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import TYPE_CHECKING

from migrator.model.observed import Estimate
from migrator.planning.plan import Action
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.copy_segments import CopySegments
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_index import CreateIndex
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.flush import Flush
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from migrator.planning.plan import Plan
    from migrator.steps.base import Step

MOST_RUNS = 5
"""So many past runs are asked, the latest: servers and networks change."""
DEFAULT_PARALLELISM = 4
_MARGIN = 1.3
"""What was measured may be so much less or more the next time."""
_FAR = 10.0
"""More than so many times what was measured, is partly a guess again."""
_EARLY_S = 2.0
"""A run so short says nothing yet about what is left of it."""
_AROUND_S = (1.0, 10.0)
"""Of connecting and taking the lock, which is no step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one step has to do; `collection` is the step's, empty for the run as a whole."""

    kind: str
    collection: str = ""
    rows: int = 0
    objects: int = 0
    size_bytes: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """When a step was worked at, in seconds of any clock, and which share of its work was done by the end of it."""

    began_s: float
    ended_s: float
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How long it takes: a range, and what that rests on, in words."""

    fast_s: float
    slow_s: float
    rests_on: str
    runs: int = 0
    """Past runs it rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one kind of step: how long it took, and how long the middle of the guess would have it take."""

    took_s: float = 0.0
    guessed_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """Seconds: for a step by itself, for a request, and by what it moves in a second."""

    step_s: float
    request_s: float = 0.0
    objects_per_s: float = 0.0
    bytes_per_s: float = 0.0
    rows_per_s: float = 0.0

    def seconds(self, work: Work) -> float:
        found = self.step_s + work.requests * self.request_s
        if self.objects_per_s:
            found += work.objects / self.objects_per_s
        if self.bytes_per_s:
            found += work.size_bytes / self.bytes_per_s
        if self.rows_per_s:
            found += work.rows / self.rows_per_s
        return found


_OTHER = (_Cost(step_s=0.1), _Cost(step_s=2.0))
_GUESSES = {
    Flush.kind: (_Cost(step_s=0.5, request_s=0.02), _Cost(step_s=5.0, request_s=0.2)),
    DumpMeta.kind: (_Cost(step_s=0.1, objects_per_s=5_000), _Cost(step_s=2.0, objects_per_s=500)),
    CopySegments.kind: (
        _Cost(step_s=0.1, objects_per_s=800, bytes_per_s=500e6),
        _Cost(step_s=1.0, objects_per_s=100, bytes_per_s=40e6),
    ),
    ForwardSegments.kind: (
        _Cost(step_s=0.1, objects_per_s=400, bytes_per_s=250e6),
        _Cost(step_s=1.0, objects_per_s=50, bytes_per_s=20e6),
    ),
    CreateCollection.kind: (_Cost(step_s=0.1), _Cost(step_s=2.0)),
    ImportSegments.kind: (
        _Cost(step_s=0.2, request_s=2.0, bytes_per_s=60e6),
        _Cost(step_s=2.0, request_s=4.0, bytes_per_s=10e6),
    ),
    CreateIndex.kind: (_Cost(step_s=0.5, rows_per_s=50_000), _Cost(step_s=3.0, rows_per_s=2_000)),
    LoadCollection.kind: (_Cost(step_s=0.5, bytes_per_s=500e6), _Cost(step_s=5.0, bytes_per_s=20e6)),
    VerifyCollection.kind: (_Cost(step_s=0.2, rows_per_s=20_000), _Cost(step_s=3.0, rows_per_s=2_000)),
    CleanStaging.kind: (_Cost(step_s=0.1, objects_per_s=2_000), _Cost(step_s=2.0, objects_per_s=100)),
}
"""Fast and slow, as seen on small machines with Milvus 2.3 (docs/operations.md); the ends are wide to be honest."""
_IN_TURN = {CopySegments.kind, ForwardSegments.kind, ImportSegments.kind, CreateIndex.kind}
"""Steps of these kinds share one network, one queue, or the target's processors: side by side each is slower."""


# -- work -------------------------------------------------------------------------------------------------------------


def works_of(plan: Plan) -> dict[str, Work]:
    """What each step of a plan has to do, by its key."""
    estimates = {each.label: each.estimate for each in plan.collections if each.action is Action.MIGRATE}
    everything = _sum(estimates.values())
    return {step.key: _work(step, estimates.get(step.collection, everything)) for step in plan.steps}


def _sum(estimates: Iterable[Estimate]) -> Estimate:
    found = list(estimates)
    return Estimate(
        segments=sum(each.segments for each in found),
        rows=sum(each.rows for each in found),
        objects=sum(each.objects for each in found),
        size_bytes=sum(each.size_bytes for each in found),
        largest_partition_bytes=max((each.largest_partition_bytes for each in found), default=0),
        import_requests=sum(each.import_requests for each in found),
        counted_rows=None,
        in_place_objects=sum(each.in_place_objects for each in found),
        in_place_bytes=sum(each.in_place_bytes for each in found),
    )


def _work(step: Step, estimate: Estimate) -> Work:
    rows = estimate.rows if estimate.counted_rows is None else estimate.counted_rows
    requests = estimate.import_requests if isinstance(step, ImportSegments) else 0
    if isinstance(step, Flush):
        requests = len(step.collections)
    if isinstance(step, VerifyCollection) and not step.depth.level.looks_at_rows:
        rows = 0
    is_copy = isinstance(step, CopySegments)
    return Work(
        kind=step.kind,
        collection=step.collection,
        rows=rows,
        objects=estimate.objects - (estimate.in_place_objects if is_copy else 0),
        size_bytes=estimate.size_bytes - (estimate.in_place_bytes if is_copy else 0),
        requests=requests,
    )


def _guess(work: Work) -> tuple[float, float]:
    fast, slow = _GUESSES.get(work.kind, _OTHER)
    return fast.seconds(work), slow.seconds(work)


def _middle(work: Work) -> float:
    fast, slow = _guess(work)
    return sqrt(fast * slow)


# -- what was measured ------------------------------------------------------------------------------------------------


def measure(works: Mapping[str, Work], stretches: Mapping[str, Stretch]) -> dict[str, Measured]:
    """How long each kind took in one run; steps that take turns are charged for their part of the time alone.

    `works` are those of the run's plan (`works_of`), `stretches` those of its steps that were finished, or of which the
    share is known, by their keys.
    """
    by_kind: dict[str, list[tuple[Work, Stretch]]] = defaultdict(list)
    for key, stretch in stretches.items():
        if key in works and stretch.share > 0:
            by_kind[works[key].kind].append((works[key], stretch))
    found = {}
    for kind, pairs in by_kind.items():
        took = [stretch for _, stretch in pairs]
        found[kind] = Measured(
            took_s=_busy(took) if kind in _IN_TURN else sum(each.ended_s - each.began_s for each in took),
            guessed_s=sum(_middle(work) * min(stretch.share, 1.0) for work, stretch in pairs),
        )
    return found


def _busy(stretches: Iterable[Stretch]) -> float:
    """Seconds in which at least one of them went on."""
    total, until = 0.0, float("-inf")
    for each in sorted(stretches, key=lambda stretch: stretch.began_s):
        total += max(0.0, each.ended_s - max(each.began_s, until))
        until = max(until, each.ended_s)
    return total


@dataclass(frozen=True, slots=True)
class _Factor:
    """On the middle of a guess, and for how much of that it was measured."""

    low: float
    high: float
    measured_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is known of how long work takes; `Pace()` is the guess that nothing was measured for.

    During a run: `Pace.of_runs(past).after(measure(works, stretches)).left(works, shares)`.
    """

    factors: Mapping[str, _Factor] = field(default_factory=dict)
    runs: int = 0
    is_begun: bool = False
    """Whether the run itself was measured."""

    @classmethod
    def of_runs(cls, runs: Sequence[Mapping[str, Measured]]) -> Pace:
        """From past runs, each as `measure` tells of it; the latest `MOST_RUNS` count."""
        told = [run for run in runs if run][-MOST_RUNS:]
        kinds = {kind for run in told for kind in run}
        factors = {kind: _factor([run[kind] for run in told if kind in run]) for kind in sorted(kinds)}
        return cls(factors=factors, runs=len(told))

    def after(self, measured: Mapping[str, Measured]) -> Pace:
        """As this run itself has it so far, where that says enough already; its first batches beat all past runs."""
        told = {kind: each for kind, each in measured.items() if each.took_s >= _EARLY_S}
        if not told:
            return self
        factors = {**self.factors, **{kind: _factor([each]) for kind, each in told.items()}}
        return replace(self, factors=factors, is_begun=True)

    def left(
        self,
        works: Mapping[str, Work],
        shares: Mapping[str, float] | None = None,
        *,
        parallelism: int = DEFAULT_PARALLELISM,
    ) -> Expected:
        """How long what is left will take; `shares` are those done of steps, 1.0 for finished ones, 0.0 by default."""
        done = shares or {}
        todo = [(work, 1.0 - min(done.get(key, 0.0), 1.0)) for key, work in works.items()]
        todo = [(work, share) for work, share in todo if share > 0]
        spans = self._spans(todo)
        fast, slow = (_Schedule(todo, [span[end] for span in spans]) for end in (0, 1))
        around = (0.0, 0.0) if done else _AROUND_S
        return Expected(
            fast_s=around[0] + max(fast.longest_chain_s, fast.longest_turn_s, fast.total_s / parallelism),
            slow_s=around[1] + max(slow.longest_chain_s, slow.turns_s + slow.others_s / parallelism),
            rests_on=self._rests_on(todo),
            runs=self.runs,
        )

    def alone(self, work: Work) -> tuple[float, float]:
        """How long a step takes by itself, fast and slow."""
        guess = _guess(work)
        return self._span(work, 1.0, guess, sqrt(guess[0] * guess[1]))

    def middles(self, works: Mapping[str, Work]) -> dict[str, float]:
        """Seconds that each step takes by itself, between fast and slow."""
        spans = self._spans([(work, 1.0) for work in works.values()])
        return {key: sqrt(fast * slow) for key, (fast, slow) in zip(works, spans, strict=True)}

    def each(self, works: Mapping[str, Work]) -> dict[str, Expected]:
        """How long each collection takes by itself, by its label."""
        by_collection: dict[str, dict[str, Work]] = defaultdict(dict)
        for key, work in works.items():
            if work.collection:
                by_collection[work.collection][key] = work
        found = {}
        for label, own in by_collection.items():
            spans = self._spans([(work, 1.0) for work in own.values()])
            fast_s, slow_s = (sum(span[end] for span in spans) for end in (0, 1))
            found[label] = Expected(fast_s=fast_s, slow_s=slow_s, rests_on=self._rests_on([]), runs=self.runs)
        return found

    def _spans(self, todo: Sequence[tuple[Work, float]]) -> list[tuple[float, float]]:
        """Fast and slow, of each."""
        guesses = [_guess(work) for work, _ in todo]
        wanted: dict[str, float] = defaultdict(float)
        for (work, share), (fast, slow) in zip(todo, guesses, strict=True):
            wanted[work.kind] += share * sqrt(fast * slow)
        pairs = zip(todo, guesses, strict=True)
        return [self._span(work, share, guess, wanted[work.kind]) for (work, share), guess in pairs]

    def _span(self, work: Work, share: float, guess: tuple[float, float], wanted_s: float) -> tuple[float, float]:
        fast, slow = guess
        factor = self.factors.get(work.kind)
        if factor is not None:
            middle = sqrt(fast * slow)
            is_far = wanted_s > _FAR * factor.measured_s
            fast = min(middle * factor.low, fast) if is_far else middle * factor.low
            slow = max(middle * factor.high, slow) if is_far else middle * factor.high
        return share * fast, share * slow

    def _rests_on(self, todo: Sequence[tuple[Work, float]]) -> str:
        if self.is_begun:
            return "from this run so far"
        if not self.runs:
            return "a guess: no run yet"
        wanted = sum(share * _middle(work) for work, share in todo)
        far = wanted > _FAR * sum(factor.measured_s for factor in self.factors.values())
        past = f"from {self.runs} past run{'' if self.runs == 1 else 's'}"
        return f"{past}, far smaller than this" if far else past


def _factor(measured: Sequence[Measured]) -> _Factor:
    ratios = [max(each.took_s, 0.01) / each.guessed_s for each in measured]
    return _Factor(min(ratios) / _MARGIN, max(ratios) * _MARGIN, max(each.guessed_s for each in measured))


class _Schedule:
    """Sums of what is left, by what bounds it: chains of steps that wait for one another, and turns."""

    def __init__(self, todo: Sequence[tuple[Work, float]], seconds: Sequence[float]) -> None:
        chains: dict[str, float] = defaultdict(float)
        turns: dict[str, float] = defaultdict(float)
        self.others_s = 0.0
        for (work, _), each in zip(todo, seconds, strict=True):
            chains[work.collection] += each
            if work.kind in _IN_TURN:
                turns[work.kind] += each
            else:
                self.others_s += each
        self.turns_s = sum(turns.values())
        self.longest_turn_s = max(turns.values(), default=0.0)
        self.total_s = self.turns_s + self.others_s
        self.longest_chain_s = chains.pop("", 0.0) + max(chains.values(), default=0.0)
