"""What the double can be made to do wrong, and what it was asked: both over its control port."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """One misbehaviour, some times over.

    Kinds: `lose_reply` (carried out, then the connection is cut), `slow`, `timeout` (REST: answered with a timeout,
    and the job appears after `delay_s`), `limit`, `429`, `deny`, `unavailable`, `unimplemented`, `error`.
    """

    on: str  # a gRPC call's name, or the path of a REST call without `/v2/vectordb/`
    kind: str
    times: int = 1
    skip: int = 0  # calls that pass before
    delay_s: float = 0.0
    reason: str = ""
    code: int = 65535


@dataclass
class Faults:
    """The faults to come, and the calls that were made."""

    waiting: list[Fault] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """Let it happen at the next calls it is for."""
        with self._lock:
            self.waiting.append(fault)

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self.waiting.clear()

    def take(self, name: str, kind: str) -> Fault | None:
        """The fault of that kind that this call has to suffer, if any."""
        with self._lock:
            for fault in self.waiting:
                if fault.kind != kind or fault.on not in {name, "*"} or not fault.times:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def wait_if_slow(self, name: str) -> None:
        """Take the time a fault asks for."""
        if fault := self.take(name, "slow"):
            time.sleep(fault.delay_s)

    def note(self, name: str, request: Any, headers: dict[str, Any]) -> None:  # noqa: ANN401 - of any shape
        """Remember a call."""
        told = {key: value if isinstance(value, str) else repr(value) for key, value in headers.items()}
        with self._lock:
            self.calls.append({"name": name, "request": request, "headers": told, "at": time.time()})
            del self.calls[:-5000]
