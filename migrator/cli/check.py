"""`migrator check`: find out whether a plan can be applied, before anything is moved."""

from typing import Annotated

import typer

from migrator.cli.console import print_json, print_lines
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    Clusters,
    Format,
    OutputFormat,
    PlanFile,
    StateFolder,
    Variables,
    parse_variables,
    state_directory,
)


def check(
    plan_file: PlanFile,
    clusters: Clusters = None,
    var: Variables = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="Prove the way by writing: stage, import and remove one row.")
    ] = False,
    output: OutputFormat = Format.TEXT,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Look at every part of a plan, and tell by its field what is wrong; only --canary writes anything."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.model.finding import exit_code_of  # noqa: PLC0415 - as above
    from migrator.reports.findings import finding_lines, findings_to_plain  # noqa: PLC0415 - as above

    loaded = workflow.load(plan_file, variables=parse_variables(var), clusters=clusters)
    findings = workflow.check(loaded, state_directory(state_dir), canary=canary)
    if output is Format.JSON:
        told = findings_to_plain(findings, plan=loaded.name, canary=canary)
        print_json(told)
    else:
        print_lines(finding_lines(findings))
    raise typer.Exit(exit_code_of(findings))
