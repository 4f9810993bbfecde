"""`load_collection`: queryable again, as the source was or as the plan says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.model.collection import CollectionRef, LoadState
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.create_collection import require_own
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from migrator.steps.base import ReadContext, StepContext


def load_and_wait(
    ctx: StepContext,
    target: CollectionRef,
    *,
    partitions: tuple[str, ...] = (),
    replica_number: int = 1,
    resource_groups: tuple[str, ...] = (),
) -> None:
    """Load and return once the query nodes hold it."""
    ctx.target.load(target, partitions=partitions, replica_number=replica_number, resource_groups=resource_groups)

    def look(_: float) -> Look:
        if ctx.target.load_state(target) is LoadState.LOADED:
            return Look(is_over=True, done=100, total=100, unit="%")
        return Look(is_over=False, done=ctx.target.load_progress(target), total=100, unit="%")

    wait_until_over(ctx, look, doing="target loads")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCollection(Step):
    """Load `target`: the named `partitions`, or all where none is named; likewise on the default resource group."""

    kind: ClassVar[str] = "load_collection"
    target: CollectionRef
    partitions: tuple[str, ...] = ()
    replica_number: int = 1
    resource_groups: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        part = f", {len(self.partitions)} partitions of it" if self.partitions else ""
        replicas = f", {self.replica_number} replicas" if self.replica_number > 1 else ""
        groups = f", in {', '.join(self.resource_groups)}" if self.resource_groups else ""
        return f"load {self.target.short}{part}{replicas}{groups}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Loaded, or not."""
        return Evidence.DONE if ctx.target.load_state(self.target) is LoadState.LOADED else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Ask for it and wait."""
        require_own(ctx, self.target)
        load_and_wait(
            ctx,
            self.target,
            partitions=self.partitions,
            replica_number=self.replica_number,
            resource_groups=self.resource_groups,
        )
        return Outcome()
