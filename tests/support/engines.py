"""An engine in this process: threads that get the texts which workers would get, and nothing else."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = "threads://here"


@dataclass(slots=True)
class ThreadTransport:
    """`work` is what a worker does; `sent` is all it was told."""

    work: Callable[[str], str]
    width: int = 2
    place: str = PLACE
    sent: list[str] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))

    def send(self, text: str) -> Future[str]:
        """Have it done by a thread."""
        self.sent.append(text)
        return self._pool.submit(self.work, text)
