"""Leases: one run at a time per target collection and per dump, across machines, on any object store.

A lease is a create-only object `<lease>/<number>`; the highest number holds. It points to a heartbeat object that its
process rewrites every few seconds: a waiter that sees the heartbeat unchanged for long enough, by its own steady clock,
takes over by creating the next number. No two clocks are ever compared, and nothing is overwritten but the process's
own heartbeat.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from migrator.errors import LockHeld, MigratorError, ObjectMissing
from migrator.planning.places import beats_folder, dumps_folder, flat, target_beats_folder, targets_folder
from migrator.running.clock import boot_id
from migrator.steps.abreast import abreast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from migrator.model.collection import CollectionRef
    from migrator.ports.clock import Clock
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.spec.loaded import LoadedPlan

BEAT_S = 5.0
EXPIRES_S = 25.0
"""A heartbeat unchanged for so long is a dead process's."""
_LOOK_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseName:
    """A lease: the folder of its objects, and what it guards, for people."""

    path: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePlaces:
    """Where the leases of a plan lie, outside of every root path; two plans that meet find the same places.

    Targets are told apart by the root path of their cluster, because two clusters may share a bucket.
    """

    targets: str
    dumps: str
    beats: str

    @classmethod
    def of(cls, loaded: LoadedPlan) -> Self:
        """Those of a plan file, with the heartbeats in the dump's store."""
        return cls(targets=targets_folder(loaded), dumps=dumps_folder(loaded), beats=beats_folder(loaded))

    @classmethod
    def at_target(cls, loaded: LoadedPlan) -> Self:
        """The same with the heartbeats in the target's store, where that has another address."""
        return cls(targets=targets_folder(loaded), dumps=dumps_folder(loaded), beats=target_beats_folder(loaded))

    def target(self, ref: CollectionRef) -> LeaseName:
        """The lease of a target collection."""
        return LeaseName(path=f"{self.targets}/{ref}", label=f"the target collection {ref.short}")

    def dump(self, prefix: str) -> LeaseName:
        """The lease of a dump, by its prefix in the staging store."""
        return LeaseName(path=f"{self.dumps}/{flat(prefix)}", label=f"the dump {prefix}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who a lease object names; `since` is UTC in ISO format, by the holder's clock."""

    number: int
    run_id: str
    host: str
    home: str
    pid: int
    beat: str
    since: str

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host})"


def find_holder(store: ObjectReader, lease: LeaseName) -> Holder | None:
    """Who holds a lease by its highest number; one that is given back while we look is looked at again."""
    while True:
        found = [entry.key for entry in store.list_objects(lease.path)]
        if not found:
            return None
        key = max(found)
        try:
            content: dict[str, Any] = json.loads(store.read(key))
        except ObjectMissing:
            continue
        return Holder(number=int(key.rsplit("/", maxsplit=1)[-1]), **content)


def read_pulse(store: ObjectReader, holder: Holder) -> bytes | None:
    """What changes with every beat, None where there is no heartbeat any more."""
    try:
        return store.read(holder.beat)
    except ObjectMissing:
        return None


def break_lease(store: ObjectStore, lease: LeaseName) -> None:
    """Take a lease from whoever holds it: that process stops before it sends the next import."""
    store.delete([entry.key for entry in store.list_objects(lease.path)])


def identity_of(state_folder: Path) -> str:
    """Which state directory on which machine this is, since its last start: what a local lock can vouch for."""
    found = state_folder.stat()
    return f"{socket.gethostname()}/{boot_id()}/{found.st_dev}:{found.st_ino}"


