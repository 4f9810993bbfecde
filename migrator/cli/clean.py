"""`migrator clean`: delete what runs left behind that nobody will ask for again."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.console import print_error, print_lines, say
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    Clusters,
    StateFolder,
    Variables,
    Yes,
    is_wanted,
    parse_variables,
    state_directory,
)
from migrator.errors import LockHeld, RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.reports.to_text import Line
    from migrator.running.cleaning import Leftover


def clean(
    plan_file: Annotated[
        Path | None, typer.Argument(help="The plan file; left out: all plans of the runs there are.", metavar="PLAN")
    ] = None,
    clusters: Clusters = None,
    var: Variables = None,
    yes: Yes = False,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Delete leftovers: dumps and leases of runs that are over, what they replaced, runs that never began."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.running.cleaning import plans_with_folders, remove_all  # noqa: PLC0415 - as above

    state = state_directory(state_dir)
    loaded = None
    if plan_file is not None:
        loaded = workflow.load(plan_file, variables=parse_variables(var), clusters=clusters)
    names = [loaded.name] if loaded else sorted(plans_with_folders(state))
    locked: list[LockHeld] = []
    leftovers: list[Leftover] = []
    failures = 0
    with ExitStack() as stack:
        for name in names:
            try:
                cleaning = stack.enter_context(workflow.cleaning(state, name, loaded, tell=_tell))
            except LockHeld as held:
                locked.append(held)
                continue
            leftovers += cleaning.find()
        print_lines(_lines(leftovers))
        for error in locked:
            print_error(error)
        if any(leftover.goes for leftover in leftovers):
            if not yes and not is_wanted("Delete this?", otherwise="delete it"):
                typer.echo("Nothing was done.")
                return
            for leftover, failure in remove_all(leftovers):
                failures += bool(failure)
                print_lines(_ending_lines(leftover, failure))
    raise typer.Exit(RunError.exit_code if failures else LockHeld.exit_code if locked else 0)


def _tell(text: str) -> None:
    say(f"  … {text}")


def _lines(leftovers: "Sequence[Leftover]") -> "list[Line]":
    from migrator.reports.plain import clean as plain  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.plain import count  # noqa: PLC0415 - as above
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    lines = [
        Line(
            f"  {'-' if leftover.goes else '='} {leftover.kind} {plain(leftover.name)}  "
            f"{'' if leftover.goes else 'left alone: '}{plain(leftover.reason)}",
            Style.CHANGED if leftover.goes else Style.SAME,
        )
        for leftover in leftovers
    ]
    going = sum(leftover.goes for leftover in leftovers)
    return [*lines, Line(f"{count(going, 'leftover')} to delete." if going else "Nothing to delete.", Style.TITLE)]


def _ending_lines(leftover: "Leftover", failure: str) -> "list[Line]":
    from migrator.reports.plain import clean as plain  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    name = f"{leftover.kind} {plain(leftover.name)}"
    if failure:
        return [Line(f"  ✗ {name}  {plain(failure)}", Style.CONFLICT)]
    return [Line(f"  ✓ {name}  deleted", Style.NEW)]
