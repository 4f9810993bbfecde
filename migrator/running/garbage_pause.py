"""The pause of the source's garbage collection: renewed while a run lasts, and given back at its end."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from migrator.errors import MilvusError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from migrator.ports.garbage import GarbageCollection

PAUSE_S = 300
"""How long one lasts: a killed run leaves it behind, and it ends by itself."""
RENEW_S = 60.0


class GarbagePause:
    """While it is open, files that compaction replaced stay where they are, as far as the server keeps its word.

    Where `is_required`, opening it fails if the first pause is not to be had; else that is told, once, and the run goes
    on: servers keep such files for hours by themselves.
    """

    def __init__(self, garbage: GarbageCollection, *, is_required: bool, tell: Callable[[str], None]) -> None:
        self._garbage = garbage
        self._is_required = is_required
        self._tell = tell
        self._has_failed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_pausing, name="garbage-pause", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._garbage.pause(PAUSE_S)
        except MilvusError as error:
            if self._is_required:
                raise
            self._tell(f"the source's garbage collection is not paused: {error.message}")
        else:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What cannot be given back ends by itself."""
        if self._thread.ident is None:
            return
        self._over.set()
        self._thread.join()
        with suppress(MilvusError):
            self._garbage.resume()

    def _keep_pausing(self) -> None:
        while not self._over.wait(RENEW_S):
            try:
                self._garbage.pause(PAUSE_S)
            except MilvusError as error:
                self._tell_failure(error)
            else:
                self._has_failed = False

    def _tell_failure(self, error: MilvusError) -> None:
        """Once for each row of failures; the next attempt may come through."""
        if not self._has_failed:
            self._tell(f"the pause of the source's garbage collection could not be renewed: {error.message}")
        self._has_failed = True
