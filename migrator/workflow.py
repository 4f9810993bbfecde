"""The story: load, refresh, plan, show, lock, apply, verify, report; one call per verb, and no rules."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from migrator.connections import (
    Clients,
    connect,
    doors,
    dump_reader,
    no_target,
    open_management,
    open_milvus,
    open_source,
    open_source_store,
    open_staging,
    open_target_store,
)
from migrator.errors import (
    Complaint,
    LockHeld,
    MilvusError,
    MilvusUnavailable,
    PlanError,
    RunError,
    StalePlan,
    StoreError,
)
from migrator.model.finding import Part, Status, exit_code_of
from migrator.planning.drift import drift
from migrator.planning.paths import empty_imports, paths_of
from migrator.planning.places import is_apart, mirror_folder
from migrator.planning.planner import make_plan, mapped, mapped_pairs
from migrator.planning.saved_plan import SAVED_PLAN_SHOWS, SavedPlan, is_saved_plan, read_saved_plan
from migrator.reports.run_report import Entry, report_run
from migrator.reports.summary import summarize
from migrator.running.assignment import ShardSender, places_of
from migrator.running.backup_shelf import BackupShelf
from migrator.running.cleaning import Cleaning
from migrator.running.clock import StopSignal, SystemClock
from migrator.running.comparison import Comparer, Comparison, open_past
from migrator.running.events import StepState
from migrator.running.executor import Executor, RunResult
from migrator.running.garbage_pause import GarbagePause
from migrator.running.growing import growing
from migrator.running.journal import StepEvent
from migrator.running.leasing import PlanLeases, PlanStores, place_of
from migrator.running.lock import identity_of
from migrator.running.mirror import JournalMirror, adopt
from migrator.running.past_pace import past_pace
from migrator.running.preflight import Preflight
from migrator.running.preflight_milvus import SELDOM_NEEDED
from migrator.running.preflight_record import PreflightRecord
from migrator.running.premises import require_premises
from migrator.running.refresh import refresh, source_names
from migrator.running.retry import Patience, RetryPolicy
from migrator.running.rollback import FRESH_S, Rollback
from migrator.running.runs import Run, StateDirectory, file_digest
from migrator.running.situation import Situation, situation_of
from migrator.running.unlocking import break_held, find_held
from migrator.spec.load import LoadedPlan, load_plan
from migrator.steps.allowance import Allowance
from migrator.steps.base import ReadContext, StepContext
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.throttle import Throttle
from migrator.steps.verification import Depth, Level
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from migrator.adapters.milvus import GrpcMilvus
    from migrator.adapters.objects import ObstoreStore
    from migrator.errors import MigratorError
    from migrator.model.collection import CollectionRef
    from migrator.model.finding import Finding
    from migrator.model.observed import MigratedRecord
    from migrator.planning.pace import Pace
    from migrator.planning.plan import Plan
    from migrator.ports.store import ObjectStore
    from migrator.reports.run_report import RunReport
    from migrator.reports.summary import RunSummary
    from migrator.running.assignment import Transport
    from migrator.running.events import Watcher
    from migrator.running.journal import Journal
    from migrator.running.rollback import Ending, Remnant
    from migrator.running.unlocking import HeldLease
    from migrator.steps.base import Evidence, ProgressReport

DEFAULT_PARALLELISM = 4
MOST_MOVED = 5
"""Of what moved since a plan was saved, so much is said; planning again shows all."""
DEFAULT_LOCK_TIMEOUT_S = 60.0
_PLANNING_PATIENCE_S = 8.0
_ROLLBACK_WORDS = {StepEvent.ROLLBACK_STARTED: "being rolled back", StepEvent.ROLLED_BACK: "rolled back"}
_RUNNING_PATIENCE_S = 20.0
"""Of the store's client with one request; then the step says what it waits for, and tries again itself."""
_RESUME_PATIENCE_S = 60.0


# -- the verbs --------------------------------------------------------------------------------------------------------


