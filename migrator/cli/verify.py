"""`migrator verify`: compare source and target again."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.console import print_json, print_lines, say
from migrator.cli.options import (
    DEFAULT_STATE_FOLDER,
    Clusters,
    EngineName,
    EngineOption,
    Format,
    Only,
    OutputFormat,
    PlanFile,
    Scheduler,
    StateFolder,
    Variables,
    parse_variables,
    require_scheduler,
    state_directory,
)

if TYPE_CHECKING:
    from migrator.running.comparison import Comparison

_FORMAT_VERSION = 1


class Level(StrEnum):
    """What is compared."""

    NONE = "none"
    COUNTS = "counts"
    SAMPLE = "sample"
    FULL = "full"


def verify(
    plan_file: PlanFile,
    level: Annotated[
        Level | None, typer.Option("--level", help="What to compare.", show_default="the plan's, or else sample")
    ] = None,
    clusters: Clusters = None,
    var: Variables = None,
    only: Only = None,
    engine: EngineOption = EngineName.LOCAL,
    scheduler: Scheduler = None,
    output: OutputFormat = Format.TEXT,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Compare source and target, for every collection the plan maps."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    address = require_scheduler(engine, scheduler)
    loaded = workflow.load(plan_file, variables=parse_variables(var), clusters=clusters)
    state = state_directory(state_dir)
    results = []
    with workflow.engine(address) as shared_with:
        for result in workflow.verify(loaded, state, level=level, only=only, tell=_tell, shared_with=shared_with):
            results.append(result)
            if output is Format.TEXT:
                _print(result)
    codes = {result.exit_code for result in results}
    code = next((code for code in (50, 51) if code in codes), 0)
    if output is Format.JSON:
        collections = [_plain(result) for result in results]
        print_json({"format_version": _FORMAT_VERSION, "exit_code": code, "collections": collections})
    raise typer.Exit(code)


def _tell(line: str) -> None:
    say(line, err=True)


def _print(result: "Comparison") -> None:
    """A line of verdict, and the differences under it."""
    from migrator.reports.plain import clean  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    style = {0: Style.NEW, 51: Style.CHANGED}.get(result.exit_code, Style.CONFLICT)
    lines = [Line(f"{clean(result.source)} → {clean(result.target)}  {clean(result.verdict)}", style)]
    lines += [Line(f"    {clean(str(each))}") for each in result.differences.shown]
    if unshown := result.differences.total - len(result.differences.shown):
        lines.append(Line(f"    … and {unshown:,} more", Style.FAINT))
    print_lines(lines)


def _plain(result: "Comparison") -> dict[str, object]:
    differences = result.differences
    shown = [asdict(each) | {"message": str(each)} for each in differences.shown]
    return asdict(result) | {"differences": shown, "differences_total": differences.total}
