"""What a preflight finds out: a line for a person, and the field of the plan file it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"
    """Nobody tells."""
    SKIPPED = "not_looked_at"
    """It stands on something that failed."""


class Part(StrEnum):
    """What a finding is about; in this order they are shown."""

    SOURCE = "source"
    TARGET = "target"
    STAGING = "staging"
    PLAN = "plan"
    CANARY = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found out.

    `check` is its stable id, `milvus.login`. `field` is the dotted path in the plan file of what to change or of what
    was looked at; `value` is what stands there, and never a secret. `exit_code` is that of a failure, else 0.
    """

    part: Part
    check: str
    status: Status
    message: str
    field: str = ""
    hint: str = ""
    value: str | None = None
    position: str = ""
    exit_code: int = 0


def exit_code_of(findings: Iterable[Finding]) -> int:
    """That of the first failure; 0 where there is none."""
    return next((found.exit_code for found in findings if found.status is Status.FAILURE), 0)
