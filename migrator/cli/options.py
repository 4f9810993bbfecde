"""Options that several commands share."""

import sys
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


class PlanFormat(StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    MERMAID = "mermaid"
    HTML = "html"


class EngineName(StrEnum):
    """Who does the work that can be shared."""

    LOCAL = "local"
    DASK = "dask"


class LogFormat(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """What is logged: this, and what is graver."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


OutputFormat = Annotated[Format, typer.Option("--format", help="How to print.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
LockTimeout = Annotated[
    str, typer.Option("--lock-timeout", help="How long to wait for another run to let go.", metavar="DURATION")
]


EngineOption = Annotated[
    EngineName,
    typer.Option("--engine", help="Who streams objects and compares rows: this process, or the workers of a cluster."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler", help="Where the cluster's scheduler is: tcp://host:8786.", metavar="ADDRESS", show_default=False
    ),
]


def require_scheduler(engine: EngineName, scheduler: str | None) -> str | None:
    """The scheduler's address, None where all is done here; one without the other is a wrong command line."""
    if engine is EngineName.DASK and not scheduler:
        raise FlagNeeded("--engine dask needs the address of its scheduler: --scheduler tcp://host:8786")
    if engine is EngineName.LOCAL and scheduler:
        raise typer.BadParameter("it belongs to --engine dask", param_hint="--scheduler")
    return scheduler


def parse_variables(values: list[str] | None) -> dict[str, str]:
    """`--var` values by name; a wrong one is a wrong command line."""
    found = {}
    for value in values or []:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{value!r} is not of the form K=V", param_hint="--var")
        found[name] = text
    return found


def parse_lock_timeout(text: str) -> float:
    """Seconds; a wrong one is a wrong command line."""
    from migrator.spec.fault import Fault  # noqa: PLC0415 - keeps --help fast
    from migrator.spec.units import parse_duration  # noqa: PLC0415 - as above

    try:
        return parse_duration(text)
    except Fault as fault:
        raise typer.BadParameter(f"{text!r} {fault.message}: {fault.hint}", param_hint="--lock-timeout") from None


class FlagNeeded(typer.BadParameter):
    """A flag that is not there, and without which nothing is done; no value of it is wrong."""

    def format_message(self) -> str:
        """What is said, without a word of an invalid value."""
        return str(self.message)


def is_wanted(question: str, *, otherwise: str) -> bool:
    """Ask on the terminal; without one it is a wrong command line, and `otherwise` says what `--yes` would do."""
    from migrator.reports.plain import clean  # noqa: PLC0415 - keeps --help fast

    if not sys.stdin.isatty():
        raise FlagNeeded(f"there is no terminal to ask on: add --yes to {otherwise}")
    try:
        return typer.confirm(f"\n{clean(question)}")
    except typer.Abort:  # the end of input is no consent
        typer.echo()
        return False


def state_directory(folder: Path) -> "StateDirectory":
    """The state directory, which need not exist."""
    from migrator.running.clock import SystemClock  # noqa: PLC0415 - keeps validate and --help fast
    from migrator.running.runs import StateDirectory  # noqa: PLC0415 - as above

    return StateDirectory(folder, SystemClock())