def load(path: Path, *, variables: Mapping[str, str] | None = None, clusters: Path | None = None) -> LoadedPlan:
    """Read and check a plan file; offline."""
    return load_plan(path, variables=variables, clusters=clusters)


def plan(loaded: LoadedPlan, state: StateDirectory, *, only: str | None = None) -> Plan:
    """Look at both sides, and say what would be done; writes nothing."""
    with known_runs(loaded, state) as known:
        _require_no_unfinished(known, loaded)
        records = known.migrated(loaded.name)
    with connect(loaded, patience_s=_PLANNING_PATIENCE_S) as clients:
        observed = refresh(loaded, clients.readers(), records)
    with growing():
        return make_plan(loaded, replace(observed, reads_dumps=not dump_reader().missing), only=only)


def pace_of(made: Plan, loaded: LoadedPlan, state: StateDirectory) -> Pace:
    """How fast earlier runs between the same servers were; no part of the plan, which is the same whatever was run."""
    with known_runs(loaded, state) as known:
        return past_pace(known, made)


def find_last(loaded: LoadedPlan, state: StateDirectory) -> tuple[str, Plan] | None:
    """The id of the newest run of the plan, and what that was frozen from; None where there was none."""
    with known_runs(loaded, state) as known:
        runs = [run for run in known.runs() if run.plan.name == loaded.name]
        return (runs[-1].run_id, runs[-1].plan) if runs else None


def check(loaded: LoadedPlan, state: StateDirectory, *, canary: bool = False) -> tuple[Finding, ...]:
    """Look at every part of a plan by itself, and at the plan as a whole; nothing is written but by the canary."""
    clock = SystemClock()
    with doors(loaded) as opened:
        preflight = Preflight(loaded, opened, clock=clock)
        preflight.look_at_parts()
        made = None
        try:
            with known_runs(loaded, state) as known:
                _require_no_unfinished(known, loaded)
                records = known.migrated(loaded.name)
            made = preflight.look_at_plan(records, reads_dumps=not dump_reader().missing)
        except (RunError, StoreError) as error:
            preflight.skip_plan(f"{error.message}; {error.hint}")
        if canary:
            preflight.fly_canary(made)
    if canary:
        PreflightRecord(state.folder, loaded, clock).note(is_green=not exit_code_of(preflight.findings))
    return preflight.findings


def prove(loaded: LoadedPlan, state: StateDirectory, approved: Plan) -> tuple[Finding, ...] | None:
    """The same before a run begins, the plan being made; None where it was green a short while ago."""
    clock = SystemClock()
    record = PreflightRecord(state.folder, loaded, clock)
    if record.green_at() is not None:
        return None
    with doors(loaded) as opened:
        preflight = Preflight(loaded, opened, clock=clock)
        preflight.look_at_parts()
        preflight.fly_canary(approved)
    findings = tuple(_as_of_a_run(found, loaded) for found in preflight.findings)
    record.note(is_green=not exit_code_of(findings))
    return findings


def _as_of_a_run(found: Finding, loaded: LoadedPlan) -> Finding:
    """A port that a run does without, or asks for and does without, is no reason not to begin."""
    is_asked = loaded.options.pause_gc == "always" and found.part is Part.SOURCE
    if found.status is Status.FAILURE and found.check in SELDOM_NEEDED and not is_asked:
        return replace(found, status=Status.WARNING, exit_code=0)
    return found


def saved(loaded: LoadedPlan, made: Plan, *, folder: Path, variables: Mapping[str, str], only: str | None) -> SavedPlan:
    """The plan as it is written into a file of `folder`, with what it was made of."""
    files = [(_relative(path, folder), digest) for path, digest in loaded.file_digests]
    return SavedPlan(
        plan=made,
        plan_file=files[0],
        clusters_file=files[1] if len(files) > 1 else None,
        variables=variables,
        only=only,
    )


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def find_saved(path: Path) -> SavedPlan | None:
    """The saved plan that a file is, or None where it is none: then it is a plan file.

    Raises:
        StalePlan: It is one, and cannot be read, or was edited.
    """
    try:
        with path.open("rb") as file, TextIOWrapper(file, encoding="utf-8") as lines, growing():
            is_saved = is_saved_plan(file.peek(SAVED_PLAN_SHOWS))
            return read_saved_plan(lines, name=str(path)) if is_saved else None
    except OSError:
        return None  # what is wrong with it, is said when it is loaded


