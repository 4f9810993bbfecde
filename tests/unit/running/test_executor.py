"""Walking the graph: who waits for whom, what a failure stops, and how the run comes out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import pytest

from migrator.errors import (
    DumpDamaged,
    Interrupted,
    ListingOutdated,
    LockHeld,
    MigratorError,
    MilvusRefused,
    MilvusUnavailable,
    RunError,
    SourceMoved,
    StepInDoubt,
    StoreUnavailable,
    VerificationFailed,
)
from migrator.running.clock import StopSignal
from migrator.running.events import StepState
from migrator.running.executor import MAX_GENERATIONS, RunResult
from migrator.running.journal import Journal, StepEvent
from migrator.steps.base import Evidence, Outcome, Step
from tests.support.builders import Pair, RecordingWatcher, a_context, run_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from migrator.steps.base import ReadContext, StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand(Step):
    """A step that does what it is told to, and notes it in `log`."""

    kind: ClassVar[str] = "errand"
    name: str
    log: list[str] = field(default_factory=list)
    does: Callable[[], None] = lambda: None
    evidence: Evidence = Evidence.ABSENT

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    def describe(self) -> str:
        """Its name."""
        return self.name

    def probe(self, ctx: ReadContext) -> Evidence:  # noqa: ARG002 - of the base
        """What it is told to see."""
        self.log.append(f"probe {self.name}")
        return self.evidence

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:  # noqa: ARG002 - of the base
        """What it is told to do."""
        self.log.append(self.name)
        self.does()
        return Outcome(rows=3, detail=evidence)


def failing(error: BaseException, *, times: int = 1_000) -> Callable[[], None]:
    left = [error] * times

    def fail() -> None:
        if left:
            raise left.pop()

    return fail


@dataclass(slots=True)
class Run:
    """A journal and its context, for one attempt after another."""

    ctx: StepContext
    journal: Journal
    pair: Pair
    log: list[str] = field(default_factory=list)
    watcher: RecordingWatcher = field(default_factory=RecordingWatcher)
    stop: StopSignal = field(default_factory=StopSignal)

    def errand(self, name: str, does: Callable[[], None] = lambda: None, *needs: str, follows: str = "") -> Errand:
        """A step that needs, and perhaps follows, others."""
        return Errand(name=name, does=does, log=self.log, needs=needs, follows=(follows,) if follows else ())

    def attempt(self, *steps: Step, parallelism: int = 1, max_elapsed_s: float = 600.0) -> RunResult:
        """As the command does it."""
        return run_steps(
            steps,
            self.ctx,
            self.journal,
            stop=self.stop,
            watcher=self.watcher,
            parallelism=parallelism,
            max_elapsed_s=max_elapsed_s,
        )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    pair = Pair()
    with a_context(pair, tmp_path) as ctx:
        assert isinstance(ctx.ledger, Journal)
        yield Run(ctx, ctx.ledger, pair)


FAILURE = RunError("no")


# -- order ------------------------------------------------------------------------------------------------------------


def test_steps_wait_for_what_they_need(run: Run) -> None:
    steps = [run.errand("c", lambda: None, "a", "b"), run.errand("b", lambda: None, "a"), run.errand("a")]
    result = run.attempt(*steps)
    assert run.log == ["a", "b", "c"]
    assert result.is_complete
    assert result.exit_code == 0


def test_a_need_that_is_no_step_of_the_plan_blocks(run: Run) -> None:
    result = run.attempt(run.errand("a", lambda: None, "gone"))
    assert run.log == []
    assert result.exit_code != 0


def test_independent_steps_run_side_by_side(run: Run) -> None:
    """Each waits for the other: they can only end together."""
    both = threading.Barrier(2)

    def meet() -> None:
        both.wait(10)

    assert run.attempt(run.errand("a", meet), run.errand("b", meet), parallelism=2).is_complete


def test_no_more_than_parallelism_run_at_a_time(run: Run) -> None:
    guard, now, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.01)
        with guard:
            now -= 1

    assert run.attempt(*(run.errand(f"s{n}", work) for n in range(9)), parallelism=3).is_complete
    assert 1 < most <= 3


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallelism", [1, 4])
def test_a_failure_stops_only_what_needs_it(run: Run, parallelism: int) -> None:
    result = run.attempt(
        run.errand("a", failing(FAILURE)),
        run.errand("a2", lambda: None, "a"),
        run.errand("a3", lambda: None, "a2"),
        run.errand("b"),
        run.errand("b2", lambda: None, "b"),
        run.errand("end", follows="a"),
        run.errand("end3", follows="a3"),
        parallelism=parallelism,
    )
    assert result.states == {
        "a": StepState.FAILED,
        "a2": StepState.BLOCKED,
        "a3": StepState.BLOCKED,
        "b": StepState.FINISHED,
        "b2": StepState.FINISHED,
        "end": StepState.FINISHED,
        "end3": StepState.FINISHED,
    }
    assert result.failures == {"a": FAILURE}
    assert result.exit_code == 20
    assert ("blocked", "a3") in run.watcher.told


def test_a_follower_waits_until_the_other_is_over(run: Run) -> None:
    run.attempt(run.errand("end", follows="a"), run.errand("a", failing(FAILURE)))
    assert run.log == ["a", "end"]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([StepInDoubt("x"), RunError("x"), VerificationFailed("x"), SourceMoved("x"), LockHeld("x")], 22),
        ([LockHeld("x"), RunError("x")], 21),
        ([RunError("x"), VerificationFailed("x"), SourceMoved("x")], 20),
        ([VerificationFailed("x"), SourceMoved("x")], 50),
        ([SourceMoved("x")], 51),
        ([MilvusRefused("x")], 20),
        ([MilvusRefused("x"), VerificationFailed("x")], 20),
        ([ValueError("x"), StepInDoubt("x")], 1),
    ],
    ids=str,
)
def test_the_gravest_failure_decides_the_exit_code(run: Run, errors: list[Exception], code: int) -> None:
    steps = [run.errand(f"s{number}", failing(error)) for number, error in enumerate(errors)]
    assert run.attempt(*steps).exit_code == code
    assert run.attempt(*reversed(steps)).exit_code == code


def test_a_bug_fails_its_step_and_spares_the_others(run: Run) -> None:
    bug = KeyError("x")
    result = run.attempt(run.errand("a", failing(bug)), run.errand("b"))
    assert result.bugs == [bug]
    assert result.states == {"a": StepState.FAILED, "b": StepState.FINISHED}
    assert "this is a bug" in result.failures["a"].hint
    assert result.exit_code == 1


def test_a_failure_is_in_the_journal_in_words(run: Run) -> None:
    run.attempt(run.errand("a", failing(MilvusRefused("no", hint="ask"))))
    last = run.journal.last_event("a")
    assert last is not None
    assert last.event is StepEvent.FAILED
    assert last.data == {"error": "MilvusRefused", "message": "no", "hint": "ask"}


# -- again ------------------------------------------------------------------------------------------------------------


def test_an_error_that_passes_is_tried_again_within_the_attempt(run: Run) -> None:
    result = run.attempt(run.errand("a", failing(StoreUnavailable("x"), times=3)))
    assert result.is_complete
    assert run.log == ["a", "probe a", "a", "probe a", "a", "probe a", "a"]
    assert [what for what, _ in run.watcher.told].count("waits") == 3


def test_an_error_that_does_not_pass_ends_with_the_budget(run: Run) -> None:
    result = run.attempt(run.errand("a", failing(MilvusUnavailable("x"))), max_elapsed_s=60)
    assert result.exit_code == 20
    assert 60 < run.pair.clock.monotonic() < 60 + 5 + 1


def test_resume_leaves_alone_what_is_finished_and_probes_what_was_started(run: Run) -> None:
    steps = [run.errand("a"), run.errand("b", failing(FAILURE, times=1), "a"), run.errand("c", lambda: None, "b")]
    assert run.attempt(*steps).exit_code == 20
    assert run.attempt(*steps).is_complete
    assert run.log == ["a", "b", "probe b", "b", "c"]


def test_what_is_found_done_is_not_applied(run: Run) -> None:
    step = Errand(name="a", log=run.log, does=failing(FAILURE, times=1), evidence=Evidence.DONE)
    run.attempt(step)
    assert run.attempt(step).is_complete
    assert run.log == ["a", "probe a"]
    last = run.journal.last_event("a")
    assert last is not None
    assert last.data["detail"] == "found done"


def test_a_finished_run_has_nothing_left_to_do(run: Run) -> None:
    run.attempt(run.errand("a"))
    assert run.attempt(run.errand("a")).exit_code == 0
    assert run.log == ["a"]


def test_an_outcome_is_in_the_journal(run: Run) -> None:
    run.attempt(run.errand("a"))
    assert [(e.event, e.data) for e in run.journal.entries("a")] == [
        (StepEvent.STARTED, {}),
        (StepEvent.FINISHED, {"rows": 3, "objects": 0, "size_bytes": 0, "detail": "absent"}),
    ]


# -- begun anew ------------------------------------------------------------------------------------------------------

GONE = ListingOutdated("a has vanished since it was listed", renews=("list",), hint="hurry")


def listing_and_copy(run: Run, copies: Callable[[], None]) -> list[Step]:
    """A listing, a copy that stands on it, an import that needs the copy, and what has nothing to do with them."""
    copy = Errand(name="copy", log=run.log, does=copies, needs=("list",))
    return [run.errand("list"), copy, run.errand("import", lambda: None, "copy"), run.errand("other")]


def test_an_outdated_listing_is_made_anew_before_the_copy_goes_on(run: Run) -> None:
    result = run.attempt(*listing_and_copy(run, failing(GONE, times=2)))
    assert result.is_complete
    done = [name for name in run.log if name != "other" and not name.startswith("probe")]
    assert done == ["list", "copy", "list", "copy", "list", "copy", "import"]
    assert run.log.count("other") == 1
    assert run.watcher.told.count(("renewed", "copy")) == 2
    reasons = [entry.data for entry in run.journal.entries("list") if entry.event is StepEvent.RENEWED]
    assert reasons == [{"reason": GONE.message}] * 2


def test_what_is_begun_anew_finds_none_of_its_old_notes(run: Run) -> None:
    """A step that says by its notes that it was done would be skipped."""
    notes: list[object] = []

    def listing() -> None:
        notes.append(run.journal.notes("list"))
        run.journal.note("list", {"frozen": len(notes)})

    steps = listing_and_copy(run, failing(GONE, times=1))
    assert run.attempt(run.errand("list", listing), *steps[1:]).is_complete
    assert notes == [{}, {}]
    assert run.journal.notes("list") == {"frozen": 2}


def test_a_source_that_never_holds_still_fails_the_copy_after_some_generations(run: Run) -> None:
    result = run.attempt(*listing_and_copy(run, failing(GONE)))
    assert result.exit_code == 20
    assert result.failures == {"copy": GONE}
    assert run.log.count("list") == run.log.count("copy") == 1 + MAX_GENERATIONS
    assert result.states["import"] is StepState.BLOCKED
    assert result.states["other"] is StepState.FINISHED


def test_a_resume_has_all_its_generations_again(run: Run) -> None:
    assert run.attempt(*listing_and_copy(run, failing(GONE))).exit_code == 20
    assert run.attempt(*listing_and_copy(run, failing(GONE, times=MAX_GENERATIONS))).is_complete


def test_nothing_is_begun_anew_once_an_import_stands_on_it(run: Run) -> None:
    """What was sent to the target was of the old listing: with a new one rows would come twice."""
    run.journal.add("import", StepEvent.STARTED)
    result = run.attempt(*listing_and_copy(run, failing(GONE)))
    assert result.failures == {"copy": GONE}
    assert run.log.count("list") == run.log.count("copy") == 1
    assert run.journal.times_renewed("list") == 0


def test_a_damaged_copy_is_made_again_though_imports_have_begun(run: Run) -> None:
    """The same listing once more: the import goes on, and what checks it later waits for the copy too."""
    damaged = DumpDamaged("b is missing", renews=("copy",))
    result = run.attempt(
        run.errand("list"),
        run.errand("copy", lambda: None, "list"),
        run.errand("import", failing(damaged, times=1), "copy"),
        run.errand("verify", failing(damaged, times=1), "import"),
    )
    assert result.is_complete
    done = [name for name in run.log if not name.startswith("probe")]
    assert done == ["list", "copy", "import", "copy", "import", "verify", "copy", "verify"]
    assert run.journal.times_renewed("list") == run.journal.times_renewed("import") == 0


def test_a_copy_that_finds_its_own_work_damaged_is_tried_again_and_then_fails(run: Run) -> None:
    damaged = DumpDamaged("b is missing", renews=("copy",))
    result = run.attempt(run.errand("copy", failing(damaged)), run.errand("import", lambda: None, "copy"))
    assert result.failures == {"copy": damaged}
    assert result.exit_code == 20
    assert run.log.count("copy") == 1 + MAX_GENERATIONS


def test_what_begins_from_nothing_lets_the_copy_find_its_listing_outdated_too(run: Run) -> None:
    """What the import had asked for is gone: it stands on no listing any more, and forgets what it noted."""
    moved = ListingOutdated("files moved", renews=("list", "copy"), from_nothing=True)
    endings = iter([None, GONE, None])
    notes: list[object] = []

    def copying() -> None:
        if (error := next(endings)) is not None:
            raise error

    def importing() -> None:
        notes.append(run.journal.notes("import"))
        run.journal.note("import", {"batches": len(notes)})
        if len(notes) == 1:
            raise moved

    steps = [run.errand("list"), run.errand("copy", copying, "list"), run.errand("import", importing, "copy")]
    result = run.attempt(*steps)
    assert result.is_complete, result.failures
    assert notes == [{}, {}]
    assert run.log.count("list") == run.log.count("copy") == 3


def test_a_death_between_listing_and_copy_goes_on_with_the_new_listing(run: Run) -> None:
    for key in ("list", "copy"):
        run.journal.add(key, StepEvent.STARTED)
    run.journal.add("list", StepEvent.FINISHED)
    run.journal.add("list", StepEvent.RENEWED)
    assert run.attempt(*listing_and_copy(run, lambda: None)).is_complete
    assert [name for name in run.log if name != "other"] == ["list", "probe copy", "copy", "import"]


# -- stop -------------------------------------------------------------------------------------------------------------


def test_a_stop_parks_what_runs_and_starts_nothing_more(run: Run) -> None:
    def stopped() -> None:
        run.stop.ask()
        raise Interrupted("the run was stopped")

    result = run.attempt(run.errand("a", stopped), run.errand("b"), run.errand("c", lambda: None, "a"))
    assert result.states["a"] is StepState.PARKED
    assert result.states["b"] is StepState.WAITING
    assert result.exit_code == 130
    assert run.log == ["a"]
    run.stop = StopSignal()
    assert run.attempt(run.errand("a"), run.errand("b"), run.errand("c", lambda: None, "a")).is_complete


def test_a_stop_while_waiting_for_another_try_parks(run: Run) -> None:
    run.pair.clock.error = Interrupted("stop")
    result = run.attempt(run.errand("a", failing(MilvusUnavailable("x"))))
    assert result.states == {"a": StepState.PARKED}
    assert result.exit_code == 130


def test_a_failure_counts_more_than_a_stop(run: Run) -> None:
    def fail() -> None:
        run.stop.ask()
        raise FAILURE

    assert run.attempt(run.errand("a", fail), run.errand("b")).exit_code == 20


# -- a journal that cannot be written ---------------------------------------------------------------------------------


def test_a_step_whose_start_cannot_be_noted_is_not_begun(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RunError("the journal cannot be used: database or disk is full")

    monkeypatch.setattr(run.journal, "add", full)
    with pytest.raises(RunError, match="disk is full"):
        run.attempt(run.errand("a"))
    assert run.log == []


def test_a_stop_that_cannot_be_noted_is_a_failure_and_no_stop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add = run.journal.add

    def full(step_key: str, event: StepEvent, data: dict[str, int | str] | None = None) -> None:
        if event is StepEvent.PARKED:
            raise RunError("the journal cannot be used: database or disk is full")
        add(step_key, event, data)

    monkeypatch.setattr(run.journal, "add", full)
    with pytest.raises(RunError, match="disk is full"):
        run.attempt(run.errand("a", failing(Interrupted("stop"))))


def test_what_is_no_exception_ends_the_attempt_and_is_not_swallowed(run: Run) -> None:
    with pytest.raises(SystemExit):
        run.attempt(run.errand("a", failing(SystemExit(3))), run.errand("b", lambda: None, "a"))
    assert run.log == ["a"]


def test_a_result_without_failures_is_complete_only_when_all_is_finished() -> None:
    assert RunResult(states={}).exit_code == 0
    assert RunResult(states={"a": StepState.WAITING}).exit_code == 130
    error: MigratorError = LockHeld("x")
    assert RunResult(states={"a": StepState.FAILED}, failures={"a": error}).exit_code == 21
