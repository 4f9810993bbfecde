"""`migrator validate`: schema, rules and templates of plan files, offline."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from migrator.cli.console import print_error
from migrator.cli.options import Clusters, Variables, parse_variables
from migrator.errors import SpecError


class ValidateFormat(StrEnum):
    """How complaints are printed."""

    TEXT = "text"
    GITHUB = "github"


def validate(
    plans: Annotated[list[Path], typer.Argument(help="Plan files.", metavar="PLAN...", show_default=False)],
    clusters: Clusters = None,
    var: Variables = None,
    output: Annotated[
        ValidateFormat, typer.Option("--format", help="How to print complaints; github: as annotations.")
    ] = ValidateFormat.TEXT,
) -> None:
    """Check plan files without any network."""
    from migrator.spec.load import load_plan  # noqa: PLC0415 - keeps --help fast

    variables = parse_variables(var)
    failed = False
    for path in plans:
        try:
            loaded = load_plan(path, variables=variables, clusters=clusters)
        except SpecError as error:
            _print(error, output)
            failed = True
        else:
            count = len(loaded.mappings)
            typer.echo(f"{path}: sound, {count} mapping{'' if count == 1 else 's'}")
    if failed:
        raise typer.Exit(SpecError.exit_code)


def _print(error: SpecError, output: ValidateFormat) -> None:
    from migrator.reports.to_github import annotation  # noqa: PLC0415 - keeps the usual case fast

    if output is ValidateFormat.TEXT:
        print_error(error)
        return
    for complaint in error.complaints:
        typer.echo(annotation(complaint))