class Leases:
    """The leases of one process: taken together, kept alive by a heartbeat, and given back at the end.

    `home` is the identity of the state directory whose local lock this process holds. With a `dump_prefix` of None they
    are of targets alone.
    """

    def __init__(
        self, store: ObjectStore, places: LeasePlaces, dump_prefix: str | None, *, run_id: str, home: str, clock: Clock
    ) -> None:
        self._store = store
        self._places = places
        self._dump_prefix = dump_prefix
        self._run_id = run_id
        self._home = home
        self._clock = clock
        self._beat_key = f"{places.beats}/{secrets.token_hex(8)}"
        self._beaten_at = clock.monotonic()
        self._beats = 0
        self._held: dict[LeaseName, int] = {}
        self._pulses: dict[str, tuple[bytes | None, float]] = {}
        self._former_beats: set[str] = set()
        self._over = threading.Event()
        self._beating = threading.Lock()
        self._thread = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back that was not lost meanwhile; what cannot be given back expires by itself."""
        self._over.set()
        self._thread.join()
        with suppress(MigratorError):
            self._give_back(list(self._held))
            self._store.delete([self._beat_key])

    def _give_back(self, leases: Sequence[LeaseName]) -> None:
        """But for what was lost meanwhile."""
        holders = abreast(partial(find_holder, self._store), leases)
        mine = [lease for lease, holder in zip(leases, holders, strict=True) if self._has(lease, holder)]
        self._store.delete([_key(lease.path, self._held[lease]) for lease in mine])
        for lease in leases:
            del self._held[lease]

    # -- taking -----------------------------------------------------------------------------------------------------

    def acquire(
        self, targets: Iterable[CollectionRef], *, timeout_s: float, on_wait: Callable[[str, str], None]
    ) -> None:
        """Take the leases of the dump and of `targets`, waiting for other holders up to `timeout_s` in all.

        Raises:
            LockHeld: Somebody alive holds one of them.
        """
        deadline = self._clock.monotonic() + timeout_s
        dump = [] if self._dump_prefix is None else [self._places.dump(self._dump_prefix)]
        names = [*dump, *map(self._places.target, targets)]
        ordered = sorted(names, key=lambda name: name.path)  # one order for all: no two wait for each other
        self._acquire_free(ordered)
        for lease in ordered:
            if lease not in self._held:
                self._acquire(lease, deadline, on_wait)
        self._store.delete(self._former_beats)

    def _acquire_free(self, ordered: Sequence[LeaseName]) -> None:
        """Take what is free side by side; who then has to wait for one holds none that comes after it."""
        abreast(self._take, ordered)
        first = next((place for place, lease in enumerate(ordered) if lease not in self._held), len(ordered))
        self._give_back([lease for lease in ordered[first:] if lease in self._held])

    def _take(self, lease: LeaseName) -> None:
        holder = find_holder(self._store, lease)
        if holder is None or self._is_mine(holder):
            self._create(lease, holder)

    def _acquire(self, lease: LeaseName, deadline: float, on_wait: Callable[[str, str], None]) -> None:
        while True:
            holder = find_holder(self._store, lease)
            if holder is None or self._is_mine(holder) or self._is_dead(holder):
                if self._create(lease, holder):
                    return
                continue
            if self._clock.monotonic() >= deadline:
                raise LockHeld(
                    f"{lease.label} is held by {holder}",
                    hint="wait for that run, raise --lock-timeout, or see migrator unlock",
                )
            on_wait(lease.label, str(holder))
            self._clock.sleep(_LOOK_S)

    def _is_mine(self, holder: Holder) -> bool:
        """The same run takes its lease back at once: the local lock says that the other process ended."""
        return (holder.run_id, holder.home) == (self._run_id, self._home)

    def _is_dead(self, holder: Holder) -> bool:
        """Whether its heart has stood still for long enough under our eyes; leases of one process share a heart."""
        pulse, now = read_pulse(self._store, holder), self._clock.monotonic()
        seen_pulse, seen_at = self._pulses.get(holder.beat, (None, now))
        if holder.beat not in self._pulses or seen_pulse != pulse:
            self._pulses[holder.beat] = (pulse, now)
            return False
        return now - seen_at >= EXPIRES_S

    def _create(self, lease: LeaseName, former: Holder | None) -> bool:
        number = 1 if former is None else former.number + 1
        content = {
            "run_id": self._run_id,
            "host": socket.gethostname(),
            "home": self._home,
            "pid": os.getpid(),
            "beat": self._beat_key,
            "since": self._clock.now().isoformat(),
        }
        key = _key(lease.path, number)
        if not self._store.write(key, json.dumps(content).encode(), create_only=True) and not self._is_own(key):
            return False
        self._held[lease] = number
        _log.info("lease taken: %s%s", lease.label, "" if former is None else f", after {former}")
        if former is not None:
            self._store.delete([_key(lease.path, former.number)])
            self._former_beats.add(former.beat)
        return True

    def _is_own(self, key: str) -> bool:
        """Whether a key that is taken was taken by this process: the reply to its request may have been lost."""
        try:
            return bool(json.loads(self._store.read(key))["beat"] == self._beat_key)
        except ObjectMissing:
            return False

    # -- holding ----------------------------------------------------------------------------------------------------

    def require_held(self, target: CollectionRef) -> None:
        """Raise `LockHeld` unless the target's lease is ours."""
        self._require(self._places.target(target))

    def require_dump_held(self) -> None:
        """Raise `LockHeld` unless the dump's lease is ours."""
        if self._dump_prefix is None:
            raise AssertionError("these leases are of targets alone")
        self._require(self._places.dump(self._dump_prefix))

    def _require(self, lease: LeaseName) -> None:
        """After a silence a beat comes first: whoever has not taken over by then waits for its end again."""
        if self._clock.monotonic() - self._beaten_at >= BEAT_S:
            self._beat()
        holder = find_holder(self._store, lease)
        if not self._has(lease, holder):
            _log.error("lease lost: %s", lease.label)
            raise LockHeld(
                f"the lease of {lease.label} was lost" + (f" to {holder}" if holder else ": somebody broke it"),
                hint="see who else applies a plan to this target; migrator apply --resume goes on once it is free",
            )

    def _has(self, lease: LeaseName, holder: Holder | None) -> bool:
        """Whether `holder` is this process; numbers come again after a lease was broken or given back."""
        return holder is not None and (holder.number, holder.beat) == (self._held.get(lease), self._beat_key)

    def _keep_beating(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                self._beat()
            except MigratorError as error:  # the next beat may come through
                _log.warning("a heartbeat of the leases was not written: %s", error.message)

    def _beat(self) -> None:
        with self._beating:
            began = self._clock.monotonic()
            self._beats += 1
            self._store.write(self._beat_key, json.dumps({"run_id": self._run_id, "beat": self._beats}).encode())
            self._beaten_at = began
            _log.debug("leases renewed: heartbeat %d", self._beats)


def _key(path: str, number: int) -> str:
    return f"{path}/{number:08d}"