def load_saved(saved: SavedPlan, path: Path) -> LoadedPlan:
    """The plan file that the saved plan at `path` was made of.

    Raises:
        StalePlan: It, or its clusters file, was edited since, or is not there any more.
    """
    files = [saved.plan_file, *([saved.clusters_file] if saved.clusters_file else [])]
    found = [path.parent / name for name, _ in files]
    for file, (_, digest) in zip(found, files, strict=True):
        now = file_digest(str(file))
        if now != digest:
            what = "is not there any more" if now is None else "was edited since"
            raise StalePlan(f"{file}, which {path} was made of, {what}", hint="plan again, with --out")
    return load_plan(found[0], variables=saved.variables, clusters=found[1] if len(found) > 1 else None)


def plan_again(saved: SavedPlan, loaded: LoadedPlan, state: StateDirectory) -> Plan:
    """The same plan for what both sides hold now; it may hold other rows and segments, and does nothing else.

    Raises:
        StalePlan: It was applied before, or the world moved since it was saved.
    """
    with known_runs(loaded, state) as known:
        _require_no_unfinished(known, loaded)
        used = next((run.run_id for run in known.runs() if run.saved_plan == saved.digest), None)
    if used is not None:
        hint = "a saved plan is applied once: plan again"
        raise StalePlan(f"the saved plan was applied already, by run {used}", hint=hint)
    try:
        now = plan(loaded, state, only=saved.only)
        moved = drift(saved.plan, now)
    except PlanError as error:
        moved = tuple(complaint.message for complaint in error.complaints)
    if moved:
        raise StalePlan(f"since the plan was saved: {_listed(moved)}", hint="plan again, and have it reviewed")
    return now


def _listed(texts: Sequence[str]) -> str:
    shown = "; ".join(texts[:MOST_MOVED])
    return shown if len(texts) <= MOST_MOVED else f"{shown}; and {len(texts) - MOST_MOVED:,} more"


def take_over(loaded: LoadedPlan, state: StateDirectory) -> None:
    """Bring runs of the plan that other machines mirrored (`state: staging`) into the state directory."""
    if loaded.options.state != "staging":
        return
    with suppress(LockHeld), state.exclusive(loaded.name, timeout_s=0):  # else a process of this machine is at it
        adopt(open_staging(loaded, _PLANNING_PATIENCE_S), mirror_folder(loaded), state, known=state)


@contextmanager
def known_runs(loaded: LoadedPlan, state: StateDirectory) -> Iterator[StateDirectory]:
    """The runs of the state directory, and those that other machines mirrored; nothing is written there."""
    if loaded.options.state != "staging":
        yield state
        return
    with TemporaryDirectory(prefix="migrator-") as folder:
        mirrored = StateDirectory(Path(folder), SystemClock())
        adopt(open_staging(loaded, _PLANNING_PATIENCE_S), mirror_folder(loaded), mirrored, known=state)
        yield state.beside(mirrored)


@contextmanager
def engine(scheduler: str | None) -> Iterator[Transport | None]:
    """The workers of a Dask scheduler, seen to have this version of migrator; None without one.

    Raises:
        EngineUnavailable: Nothing answers there.
        EngineRefused: Dask is missing here, or its workers have another version.
    """
    if scheduler is None:
        yield None
        return
    from migrator import worker  # noqa: PLC0415 - what they are told to call
    from migrator.adapters.dask_engine import DaskTransport  # noqa: PLC0415 - costs a second: only when used

    with closing(DaskTransport(scheduler, worker.work, worker.version)) as opened:
        yield opened


