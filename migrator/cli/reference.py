"""The command line as a page of documentation; run as a module, it writes `docs/cli.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer
from typer.cli import get_docs_for_click

from migrator.cli import app

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
_HEAD = """\
Every command with its arguments and options, as the program itself tells them (`migrator COMMAND --help`).
[Exit codes](exit-codes.md) are the same for all.

Completion for bash, zsh, fish and PowerShell: `migrator --install-completion`; `--show-completion` prints it instead.
"""


def reference() -> str:
    """The page's text, made of the program."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(
        obj=command, ctx=typer.Context(command, info_name="migrator"), name="migrator", title="Command line"
    )
    title, _, rest = text.partition("\n\n")
    return f"{title}\n\n{_HEAD}\n{rest.rstrip()}\n"


def main() -> None:
    """Write the page, and say where."""
    PAGE.write_text(reference(), encoding="utf-8")
    typer.echo(PAGE)


if __name__ == "__main__":
    main()
