"""`migrator rollback`: drop what a run created."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.console import print_json, print_lines, say
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    FlagNeeded,
    Format,
    LockTimeout,
    OutputFormat,
    StateFolder,
    Yes,
    is_wanted,
    parse_lock_timeout,
    state_directory,
)
from migrator.cli.runs import get_run
from migrator.errors import Interrupted, RunError

if TYPE_CHECKING:
    from migrator.reports.to_text import Line
    from migrator.running.rollback import Ending, Remnant
    from migrator.running.runs import Run, StateDirectory

_FORMAT_VERSION = 1


def rollback(
    run_id: Annotated[str, typer.Argument(help="A run's id, or its beginning.", metavar="RUN", show_default=False)],
    yes: Yes = False,
    force: Annotated[
        bool, typer.Option("--force", help="Drop also what is not as the run left it: others' rows are lost.")
    ] = False,
    lock_timeout: LockTimeout = "60s",
    output: OutputFormat = Format.TEXT,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Drop what a run created at the target, and its unfinished dump; what others changed is left alone."""
    from migrator.running.journal import StepEvent  # noqa: PLC0415 - keeps --help fast

    if output is Format.JSON and not yes:
        raise FlagNeeded("JSON output cannot ask: add --yes to roll the run back")
    lock_timeout_s = parse_lock_timeout(lock_timeout)
    state = state_directory(state_dir)
    run = get_run(state, run_id)

    def say_holder(holder: str) -> None:
        say(f"Waiting for {holder}, which is at the plan {run.plan.name}.", err=True)

    with state.exclusive(run.plan.name, timeout_s=lock_timeout_s, on_wait=say_holder):
        talk = _JsonTalk(run) if output is Format.JSON else _TextTalk(run, force=force, yes=yes)
        if state.rollback_of(run) is StepEvent.ROLLED_BACK:
            talk.say_done_before()
            return
        code = _roll_back(run, state, talk, force=force, lock_timeout_s=lock_timeout_s)
    raise typer.Exit(code)


def _roll_back(
    run: "Run", state: "StateDirectory", talk: "_TextTalk | _JsonTalk", *, force: bool, lock_timeout_s: float
) -> int:
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.running.rollback import is_rolled_back  # noqa: PLC0415 - as above

    try:
        endings = workflow.rollback(
            run, state, ask=talk.ask, tell=talk.tell, on_end=talk.end, force=force, lock_timeout_s=lock_timeout_s
        )
    except Interrupted:
        raise Interrupted("the rollback was stopped", hint=f"migrator rollback {run.run_id} goes on with it") from None
    if endings is None:
        typer.echo("Nothing was done.")
        return 0
    talk.close(endings)
    return 0 if is_rolled_back(endings) else RunError.exit_code


class _TextTalk:
    """Lists, asks, and says what goes."""

    def __init__(self, run: "Run", *, force: bool, yes: bool) -> None:
        self._run = run
        self._force = force
        self._yes = yes
        self._told = ""

    def say_done_before(self) -> None:
        typer.echo(f"Run {self._run.run_id} is rolled back already.")

    def tell(self, text: str) -> None:
        """What is waited for, each thing once."""
        head = text.partition(" s ")[0].rstrip("0123456789")
        if head != self._told:
            self._told = head
            say(f"  … {text}")

    def ask(self, remnants: "Sequence[Remnant]") -> bool:
        """Show what was found; ask where something goes."""
        print_lines(_remnant_lines(self._run, remnants, force=self._force))
        sys.stdout.flush()
        if self._yes or not any(remnant.goes(force=self._force) for remnant in remnants):
            return True
        return is_wanted("Drop this?", otherwise="roll the run back")

    def end(self, ending: "Ending") -> None:
        """What was dropped, or could not be."""
        print_lines(_ending_lines(ending))
        sys.stdout.flush()

    def close(self, endings: "Sequence[Ending]") -> None:
        """How the rollback ended."""
        print_lines(_closing_lines(self._run, endings))