def begin(loaded: LoadedPlan, state: StateDirectory, approved: Plan, *, saved: SavedPlan | None = None) -> Run:
    """Freeze what was approved as a new run."""
    return state.begin(loaded, approved, saved_plan="" if saved is None else saved.digest)


def apply(
    run: Run,
    state: StateDirectory,
    *,
    watcher: Watcher,
    stop: StopSignal,
    parallelism: int = DEFAULT_PARALLELISM,
    lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S,
    shared_with: Transport | None = None,
) -> RunResult:
    """Do what is left of a run, as far as it can be done now; takes up whatever an earlier attempt began.

    The caller holds the plan's local lock (`StateDirectory.exclusive`). What can be done by others goes to the engine
    that it is `shared_with`; the journal is written here alone.

    Raises:
        LockHeld: Another run holds a target collection or the dump, and did not let go within `lock_timeout_s`.
        StalePlan: What was planned does not hold any more, and nothing was begun.
    """
    clock = SystemClock(stop)
    options = run.loaded.options
    with ExitStack() as stack:
        journal = stack.enter_context(state.journal(run, read_only=False))
        clients = _connect_run(run, journal, stack, clock, watcher)
        stores = _stores(run.loaded, clients.staging, clients.target_store)
        leases = stack.enter_context(_leases(run, state, stores, clock))
        leases.acquire(run.lease_targets(), timeout_s=lock_timeout_s, on_wait=watcher.lock_waits)
        policy = RetryPolicy(max_elapsed_s=options.retry.max_elapsed, max_backoff_s=options.retry.max_backoff)
        if not run.was_started(journal):
            require_premises(run, clients.target, clients.staging)
        _mirror(run, journal, clients.staging, policy=policy, clock=clock, on_wait=watcher.run_waits)
        _require_not_undone(run, journal.rollback())
        _pause_garbage(run, journal, stack, watcher)
        workers = stack.enter_context(ThreadPoolExecutor(options.transfer.concurrency, thread_name_prefix="worker"))
        executor = Executor(
            run.plan.steps,
            journal,
            _context_maker(run, journal, clients, workers=workers, clock=clock, leases=leases, shared_with=shared_with),
            clock=clock,
            stop=stop,
            watcher=watcher,
            policy=policy,
            parallelism=parallelism,
            paths=paths_of(run.plan),
            passing=empty_imports(run.plan),
        )
        journal.add("", StepEvent.STARTED)
        result = executor.run()
        journal.add("", StepEvent.FINISHED, {"exit_code": result.exit_code})
    return result


def _connect_run(run: Run, journal: Journal, stack: ExitStack, clock: SystemClock, watcher: Watcher) -> Clients:
    """Connect; once a run has begun, a side that is down is waited for, and then no refusal to begin."""
    if not run.was_started(journal):
        return stack.enter_context(connect(run.loaded, patience_s=_RUNNING_PATIENCE_S))
    patience = Patience(RetryPolicy(max_elapsed_s=_RESUME_PATIENCE_S, max_backoff_s=5.0), clock)
    try:
        clients = patience.call(
            lambda: stack.enter_context(connect(run.loaded, patience_s=_RUNNING_PATIENCE_S)), on_wait=watcher.run_waits
        )
    except (MilvusError, StoreError) as error:
        raise RunError(error.message, hint=error.hint or "run migrator apply --resume once it is up") from error
    return clients


def _pause_garbage(run: Run, journal: Journal, stack: ExitStack, watcher: Watcher) -> None:
    """Ask the source to collect no garbage until the run ends, where the plan wants that and names the port."""
    source, wish = run.loaded.source, run.loaded.options.pause_gc
    port = None if source is None or wish == "never" else open_management(source, "source")
    if port is None:
        return
    stack.enter_context(closing(port))
    try:
        stack.enter_context(GarbagePause(port, is_required=wish == "always", tell=watcher.run_told))
    except MilvusError as error:
        hint = f"{error.hint}, or set options.pause_gc: auto"
        if run.was_started(journal):
            raise RunError(error.message, hint=hint) from error
        error.hint = hint
        raise


