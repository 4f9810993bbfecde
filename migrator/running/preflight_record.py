"""Which preflights were green a short while ago, so that `apply` need not fly the canary again."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from migrator import __version__
from migrator.planning.plan import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.ports.clock import Clock
    from migrator.spec.loaded import LoadedPlan

FRESH = timedelta(hours=1)
_FOLDER = "checks"


class PreflightRecord:
    """Of one plan file with its clusters and variables, as they are now; kept in the state directory."""

    def __init__(self, state_folder: Path, loaded: LoadedPlan, clock: Clock) -> None:
        self._path = state_folder / _FOLDER / f"{loaded.name}.json"
        self._digest = digest_of({"version": __version__, "document": loaded.frozen()})
        self._clock = clock

    def green_at(self) -> datetime | None:
        """When it was green, if it is no longer ago than an hour, and nothing was edited since."""
        told = self._read()
        if told.get("digest") != self._digest:
            return None
        try:
            at = datetime.fromisoformat(str(told.get("at")))
            age = self._clock.now() - at
        except (ValueError, TypeError):
            return None
        return at if timedelta() <= age <= FRESH else None

    def _read(self) -> dict[str, Any]:
        try:
            told = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def note(self, *, is_green: bool) -> None:
        """Remember it, or forget what was remembered; a folder that cannot be written remembers nothing."""
        try:
            if not is_green:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            content = json.dumps({"digest": self._digest, "at": self._clock.now().isoformat()})
            beside = self._path.with_suffix(".part")
            descriptor = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
            beside.replace(self._path)
        except OSError:
            return
