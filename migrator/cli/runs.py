"""`migrator runs` and `migrator status`: what was done, what is under way, and what is left."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrator.cli.console import print_json, print_lines
from migrator.cli.options import DEFAULT_STATE_FOLDER, Format, OutputFormat, StateFolder, state_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.reports.summary import RunSummary, StepSummary
    from migrator.reports.to_text import Line
    from migrator.running.runs import Run, StateDirectory
    from migrator.running.situation import Situation

_MANY_STEPS = 30
"""More are told one by one only where they are under way or failed, unless all are asked for."""
_MANY_COLLECTIONS = 20
"""The same of collections."""


def runs(output: OutputFormat = Format.TEXT, state_dir: StateFolder = DEFAULT_STATE_FOLDER) -> None:
    """List the runs in the state directory, the oldest first."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    state = state_directory(state_dir)
    found = [
        (summary, workflow.situation(run, state)) for run in state.runs() for summary in [workflow.summary(run, state)]
    ]
    if output is Format.JSON:
        print_json([_run_to_plain(summary, situation) for summary, situation in found])
        return
    if not found:
        typer.echo(f"There are no runs under {state.folder}.")
        return
    rows = [("run", "state", "steps", "collections", "begun (UTC)")]
    for summary, situation in found:
        done = sum(step.state == "finished" for step in summary.steps)
        steps, begun = f"{done:,} of {len(summary.steps):,}", summary.created_at[:19].replace("T", " ")
        rows.append((summary.run_id, _state(summary, situation), steps, f"{len(summary.collections):,}", begun))
    print_lines(_table(rows))


def _run_to_plain(summary: "RunSummary", situation: "Situation") -> dict[str, Any]:
    told = {key: value for key, value in asdict(summary).items() if key not in {"steps", "collections"}}
    return told | {
        "state": _state(summary, situation),
        "steps": len(summary.steps),
        "steps_done": sum(step.state == "finished" for step in summary.steps),
        "collections": len(summary.collections),
    }


def _table(rows: "Sequence[Sequence[str]]") -> "Iterator[Line]":
    """Columns as wide as their widest cell; the first row is their heading."""
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - keeps --help fast

    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield Line("  ".join(cells).rstrip(), Style.PLAIN if number else Style.TITLE)


