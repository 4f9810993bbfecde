"""Writing down what is found about one part of a plan."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.model.finding import Finding, Status

if TYPE_CHECKING:
    from migrator.errors import Complaint, MigratorError
    from migrator.model.finding import Part
    from migrator.spec.loaded import LoadedPlan

_FIELD = re.compile(r"\b(?:source|target|staging)(?:\.[a-z_]+)+")


def named_field(error: MigratorError, otherwise: str) -> str:
    """The field of the plan file that an error names first; else that of the part which it came from."""
    found = _FIELD.search(error.message) or _FIELD.search(error.hint)
    return found[0] if found else otherwise


class Findings:
    """The findings of one part, in the order in which they were made."""

    def __init__(self, part: Part, loaded: LoadedPlan) -> None:
        self._part = part
        self._loaded = loaded
        self.all: list[Finding] = []

    @property
    def has_failed(self) -> bool:
        """Whether one of them is a failure."""
        return any(found.status is Status.FAILURE for found in self.all)

    def has_failed_at(self, field: str) -> bool:
        """Whether a failure names the field."""
        return any(found.status is Status.FAILURE and found.field == field for found in self.all)

    def suggest(self, field: str, hint: str) -> None:
        """A better hint for what failed there."""
        failed = [found.status is Status.FAILURE and found.field == field for found in self.all]
        self.all = [
            replace(found, hint=hint) if is_it else found for found, is_it in zip(self.all, failed, strict=True)
        ]

    def ok(self, check: str, message: str, field: str = "") -> None:
        """As it should be."""
        self._add(check, Status.OK, message, field)

    def warn(self, check: str, field: str, message: str, hint: str) -> None:
        """It may go well."""
        self._add(check, Status.WARNING, message, field, hint)

    def fail(
        self, check: str, field: str, message: str, hint: str, *, exit_code: int, value: str | None = None
    ) -> None:
        """It cannot go well."""
        self._add(check, Status.FAILURE, message, field, hint, value, exit_code)

    def unknown(self, check: str, field: str, message: str, hint: str = "") -> None:
        """Nobody tells."""
        self._add(check, Status.UNKNOWN, message, field, hint)

    def skip(self, check: str, field: str, message: str) -> None:
        """Not looked at, for something else that failed."""
        self._add(check, Status.SKIPPED, message, field)

    def error(self, check: str, field: str, error: MigratorError) -> None:
        """An error that says all by itself; of its own field, where it names one."""
        self.fail(check, named_field(error, field), error.message, error.hint, exit_code=error.exit_code)

    def complaint(self, check: str, complaint: Complaint, exit_code: int) -> None:
        """A complaint of the planner."""
        self.fail(check, complaint.field, complaint.message, complaint.hint, exit_code=exit_code, value=complaint.value)

    def _add(  # noqa: PLR0917 - as the fields come
        self,
        check: str,
        status: Status,
        message: str,
        field: str,
        hint: str = "",
        value: str | None = None,
        exit_code: int = 0,
    ) -> None:
        position = self._loaded.locate(field) if field and status is not Status.OK else None
        self.all.append(
            Finding(
                part=self._part,
                check=check,
                status=status,
                message=message,
                field=field,
                hint=hint,
                value=value,
                position=str(position or ""),
                exit_code=exit_code,
            )
        )
