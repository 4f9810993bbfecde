"""`create_database`: a database the target lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused
from migrator.steps.base import Evidence, Outcome, Step

if TYPE_CHECKING:
    from migrator.ports.ledger import LedgerReader
    from migrator.steps.base import ReadContext, StepContext


def is_own_database(ledger: LedgerReader, name: str) -> bool:
    """Whether this run asked for the database `name`, which was not there before."""
    return ledger.notes(database_key(name)).get("was_absent") is True


def database_key(name: str) -> str:
    """The key of the step that creates the database `name`."""
    return f"{CreateDatabase.kind}:{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDatabase(Step):
    """Create the database `name` at the target; one that appeared meanwhile serves as well."""

    kind: ClassVar[str] = "create_database"
    name: str

    @property
    def key(self) -> str:
        """By the database."""
        return database_key(self.name)

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"create the database {self.name}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """It is there, or not."""
        return Evidence.DONE if self.name in ctx.target.list_databases() else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Create it unless it is there; noted before, so that a rollback knows it for this run's own."""
        if self.probe(ctx.reading()) is not Evidence.DONE:
            self.note(ctx, was_absent=True)
            try:
                ctx.target.create_database(self.name)
            except MilvusRefused:  # somebody was quicker
                self.note(ctx, was_absent=False)
                raise
        return Outcome()