def _mirror(
    run: Run,
    journal: Journal,
    staging: ObjectStore,
    *,
    policy: RetryPolicy,
    clock: SystemClock,
    on_wait: Callable[[MigratorError, float], None],
) -> None:
    """Where the plan wants it, keep the journal in the bucket too; the leases are held."""
    if run.loaded.options.state == "staging":
        folder = f"{mirror_folder(run.loaded)}/{run.run_id}"
        JournalMirror(staging, folder, policy=policy, clock=clock, on_wait=on_wait).begin(run, journal)


def look(run: Run, state: StateDirectory) -> dict[str, Evidence | None]:
    """What a resume would find of each step that is not finished; None for those never started. Writes nothing."""
    with state.journal(run) as journal, connect(run.loaded, patience_s=_PLANNING_PATIENCE_S) as clients:
        ctx = ReadContext(
            run_id=run.run_id,
            ledger=journal,
            source=clients.source,
            target=clients.target or no_target(),
            source_store=clients.source_store,
            target_store=clients.target_store or clients.staging,
            staging=clients.staging,
            clock=SystemClock(),
        )
        return {
            step.key: step.probe(ctx) if journal.was_started(step.key) else None
            for step in run.plan.steps
            if not journal.is_finished(step.key)
        }


def summary(run: Run, state: StateDirectory) -> RunSummary:
    """A run as its journal tells it now; works beside a process that runs it."""
    entries, rollback = state.last_entries(run), state.rollback_of(run)
    is_alive = rollback is None and state.is_held(run.plan.name)

    def entry_of(key: str) -> tuple[str, str, Mapping[str, object]]:
        step_state, entry = entries.get(key, (StepState.WAITING, None))
        word = "interrupted" if step_state is StepState.RUNNING and not is_alive else str(step_state)
        return (word, entry.at, entry.data) if entry else (word, "", {})

    found = summarize(run.plan, run_id=run.run_id, created_at=run.created_at, entry_of=entry_of)
    if rollback is None:
        return found
    collections = found.collections
    if rollback is StepEvent.ROLLED_BACK:
        collections = tuple(replace(each, state=_ROLLBACK_WORDS[rollback], verdict="") for each in collections)
    return replace(found, state=_ROLLBACK_WORDS[rollback], collections=collections)


def situation(run: Run, state: StateDirectory) -> Situation:
    """Whether a process is at a run, how far it says it is, or what it was at when it was killed; and how to go on."""
    return situation_of(run, state, SystemClock())


def report(run: Run, state: StateDirectory) -> RunReport:
    """The same with its times, for a page; works beside a process that runs it."""
    with state.journal(run) as journal:
        entries = [
            Entry(at=datetime.fromisoformat(entry.at), step_key=entry.step_key, event=entry.event, data=entry.data)
            for entry in journal.entries()
        ]
        notes = {
            step.key: journal.notes(step.key)
            for step in run.plan.steps
            if isinstance(step, DumpMeta | VerifyCollection)
        }
    return report_run(run.plan, summary(run, state), entries, notes=notes)


