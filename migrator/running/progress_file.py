"""How far a run is, for whoever looks from another process: a small file in the run's folder, replaced as it goes.

It is no record: the journal is. It is rewritten at most once a second, never synced, and removed when the attempt ends;
one that stays was left by a process that was killed, and tells what that was at.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from migrator.errors import RunError
from migrator.model.codec import from_plain, to_plain
from migrator.running.files import write_whole
from migrator.running.track import RunView  # noqa: TC001 - read from JSON by its type

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from migrator.running.track import Track

FORMAT_VERSION = 1
EVERY_S = 1.0
_FILE = "progress.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a process last said of the run it applies, or applied until it died."""

    format_version: int
    pid: int
    host: str
    view: RunView

    @property
    def process(self) -> str:
        """As the local lock tells its holder."""
        return f"process {self.pid} on {self.host}"


class ProgressFile:
    """Written from a thread of its own while the block lasts; a disk without room for it does not disturb the run."""

    def __init__(self, folder: Path, track: Track) -> None:
        self._path = folder / _FILE
        self._track = track
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self.write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The journal tells how it ended."""
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _keep_writing(self) -> None:
        while not self._over.wait(EVERY_S):
            self.write()

    def write(self) -> None:
        """How far it is now."""
        attempt = Attempt(
            format_version=FORMAT_VERSION, pid=os.getpid(), host=socket.gethostname(), view=self._track.view()
        )
        with suppress(OSError):
            write_whole(self._path, json.dumps(to_plain(attempt)), is_durable=False)


def find_attempt(folder: Path) -> Attempt | None:
    """What the run's folder tells of a process under way or killed; None where it tells nothing that can be read."""
    try:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return from_plain(Attempt, content) if content["format_version"] == FORMAT_VERSION else None
    except (OSError, ValueError, KeyError, TypeError, RunError):
        return None
