"""`migrator verify`: compare source and target again."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from migrator.cli.console import print_lines
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


class Level(StrEnum):
    """What is compared."""

    NONE = "none"
    COUNTS = "counts"
    SAMPLE = "sample"
    FULL = "full"


def verify(
    plan_file: PlanFile,
    level: Annotated[Level, typer.Option("--level", help="What to compare; only counts is built yet.")] = Level.COUNTS,
    clusters: Clusters = None,
    var: Variables = None,
    only: Only = None,
    output: OutputFormat = Format.TEXT,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Compare the rows of source and target, for every collection the plan maps."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.plain import clean  # noqa: PLC0415 - as above
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    if level is not Level.COUNTS:
        raise typer.BadParameter(f"level {level} is not supported yet; use counts", param_hint="--level")
    loaded = workflow.load(plan_file, variables=parse_variables(var), clusters=clusters)
    results = workflow.verify(loaded, state_directory(state_dir), only=only)
    if output is Format.JSON:
        typer.echo(json.dumps([asdict(result) for result in results], indent=2, ensure_ascii=False))
    else:
        styles = {0: Style.NEW, 51: Style.CHANGED}
        print_lines(
            Line(f"{clean(r.source)} → {clean(r.target)}  {clean(r.verdict)}", styles.get(r.exit_code, Style.CONFLICT))
            for r in results
        )
    codes = {result.exit_code for result in results}
    raise typer.Exit(next((code for code in (50, 51) if code in codes), 0))
