"""The command line as a page of documentation; run as a module, it writes `docs/cli.md`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from typer.cli import get_docs_for_click

from migrator.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
_HEAD = """\
Every command with its arguments and options, as the program itself tells them (`migrator COMMAND --help`).
[Exit codes](exit-codes.md) are the same for all.

Completion for bash, zsh, fish and PowerShell: `migrator --install-completion`, and a new shell; it is for the shell
that is named (`--install-completion zsh`), or else for the one it runs in. `--show-completion` prints it instead, for a
package or an image.
"""
_HEADING = re.compile(r"#+ `(migrator[\w -]*)`$")
_LISTED = re.compile(r"\* `([\w-]+)`: ")


def reference() -> str:
    """The page's text, made of the program."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(
        obj=command, ctx=typer.Context(command, info_name="migrator"), name="migrator", title="Command line"
    )
    title, _, rest = text.partition("\n\n")
    told = "\n".join(_told_in_full(rest.rstrip().split("\n"), command))
    return f"{title}\n\n{_HEAD}\n{told}\n"


def _told_in_full(lines: list[str], command: object) -> Iterator[str]:
    """The same with each listed command's whole sentence, which a terminal's width had cut off, and a link to it."""
    path, group = "migrator", command
    for line in lines:
        if heading := _HEADING.match(line):
            path, group = heading[1], command
            for word in path.split()[1:]:
                group = getattr(group, "commands", {})[word]
        listed = _LISTED.match(line)
        below = getattr(group, "commands", {}).get(listed[1]) if listed else None
        if listed is None or below is None:
            yield line
            continue
        help_text = " ".join((below.help or "").split("\n\n")[0].split())
        yield f"* [`{listed[1]}`](#{path.replace(' ', '-')}-{listed[1]}): {help_text}"


def main() -> None:
    """Write the page, and say where."""
    PAGE.write_text(reference(), encoding="utf-8")
    typer.echo(PAGE)


if __name__ == "__main__":
    main()
