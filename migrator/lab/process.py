"""Server processes that outlive the command which started them, and are never mistaken for another."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Children of this very process have to be waited for, or they stay as zombies and Popen complains.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_children_go() -> None:
    """Servers outlive the program that started them, on purpose; Popen shall not complain of that either."""
    for child in _children.values():
        if child.poll() is None:
            child.returncode = 0


class Process(BaseModel):
    """A process by what no later one shares: its pid, when it started, and in which boot."""

    model_config = ConfigDict(frozen=True)

    pid: int
    start_ticks: int  # field 22 of /proc/<pid>/stat, in clock ticks since boot
    boot_id: str

    def is_alive(self) -> bool:
        """Tell whether exactly this process still runs; a paused one is alive, a zombie is not."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        stat = _stat(self.pid)
        return stat is not None and stat == ("alive", self.start_ticks) and self.boot_id == _boot_id()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def has_ended(self, *, within_s: float) -> bool:
        """Wait for its end, at most `within_s` seconds; tell whether it came."""
        deadline = time.monotonic() + within_s
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def spawn(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """Start `command` in `folder`, in a session of its own, with both outputs appended to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - the command is the lab's own, no shell, nothing a user typed
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    stat = _stat(child.pid)  # a child is in /proc at least as a zombie until it is waited for
    start_ticks = 0 if stat is None else stat[1]
    return Process(pid=child.pid, start_ticks=start_ticks, boot_id=_boot_id())


def stop_all(processes: Iterable[Process], *, patience_s: float) -> None:
    """End the processes: politely, and after `patience_s` seconds by force; return when all are gone."""
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)  # one that was paused does not hear SIGTERM
    deadline = time.monotonic() + patience_s
    for process in alive:
        if not process.has_ended(within_s=max(0.0, deadline - time.monotonic())):
            process.signal(signal.SIGKILL)
            process.has_ended(within_s=patience_s)


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold spaces and parentheses
    return ("ended" if fields[0] in {"Z", "X"} else "alive", int(fields[19]))


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
