"""Printing lines: coloured on a terminal, plain otherwise."""

import sys
import traceback
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, TextIO

import typer

from migrator.errors import MigratorError, PlanError, SpecError

if TYPE_CHECKING:
    from migrator.reports.to_text import Line

_PIECES = 1000
"""Of a long text, so many are written at a time."""


def print_lines(lines: "Iterable[Line]", file: TextIO | None = None) -> None:
    """Print lines; on a terminal they are wrapped to its width, and `NO_COLOR` is heeded."""
    from migrator.reports.plain import clean, wrapped  # noqa: PLC0415 - keeps --help fast

    stream = file or sys.stdout
    if not stream.isatty():
        encoding = stream.encoding or "utf-8"
        for line in lines:
            print(clean(line.text).encode(encoding, "replace").decode(encoding), file=stream)
        return
    from rich.console import Console  # noqa: PLC0415 - only where something is coloured
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console(file=stream, highlight=False, soft_wrap=True)
    for line in lines:
        for text in wrapped(clean(line.text), console.width, hang=line.hang):
            console.print(Text(text, style=line.style.value))


def say(text: str, *, err: bool = False) -> None:
    """Print a sentence that may hold names from elsewhere."""
    from migrator.reports.plain import clean  # noqa: PLC0415 - as above

    typer.echo(clean(text), err=err)


def print_json(value: object) -> None:
    """Print it indented; a long list may be an iterator, which is never held as a whole."""
    from migrator.reports.plain import json_pieces  # noqa: PLC0415 - as above

    pieces = json_pieces(value, indent=2)
    while gathered := "".join(islice(pieces, _PIECES)):
        typer.echo(gathered, nl=False)
    typer.echo()


def print_bug(error: BaseException) -> None:
    """Print a traceback to stderr: lines of the program, and what is said in errors; never values."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    for line in lines:
        say(line, err=True)


def print_error(error: MigratorError) -> None:
    """Print an error to stderr: all complaints of a plan, or a sentence and a hint."""
    from migrator.reports.to_text import Line, Style, error_lines  # noqa: PLC0415 - only when something went wrong

    complaints = error.complaints if isinstance(error, SpecError | PlanError) else ()
    print_lines(error_lines(error, complaints), sys.stderr)
    if len(complaints) > 1:
        print_lines([Line(f"{len(complaints)} complaints", Style.TITLE)], sys.stderr)
