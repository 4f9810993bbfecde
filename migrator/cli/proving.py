"""Before `apply` begins a run: the preflight with its canary, told in a line, or in full where something is wrong."""

import sys
from typing import TYPE_CHECKING

import typer

from migrator.cli.console import print_lines
from migrator.cli.options import Format

if TYPE_CHECKING:
    from migrator.model.finding import Finding
    from migrator.planning.plan import Plan
    from migrator.running.runs import StateDirectory
    from migrator.spec.loaded import LoadedPlan


def prove(loaded: "LoadedPlan", state: "StateDirectory", made: "Plan", output: Format) -> int:
    """0 where the run may begin; else the exit code, and what is wrong has been told."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.model.finding import exit_code_of  # noqa: PLC0415 - as above

    if output is Format.TEXT:
        typer.echo("Proving the way with one row, from staging to the target …")
        sys.stdout.flush()
    findings = workflow.prove(loaded, state, made)
    if output is Format.JSON:
        from migrator.cli.watching import JsonWatcher  # noqa: PLC0415 - as above

        JsonWatcher().preflight(findings)
    elif findings is None:
        typer.echo("  ✓ it was proven within the last hour")
    else:
        _tell(findings)
    return exit_code_of(findings or ())


def _tell(findings: "tuple[Finding, ...]") -> None:
    """Warnings and failures in full, and how many there are of each."""
    from migrator.model.finding import Status, exit_code_of  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.findings import counts, one_finding  # noqa: PLC0415 - as above
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    failed = bool(exit_code_of(findings))
    for found in findings:
        if found.status in {Status.WARNING, Status.FAILURE}:
            print_lines(one_finding(found), sys.stderr if found.exit_code else None)
    word, style = ("✗ it does not work", Style.CONFLICT) if failed else ("✓ it works", Style.NEW)
    print_lines([Line(f"  {word}: {counts(findings)}", style)])
    if failed:
        print_lines([Line("Nothing was begun; migrator check --canary tells all of it.", Style.TITLE)])
