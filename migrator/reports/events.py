"""Events of a run as `--format json` prints them, one object per line; their schema is `schemas/event.schema.json`.

New events and new members may come within a `format_version`; nothing is taken away or given another meaning.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

EVENT_FORMAT_VERSION: Final = 1
Version = Annotated[Literal[1], Field(description="Of all events of this stream.")]
StepKey = Annotated[str, Field(description="`<kind>:<what it acts on>`, the same in plan, journal and report.")]


class Event(BaseModel):
    """What all have."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    event: str
    at: str = Field(description="UTC.", json_schema_extra={"format": "date-time"})


class NothingToDo(Event):
    """The plan has no steps, or there is no run to go on with."""

    event: Literal["nothing_to_do"] = "nothing_to_do"
    format_version: Version = EVENT_FORMAT_VERSION
    plan: str | None = Field(default=None, description="Its name, if a plan was made.")
    digest: str | None = None


class PreflightDone(Event):
    """What the preflight before a new run found."""

    event: Literal["preflight"] = "preflight"
    format_version: Version = EVENT_FORMAT_VERSION
    findings: list[dict[str, Any]] | None = Field(
        description="As `migrator check --format json` tells them; null where a green one is less than an hour old."
    )


class RunStarted(Event):
    """An attempt at a run begins."""

    event: Literal["run_started"] = "run_started"
    format_version: Version = EVENT_FORMAT_VERSION
    run_id: str
    plan: str
    digest: str
    steps: int
    collections: int = Field(description="Those with something to do.")


class LockWaits(Event):
    """Another run holds what this one needs; told once for each."""

    event: Literal["lock_waits"] = "lock_waits"
    lease: str
    holder: str


class RunWaits(Event):
    """The run as a whole waits: a side is down at a resume, or the bucket with a mirrored journal."""

    event: Literal["run_waits"] = "run_waits"
    seconds: float
    message: str


class RunTold(Event):
    """Something to know of the run as a whole."""

    event: Literal["run_told"] = "run_told"
    message: str


class RunProgressed(Event):
    """How far the run is, every few seconds."""

    event: Literal["run_progressed"] = "run_progressed"
    percent: float = Field(ge=0, le=100, description="By the time that steps are expected to take.")
    steps: int
    steps_done: int
    collections: int
    collections_done: int
    collections_failed: int
    rows: int = Field(description="Imported by this attempt so far.")
    objects: int = Field(description="Copied.")
    size_bytes: int = Field(description="Copied.")
    bytes_per_s: float | None
    retries: int
    seconds_left: tuple[float, float] | None = Field(description="A range; null as long as nothing can be said.")
    running: list[str] = Field(description="Keys of the steps under way.")


class StepStarted(Event):
    """A step begins, or is taken up."""

    event: Literal["step_started"] = "step_started"
    step: StepKey
    collection: str = Field(description="The mapping's target it belongs to; empty for the run as a whole.")
    describe: str


class StepProgressed(Event):
    """How far a step is, at most once a second; totals of 0 mean unknown."""

    event: Literal["step_progressed"] = "step_progressed"
    step: StepKey
    message: str = Field(description="What it does or waits for, in words.")
    done: int
    total: int
    unit: str = Field(description="Of `done` and `total`: objects, rows, %, …")
    size_bytes: int = Field(description="So many of `total_bytes`.")
    total_bytes: int
    jobs_done: int = Field(description="Import jobs that are over, of `jobs`.")
    jobs: int


class StepWaits(Event):
    """An error that passes: it will be tried again."""

    event: Literal["step_waits"] = "step_waits"
    step: StepKey
    seconds: float
    attempt: int = Field(ge=2, description="The number of that try.")
    message: str


class StepRenewed(Event):
    """The listing is outdated: this step and those in `renews` begin anew."""

    event: Literal["step_renewed"] = "step_renewed"
    step: StepKey
    renews: list[str]
    message: str


class StepFinished(Event):
    """A step is done; bytes are object sizes."""

    event: Literal["step_finished"] = "step_finished"
    step: StepKey
    rows: int
    objects: int
    size_bytes: int
    detail: str


class StepFailed(Event):
    """A step failed; what needs it is not tried."""

    event: Literal["step_failed"] = "step_failed"
    step: StepKey
    error: str = Field(description="A name of docs/exit-codes.md.")
    message: str
    hint: str


class StepBlocked(Event):
    """What it needs has failed."""

    event: Literal["step_blocked"] = "step_blocked"
    step: StepKey
    needs: str


class StepParked(Event):
    """Stopped by a person."""

    event: Literal["step_parked"] = "step_parked"
    step: StepKey


class EndedCollection(BaseModel):
    """What became of a mapped collection."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    source: str
    target: str | None
    state: str
    rows: int | None
    verdict: str


class RunEnded(Event):
    """The last one."""

    event: Literal["run_ended"] = "run_ended"
    run_id: str
    exit_code: int
    report: str | None = Field(description="The path of its page.")
    collections: list[EndedCollection]


AnyEvent = Annotated[
    NothingToDo
    | PreflightDone
    | RunStarted
    | LockWaits
    | RunWaits
    | RunTold
    | RunProgressed
    | StepStarted
    | StepProgressed
    | StepWaits
    | StepRenewed
    | StepFinished
    | StepFailed
    | StepBlocked
    | StepParked
    | RunEnded,
    Field(discriminator="event"),
]


def event_schema() -> dict[str, Any]:
    """Of one line."""
    return TypeAdapter(AnyEvent).json_schema(mode="serialization")
