"""What a step is: a frozen value that can describe, probe and apply itself.

Clients arrive with the context, so plans compare with `==`, print, and travel as JSON. `probe` is given reader ports:
that it cannot write is a fact of the types.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol

from migrator.steps.allowance import Allowance
from migrator.steps.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from migrator.ports.clock import Clock
    from migrator.ports.engine import Engine
    from migrator.ports.lease import Lease
    from migrator.ports.ledger import JsonValue, Ledger, LedgerReader
    from migrator.ports.milvus import MilvusReader, MilvusSource, MilvusTarget
    from migrator.ports.rows import DumpReader
    from migrator.ports.store import ObjectReader, ObjectStore


GIVE_UP = "if it is not right, give the run up with migrator rollback, and plan again"
"""The way out of a run that cannot go on, for hints."""


class Evidence(StrEnum):
    """What a look at the world says of a step that may have been started before."""

    ABSENT = "absent"
    """Its effect is not there, or not wholly: apply it."""
    RUNNING = "running"
    """The server is at it: apply waits for it."""
    DONE = "done"
    """Its effect is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a finished step did; bytes are object sizes, not network traffic."""

    rows: int = 0
    objects: int = 0
    size_bytes: int = 0
    detail: str = ""


class ProgressReport(Protocol):
    """How a step says how far it is; totals of 0 mean unknown. `jobs` are import jobs, where the step has them."""

    def __call__(
        self,
        message: str = "",
        *,
        done: int = 0,
        total: int = 0,
        unit: str = "",
        size_bytes: int = 0,
        total_bytes: int = 0,
        jobs_done: int = 0,
        jobs: int = 0,
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContext:
    """What a probe may use: everything can be read, nothing written."""

    run_id: str
    ledger: LedgerReader
    source: MilvusReader
    target: MilvusReader
    source_store: ObjectReader
    target_store: ObjectReader
    staging: ObjectReader
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What an applied step may use; writers only where the plan lets a run write."""

    run_id: str
    ledger: Ledger
    source: MilvusSource
    target: MilvusTarget
    source_store: ObjectReader
    target_store: ObjectStore
    """The one that the target imports from: written to where staging is another; staging itself without a target."""
    staging: ObjectStore
    clock: Clock
    lease: Lease
    workers: Executor
    """For the many small requests of a step; shared by all steps, so that limits hold for the run."""
    dump_reader: DumpReader
    progress: ProgressReport
    throttle: Throttle = field(default_factory=Throttle)
    """Shared by all steps, as the workers are."""
    engine: Engine | None = None
    """Where shards of steps go; None where all is done by this process."""
    copies: Allowance = field(default_factory=lambda: Allowance(64))
    """Of objects in flight; shared too."""
    jobs: Allowance = field(default_factory=lambda: Allowance(8))
    """Of import jobs at the target; shared too."""

    def reading(self) -> ReadContext:
        """The same, for what only looks."""
        return ReadContext(
            run_id=self.run_id,
            ledger=self.ledger,
            source=self.source,
            target=self.target,
            source_store=self.source_store,
            target_store=self.target_store,
            staging=self.staging,
            clock=self.clock,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """A node of the plan's graph.

    `needs` are keys of steps that have to be finished before this one; `follows` are keys of steps that have to be
    over, finished or not. `collection` groups steps for people: the mapping's target, empty for steps of the run.
    """

    kind: ClassVar[str]
    needs: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    collection: str = ""

    @property
    @abstractmethod
    def key(self) -> str:
        """Stable over re-planning: the kind, and what it acts on."""

    @abstractmethod
    def describe(self) -> str:
        """What it does, in a few words a reviewer understands."""

    @abstractmethod
    def probe(self, ctx: ReadContext) -> Evidence:
        """Look whether the effect is there; asked on resume, and before every further attempt."""

    @abstractmethod
    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Bring the effect about; safe to repeat after any interruption."""

    def note(self, ctx: StepContext, **values: JsonValue) -> None:
        """Note something of this step, durably, for all later attempts."""
        ctx.ledger.note(self.key, values)

    def notes(self, ctx: ReadContext | StepContext) -> Mapping[str, JsonValue]:
        """What was noted of this step, over all attempts."""
        return ctx.ledger.notes(self.key)
