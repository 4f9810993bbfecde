"""An engine: worker processes, of this machine or others, that do shards of steps for a run.

A shard that a lost worker had is given to another one. A run decides by the answers alone what was done, and writes it
down; nobody else does.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from migrator.model.shard import CopyAnswer, CopyShard, ValuesAnswer, ValuesShard


class Engine(Protocol):
    """Answers may come as `EngineUnavailable` (worth another try) or `EngineRefused`."""

    @property
    def place(self) -> str:
        """Where it is, for a person: `tcp://scheduler:8786`."""

    @property
    def width(self) -> int:
        """How many shards its workers do at a time; 0 while there is none."""

    def copy(self, shard: CopyShard) -> Future[CopyAnswer]: ...

    def compare(self, shard: ValuesShard) -> Future[ValuesAnswer]: ...