def status(
    run_id: Annotated[
        str | None, typer.Argument(help="A run's id, or its beginning; left out: the latest run.", metavar="RUN")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every step and every collection.")] = False,
    output: OutputFormat = Format.TEXT,
    state_dir: StateFolder = DEFAULT_STATE_FOLDER,
) -> None:
    """Show one run: what is under way, what is done, how to go on; works while it runs, from another terminal."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    state = state_directory(state_dir)
    found = list(state.runs()) if run_id is None else [get_run(state, run_id)]
    if not found:
        typer.echo(f"There are no runs under {state.folder}.")
        return
    summary, situation = workflow.summary(found[-1], state), workflow.situation(found[-1], state)
    if output is Format.JSON:
        print_json(_to_plain(summary, situation))
    else:
        print_lines(_lines(summary, situation, verbose=verbose or len(summary.steps) <= _MANY_STEPS))


def get_run(state: "StateDirectory", beginning: str) -> "Run":
    """The one run whose id begins so; anything else is a wrong command line."""
    found = state.find_runs(beginning)
    if len(found) != 1:
        what = "no run begins" if not found else f"{len(found)} runs begin"
        raise typer.BadParameter(f"{what} with {beginning!r}; migrator runs lists them", param_hint="RUN")
    return found[0]


def _state(summary: "RunSummary", situation: "Situation") -> str:
    return "running" if situation.is_alive and summary.state in {"unfinished", "failed"} else summary.state


def _to_plain(summary: "RunSummary", situation: "Situation") -> dict[str, Any]:
    from migrator.cli.board import step_words  # noqa: PLC0415 - keeps --help fast
    from migrator.model.codec import to_plain  # noqa: PLC0415 - as above

    attempt: dict[str, Any] | None = None
    if situation.attempt is not None:
        view = situation.attempt.view
        attempt = {"pid": situation.attempt.pid, "host": situation.attempt.host} | to_plain(view)
        attempt["running"] = [to_plain(step) | {"words": step_words(step)} for step in view.running]
    told = asdict(summary) | {"state": _state(summary, situation)}
    return told | {"process": situation.process, "attempt": attempt, "go_on": situation.go_on}


def _lines(summary: "RunSummary", situation: "Situation", *, verbose: bool) -> "Iterator[Line]":
    from migrator.reports.plain import duration  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    yield Line(f"Run {summary.run_id} of plan {summary.plan}: {_state(summary, situation)}", Style.TITLE)
    begun = summary.created_at[:19].replace("T", " ")
    yield Line(f"begun {begun} UTC, {duration(situation.age_s)} ago", Style.FAINT)
    yield from _process_lines(situation)
    yield Line()
    yield from _collection_lines(summary, verbose=verbose)
    yield Line()
    yield from _step_lines(summary, verbose=verbose)
    if situation.go_on:
        yield Line()
        yield Line(f"Go on with it: {situation.go_on}")


def _process_lines(situation: "Situation") -> "Iterator[Line]":
    """Who applies it, how far that is, and what it waits for; or what it was at when it died."""
    from migrator.cli.board import percent, run_words, step_words  # noqa: PLC0415 - as above
    from migrator.reports.plain import clean, duration  # noqa: PLC0415 - as above
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    if situation.attempt is None:
        if situation.process:
            yield Line(clean(situation.process))
        return
    view = situation.attempt.view
    heard = f"heard of {view.at[11:19]} UTC, {duration(situation.silent_s)} ago"
    yield Line(clean(f"{situation.process}, {heard}"), Style.NEW if situation.is_alive else Style.CONFLICT)
    how_far = clean(run_words(view)) if situation.is_alive else f"{view.steps_done:,} of {view.steps:,} steps"
    yield Line(f"{percent(view.share)} %: {how_far}")
    for step in view.running:
        since = f"since {step.since[11:19]} UTC, {duration(step.elapsed_s)}"
        style = Style.CHANGED if situation.is_alive else Style.FAINT
        yield Line(f"  … {clean(step.key)}  {clean(step_words(step))} ({since})", style)


def _collection_lines(summary: "RunSummary", *, verbose: bool) -> "Iterator[Line]":
    from migrator.reports.plain import clean, count  # noqa: PLC0415 - as above
    from migrator.reports.to_text import Line  # noqa: PLC0415 - as above

    left_out: dict[str, int] = {}
    is_short = verbose or len(summary.collections) <= _MANY_COLLECTIONS
    for collection in summary.collections:
        if not is_short and collection.state != "failed":
            left_out[collection.state] = left_out.get(collection.state, 0) + 1
            continue
        rows = "" if collection.rows is None else f"  {count(collection.rows, 'row')}"
        verdict = f": {clean(collection.verdict)}" if collection.verdict else ""
        yield Line(f"  {clean(collection.arrow)}{rows}  {collection.state}{verdict}")
    yield from (Line(f"  {count(number, 'collection')} {state}") for state, number in left_out.items())


def _step_lines(summary: "RunSummary", *, verbose: bool) -> "Iterator[Line]":
    from migrator.reports.plain import count  # noqa: PLC0415 - as above
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    left_out: dict[str, int] = {}
    for step in summary.steps:
        if not verbose and step.state in {"finished", "waiting", "blocked"}:
            left_out[step.state] = left_out.get(step.state, 0) + 1
            continue
        yield from _one_step(step)
    yield from (Line(f"  {count(number, 'step')} {state}", Style.FAINT) for state, number in left_out.items())
    if left_out:
        yield Line("  -v lists them all", Style.FAINT)


def _one_step(step: "StepSummary") -> "Iterator[Line]":
    from migrator.reports.plain import clean  # noqa: PLC0415 - as above
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    signs = {
        "finished": ("✓", Style.NEW),
        "failed": ("✗", Style.CONFLICT),
        "running": ("…", Style.CHANGED),
        "parked": ("-", Style.CHANGED),
    }
    sign, style = signs.get(step.state, (" ", Style.FAINT))
    at = f" {step.at[11:19]}" if step.at else " " * 9
    detail = f"  {clean(step.detail)}" if step.detail else ""
    yield Line(f"  {sign} {step.state:<11}{at}  {clean(step.key)}{detail}", style)
    if step.hint:
        yield Line(f"      hint: {clean(step.hint)}", Style.FAINT)
