"""`migrator apply`: do what was planned, or go on with what was begun."""

import os
import signal
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.alias_moves import ALLOW_ALIAS_MOVE, may_move_aliases
from migrator.cli.consent import may_replace
from migrator.cli.console import print_bug, print_json, print_lines, say
from migrator.cli.earlier import told_beside
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    Clusters,
    EngineName,
    EngineOption,
    FlagNeeded,
    Format,
    LockTimeout,
    Only,
    OutputFormat,
    Scheduler,
    StateFolder,
    Variables,
    Yes,
    is_wanted,
    parse_lock_timeout,
    parse_variables,
    require_scheduler,
    state_directory,
)
from migrator.cli.proving import prove
from migrator.errors import Interrupted, MigratorError

if TYPE_CHECKING:
    from migrator.cli.watching import JsonWatcher, PlainWatcher
    from migrator.planning.plan import Plan
    from migrator.planning.saved_plan import SavedPlan
    from migrator.running.assignment import Transport
    from migrator.running.clock import StopSignal
    from migrator.running.runs import Run, StateDirectory
    from migrator.running.track import Track
    from migrator.spec.loaded import LoadedPlan


def apply(
    plan_file: Annotated[
        Path | None,
        typer.Argument(help="A plan file, or a saved plan; may be left out with --resume.", metavar="PLAN"),
    ] = None,
    clusters: Clusters = None,
    var: Variables = None,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run.")] = False,
    yes: Yes = False,
    allow_alias_move: Annotated[
        bool, typer.Option(ALLOW_ALIAS_MOVE, help="Take aliases from other collections where the plan moves them.")
    ] = False,
    allow_replace: Annotated[
        bool, typer.Option("--allow-replace", help="Replace collections as planned; --yes does not cover that.")
    ] = False,
    no_canary: Annotated[
        bool, typer.Option("--no-canary", help="Do not prove the way with one row before a run begins.")
    ] = False,
    parallelism: Annotated[int, typer.Option("--parallelism", min=1, max=64, help="Steps side by side.")] = 4,
    lock_timeout: LockTimeout = "60s",
    engine: EngineOption = EngineName.LOCAL,
    scheduler: Scheduler = None,
    output: OutputFormat = Format.TEXT,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="With --yes: do not print the plan again.")] = False,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Do what the plan says, step by step; Ctrl-C stops it at a point it can be resumed from."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    _require_sensible(plan_file, resume=resume, belongs_to_plan=bool(clusters or var), only=only)
    lock_timeout_s = parse_lock_timeout(lock_timeout)
    shared_with = require_scheduler(engine, scheduler)
    state = state_directory(state_dir)
    loaded, saved = _opened(plan_file, clusters, var, only)
    yes = yes or saved is not None  # it was reviewed
    if output is Format.JSON and not (yes or dry_run or resume):
        raise FlagNeeded("JSON output cannot ask: add --yes to apply the plan")
    if dry_run:
        _dry_run(loaded, state, output, saved.only if saved else only)
        return
    if loaded is not None:
        workflow.take_over(loaded, state)
    unfinished = workflow.find_resumable(state, loaded, saved) if resume else None
    if unfinished is None and loaded is None:
        _say_nothing_to_resume(state, output)
        return
    name = unfinished.plan.name if unfinished else loaded.name if loaded else ""

    def say_holder(holder: str) -> None:
        say(f"Waiting for {holder}, which applies the plan {name}.", err=True)

    with workflow.engine(shared_with) as transport, state.exclusive(name, timeout_s=lock_timeout_s, on_wait=say_holder):
        run = unfinished
        if run is None and loaded is not None:
            run = _new_run(
                loaded,
                state,
                output,
                saved=saved,
                only=only,
                yes=yes,
                allow_alias_move=allow_alias_move,
                allow_replace=allow_replace,
                quiet=quiet and yes,
                canary=not no_canary,
            )
        elif output is Format.TEXT and run is not None:
            say(f"Resuming run {run.run_id}, begun {run.created_at[:19]} UTC.")
        if run is not None:
            raise typer.Exit(_execute(run, state, output, parallelism, lock_timeout_s, transport))


