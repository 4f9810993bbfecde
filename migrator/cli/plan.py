"""`migrator plan`: look at both sides and print what would be done."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.console import print_json, print_lines
from migrator.cli.earlier import find_earlier, told_beside
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    Clusters,
    Only,
    PlanFile,
    PlanFormat,
    StateFolder,
    Variables,
    parse_variables,
    state_directory,
)

if TYPE_CHECKING:
    from migrator.planning.plan import Plan
    from migrator.planning.saved_plan import SavedPlan
    from migrator.reports.beside import Beside

CHANGES_EXIT_CODE = 3


def plan(
    plan_file: PlanFile,
    clusters: Clusters = None,
    var: Variables = None,
    only: Only = None,
    output: Annotated[PlanFormat, typer.Option("--format", help="How to print.")] = PlanFormat.TEXT,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="List everything, steps too.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 0 if there is nothing to do, 3 if there is.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Save the plan, for `migrator apply FILE` to do just that.", metavar="FILE"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            help="Say first what has changed since the last run of the plan, or since a saved plan.",
            metavar="last|FILE",
            show_default=False,
        ),
    ] = None,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Print what apply would do; writes nothing anywhere, but for --out."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    variables = parse_variables(var)
    if out is not None and any(each is not None and out.resolve() == each.resolve() for each in (plan_file, clusters)):
        raise typer.BadParameter(f"{out} is what the plan is made of; name another file", param_hint="--out")
    if against is not None and output is PlanFormat.MERMAID:
        message = "a graph has no place for what has changed: use --format text, markdown, json or html"
        raise typer.BadParameter(message, param_hint="--against")
    loaded, state = workflow.load(plan_file, variables=variables, clusters=clusters), state_directory(state_dir)
    earlier = None if against is None else find_earlier(against, loaded, state, only=only)
    made = workflow.plan(loaded, state, only=only)
    _print(made, told_beside(made, loaded, state, earlier), output, verbose=verbose)
    if out is not None:
        _save(workflow.saved(loaded, made, folder=out.absolute().parent, variables=variables, only=only), out)
    if detailed_exitcode and made.has_changes:
        raise typer.Exit(CHANGES_EXIT_CODE)


def _save(saved: "SavedPlan", out: Path) -> None:
    """Write the plan whole or not at all; nobody else need read it before it is handed on."""
    from migrator.running.files import write_whole  # noqa: PLC0415 - keeps --help fast

    try:
        write_whole(out, saved.pieces())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not the name of a file"
        raise typer.BadParameter(f"{out} cannot be written: {reason}", param_hint="--out") from None
    typer.echo(f"Saved as {out}; migrator apply {out} does exactly that, once.", err=True)


def _print(made: "Plan", told: "Beside", output: PlanFormat, *, verbose: bool) -> None:
    from migrator.planning.plan import plan_parts  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.beside import beside_to_plain  # noqa: PLC0415 - as above
    from migrator.reports.to_html import plan_html  # noqa: PLC0415 - as above
    from migrator.reports.to_markdown import plan_markdown  # noqa: PLC0415 - as above
    from migrator.reports.to_mermaid import plan_mermaid  # noqa: PLC0415 - as above
    from migrator.reports.to_text import plan_lines  # noqa: PLC0415 - as above

    match output:
        case PlanFormat.TEXT:
            print_lines(plan_lines(made, told, verbose=verbose))
        case PlanFormat.JSON:
            print_json(plan_parts(made) | beside_to_plain(told))
        case PlanFormat.MARKDOWN:
            typer.echo(plan_markdown(made, told), nl=False)
        case PlanFormat.MERMAID:
            typer.echo(plan_mermaid(made), nl=False)
        case PlanFormat.HTML:
            typer.echo(plan_html(made, told), nl=False)