def verify(
    loaded: LoadedPlan,
    state: StateDirectory,
    *,
    level: str | None = None,
    only: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
    shared_with: Transport | None = None,
) -> Iterator[Comparison]:
    """Compare source and target once more, mapping by mapping; a target that a run made may be loaded for it.

    The level is the plan's where none is given; `tell` hears how far a long comparison is. With `full`, values
    are compared by the engine that it is `shared_with`.
    """
    wanted = loaded.options.verify
    with known_runs(loaded, state) as known, ExitStack() as stack:
        records = known.brought(loaded.name)
        clients, names = _connect_to_verify(loaded, records, stack, tell)
        if clients.target is None:
            hint = "a backup is checked when it is made; migrator backup show tells what it holds"
            position = loaded.locate("target")
            raise PlanError([Complaint("the plan has no target to compare with", "target", hint, position=position)])
        comparer = Comparer(
            source=None if names is None else clients.source,
            target=clients.target,
            source_store=clients.source_store,
            staging=clients.staging,
            dump_reader=dump_reader(),
            clock=SystemClock(),
            policy=RetryPolicy(max_elapsed_s=_RESUME_PATIENCE_S, max_backoff_s=5.0),
            depth=Depth(level=Level(level or wanted.level), sample=wanted.sample, seed=wanted.seed),
            records=records,
            open_past=partial(open_past, known),
            tell=tell,
            engine=_sender(shared_with, loaded),
        )
        there = names or ()
        gone = {record.source: record.target for record in records if record.source not in there}
        for item in mapped(loaded, (*there, *gone), only=only):
            if gone.get(item.source, item.target) == item.target:
                yield comparer.compare((item.source, item.target), partitions=item.mapping.partitions)


def _connect_to_verify(
    loaded: LoadedPlan, records: Sequence[MigratedRecord], stack: ExitStack, tell: Callable[[str], None]
) -> tuple[Clients, tuple[CollectionRef, ...] | None]:
    """Connect, and name the source's collections; None where it does not answer, and earlier runs have its rows."""
    try:
        with ExitStack() as attempt:
            clients = attempt.enter_context(connect(loaded, patience_s=_PLANNING_PATIENCE_S))
            names = source_names(clients.source)
            stack.push(attempt.pop_all())
    except MilvusUnavailable as error:
        if not records:
            raise
        clients = stack.enter_context(connect(loaded, patience_s=_PLANNING_PATIENCE_S, without_source=True))
        tell(f"{error.message}: the dumps of earlier runs are compared instead")
        return clients, None
    return clients, names


def rollback(
    run: Run,
    state: StateDirectory,
    *,
    ask: Callable[[Sequence[Remnant]], bool],
    tell: Callable[[str], None],
    on_end: Callable[[Ending], None],
    force: bool = False,
    lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S,
) -> list[Ending] | None:
    """Drop what a run created, as far as it is as the run left it, or all by `force`; None where `ask` says no.

    The caller holds the plan's local lock. The source is not needed, unless the run took snapshots there.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        journal = stack.enter_context(state.journal(run, read_only=False))
        try:
            target = no_target()
            if run.loaded.target is not None:
                target = stack.enter_context(closing(open_milvus(run.loaded.target, "target")))
            stores = open_stores(run.loaded, _RUNNING_PATIENCE_S)
            leases = stack.enter_context(_leases(run, state, stores, clock))
            leases.acquire(run.lease_targets(), timeout_s=lock_timeout_s, on_wait=partial(_tell_holder, tell))
            _mirror(run, journal, stores.staging, policy=RetryPolicy(), clock=clock, on_wait=partial(_tell_pause, tell))
            undoing = Rollback(
                run,
                journal,
                target,
                stores.staging,
                imports=stores.target,
                lease=leases,
                clock=clock,
                tell=tell,
                open_source=cache(partial(_open_source, run.loaded, stack)),
            )
            remnants, looked_at = undoing.survey(), clock.monotonic()
            if not ask(remnants):
                return None
            if clock.monotonic() - looked_at > FRESH_S:  # a person took a while
                remnants = undoing.survey()
        except (MilvusError, StoreError) as error:
            if journal.rollback() is None:
                raise
            raise RunError(error.message, hint=f"once it is up, run migrator rollback {run.run_id} again") from error
        return undoing.carry_out(remnants, force=force, on_end=on_end)


def _open_source(loaded: LoadedPlan, stack: ExitStack) -> GrpcMilvus:
    """The source's server, for what a rollback has to take away there."""
    assert loaded.source is not None  # noqa: S101 - a backup has no snapshots
    return stack.enter_context(closing(open_milvus(loaded.source, "source")))


