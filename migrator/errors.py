"""The tree of errors, and the exit code of each.

    MigratorError
      SpecError            10   the plan file is wrong: all complaints at once, each with file and line
      PlanError            11   no plan can be made: a conflict, nothing matches, versions, a wrong root path
        StalePlan          12   the plan file, or the world, moved since the run began
      RunError             20   a run failed or is unfinished; it can be resumed
        LockHeld           21   somebody else's run holds what this one needs
        StepInDoubt        22   a person has to look
        EngineUnavailable       no workers that shards can be sent to: worth another try
        EngineRefused           its workers are not such as can do them
      MilvusError          30   Milvus, before a run began
        MilvusUnavailable       nothing answers: worth another try
          MilvusBusy            it takes no more requests now, and did nothing
            ImportsFull         it has as many import jobs as it takes
        MilvusRefused           it answered, and said no
          TooManyFiles          an import request names more files than it takes
          NothingToImport       it sees no files where an import request says they are
      StoreError           40   storage, before a run began
        StoreUnavailable        nothing answers: worth another try
        StoreRefused            it answered, and said no
        ObjectMissing           the key is not there
        BackupUnreadable        a backup's meta files are missing, or are not what they should be
      VerificationFailed   50   source and target differ
        SourceMoved        51   the source has moved since the cut, so they cannot be compared
      Interrupted         130   stopped by a person; the state is saved

A message is one sentence that names the thing and what happened to it; a hint is the command or edit most likely to
help, or empty. During a run an error of 30 or 40 ends a step, and the run then ends with 20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where in a file something stands; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with a plan.

    `field` is the dotted path in the plan file (`collections[0].target`), empty for the file as a whole; `value` is
    the offending value as written, or `None` where there is none or where it may be a secret.
    """

    message: str
    field: str = ""
    hint: str = ""
    value: str | None = None
    position: Position | None = None

    def __str__(self) -> str:
        head = ": ".join(part for part in (str(self.position or ""), self.field) if part)
        value = "" if self.value is None else f" (got {self.value})"
        return (f"{head}: " if head else "") + self.message + value


class MigratorError(Exception):
    """Anything a user is told in a sentence; never shown with a traceback."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class _ComplaintsError(MigratorError):
    """An error made of complaints, shown together."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(str(complaint) for complaint in self.complaints))


class SpecError(_ComplaintsError):
    """The plan file is wrong."""

    exit_code = 10


class PlanError(_ComplaintsError):
    """The plan file is well-formed, but no plan can be made of it with what the clusters hold."""

    exit_code = 11


class StalePlan(MigratorError):
    """What a run was frozen from has been edited, or the world moved away from it."""

    exit_code = 12


class RunError(MigratorError):
    """A run failed or is unfinished; `migrator apply --resume` goes on with it."""

    exit_code = 20


class ImportJobFailed(RunError):
    """The target's import task ended in failure."""


class ImportIncomplete(RunError):
    """An import task says completed, and its row count cannot be."""


class ImportStalled(RunError):
    """No progress for longer than we wait; the task goes on, and so can we on resume."""


class SnapshotFailed(RunError):
    """A snapshot, or a restore of one, did not come about."""


class JournalUnusable(RunError):
    """The journal cannot be read or written: nothing may go on without it."""


class Outdated(RunError):
    """Something a step stands on does not hold any more: the steps `renews`, by their keys, have to be done anew.

    With `from_nothing` the step that says so forgets its notes too: what they are of is gone.
    """

    def __init__(self, message: str, *, renews: tuple[str, ...], hint: str = "", from_nothing: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.renews = renews
        self.from_nothing = from_nothing


class ListingOutdated(Outdated):
    """What was frozen of the source has vanished or changed before it was copied: it has to be listed again."""


class DumpDamaged(Outdated):
    """Copies that were made are not there any more, or not as they were: they have to be made again."""


class StagedFilesDiffer(RunError):
    """What lies under the dump's prefix is not the frozen listing."""


class BinlogUnreadable(RunError):
    """A binlog is damaged, or of a format that is not known here."""


class SourceBusy(RunError):
    """The source did not hold still long enough to be listed."""


class SchemaDiffers(RunError):
    """The collection at the target is not the one that was asked for."""


class RetryableRunError(RunError):
    """A state that passes by itself: worth another try within the retry budget."""

    retryable = True


class EngineUnavailable(RunError):
    """Nothing answers where shards of a run are to be sent, or it has lost them."""

    retryable = True


class EngineRefused(RunError):
    """What shards are to be sent to cannot do them: it has another version of migrator, or none."""


class LockHeld(RunError):
    """Another run holds a target collection or the dump's name."""

    exit_code = 21


class StepInDoubt(RunError):
    """What a step did cannot be decided from here; doing it again might double rows."""

    exit_code = 22


class MilvusError(MigratorError):
    """Milvus, by itself or by its answer."""

    exit_code = 30


class MilvusUnavailable(MilvusError):
    """Nothing answers at the address, or not in time."""

    retryable = True


class MilvusBusy(MilvusUnavailable):
    """It answered that it takes no more requests now, and did nothing: worth another try."""


class ImportsFull(MilvusBusy):
    """It has as many import jobs as it takes: one more is possible when another is over."""


class MilvusRefused(MilvusError):
    """Milvus answered, and said no."""


class MilvusUnimplemented(MilvusRefused):
    """The server knows the call by name at most, and does not do it."""


class TooManyFiles(MilvusRefused):
    """An import request names more files than it takes; it did nothing."""


class NothingToImport(MilvusRefused):
    """It sees no files where an import request says they are; it did nothing."""


class StoreError(MigratorError):
    """The object store, by itself or by its answer."""

    exit_code = 40


class StoreUnavailable(StoreError):
    """Nothing answers at the endpoint, or not in time."""

    retryable = True


class StoreRefused(StoreError):
    """The store answered, and said no."""


class ObjectMissing(StoreError):
    """There is no object of that key."""


class BackupUnreadable(StoreError):
    """A backup's meta files are missing, or are not what they should be."""


class VerificationFailed(MigratorError):
    """Source and target differ."""

    exit_code = 50


class SourceMoved(VerificationFailed):
    """The source has moved since the cut; what was compared cannot decide."""

    exit_code = 51


class Interrupted(MigratorError):
    """A person asked to stop; what was done is noted."""

    exit_code = 130
