"""`migrator report`: one run as a page that can be sent to somebody."""

from pathlib import Path
from typing import Annotated

import typer

from migrator.cli.options import DEFAULT_STATE_FOLDER, StateFolder, state_directory
from migrator.cli.runs import get_run


def report(
    run_id: Annotated[
        str | None, typer.Argument(help="A run's id, or its beginning; left out: the latest run.", metavar="RUN")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The file to write; one that is there is replaced.")] = Path(
        "report.html"
    ),
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Write one HTML file about a run: outcome, collections, timeline, steps; it needs no network to be read."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_html import run_html  # noqa: PLC0415 - as above

    state = state_directory(state_dir)
    found = list(state.runs()) if run_id is None else [get_run(state, run_id)]
    if not found:
        raise typer.BadParameter(f"there are no runs under {state.folder}", param_hint="RUN")
    text = run_html(workflow.report(found[-1], state))
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror}", param_hint="--out") from None
    typer.echo(f"{out} tells of run {found[-1].run_id}.")
