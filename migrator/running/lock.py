"""Leases: one run at a time per target collection and per dump, across machines, on any object store.

A lease is a create-only object `<folder>/<name>/<number>`; the highest number holds. It points to a heartbeat
object that its process rewrites every few seconds: a waiter that sees the heartbeat unchanged for long enough, by its
own steady clock, takes over by creating the next number. No two clocks are ever compared, and nothing is overwritten
but the process's own heartbeat.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migrator.errors import LockHeld, MigratorError, ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

    from migrator.model.collection import CollectionRef
    from migrator.ports.clock import Clock
    from migrator.ports.store import ObjectStore

BEAT_S = 5.0
EXPIRES_S = 25.0
"""A heartbeat unchanged for so long is a dead process's; a holder that could not beat for so long stops."""
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """Who a lease object names."""

    number: int
    run_id: str
    host: str
    pid: int
    beat: str

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host})"


class Leases:
    """The leases of one process: taken together, kept alive by a heartbeat, and given back at the end."""

    def __init__(self, store: ObjectStore, folder: str, *, run_id: str, clock: Clock) -> None:
        self._store = store
        self._folder = folder
        self._run_id = run_id
        self._clock = clock
        self._host = socket.gethostname()
        self._beat_key = f"{folder}/beats/{secrets.token_hex(8)}"
        self._beaten_at = clock.monotonic()
        self._beats = 0
        self._held: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back; what cannot be given back expires by itself."""
        self._over.set()
        self._thread.join()
        with suppress(MigratorError):
            self._store.delete([self._key(name, number) for name, number in self._held.items()])
            self._store.delete([self._beat_key])

    # -- taking -----------------------------------------------------------------------------------------------------

    def acquire(self, names: Iterable[str], *, timeout_s: float, on_wait: Callable[[str, str], None]) -> None:
        """Take every lease, waiting for other holders up to `timeout_s` in all.

        Raises:
            LockHeld: Somebody alive holds one of them.
        """
        deadline = self._clock.monotonic() + timeout_s
        for name in names:
            self._acquire(name, deadline, on_wait)

    def _acquire(self, name: str, deadline: float, on_wait: Callable[[str, str], None]) -> None:
        seen: tuple[object, float] | None = None
        while True:
            holder = self._holder(name)
            if holder is None or self._is_mine(holder) or (seen is not None and self._is_dead(seen)):
                if self._create(name, holder):
                    return
                seen = None
                continue
            sight, now = (holder, self._pulse(holder)), self._clock.monotonic()
            if seen is None or seen[0] != sight:
                seen = (sight, now)
            if now >= deadline:
                raise LockHeld(f"{name} is held by {holder}", hint="wait for that run, or raise --lock-timeout")
            on_wait(name, str(holder))
            self._clock.sleep(_LOOK_S)

    def _is_mine(self, holder: _Holder) -> bool:
        """The same run on the same host takes its lease back at once: the local lock says the other process ended."""
        return (holder.run_id, holder.host) == (self._run_id, self._host)

    def _is_dead(self, seen: tuple[object, float]) -> bool:
        return self._clock.monotonic() - seen[1] >= EXPIRES_S

    def _create(self, name: str, former: _Holder | None) -> bool:
        number = 1 if former is None else former.number + 1
        content = {"run_id": self._run_id, "host": self._host, "pid": os.getpid(), "beat": self._beat_key}
        if not self._store.write(self._key(name, number), json.dumps(content).encode(), create_only=True):
            return False
        self._held[name] = number
        if former is not None:
            self._store.delete([self._key(name, former.number)])
        return True

    # -- holding ----------------------------------------------------------------------------------------------------

    def require_held(self, target: CollectionRef) -> None:
        """Raise `LockHeld` unless the target's lease is ours and the heartbeat is fresh."""
        name = target_lease(target)
        holder = self._holder(name)
        late = self._clock.monotonic() - self._beaten_at >= EXPIRES_S
        if late or holder is None or holder.number != self._held.get(name) or holder.beat != self._beat_key:
            raise LockHeld(
                f"the lease of {target.short} was lost" + (f" to {holder}" if holder and not late else ""),
                hint="see who else applies a plan to this target; migrator apply --resume goes on once it is free",
            )

    def _keep_beating(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                self._beat()
            except MigratorError:
                continue  # the next beat may come through; `require_held` counts the silence

    def _beat(self) -> None:
        began = self._clock.monotonic()
        self._beats += 1
        self._store.write(self._beat_key, json.dumps({"run_id": self._run_id, "beat": self._beats}).encode())
        self._beaten_at = began

    # -- looking ----------------------------------------------------------------------------------------------------

    def _key(self, name: str, number: int) -> str:
        return f"{self._folder}/{name}/{number:08d}"

    def _holder(self, name: str) -> _Holder | None:
        """Who holds a lease by its highest number; one that is given back while we look is looked at again."""
        while True:
            found = [entry.key for entry in self._store.list_objects(f"{self._folder}/{name}")]
            if not found:
                return None
            key = max(found)
            try:
                content: dict[str, Any] = json.loads(self._store.read(key))
            except ObjectMissing:
                continue
            return _Holder(number=int(key.rsplit("/", maxsplit=1)[-1]), **content)

    def _pulse(self, holder: _Holder) -> object:
        """What changes with every beat, None where there is no heartbeat any more."""
        try:
            return self._store.read(holder.beat)
        except ObjectMissing:
            return None


def target_lease(target: CollectionRef) -> str:
    """The lease's name of a target collection."""
    return f"targets/{target}"


def dump_lease(dump_prefix: str) -> str:
    """The lease's name of a dump."""
    return f"dumps/{dump_prefix}"
