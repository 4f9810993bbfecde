"""An entry of a journal as it travels into the bucket; its schema is `schemas/journal-entry.schema.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Entry(_Model):
    number: int = Field(ge=1, description="Without gaps, from 1.")
    at: str = Field(
        description="UTC, by the clock of the machine that wrote it.", json_schema_extra={"format": "date-time"}
    )
    step_key: str = Field(description="The step, or a batch of it; empty for the run as a whole.")


class Reason(_Model):
    """Why a step is done anew."""

    reason: str = ""


class StepOutcome(_Model):
    """What a step did; bytes are object sizes."""

    rows: int
    objects: int
    size_bytes: int
    detail: str


class AttemptOutcome(_Model):
    """How an attempt at the run ended."""

    exit_code: int


class Failure(_Model):
    """What happened, and what helps."""

    error: str = Field(description="A name of docs/exit-codes.md.")
    message: str
    hint: str


class Started(_Entry):
    """An attempt at a step, or at the run, began."""

    event: Literal["started"]
    data: dict[str, Any]


class Noted(_Entry):
    """What later attempts have to know, by name; a later value replaces an earlier one."""

    event: Literal["noted"]
    data: dict[str, Any]


class Finished(_Entry):
    """A step is done, or an attempt at the run is over."""

    event: Literal["finished"]
    data: StepOutcome | AttemptOutcome


class Failed(_Entry):
    """A step failed."""

    event: Literal["failed"]
    data: Failure


class Parked(_Entry):
    """A step was stopped by a person."""

    event: Literal["parked"]
    data: dict[str, Any]


class Renewed(_Entry):
    """What was noted of the step before counts no more."""

    event: Literal["renewed"]
    data: Reason


class RollbackEntry(_Entry):
    """Of the run as a whole: what it created is being dropped, or is gone."""

    event: Literal["rollback_started", "rolled_back"]
    data: dict[str, Any]


JournalRecord = Annotated[
    Started | Noted | Finished | Failed | Parked | Renewed | RollbackEntry, Field(discriminator="event")
]


def journal_entry_schema() -> dict[str, Any]:
    """Of one entry."""
    return TypeAdapter(JournalRecord).json_schema()