def _opened(
    path: Path | None, clusters: Path | None, var: list[str] | None, only: str | None
) -> "tuple[LoadedPlan | None, SavedPlan | None]":
    """The plan file; and the saved plan, where one was named, of which it is then the origin."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    if path is None:
        return None, None
    saved = workflow.find_saved(path)
    if saved is None:
        return workflow.load(path, variables=parse_variables(var), clusters=clusters), None
    if clusters or var or only:
        raise typer.BadParameter("a saved plan holds its own", param_hint="--clusters, --var, --only")
    return workflow.load_saved(saved, path), saved


def _require_sensible(plan_file: Path | None, *, resume: bool, belongs_to_plan: bool, only: str | None) -> None:
    if plan_file is None and not resume:
        raise typer.BadParameter("name a plan file, or use --resume", param_hint="PLAN")
    if plan_file is None and belongs_to_plan:
        raise typer.BadParameter("they belong to a plan file, and none is named", param_hint="--clusters, --var")
    if resume and only:
        raise typer.BadParameter("a run goes on with what it began; --only is for a new one", param_hint="--only")


def _dry_run(loaded: "LoadedPlan | None", state: "StateDirectory", output: Format, only: str | None) -> None:
    """What `plan` prints, or for an unfinished run what each step would find; writes nothing."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    with workflow.known_runs(loaded, state) if loaded is not None else nullcontext(state) as known:
        run = workflow.find_resumable(known, loaded)
        if run is not None:
            _print_findings(run, known, output)
            return
    if loaded is not None:
        _show(workflow.plan(loaded, state, only=only), loaded, state, output, in_full=True)
    else:
        _say_nothing_to_resume(state, output)


def _say_nothing_to_resume(state: "StateDirectory", output: Format) -> None:
    from migrator.cli.watching import JsonWatcher  # noqa: PLC0415 - keeps --help fast

    if output is Format.JSON:
        JsonWatcher().nothing_to_do()
    else:
        typer.echo(f"There is no unfinished run under {state.folder}.")


def _new_run(
    loaded: "LoadedPlan",
    state: "StateDirectory",
    output: Format,
    *,
    saved: "SavedPlan | None",
    only: str | None,
    yes: bool,
    allow_alias_move: bool,
    allow_replace: bool,
    quiet: bool,
    canary: bool,
) -> "Run | None":
    """Plan, show, ask, prove the way, and freeze a run; None where there is nothing to do, or nobody wants it."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    made = _planned(loaded, state, output, saved=saved, only=only)
    if not (quiet or saved) or not made.has_changes:
        _show(made, loaded, state, output, in_full=False)
    if not made.has_changes:
        return None
    may_ask = output is Format.TEXT
    if not (allow_replace or may_replace(made, may_ask=may_ask)) or not (
        allow_alias_move or may_move_aliases(made, may_ask=may_ask)
    ):
        typer.echo("Nothing was done.")
        return None
    if not yes and not is_wanted("Apply this plan?", otherwise="apply the plan"):
        typer.echo("Nothing was done.")
        return None
    if canary and (code := prove(loaded, state, made, output)):
        raise typer.Exit(code)
    return workflow.begin(loaded, state, made, saved=saved)


def _planned(
    loaded: "LoadedPlan", state: "StateDirectory", output: Format, *, saved: "SavedPlan | None", only: str | None
) -> "Plan":
    """The plan for the world as it is; a saved one has to be the same, rows and segments apart."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.planning.drift import movement  # noqa: PLC0415 - as above

    if saved is None:
        return workflow.plan(loaded, state, only=only)
    made = workflow.plan_again(saved, loaded, state)
    if output is Format.TEXT:
        typer.echo(f"The saved plan {made.name} still holds.")
        for text in movement(saved.plan, made):
            say(f"  {text}")
    return made


def _show(made: "Plan", loaded: "LoadedPlan", state: "StateDirectory", output: Format, *, in_full: bool) -> None:

    from migrator.planning.plan import plan_parts  # noqa: PLC0415 - as above
    from migrator.reports.beside import beside_to_plain  # noqa: PLC0415 - as above
    from migrator.reports.to_text import plan_lines  # noqa: PLC0415 - as above

    if output is Format.TEXT:
        print_lines(plan_lines(made, told_beside(made, loaded, state)))
    elif in_full:
        print_json(plan_parts(made) | beside_to_plain(told_beside(made, loaded, state)))
    elif not made.has_changes:
        from migrator.cli.watching import JsonWatcher  # noqa: PLC0415 - as above

        JsonWatcher().nothing_to_do(made)


