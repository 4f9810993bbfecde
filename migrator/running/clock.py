"""The real clock, whose sleep ends when a person asks the run to stop."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from migrator.errors import Interrupted


class StopSignal:
    """A wish to stop, heard by every thread of a run."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        """Ask the run to stop; what is in flight is brought to a point it can be resumed from."""
        self._event.set()

    def is_asked(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, or return True as soon as somebody asks."""
        return self._event.wait(seconds)


def boot_id() -> str:
    """The running kernel's id since its start; empty where there is none to read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SystemClock:
    """Wall time, monotonic time, and a sleep that listens to `stop`."""

    def __init__(self, stop: StopSignal | None = None) -> None:
        self._stop = stop or StopSignal()

    @property
    def boot_id(self) -> str:
        """Which steady clock this is."""
        return boot_id()

    def now(self) -> datetime:
        """UTC."""
        return datetime.now(tz=UTC)

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; raises `Interrupted` at once when a stop is asked."""
        if self._stop.wait(seconds) if seconds > 0 else self._stop.is_asked():
            raise Interrupted("the run was stopped", hint="migrator apply --resume goes on with it")
