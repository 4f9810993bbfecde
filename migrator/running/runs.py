"""The state directory: one folder per run, holding what the run was frozen from and its journal."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.errors import JournalUnusable, LockHeld, RunError
from migrator.model.observed import MigratedRecord
from migrator.planning.plan import Action, Plan, plan_from_plain, plan_to_plain
from migrator.running.events import StepState
from migrator.running.files import write_whole
from migrator.running.journal import Journal, JournalEntry, StepEvent
from migrator.spec.loaded import LoadedPlan
from migrator.steps.clean_staging import KEPT, CleanStaging
from migrator.steps.create_collection import noted_id
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.import_deletes import brings_deletes
from migrator.steps.import_segments import imported_rows
from migrator.steps.restored import is_restored
from migrator.steps.verify_collection import VerifyCollection, found_no_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.model.collection import CollectionRef
    from migrator.planning.plan import PlannedCollection
    from migrator.ports.clock import Clock

FORMAT_VERSION = 1
_RUN_FILE = "run.json"
_JOURNAL_FILE = "journal.db"
_LOCK_LOOK_S = 0.5
_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}-\d{8}T\d{6}Z-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it was frozen at its start; `created_at` is UTC in ISO format."""

    run_id: str
    created_at: str
    loaded: LoadedPlan
    plan: Plan
    folder: Path
    saved_plan: str = ""
    """The digest of the saved plan it was begun from; empty where that was a plan file."""

    @property
    def file(self) -> Path:
        """What it was frozen into; never written again."""
        return self.folder / _RUN_FILE

    @property
    def report_file(self) -> Path:
        """The page about it that the last attempt left."""
        return self.folder / "report.html"

    @property
    def log_file(self) -> Path:
        """What its attempts logged, unless another place was named."""
        return self.folder / "run.log"

    def states(self, journal: Journal) -> dict[str, StepState]:
        """Every step's state as the journal tells it."""
        return {step.key: _state(journal, step.key) for step in self.plan.steps}

    def is_complete(self, journal: Journal) -> bool:
        """Whether every step is finished."""
        return all(journal.is_finished(step.key) for step in self.plan.steps)

    def is_unfinished(self, journal: Journal) -> bool:
        """Whether something of it is left to do: steps, or the end of its rollback."""
        rollback = journal.rollback()
        return not self.is_complete(journal) if rollback is None else rollback is StepEvent.ROLLBACK_STARTED

    def was_started(self, journal: Journal) -> bool:
        """Whether any step was ever begun."""
        return any(journal.was_started(step.key) or journal.times_renewed(step.key) for step in self.plan.steps)

    def lease_targets(self) -> list[CollectionRef]:
        """The collections at the target that it needs for itself, by every name they have meanwhile."""
        todo = [each for each in self.plan.collections if each.action is Action.MIGRATE]
        return sorted({ref for each in todo for ref in (each.target, each.built_as) if ref is not None})

    def steps_of(self, planned: PlannedCollection) -> list[str]:
        """The keys of the steps that belong to one mapped collection."""
        return [step.key for step in self.plan.steps if step.collection == planned.label]


def _state(journal: Journal, key: str) -> StepState:
    last = journal.last_event(key)
    if journal.is_finished(key):
        return StepState.FINISHED
    if last is None:
        return StepState.WAITING
    return {
        StepEvent.STARTED: StepState.RUNNING,
        StepEvent.FAILED: StepState.FAILED,
        StepEvent.PARKED: StepState.PARKED,
        StepEvent.RENEWED: StepState.WAITING,
    }.get(last.event, StepState.WAITING)