def _print_findings(run: "Run", state: "StateDirectory", output: Format) -> None:
    """What a resume would find of each step that is left."""
    from migrator import workflow  # noqa: PLC0415 - as above

    findings = workflow.look(run, state)
    words = {key: "never started" if found is None else f"started, found {found}" for key, found in findings.items()}
    if output is Format.JSON:
        print_json({"run_id": run.run_id, "steps": words})
        return
    say(f"Run {run.run_id} is unfinished; {len(words)} of {len(run.plan.steps)} steps are left:")
    for key, word in words.items():
        say(f"  {key}  {word}")
    typer.echo("Go on with it: migrator apply --resume")


def _execute(
    run: "Run",
    state: "StateDirectory",
    output: Format,
    parallelism: int,
    lock_timeout_s: float,
    shared_with: "Transport | None" = None,
) -> int:
    """Apply, with a display that fits the output, and say how it ended."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.cli.run_log import LogWatcher, logging_run  # noqa: PLC0415 - as above
    from migrator.running.clock import StopSignal  # noqa: PLC0415 - as above
    from migrator.running.events import Audience  # noqa: PLC0415 - as above
    from migrator.running.progress_file import ProgressFile  # noqa: PLC0415 - as above

    stop = StopSignal()
    _listen(stop)
    track = _track(run, state, parallelism)
    watcher = _watcher(output, track)
    with logging_run(run), ProgressFile(run.folder, track), watcher:
        watcher.run_started(run)
        try:
            result = workflow.apply(
                run,
                state,
                watcher=Audience(track, LogWatcher(), watcher),
                stop=stop,
                parallelism=parallelism,
                lock_timeout_s=lock_timeout_s,
                shared_with=shared_with,
            )
        except MigratorError:
            state.discard_unstarted(run)
            raise
    for bug in result.bugs:
        print_bug(bug)
    _write_report(run, state)
    watcher.run_ended(run, state, result)
    if result.exit_code == Interrupted.exit_code:
        state.discard_unstarted(run)
    return result.exit_code


def _track(run: "Run", state: "StateDirectory", parallelism: int) -> "Track":
    """How far the run is when this attempt begins, and from then on."""
    from migrator.running.clock import SystemClock  # noqa: PLC0415 - as above
    from migrator.running.events import StepState  # noqa: PLC0415 - as above
    from migrator.running.past_pace import past_pace  # noqa: PLC0415 - as above
    from migrator.running.track import Track  # noqa: PLC0415 - as above

    with state.journal(run) as journal:
        finished = [key for key, is_at in run.states(journal).items() if is_at is StepState.FINISHED]
    pace = past_pace(state, run.plan)
    return Track(run.plan, SystemClock(), finished=finished, pace=pace, parallelism=parallelism)


def _watcher(output: Format, track: "Track") -> "JsonWatcher | PlainWatcher":
    """Events, a live board, or plain lines where there is no terminal, or one that cannot move its cursor."""
    from migrator.cli.watching import JsonWatcher, PlainWatcher, TerminalWatcher  # noqa: PLC0415 - as above

    if output is Format.JSON:
        return JsonWatcher(track)
    is_able = sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in {"", "dumb", "unknown"}
    return TerminalWatcher(track) if is_able else PlainWatcher()


def _write_report(run: "Run", state: "StateDirectory") -> None:
    """A page about the run, beside its journal; a disk that has no room for it does not fail the run."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_html import run_html  # noqa: PLC0415 - as above
    from migrator.running.files import write_whole  # noqa: PLC0415 - as above

    with suppress(OSError):
        write_whole(run.report_file, run_html(workflow.report(run, state)))


def _listen(stop: "StopSignal") -> None:
    """The first Ctrl-C or SIGTERM asks the run to stop, the second ends the process at once; both are safe."""

    def ask(_: int, __: FrameType | None) -> None:
        if stop.is_asked():
            os._exit(Interrupted.exit_code)
        stop.ask()
        print("\nStopping: bringing what is in flight to a safe point; press again to stop at once.", file=sys.stderr)

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