def _tell_holder(tell: Callable[[str], None], lease: str, holder: str) -> None:
    tell(f"waiting for {lease}, which is held by {holder}")


def _tell_pause(tell: Callable[[str], None], error: MigratorError, seconds: float) -> None:
    tell(f"trying again in {seconds:.0f} s: {error.message}")


@contextmanager
def cleaning(
    state: StateDirectory, plan_name: str, loaded: LoadedPlan | None, *, tell: Callable[[str], None]
) -> Iterator[Cleaning]:
    """Look for what the runs of a plan left behind, and delete it, while its local lock is held.

    Raises:
        LockHeld: A process on this machine applies the plan.
    """
    with state.exclusive(plan_name, timeout_s=0):
        files = [run.loaded for run in state.runs() if run.plan.name == plan_name]
        places = {place_of(each): each for each in [*files, *filter(None, [loaded])]}
        stores = [open_stores(each, _PLANNING_PATIENCE_S) for each in places.values()]
        with ExitStack() as stack:

            def open_target(file: LoadedPlan) -> GrpcMilvus:
                if file.target is None:
                    raise RunError("the plan has no target")
                return stack.enter_context(closing(open_milvus(file.target, "target")))

            yield Cleaning(state, plan_name, stores, open_target=open_target, clock=SystemClock(), tell=tell)


def open_shelf(loaded: LoadedPlan) -> BackupShelf:
    """The backups beside the one that a plan restores, or beside the one that it makes."""
    clock = SystemClock()
    if loaded.source_backup is not None:
        store, storage = open_source_store(loaded, _PLANNING_PATIENCE_S), loaded.source_storage
        return BackupShelf(store, storage.root_path, is_bucket=storage.bucket is not None, clock=clock)
    staging = open_staging(loaded, _PLANNING_PATIENCE_S)
    is_bucket = loaded.staging.storage.bucket is not None
    return BackupShelf(staging, loaded.staging.root_path, is_bucket=is_bucket, clock=clock)


def find_leases(
    loaded: LoadedPlan, state: StateDirectory, *, tell: Callable[[str], None]
) -> tuple[list[HeldLease], Callable[[], None]]:
    """The leases a plan needs, or those of its unfinished run, that somebody holds; and a call that breaks them."""
    runs = state.unfinished(loaded.name)
    if runs:
        loaded, targets = runs[0].loaded, runs[0].lease_targets()
    else:
        targets = _mapped_targets(loaded)
    leases = open_stores(loaded, _PLANNING_PATIENCE_S).names(targets)
    held = find_held(leases, clock=SystemClock(), tell=tell)
    return held, partial(break_held, held)


def find_resumable(state: StateDirectory, loaded: LoadedPlan | None, saved: SavedPlan | None = None) -> Run | None:
    """The one unfinished run, of the plan if one is given; None where there is none.

    Raises:
        RunError: There are several, or it was not begun from the saved plan that is given.
        StalePlan: The plan file or its clusters file was edited since the run began.
    """
    runs = state.unfinished(loaded.name if loaded else None)
    if len(runs) > 1:
        listed = ", ".join(run.run_id for run in runs)
        raise RunError(f"{len(runs)} runs are unfinished: {listed}", hint="name the plan: migrator apply PLAN --resume")
    if not runs:
        return None
    _require_not_undone(runs[0], state.rollback_of(runs[0]))
    _require_unedited(runs[0], loaded)
    if saved is not None and runs[0].saved_plan != saved.digest:
        raise RunError(
            f"run {runs[0].run_id} of this plan is unfinished, and was not begun from this saved plan",
            hint=f"go on with it: migrator apply --resume; or give it up: migrator rollback {runs[0].run_id}",
        )
    return runs[0]


# -- what the verbs stand on ------------------------------------------------------------------------------------------


