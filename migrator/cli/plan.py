"""`migrator plan`: look at both sides and print what would be done."""

from typing import Annotated

import typer

from migrator.cli.console import print_json, print_lines
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    Clusters,
    Format,
    Only,
    OutputFormat,
    PlanFile,
    StateFolder,
    Variables,
    parse_variables,
    state_directory,
)

CHANGES_EXIT_CODE = 3


def plan(
    plan_file: PlanFile,
    clusters: Clusters = None,
    var: Variables = None,
    only: Only = None,
    output: OutputFormat = Format.TEXT,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="List everything, steps too.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 0 if there is nothing to do, 3 if there is.")
    ] = False,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Print what apply would do; writes nothing anywhere."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.planning.plan import plan_to_plain  # noqa: PLC0415 - as above
    from migrator.reports.to_text import plan_lines  # noqa: PLC0415 - as above

    loaded = workflow.load(plan_file, variables=parse_variables(var), clusters=clusters)
    made = workflow.plan(loaded, state_directory(state_dir), only=only)
    if output is Format.JSON:
        print_json(plan_to_plain(made))
    else:
        print_lines(plan_lines(made, verbose=verbose))
    if detailed_exitcode and made.has_changes:
        raise typer.Exit(CHANGES_EXIT_CODE)
