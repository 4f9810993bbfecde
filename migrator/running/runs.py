"""The state directory: one folder per run, holding what the run was frozen from and its journal."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakValueDictionary

from migrator.errors import JournalUnusable, LockHeld, RunError
from migrator.model.observed import MigratedRecord
from migrator.planning.plan import Action, Plan
from migrator.running.events import StepState
from migrator.running.files import write_whole
from migrator.running.journal import Journal, JournalEntry, StepEvent
from migrator.running.run_file import began_at, digest_of_file, digest_of_lines, read_run_file, run_lines
from migrator.spec.loaded import LoadedPlan
from migrator.steps.clean_staging import KEPT, CleanStaging
from migrator.steps.create_collection import noted_id
from migrator.steps.dump_meta import frozen_dump
from migrator.steps.import_deletes import brings_deletes
from migrator.steps.import_segments import imported_rows
from migrator.steps.restored import is_restored
from migrator.steps.verify_collection import VerifyCollection, found_no_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from migrator.model.collection import CollectionRef
    from migrator.planning.plan import PlannedCollection
    from migrator.ports.clock import Clock

_RUN_FILE = "run.json"
_JOURNAL_FILE = "journal.db"
_LOCK_LOOK_S = 0.5
_Identity: TypeAlias = tuple[Path, int, int, int]
"""Of a file: where it is, and what changes when it is another one."""
_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}-\d{8}T\d{6}Z-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
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
        finished, last = journal.finished(), journal.last_kinds()
        keys = [step.key for step in self.plan.steps]
        return {key: _state(last.get(key), is_finished=key in finished) for key in keys}

    def last_entries(self, journal: Journal) -> dict[str, tuple[StepState, JournalEntry | None]]:
        """The same, with the last entry of each."""
        finished, last = journal.finished(), journal.last_events()
        found = [(step.key, last.get(step.key)) for step in self.plan.steps]
        return {
            key: (_state(None if entry is None else entry.event, is_finished=key in finished), entry)
            for key, entry in found
        }

    def is_complete(self, journal: Journal) -> bool:
        """Whether every step is finished."""
        finished = journal.finished()
        return all(step.key in finished for step in self.plan.steps)

    def is_unfinished(self, journal: Journal) -> bool:
        """Whether something of it is left to do: steps, or the end of its rollback."""
        rollback = journal.rollback()
        return not self.is_complete(journal) if rollback is None else rollback is StepEvent.ROLLBACK_STARTED

    def was_started(self, journal: Journal) -> bool:
        """Whether any step was ever begun."""
        begun = journal.begun()
        return any(step.key in begun for step in self.plan.steps)

    def lease_targets(self) -> list[CollectionRef]:
        """The collections at the target that it needs for itself, by every name they have meanwhile."""
        todo = [each for each in self.plan.collections if each.action is Action.MIGRATE]
        return sorted({ref for each in todo for ref in (each.target, each.built_as) if ref is not None})

    def keys_by_collection(self) -> Mapping[str, Sequence[str]]:
        """The keys of the steps that belong to each mapped collection, by its label."""
        found: dict[str, list[str]] = {planned.label: [] for planned in self.plan.collections}
        for step in self.plan.steps:
            found.setdefault(step.collection, []).append(step.key)
        return found


def _state(last: StepEvent | None, *, is_finished: bool) -> StepState:
    if is_finished:
        return StepState.FINISHED
    if last is None:
        return StepState.WAITING
    return {
        StepEvent.STARTED: StepState.RUNNING,
        StepEvent.FAILED: StepState.FAILED,
        StepEvent.PARKED: StepState.PARKED,
        StepEvent.RENEWED: StepState.WAITING,
    }.get(last, StepState.WAITING)


class StateDirectory:
    """All runs under one folder, `.migrator/` by default; made when the first run begins."""

    def __init__(self, folder: Path, clock: Clock, *, before: Path | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._before = before
        self._known: WeakValueDictionary[_Identity, Run] = WeakValueDictionary()
        self._digests: dict[_Identity, str] = {}

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    def begin(self, loaded: LoadedPlan, plan: Plan, *, saved_plan: str = "") -> Run:
        """Freeze a new run: plan file, clusters and plan, with secrets as references only."""
        latest = max(map(began_at, self._run_files()), default="")
        now = self._clock.now()
        # The order of runs holds if the clock is set back.
        created_at = max(now.isoformat(), _just_after(latest) if latest else "")
        run_id = f"{loaded.name}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        folder = self._folder / "runs" / run_id
        lines = partial(run_lines, run_id, created_at, loaded=loaded, plan=plan, saved_plan=saved_plan)
        with self._writing():
            _make_private(folder.parent)
            folder.mkdir(mode=0o700)
            try:
                self._freeze(folder, lines)
            except (OSError, JournalUnusable):
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return Run(run_id=run_id, created_at=created_at, loaded=loaded, plan=plan, folder=folder, saved_plan=saved_plan)

    def _freeze(self, folder: Path, lines: Callable[[], Iterable[str]]) -> None:
        """An empty journal, and then the run file, which makes it a run."""
        journal = Journal(folder / _JOURNAL_FILE, self._clock)
        journal.bind(digest_of_lines(lines()))
        journal.close()
        write_whole(folder / _RUN_FILE, lines())

    def adopt(self, run_id: str, content: bytes) -> Run:
        """Take in a run that another machine began, by the bytes of its run file; its journal is empty at first."""
        _require_run_id(run_id, content)
        folder = self._folder / "runs" / run_id
        with self._writing():
            _make_private(folder)
            if not (folder / _RUN_FILE).exists():
                self._freeze(folder, lambda: [content.decode()])
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

    def runs(self, plan_name: str | None = None) -> Iterator[Run]:
        """All runs, or those of one plan, the oldest first; a folder without its run file is of one that never began.

        Each is read when it is asked for.
        """
        yield from map(self._read, self._run_files(lambda run_id: plan_name in {None, run_id.rsplit("-", 2)[0]}))

    def latest_runs(self) -> Iterator[Run]:
        """All runs, the latest first."""
        yield from map(self._read, reversed(self._run_files()))

    def find_runs(self, beginning: str) -> list[Run]:
        """The runs whose id begins so, the oldest first."""
        return list(map(self._read, self._run_files(lambda run_id: run_id.startswith(beginning))))

    def _run_files(self, wants: Callable[[str], bool] = bool) -> list[Path]:
        """Of all runs whose id is wanted, the oldest first; only when they began is read of them."""
        folders = [self._folder, *([self._before] if self._before else [])]
        paths = {path.parent.name: path for folder in folders for path in (folder / "runs").glob(f"*/{_RUN_FILE}")}
        own = [path for run_id, path in paths.items() if wants(run_id)]
        return sorted(own, key=lambda path: (began_at(path), path.parent.name))

    def unfinished(self, plan_name: str | None = None) -> list[Run]:
        """Runs with steps left to do, or a rollback, of one plan or of all."""
        found = []
        for run in self.runs(plan_name):
            with self.journal(run) as journal:
                if run.is_unfinished(journal):
                    found.append(run)
        return found

    @contextmanager
    def journal(self, run: Run, *, read_only: bool = True) -> Iterator[Journal]:
        """The journal of a run, open for as long as the block lasts."""
        journal = Journal(run.folder / _JOURNAL_FILE, self._clock, read_only=read_only)
        try:
            journal.require_bound_to(self._digest(run.file))
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
        self, plan_name: str, is_done: Callable[[PlannedCollection, Sequence[str], Collection[str]], bool]
    ) -> tuple[MigratedRecord, ...]:
        records: dict[tuple[str, str], MigratedRecord] = {}
        for run in self.runs(plan_name):
            with self.journal(run) as journal:
                for record in _records(run, journal, is_done):
                    records[(str(record.source), str(record.target))] = record
        return tuple(records.values())

    def rollback_of(self, run: Run) -> StepEvent | None:
        """How far a run is rolled back."""
        with self.journal(run) as journal:
            return journal.rollback()

    def last_entries(self, run: Run) -> dict[str, tuple[StepState, JournalEntry | None]]:
        """Every step's state and the last entry of it."""
        with self.journal(run) as journal:
            return run.last_entries(journal)

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

    def _digest(self, path: Path) -> str:
        """That of a run file: a command opens the journal several times, and a file of many steps is large."""
        identity = _identity(path)
        if identity not in self._digests:
            self._digests[identity] = digest_of_file(path)
        return self._digests[identity]

    def _read(self, path: Path) -> Run:
        """The run of a run file; the same as long as somebody holds it, for the file is never written again."""
        try:
            identity = _identity(path)
            run = self._known.get(identity)
            if run is None:
                run = self._known[identity] = _run_of(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not whole"
            raise RunError(f"{path} cannot be read: {reason}", hint="restore it, or remove the run's folder") from None
        return run


def _identity(path: Path) -> _Identity:
    found = path.stat()
    return path, found.st_ino, found.st_mtime_ns, found.st_size


def _run_of(path: Path) -> Run:
    content, plan = read_run_file(path)
    return Run(
        run_id=content["run_id"],
        created_at=content["created_at"],
        loaded=LoadedPlan.from_frozen(content["document"]),
        plan=plan,
        folder=path.parent,
        saved_plan=content.get("saved_plan", ""),
    )


def file_digest(path: str) -> str | None:
    """The SHA-256 of a file's bytes, None where it cannot be read."""
    try:
        return digest_of_file(Path(path))
    except OSError:
        return None


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


def _is_finished(planned: PlannedCollection, keys: Sequence[str], finished: Collection[str]) -> bool:
    """Whether every step of a mapping is."""
    return planned.action is Action.MIGRATE and all(key in finished for key in keys)


def _is_brought(planned: PlannedCollection, keys: Sequence[str], finished: Collection[str]) -> bool:
    """Whether every step up to its verification is, and the target has its name already."""
    before = list(takewhile(lambda key: not _verifies(key), keys))
    is_named = planned.built_as == planned.target
    return _is_finished(planned, keys, finished) or (is_named and _is_finished(planned, before, finished))


def _verifies(key: str) -> bool:
    return key.startswith(f"{VerifyCollection.kind}:")


def _records(
    run: Run, journal: Journal, is_done: Callable[[PlannedCollection, Sequence[str], Collection[str]], bool]
) -> Iterator[MigratedRecord]:
    """What is known of the mappings that this run migrated."""
    if journal.rollback() is not None:
        return
    finished, keys, dump = journal.finished(), run.keys_by_collection(), _dump_left(run, journal)
    for planned in run.plan.collections:
        own = keys[planned.label]
        if is_done(planned, own, finished):
            is_verified = any(
                _verifies(key) and key in finished and not found_no_rows(journal.notes(key)) for key in own
            )
            yield from _record(run, planned, journal, verified=is_verified, dump=dump)


def _record(
    run: Run, planned: PlannedCollection, journal: Journal, *, verified: bool, dump: str
) -> Iterator[MigratedRecord]:
    """None where the run created nothing."""
    created = noted_id(journal, planned.built_as) if planned.built_as is not None else 0
    frozen = frozen_dump(journal, planned.source)
    if created is None:
        return
    yield MigratedRecord(
        source=planned.source,
        target=planned.target,
        source_collection_id=frozen.collection.collection_id,
        target_collection_id=created,
        raw_rows=frozen.raw_rows,
        rows_at_cut=tuple(sorted(frozen.rows_at_cut.items())),
        held_still=frozen.held_still,
        verified=verified,
        dump="" if planned.built_as is not None and is_restored(journal, planned.built_as) else dump,
        rows=imported_rows(journal, planned.built_as) if planned.built_as is not None else 0,
        rows_are_told=not brings_deletes(journal, planned.source, frozen.collection.collection_id),
        run_id=run.run_id,
        partitions=tuple(partition.name for partition in frozen.collection.partitions),
    )


def _dump_left(run: Run, journal: Journal) -> str:
    """Where its dump is; empty where it deleted that."""
    is_deleted = any(
        isinstance(step, CleanStaging) and journal.is_finished(step.key) and not journal.notes(step.key).get(KEPT)
        for step in run.plan.steps
    )
    return "" if is_deleted else run.plan.dump
