"""An object store as a plan file names it, and how one is started."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from migrator.connections import open_store
from migrator.lab.ports import free_block
from migrator.lab.process import spawn, stop_all
from migrator.spec.document import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from migrator.adapters.objects import ObstoreStore
    from migrator.lab.process import Process

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).parents[3]
_STARTS = 3
_SERVES_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Depot:
    """One bucket or container of a service, or a directory, with the keys of one identity.

    `storage` is the block of a plan file without its `root_path`. `environment` holds the variables it refers to, and
    `secrets` what must reach no other service.
    """

    name: str
    port: int = 0
    storage: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def block(self, **more: object) -> str:
        """As it stands in a plan file, in one line; `more` is added, and wins."""
        return json.dumps({**self.storage, **more})

    def through(self, port: int) -> Depot:
        """The same, reached at another port of loopback."""
        endpoint = str(self.storage["endpoint"]).replace(f":{self.port}", f":{port}")
        return replace(self, storage={**self.storage, "endpoint": endpoint})

    def open(self) -> ObstoreStore:
        """The store, as the program opens it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            root = {"root_path": "/any" if self.storage["provider"] == "local" else "any"}
            return open_store(Storage.model_validate({**self.storage, **root}), "staging.storage", 10.0)


LOCAL = Depot(name="local", storage={"provider": "local"})
"""The file system."""


class NotStarted(Exception):
    """A service ended at once, or never answered."""


def skip_unless_here(what: str, is_here: bool) -> None:  # noqa: FBT001 - reads as a sentence
    """Skip the test by name where a program is missing; on CI it has to be there."""
    if is_here:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what}; on CI it has to be there")
    pytest.skip(what)


@contextmanager
def serving(
    command: Callable[[int], Sequence[str]],
    *,
    folder: Path,
    environment: Mapping[str, str],
) -> Iterator[int]:
    """Run what `command` makes of a free port, and stop it at the end; the port, once something listens there."""
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(_STARTS):
        port = free_block(1)
        process = spawn(command(port), folder=folder, environment=environment, log=folder / "log")
        try:
            try:
                _wait(process, port)
            except NotStarted:
                if attempt == _STARTS - 1:
                    raise NotStarted((folder / "log").read_text(errors="replace")[-2000:]) from None
                continue  # another took the port in between
            yield port
            return
        finally:
            stop_all([process], patience_s=3.0)


def _wait(process: Process, port: int) -> None:
    deadline = time.monotonic() + _SERVES_WITHIN_S
    while process.is_alive() and time.monotonic() < deadline:
        with suppress(OSError):
            if listens(port) and process.is_alive():
                return
        time.sleep(0.05)
    raise NotStarted


def listens(port: int) -> bool:
    """Whether anything does, there."""
    with socket.create_connection((HOST, port), timeout=1):
        return True
