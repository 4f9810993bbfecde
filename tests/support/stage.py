"""A planned migration in memory that can be stopped before any step."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from migrator.planning.planner import make_plan
from migrator.running.journal import Journal, StepEvent
from migrator.running.refresh import refresh
from migrator.steps.base import Step
from tests.support.builders import Pair, a_context, a_loaded_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.planning.plan import Plan
    from migrator.steps.base import Outcome, StepContext

S = TypeVar("S", bound=Step)


@dataclass(frozen=True, slots=True)
class Stage:
    """A plan, and the context to do its steps by hand."""

    pair: Pair
    plan: Plan
    ctx: StepContext

    @property
    def journal(self) -> Journal:
        """The ledger with its step entries."""
        assert isinstance(self.ctx.ledger, Journal)
        return self.ctx.ledger

    def step(self, kind: type[S], **changes: Any) -> S:  # noqa: ANN401 - any member of the step
        """The one step of a kind, with members changed."""
        (found,) = [step for step in self.plan.steps if isinstance(step, kind)]
        return replace(found, **changes)

    def apply(self, step: Step) -> Outcome:
        """Do it the way the executor does."""
        evidence = step.probe(self.ctx.reading())
        outcome = step.apply(self.ctx, evidence)
        self.journal.add(step.key, StepEvent.FINISHED)
        return outcome

    def apply_before(self, kind: type[Step]) -> None:
        """All steps that stand before the one of a kind."""
        for step in self.plan.steps:
            if isinstance(step, kind):
                return
            self.apply(step)


@contextmanager
def a_stage(
    folder: Path, pair: Pair, *, collections: str = "[books]", more: str = "options: {transfer: {concurrency: 1}}\n"
) -> Iterator[Stage]:
    """Plan what the pair holds; the versions that a plan takes are tested elsewhere."""
    loaded = a_loaded_plan(folder, collections=collections, more=more)
    observed = replace(refresh(loaded, pair.readers(), ()), source_version="2.3.5", target_version="2.3.5")
    plan = make_plan(loaded, observed)
    with a_context(pair, folder) as ctx:
        yield Stage(pair, plan, ctx)