def _require_no_unfinished(state: StateDirectory, loaded: LoadedPlan) -> None:
    runs = state.unfinished(loaded.name)
    if runs:
        _require_not_undone(runs[0], state.rollback_of(runs[0]))
        raise RunError(
            f"run {runs[0].run_id} of this plan is unfinished",
            hint=f"go on with it: migrator apply {loaded.path} --resume; "
            f"or give it up: migrator rollback {runs[0].run_id}",
        )


def _require_not_undone(run: Run, rollback: StepEvent | None) -> None:
    if rollback is not None:
        raise RunError(
            f"run {run.run_id} is {_ROLLBACK_WORDS[rollback]}, and cannot go on",
            hint=f"bring that to its end: migrator rollback {run.run_id}; then apply the plan anew",
        )


def _require_unedited(run: Run, loaded: LoadedPlan | None) -> None:
    """A run goes on with what was frozen at its start: an edit since would be ignored, so it is refused."""
    frozen = run.loaded.file_digests
    if loaded is None:
        now = [file_digest(path) or digest for path, digest in frozen]  # a file that is gone was not edited
    else:
        now = [digest for _, digest in loaded.file_digests]
    edited = [path for (path, digest), today in zip(frozen, now, strict=False) if digest != today]
    if len(frozen) != len(now):
        edited.append("--clusters")
    if loaded is not None and loaded.variables != run.loaded.variables:
        edited.append("--var")
    if edited:
        raise StalePlan(
            f"{', '.join(edited)} changed since run {run.run_id} began, and the run goes on with what it was then",
            hint=f"undo the edit to resume; or give the run up, migrator rollback {run.run_id}, and plan anew",
        )


def _leases(run: Run, state: StateDirectory, stores: PlanStores, clock: SystemClock) -> PlanLeases:
    return stores.leases(run_id=run.run_id, home=identity_of(state.folder), clock=clock)


def open_stores(loaded: LoadedPlan, patience_s: float) -> PlanStores:
    """The stores that a plan file writes to; one of them where both have one address."""
    there = open_target_store(loaded, patience_s) if is_apart(loaded) else None
    return _stores(loaded, open_staging(loaded, patience_s), there)


def _stores(loaded: LoadedPlan, staging: ObstoreStore, target: ObstoreStore | None) -> PlanStores:
    return PlanStores(loaded=loaded, staging=staging, target=target if target and is_apart(loaded) else staging)


def _mapped_targets(loaded: LoadedPlan) -> list[CollectionRef]:
    if loaded.target is None:
        return []
    with closing(open_source(loaded, _PLANNING_PATIENCE_S)) as source:
        return [target for _, target in mapped_pairs(loaded, source_names(source))]


def _sender(shared_with: Transport | None, loaded: LoadedPlan) -> ShardSender | None:
    if shared_with is None:
        return None
    return ShardSender(transport=shared_with, attempt=uuid4().hex, places=places_of(loaded))


def _context_maker(
    run: Run,
    journal: Journal,
    clients: Clients,
    *,
    workers: ThreadPoolExecutor,
    clock: SystemClock,
    leases: PlanLeases,
    shared_with: Transport | None,
) -> Callable[[ProgressReport], StepContext]:
    options = run.loaded.options
    throttle = Throttle(options.transfer.limit_bytes_per_s)
    copies, jobs = Allowance(options.transfer.concurrency), Allowance(options.import_.max_jobs)
    sender = _sender(shared_with, run.loaded)

    def make(progress: ProgressReport) -> StepContext:
        return StepContext(
            run_id=run.run_id,
            ledger=journal,
            source=clients.source,
            target=clients.target or no_target(),
            source_store=clients.source_store,
            target_store=clients.target_store or clients.staging,
            staging=clients.staging,
            clock=clock,
            lease=leases,
            workers=workers,
            dump_reader=dump_reader(),
            progress=progress,
            throttle=throttle,
            engine=sender,
            copies=copies,
            jobs=jobs,
        )

    return make