class StateDirectory:
    """All runs under one folder, `.migrator/` by default; made when the first run begins."""

    def __init__(self, folder: Path, clock: Clock, *, before: Path | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._before = before

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    def begin(self, loaded: LoadedPlan, plan: Plan, *, saved_plan: str = "") -> Run:
        """Freeze a new run: plan file, clusters and plan, with secrets as references only."""
        latest = max((run.created_at for run in self.runs()), default="")
        now = self._clock.now()
        # The order of runs holds if the clock is set back.
        created_at = max(now.isoformat(), _just_after(latest) if latest else "")
        run_id = f"{loaded.name}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        folder = self._folder / "runs" / run_id
        content = {
            "format_version": FORMAT_VERSION,
            "run_id": run_id,
            "created_at": created_at,
            "saved_plan": saved_plan,
            "document": loaded.frozen(),
            "plan": plan_to_plain(plan),
        }
        with self._writing():
            _make_private(folder.parent)
            folder.mkdir(mode=0o700)
            try:
                self._freeze(folder, json.dumps(content, indent=1))
            except (OSError, JournalUnusable):
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return Run(run_id=run_id, created_at=created_at, loaded=loaded, plan=plan, folder=folder, saved_plan=saved_plan)

    def _freeze(self, folder: Path, text: str) -> None:
        """An empty journal, and then the run file, which makes it a run."""
        journal = Journal(folder / _JOURNAL_FILE, self._clock)
        journal.bind(_digest(text.encode()))
        journal.close()
        write_whole(folder / _RUN_FILE, text)

    def adopt(self, run_id: str, content: bytes) -> Run:
        """Take in a run that another machine began, by the bytes of its run file; its journal is empty at first."""
        _require_run_id(run_id, content)
        folder = self._folder / "runs" / run_id
        with self._writing():
            _make_private(folder)
            if not (folder / _RUN_FILE).exists():
                self._freeze(folder, content.decode())
        return self._read(folder / _RUN_FILE)

    def last_numbers(self) -> dict[str, int]:
        """How far the journal of each run is."""
        numbers = {}
        for run in self.runs():
            with self.journal(run) as journal:
                numbers[run.run_id] = journal.last_number()
        return numbers

    def beside(self, other: StateDirectory) -> StateDirectory:
        """The same runs and those of another state directory, which go before their like here."""
        return StateDirectory(self._folder, self._clock, before=other.folder)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, JournalUnusable) as error:
            reason = error.strerror if isinstance(error, OSError) else error.message
            raise RunError(
                f"the state directory {self._folder} cannot be written: {reason}",
                hint="make room, or name another one with --state-dir or MIGRATOR_STATE_DIR",
            ) from error

    def runs(self) -> Iterator[Run]:
        """All runs, the oldest first; a folder without its run file belongs to a run that never began."""
        folders = [self._folder, *([self._before] if self._before else [])]
        paths = {path.parent.name: path for folder in folders for path in (folder / "runs").glob(f"*/{_RUN_FILE}")}
        yield from sorted(map(self._read, paths.values()), key=lambda run: (run.created_at, run.run_id))

    def find_runs(self, beginning: str) -> list[Run]:
        """The runs whose id begins so, the oldest first."""
        return [run for run in self.runs() if run.run_id.startswith(beginning)]

    def unfinished(self, plan_name: str | None = None) -> list[Run]:
        """Runs with steps left to do, or a rollback, of one plan or of all."""
        found = []
        for run in self.runs():
            if plan_name in (None, run.plan.name):
                with self.journal(run) as journal:
                    if run.is_unfinished(journal):
                        found.append(run)
        return found

    @contextmanager
    def journal(self, run: Run, *, read_only: bool = True) -> Iterator[Journal]:
        """The journal of a run, open for as long as the block lasts."""
        journal = Journal(run.folder / _JOURNAL_FILE, self._clock, read_only=read_only)
        try:
            journal.require_bound_to(_digest(run.file.read_bytes()))
            yield journal
        finally:
            journal.close()

    def migrated(self, plan_name: str) -> tuple[MigratedRecord, ...]:
        """What earlier runs of the plan brought to its end, the latest record of each mapping."""
        return self._records(plan_name, _is_finished)

    def brought(self, plan_name: str) -> tuple[MigratedRecord, ...]:
        """The same, and what they brought to where it can be compared: a verification may have failed."""
        return self._records(plan_name, _is_brought)

    def _records(
        self, plan_name: str, is_done: Callable[[Run, PlannedCollection, Journal], bool]
    ) -> tuple[MigratedRecord, ...]:
        records: dict[tuple[str, str], MigratedRecord] = {}
        for run in self.runs():
            if run.plan.name == plan_name:
                with self.journal(run) as journal:
                    for planned in run.plan.collections:
                        record = _record(run, planned, journal) if is_done(run, planned, journal) else None
                        if record is not None:
                            records[(str(planned.source), str(planned.target))] = record
        return tuple(records.values())

    def rollback_of(self, run: Run) -> StepEvent | None:
        """How far a run is rolled back."""
        with self.journal(run) as journal:
            return journal.rollback()

    def last_entries(self, run: Run) -> dict[str, tuple[StepState, JournalEntry | None]]:
        """Every step's state and the last entry of it."""
        with self.journal(run) as journal:
            return {key: (state, journal.last_event(key)) for key, state in run.states(journal).items()}

    def is_held(self, plan_name: str) -> bool:
        """Whether a process on this machine applies the plan right now."""
        return self.find_local_holder(plan_name) is not None

    def find_local_holder(self, plan_name: str) -> str | None:
        """The process on this machine that holds the plan's local lock."""
        told: list[str] = []
        try:
            with self.exclusive(plan_name, timeout_s=0, create=False, on_wait=told.append):
                return None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except LockHeld:
            return told[0]

    def discard_unstarted(self, run: Run) -> None:
        """Remove a run of which no step was ever started."""
        with self.journal(run) as journal:
            started = run.was_started(journal)
        if not started:
            shutil.rmtree(run.folder)

    @contextmanager
    def exclusive(
        self,
        plan_name: str,
        *,
        timeout_s: float,
        create: bool = True,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> Iterator[None]:
        """Hold the local lock of a plan; the kernel lets it go when the process ends, however it ends.

        `on_wait` is told once who holds it.

        Raises:
            LockHeld: Another process on this machine holds it and did not let go within `timeout_s`.
        """
        folder = self._folder / "locks"
        with self._writing() if create else nullcontext():
            if create:
                _make_private(folder)
            descriptor = os.open(folder / f"{plan_name}.lock", os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
        try:
            self._wait_for_lock(descriptor, plan_name, timeout_s, on_wait)
            if create:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, descriptor: int, plan_name: str, timeout_s: float, on_wait: Callable[[str], None]) -> None:
        deadline = self._clock.monotonic() + timeout_s
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
                if not told:
                    on_wait(holder)
                    told = True
                if self._clock.monotonic() >= deadline:
                    raise LockHeld(
                        f"the plan {plan_name} is being applied by {holder}",
                        hint="wait for it, or watch it with migrator status",
                    ) from None
                self._clock.sleep(_LOCK_LOOK_S)
            else:
                return

    def _read(self, path: Path) -> Run:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not whole"
            raise RunError(f"{path} cannot be read: {reason}", hint="restore it, or remove the run's folder") from None
        if content["format_version"] > FORMAT_VERSION:
            raise RunError(
                f"{path} has format {content['format_version']}, and this version of migrator reads up to "
                f"{FORMAT_VERSION}",
                hint="use the version of migrator that began the run, or a newer one",
            )
        return Run(
            run_id=content["run_id"],
            created_at=content["created_at"],
            loaded=LoadedPlan.from_frozen(content["document"]),
            plan=plan_from_plain(content["plan"]),
            folder=path.parent,
            saved_plan=content.get("saved_plan", ""),
        )


def file_digest(path: str) -> str | None:
    """The SHA-256 of a file's bytes, None where it cannot be read."""
    try:
        return _digest(Path(path).read_bytes())
    except OSError:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _just_after(iso: str) -> str:
    return (datetime.fromisoformat(iso) + timedelta(microseconds=1)).isoformat()


def is_run_id(text: str) -> bool:
    """Whether a run can be called so; names from a bucket become names of folders."""
    return _RUN_ID.fullmatch(text) is not None


def _require_run_id(run_id: str, content: bytes) -> None:
    """Raise unless the run file is that of the run by which it was found: others would take its place here."""
    try:
        told = json.loads(content)["run_id"]
    except (ValueError, KeyError, TypeError):
        told = None
    if not is_run_id(run_id) or told != run_id:
        raise RunError(
            f"what is mirrored as run {run_id} in the staging bucket is not the file of that run",
            hint="see who writes there; without that folder the runs of this machine go on",
        )


def _make_private(folder: Path) -> None:
    """Make the folder and those above it that are missing, each for its owner alone, whatever the umask."""
    for each in reversed([folder, *folder.parents]):
        each.mkdir(mode=0o700, exist_ok=True)


def _is_finished(run: Run, planned: PlannedCollection, journal: Journal) -> bool:
    """Whether every step of a mapping is."""
    return planned.action is Action.MIGRATE and all(map(journal.is_finished, run.steps_of(planned)))


def _is_brought(run: Run, planned: PlannedCollection, journal: Journal) -> bool:
    """Whether every step up to its verification is, and the target has its name already."""
    steps = takewhile(lambda key: not key.startswith(f"{VerifyCollection.kind}:"), run.steps_of(planned))
    is_named = planned.action is Action.MIGRATE and planned.built_as == planned.target
    return _is_finished(run, planned, journal) or (is_named and all(map(journal.is_finished, steps)))


def _record(run: Run, planned: PlannedCollection, journal: Journal) -> MigratedRecord | None:
    """What is known of a mapping that this run migrated."""
    if journal.rollback() is not None:
        return None
    created = noted_id(journal, planned.built_as) if planned.built_as is not None else 0
    dump = frozen_dump(journal, planned.source)
    if created is None:
        return None
    return MigratedRecord(
        source=planned.source,
        target=planned.target,
        source_collection_id=dump.collection.collection_id,
        target_collection_id=created,
        raw_rows=dump.raw_rows,
        rows_at_cut=tuple(sorted(dump.rows_at_cut.items())),
        held_still=dump.held_still,
        verified=any(
            key.startswith(f"{VerifyCollection.kind}:")
            and journal.is_finished(key)
            and not found_no_rows(journal.notes(key))
            for key in run.steps_of(planned)
        ),
        dump="" if _has_no_dump(run, planned, journal) else run.plan.dump,
        rows=imported_rows(journal, planned.built_as) if planned.built_as is not None else 0,
        rows_are_told=not brings_deletes(journal, planned.source, dump.collection.collection_id),
        run_id=run.run_id,
        partitions=tuple(partition.name for partition in dump.collection.partitions),
    )


def _has_no_dump(run: Run, planned: PlannedCollection, journal: Journal) -> bool:
    """Whether it was deleted, or none was made of this collection."""
    if planned.built_as is not None and is_restored(journal, planned.built_as):
        return True
    return any(
        isinstance(step, CleanStaging) and journal.is_finished(step.key) and not journal.notes(step.key).get(KEPT)
        for step in run.plan.steps
    )
