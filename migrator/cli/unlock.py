"""`migrator unlock`: who holds what a plan needs, and taking it away."""

from typing import TYPE_CHECKING

import typer

from migrator.cli.console import print_lines, say
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    Clusters,
    PlanFile,
    StateFolder,
    Variables,
    Yes,
    is_wanted,
    parse_variables,
    state_directory,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.reports.to_text import Line
    from migrator.running.unlocking import HeldLease


def unlock(
    plan_file: PlanFile,
    clusters: Clusters = None,
    var: Variables = None,
    yes: Yes = False,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Show who holds the targets and the dump of a plan, and break the leases after confirmation."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    loaded = workflow.load(plan_file, variables=parse_variables(var), clusters=clusters)
    state = state_directory(state_dir)
    local = state.find_local_holder(loaded.name)
    held, break_them = workflow.find_leases(loaded, state, tell=lambda text: say(f"  … {text}"))
    print_lines(_lines(loaded.name, local, held))
    if not held:
        return
    if not yes and not is_wanted("Break these leases?", otherwise="break the leases"):
        typer.echo("Nothing was done.")
        return
    break_them()
    typer.echo("The leases are broken; a holder that is alive stops before it creates or imports anything more.")


def _lines(plan_name: str, local: str | None, held: "Sequence[HeldLease]") -> "list[Line]":
    from migrator.reports.plain import clean  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    lines = []
    if local is not None:
        lines.append(Line(f"The plan {plan_name} is in the hands of {clean(local)}.", Style.TITLE))
        lines.append(Line("  That lock ends with the process: stop it, if it shall not go on.", Style.FAINT))
    if not held:
        return [*lines, Line(f"Nobody holds a lease that the plan {plan_name} needs.", Style.TITLE)]
    for each in held:
        since = f"{each.holder.since[:19].replace('T', ' ')} UTC"
        heart = (
            "its heartbeat moves: it is alive"
            if each.is_beating
            else "its heartbeat stands still: it is dead, or cut off"
        )
        style = Style.CONFLICT if each.is_beating else Style.CHANGED
        lines.append(Line(f"  {clean(each.lease.label)}", Style.TITLE))
        lines.append(Line(f"      held by {clean(str(each.holder))} since {since}"))
        lines.append(Line(f"      {heart}", style))
    return lines
