"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from migrator.running.runs import StateDirectory

PlanFile = Annotated[Path, typer.Argument(help="The plan file.", metavar="PLAN", show_default=False)]
Clusters = Annotated[
    Path | None, typer.Option("--clusters", help="A clusters file that overrides the plan's.", show_default=False)
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--var", help="Override a variable of the plan; may be repeated.", metavar="K=V", show_default=False),
]
StateFolder = Annotated[
    Path, typer.Option("--state-dir", envvar="MIGRATOR_STATE_DIR", help="Where runs are kept, one folder each.")
]
Only = Annotated[
    str | None,
    typer.Option("--only", help="Only mappings whose source or target matches this pattern.", show_default=False),
]

DEFAULT_STATE_FOLDER = Path(".migrator")


class Format(StrEnum):
    """How a command prints."""

    TEXT = "text"
    JSON = "json"


OutputFormat = Annotated[Format, typer.Option("--format", help="How to print.")]


def parse_variables(values: list[str] | None) -> dict[str, str]:
    """`--var` values by name; a wrong one is a wrong command line."""
    found = {}
    for value in values or []:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{value!r} is not of the form K=V", param_hint="--var")
        found[name] = text
    return found


def state_directory(folder: Path) -> "StateDirectory":
    """The state directory, which need not exist."""
    from migrator.running.clock import SystemClock  # noqa: PLC0415 - keeps validate and --help fast
    from migrator.running.runs import StateDirectory  # noqa: PLC0415 - as above

    return StateDirectory(folder, SystemClock())
