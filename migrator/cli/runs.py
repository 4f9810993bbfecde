"""`migrator runs` and `migrator status`: what was done, and what is left."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.console import print_json, print_lines
from migrator.cli.options import DEFAULT_STATE_FOLDER, Format, OutputFormat, StateFolder, state_directory

if TYPE_CHECKING:
    from migrator.reports.summary import RunSummary
    from migrator.reports.to_text import Line
    from migrator.running.runs import Run, StateDirectory


def runs(output: OutputFormat = Format.TEXT, state_dir: StateFolder = DEFAULT_STATE_FOLDER) -> None:
    """List the runs in the state directory, the oldest first."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    state = state_directory(state_dir)
    summaries = [workflow.summary(run, state) for run in state.runs()]
    if output is Format.JSON:
        listed = [{k: v for k, v in asdict(s).items() if k not in {"steps", "collections"}} for s in summaries]
        print_json(listed)
        return
    if not summaries:
        typer.echo(f"There are no runs under {state.folder}.")
    for summary in summaries:
        done = sum(step.state == "finished" for step in summary.steps)
        typer.echo(
            f"{summary.run_id}  {summary.state}  {done} of {len(summary.steps)} steps  "
            f"{len(summary.collections)} collection(s)  {summary.created_at[:19]} UTC"
        )


def status(
    run_id: Annotated[
        str | None, typer.Argument(help="A run's id, or its beginning; left out: the latest run.", metavar="RUN")
    ] = None,
    output: OutputFormat = Format.TEXT,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Show one run, step by step; works while it runs, from another terminal."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    state = state_directory(state_dir)
    found = list(state.runs()) if run_id is None else [get_run(state, run_id)]
    if not found:
        typer.echo(f"There are no runs under {state.folder}.")
        return
    summary = workflow.summary(found[-1], state)
    if output is Format.JSON:
        print_json(asdict(summary))
    else:
        print_lines(_lines(summary))


def get_run(state: "StateDirectory", beginning: str) -> "Run":
    """The one run whose id begins so; anything else is a wrong command line."""
    found = state.find_runs(beginning)
    if len(found) != 1:
        what = "no run begins" if not found else f"{len(found)} runs begin"
        raise typer.BadParameter(f"{what} with {beginning!r}; migrator runs lists them", param_hint="RUN")
    return found[0]


def _lines(summary: "RunSummary") -> "list[Line]":
    from migrator.reports.plain import clean, count  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    styles = {"finished": Style.NEW, "failed": Style.CONFLICT, "running": Style.CHANGED, "parked": Style.CHANGED}
    signs = {"finished": "✓", "failed": "✗", "running": "…", "parked": "-"}
    lines = [Line(f"Run {summary.run_id} of plan {summary.plan}: {summary.state}", Style.TITLE), Line()]
    for collection in summary.collections:
        rows = "" if collection.rows is None else f"  {count(collection.rows, 'row')}"
        verdict = f": {clean(collection.verdict)}" if collection.verdict else ""
        lines.append(Line(f"  {clean(collection.arrow)}{rows}  {collection.state}{verdict}"))
    lines.append(Line())
    for step in summary.steps:
        detail = f"  {clean(step.detail)}" if step.detail else ""
        style = styles.get(step.state, Style.FAINT)
        lines.append(Line(f"  {signs.get(step.state, ' ')} {step.state:<9} {clean(step.key)}{detail}", style))
        if step.hint:
            lines.append(Line(f"      hint: {clean(step.hint)}", Style.FAINT))
    return lines