class _JsonTalk:
    """One object in the end."""

    def __init__(self, run: "Run") -> None:
        self._run = run

    def say_done_before(self) -> None:
        self.close(())

    def tell(self, text: str) -> None:
        """Nothing: the object says how it ended."""

    def ask(self, remnants: "Sequence[Remnant]") -> bool:  # noqa: ARG002 - as the other
        """Given with --yes."""
        return True

    def end(self, ending: "Ending") -> None:
        """In the object."""

    def close(self, endings: "Sequence[Ending]") -> None:
        """Print it."""
        from migrator.running.rollback import is_rolled_back  # noqa: PLC0415 - keeps --help fast

        found = [
            {
                "kind": ending.remnant.kind,
                "name": ending.remnant.name,
                "found": ending.remnant.verdict,
                "reason": ending.remnant.reason,
                "aliases": list(ending.remnant.aliases),
                "fate": ending.fate,
                "message": ending.message,
            }
            for ending in endings
        ]
        state = "rolled back" if is_rolled_back(endings) else "not rolled back"
        whole = {"format_version": _FORMAT_VERSION, "run_id": self._run.run_id, "state": state, "remnants": found}
        print_json(whole)


def _remnant_lines(run: "Run", remnants: "Sequence[Remnant]", *, force: bool) -> "list[Line]":
    from migrator.reports.plain import clean  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above
    from migrator.running.rollback import Kind, Verdict  # noqa: PLC0415 - as above

    if not remnants:
        return [Line(f"Run {run.run_id} has created nothing.", Style.TITLE)]
    place = f"under {run.plan.dump}" if run.plan.target is None else f"at {run.plan.target.uri}"
    lines = [Line(f"What run {run.run_id} created {clean(place)}:", Style.TITLE), Line()]
    for remnant in remnants:
        is_forced = force and remnant.verdict is Verdict.FORCE
        goes = "~" if remnant.kind is Kind.PREDECESSOR else "-"
        sign = goes if remnant.goes(force=force) else "!" if remnant.verdict is Verdict.FORCE else "="
        style = {goes: Style.CONFLICT if is_forced else Style.CHANGED, "!": Style.CONFLICT, "=": Style.SAME}[sign]
        kept = "kept: " if remnant.verdict is Verdict.KEEP else ""
        lines.append(Line(f"  {sign} {remnant.kind} {clean(remnant.name)}  {kept}{clean(remnant.reason)}", style))
        lines += [Line(f"      {sign} alias {clean(alias)}", style) for alias in remnant.aliases]
    lines.append(Line())
    going = [remnant for remnant in remnants if remnant.goes(force=force)]
    back = sum(remnant.kind is Kind.PREDECESSOR for remnant in going)
    stays = sum(remnant.verdict is Verdict.FORCE for remnant in remnants)
    parts = [f"{len(going) - back} to drop" if len(going) > back else "Nothing to drop"]
    if back:
        parts.append(f"{back} to get {'its name' if back == 1 else 'their names'} back")
    if stays:
        parts.append(f"{stays} of them by --force" if force else f"{stays} left alone (--force drops them too)")
    return [*lines, Line(", ".join(parts) + ".", Style.TITLE)]


def _ending_lines(ending: "Ending") -> "list[Line]":
    from migrator.reports.plain import clean  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above
    from migrator.running.rollback import Fate  # noqa: PLC0415 - as above

    name = f"{ending.remnant.kind} {clean(ending.remnant.name)}"
    if ending.fate is Fate.REMOVED:
        return [Line(f"  ✓ {name}  dropped", Style.NEW)]
    if ending.fate is Fate.RESTORED:
        return [Line(f"  ✓ {name}  has its name back", Style.NEW)]
    if ending.fate is Fate.FAILED:
        return [Line(f"  ✗ {name}  {clean(ending.message)}", Style.CONFLICT)]
    if ending.fate is Fate.LEFT_ALONE and ending.message:
        return [Line(f"  ! {name}  left alone: {clean(ending.message)}", Style.CONFLICT)]
    return []


def _closing_lines(run: "Run", endings: "Sequence[Ending]") -> "list[Line]":
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - keeps --help fast
    from migrator.running.rollback import Fate, is_rolled_back  # noqa: PLC0415 - as above

    if is_rolled_back(endings):
        return [Line(f"Run {run.run_id} is rolled back.", Style.TITLE)]
    fates = {ending.fate for ending in endings}
    again = f"migrator rollback {run.run_id}"
    lines = [Line(f"Run {run.run_id} is not rolled back yet.", Style.TITLE)]
    if Fate.FAILED in fates:
        lines.append(Line(f"  mend what failed, then repeat: {again}", Style.FAINT))
    if Fate.LEFT_ALONE in fates:
        lines.append(Line(f"  to keep what was left alone, rename it at the target, then repeat: {again}", Style.FAINT))
        lines.append(Line(f"  to drop it: {again} --force", Style.FAINT))
    return lines
