"""What a canary writes down before it makes anything, so that `migrator clean` finds what a killed one left."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from migrator.errors import ObjectMissing
from migrator.running.clock import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.ports.store import ObjectReader, ObjectStore

_LONG_OVER = timedelta(hours=1)
SCRATCH = "_migrator_canary_"
"""What the names of scratch collections begin with: nobody migrates those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What is about to be made: folders in the staging store and, where that is another, in the target's.

    `home` is the host since its last start, which with `pid` tells whether the process is alive.
    """

    canary_id: str
    plan: str
    home: str
    pid: int
    since: str
    database: str
    staged: str
    imported_from: str = ""
    target: str = ""
    """The address of the Milvus with the scratch collections; empty where there is none."""

    def to_json(self) -> bytes:
        """As an object holds it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """As an object held it.

        Raises:
            ValueError, TypeError: It is no marker.
        """
        return cls(**json.loads(content))

    def is_over(self, now: datetime) -> bool:
        """Whether its process is: as the system says where that ran here, and elsewhere after an hour."""
        if self.home != home():
            return now - datetime.fromisoformat(self.since) > _LONG_OVER
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's
            return False
        return False

    def __str__(self) -> str:
        return f"a preflight of plan {self.plan} (process {self.pid} on {self.home.partition('/')[0]})"


def home() -> str:
    """This machine since its last start."""
    return f"{socket.gethostname()}/{boot_id()}"


def scratch_names(canary_id: str) -> tuple[str, str]:
    """The scratch collections of a canary: the one that is imported into, and the one that tries the shards."""
    return f"{SCRATCH}{canary_id}", f"{SCRATCH}{canary_id}_shards"


def read_markers(store: ObjectReader, folder: str) -> Iterator[tuple[str, Marker]]:
    """Those in the folder, each with its key; what is none is left alone."""
    for entry in store.list_objects(folder):
        with suppress(ObjectMissing, ValueError, TypeError):
            yield entry.key, Marker.from_json(store.read(entry.key))


def remove_folder(store: ObjectStore, folder: str) -> None:
    """Delete all objects in it, and the folder where a store has such things."""
    store.delete([found.key for found in store.list_objects(folder)])
    store.drop_empty_folders(folder)
