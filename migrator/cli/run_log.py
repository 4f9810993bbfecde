"""The run log: what happened, for whoever looks for a cause; one line each, with no secret in it.

`logging` of the standard library under the name `migrator`; lines are text or JSON, in a file of the owner alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from migrator.cli.options import LogFormat, LogLevel
from migrator.reports.plain import clean
from migrator.running.current_step import current_step
from migrator.spec.secrets import resolved_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from migrator.errors import MigratorError, Outdated
    from migrator.running.events import Progress
    from migrator.running.runs import Run
    from migrator.steps.base import Outcome, Step

LOGGER = logging.getLogger("migrator")
HIDDEN = "***"
_log = logging.getLogger(__name__)
_SHORTEST_SECRET = 4
"""A shorter one would hide half of every line, and is no secret."""
_TELLTALE = re.compile(
    r"""(?ix) ((?: [\w-]* (?: password | passwd | secret | token | account_key | signature | credential ) [\w-]*
    | authorization | [?&]sig | api[_-]?key ) ["']? \s* [=:] \s* (?: bearer \s+ | basic \s+ )? ["']?) ([^\s"',;&]+)"""
)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", re.IGNORECASE)
_SECRET_NAMES = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|ACCOUNT_KEY|CONNECTION_STRING", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """As the options of the program say; without a `file` a run logs into its own folder, `-` is stderr beside that."""

    file: Path | None = None
    level: LogLevel = LogLevel.INFO
    kind: LogFormat = LogFormat.TEXT

    @property
    def to_stderr(self) -> bool:
        """Whether stderr is asked for."""
        return str(self.file) == "-"


@dataclass(slots=True)
class _Current:
    """What a process is at: one command, and one run at a time."""

    settings: LogSettings = LogSettings()
    run_id: str = ""


_current = _Current()


# -- lines ------------------------------------------------------------------------------------------------------------


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with every known secret, and whatever stands where one would, written as `***`."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}:
            text = text.replace(form, HIDDEN)
    text = _TELLTALE.sub(rf"\1{HIDDEN}", text)
    return _USERINFO.sub(rf"\1{HIDDEN}@", text)


def _ambient_secrets() -> frozenset[str]:
    """Those that clients find in the environment by themselves."""
    return frozenset(value for name, value in os.environ.items() if _SECRET_NAMES.search(name))


class LineFormatter(logging.Formatter):
    """`2026-03-01T02:00:00.123Z INFO run step message`, or the same as a JSON object."""

    def __init__(self, kind: LogFormat) -> None:
        super().__init__()
        self._kind = kind
        self._ambient = _ambient_secrets()  # once: a look at every variable for every line was most of a line's cost

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the message."""
        seconds, rest = divmod(record.created, 1)
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(rest * 1000):03}Z"
        step = getattr(record, "step", "") or current_step()
        message = clean(without_secrets(record.getMessage(), self._secrets()))
        if self._kind is LogFormat.JSON:
            values: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "run_id": _current.run_id}
            return json.dumps(values | {"step": step, "logger": record.name, "message": message})
        return f"{at} {record.levelname:<7} {_current.run_id or '-'} {clean(step) or '-'}  {message}"

    def _secrets(self) -> set[str]:
        """Those, and what was read by reference until now."""
        return {secret for secret in resolved_secrets() | self._ambient if len(secret) >= _SHORTEST_SECRET}


class _Stderr(logging.StreamHandler[Any]):
    """To whatever stderr is at the moment: a live display puts itself between."""

    @property
    def stream(self) -> Any:  # noqa: ANN401 - as its base has it
        return sys.stderr

    @stream.setter
    def stream(self, _: object) -> None:
        pass


@contextmanager
def logging_as(settings: LogSettings) -> Iterator[None]:
    """Log where the options say, for as long as the command lasts; without them nowhere."""
    _current.settings = settings
    try:
        if settings.file is None:
            yield
        else:
            with _logging_to(None if settings.to_stderr else settings.file):
                yield
    finally:
        _current.settings = LogSettings()


@contextmanager
def logging_run(run: Run) -> Iterator[None]:
    """What is logged belongs to a run, and goes to its folder unless another file was named."""
    _current.run_id = run.run_id
    settings = _current.settings
    try:
        if settings.file is None or settings.to_stderr:
            with _logging_to(run.log_file):
                yield
        else:
            yield
    finally:
        _current.run_id = ""


@contextmanager
def _logging_to(file: Path | None) -> Iterator[None]:
    settings, handler = _current.settings, _handler(file)
    handler.setFormatter(LineFormatter(settings.kind))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(settings.level.upper())
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        handler.close()


def _handler(file: Path | None) -> logging.Handler:
    """For a file of its owner alone, or stderr; what cannot be written is lost, and disturbs nothing."""
    if file is None:
        return _Stderr()
    try:
        os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        return _Quiet(file, encoding="utf-8")
    except OSError:
        return logging.NullHandler()


class _Quiet(logging.FileHandler):
    """A disk that is full is no reason to print tracebacks, nor to stop."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of logging
        """Leave the line out."""

    def close(self) -> None:
        """What was not written by now is not written."""
        with suppress(OSError):
            super().close()


# -- what a run tells -------------------------------------------------------------------------------------------------


class LogWatcher:
    """Everything that is told of a run, as lines of the log."""

    def lock_waits(self, name: str, holder: str) -> None:
        """Once a second while it waits."""
        _log.debug("waits for %s, which is held by %s", name, holder)

    def run_waits(self, error: MigratorError, seconds: float) -> None:
        """What the run as a whole waits for."""
        _log.warning("tries again in %.1f s: %s", seconds, error.message)

    def run_told(self, message: str) -> None:
        """What a person should know."""
        _log.info("%s", message)

    def step_started(self, step: Step) -> None:
        """What it is about to do."""
        _log.info("started: %s", step.describe(), extra={"step": step.key})

    def step_progressed(self, step: Step, progress: Progress) -> None:
        """Of these there are many."""
        if _log.isEnabledFor(logging.DEBUG):
            amount = f"{progress.done} of {progress.total} {progress.unit}, {progress.size_bytes} bytes"
            _log.debug("%s: %s", progress.message, amount, extra={"step": step.key})

    def step_waits(self, step: Step, error: MigratorError, seconds: float) -> None:
        """It will be tried again."""
        told = (type(error).__name__, error.message, seconds)
        _log.warning("%s: %s; another attempt in %.1f s", *told, extra={"step": step.key})

    def step_renewed(self, step: Step, error: Outdated) -> None:
        """What it stands on is done anew."""
        _log.warning("%s; done again: %s", error.message, ", ".join(error.renews), extra={"step": step.key})

    def step_finished(self, step: Step, outcome: Outcome) -> None:
        """What it did."""
        told = (outcome.rows, outcome.objects, outcome.size_bytes, outcome.detail)
        _log.info("finished: %d rows, %d objects, %d bytes; %s", *told, extra={"step": step.key})

    def step_failed(self, step: Step, error: MigratorError) -> None:
        """What happened, and what helps."""
        told = (type(error).__name__, error.message, error.hint)
        _log.error("%s: %s (hint: %s)", *told, extra={"step": step.key})

    def step_blocked(self, step: Step, needed: str) -> None:
        """What it needs has failed."""
        _log.info("not tried: it needs %s", needed, extra={"step": step.key})

    def step_parked(self, step: Step) -> None:
        """A person wanted it so."""
        _log.info("stopped", extra={"step": step.key})
