"""The command line; `main` is the only place where an error becomes an exit code."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from migrator import __version__
from migrator.cli import (
    apply,
    backup,
    check,
    clean,
    demo,
    init,
    lab,
    plan,
    report,
    rollback,
    runs,
    unlock,
    validate,
    verify,
)
from migrator.cli.console import print_bug, print_error
from migrator.cli.options import LogFormat, LogLevel
from migrator.errors import Interrupted, MigratorError

app = typer.Typer(
    name="migrator",
    help="Move Milvus collections by a reviewed plan: rows, deletes and indexes intact, every row exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.init)
app.command("validate")(validate.validate)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("apply")(apply.apply)
app.command("runs")(runs.runs)
app.command("status")(runs.status)
app.command("report")(report.report)
app.command("verify")(verify.verify)
app.command("rollback")(rollback.rollback)
app.command("clean")(clean.clean)
app.command("unlock")(unlock.unlock)
app.command("demo")(demo.demo)
app.add_typer(backup.app, name="backup")
app.add_typer(lab.app, name="lab")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer hands the flag over by position
    if wanted:
        typer.echo(f"migrator {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has done it all
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            help="Log there, and not into the run's folder; - is stderr, beside that.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="Log this, and what is graver.")] = LogLevel.INFO,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="How to log.")] = LogFormat.TEXT,
) -> None:
    _log(context, log_file, log_level, log_format)
    if context.invoked_subcommand not in {"demo", "lab"}:  # they have servers to stop
        _end_at_a_second_signal()


def _log(context: typer.Context, file: Path | None, level: LogLevel, kind: LogFormat) -> None:
    """From here on, as the options say; the settings are there for the run."""
    from migrator.cli.run_log import LogSettings, logging_as  # noqa: PLC0415 - keeps --help fast

    if file is not None and str(file) != "-" and not file.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {file.absolute().parent}", param_hint="--log-file")
    context.obj = LogSettings(file=file, level=level, kind=kind)
    context.with_resource(logging_as(context.obj))


def _end_at_a_second_signal() -> None:
    """End the process at once, even where a request blocks the thread that would hear the signal; that is safe."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def listen() -> None:
        asked = 0
        while asked < 2:
            asked += sum(number in {signal.SIGINT, signal.SIGTERM} for number in os.read(reading, 64))
        os._exit(Interrupted.exit_code)

    threading.Thread(target=listen, name="signals", daemon=True).start()


def _stop(_: int, __: FrameType | None) -> NoReturn:
    raise Interrupted("stopped")


def main() -> NoReturn:
    """Run the command line and exit with the code that the README documents."""
    logging.getLogger("migrator").addHandler(logging.NullHandler())  # warnings go to the log, or nowhere
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines on stderr repeat our errors, less clearly
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some reads about every package here
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    if sys.argv[1:2] in (["--install-completion"], ["--show-completion"]) and sys.argv[2:]:
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"  # or Typer takes the shell it runs in
    try:
        app(prog_name="migrator")
    except MigratorError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - a bug: told in full, and harmless to a terminal
        print_bug(error)
        sys.exit(1)
    raise AssertionError  # Typer always exits
