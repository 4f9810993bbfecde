"""The leases of a plan where they belong: a target's in the target's store, a dump's in the store of the dump.

Mostly both are one store, and one heartbeat serves for all.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.planning.places import is_apart
from migrator.running.lock import LeaseName, LeasePlaces, Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from migrator.model.collection import CollectionRef
    from migrator.ports.clock import Clock
    from migrator.ports.store import ObjectStore
    from migrator.spec.loaded import LoadedPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHome:
    """A store with the folders of its leases, and that of the heartbeats which keep them."""

    store: ObjectStore
    leases: tuple[str, ...]
    beats: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStores:
    """The stores a plan file writes to; `target` is that of staging where they have one address, or there is none."""

    loaded: LoadedPlan
    staging: ObjectStore
    target: ObjectStore

    @property
    def dump_prefix(self) -> str:
        """Where the dump lies in staging."""
        return self.loaded.staging.prefix.lstrip("/")

    def leases(self, *, run_id: str, home: str, clock: Clock) -> PlanLeases:
        """Those of a process; none is taken yet."""
        places = LeasePlaces.of(self.loaded)
        own = Leases(self.staging, places, self.dump_prefix, run_id=run_id, home=home, clock=clock)
        if not is_apart(self.loaded):
            return PlanLeases(dump=own, targets=own, clock=clock)
        there = Leases(self.target, LeasePlaces.at_target(self.loaded), None, run_id=run_id, home=home, clock=clock)
        return PlanLeases(dump=own, targets=there, clock=clock)

    def names(self, targets: Iterable[CollectionRef]) -> Iterator[tuple[ObjectStore, LeaseName]]:
        """The leases of the dump and of target collections, each with its store."""
        places = LeasePlaces.of(self.loaded)
        yield self.staging, places.dump(self.dump_prefix)
        yield from ((self.target, places.target(ref)) for ref in targets)

    def homes(self) -> tuple[LeaseHome, ...]:
        """Where leases of the plan may lie."""
        places, there = LeasePlaces.of(self.loaded), LeasePlaces.at_target(self.loaded)
        if not is_apart(self.loaded):
            return (LeaseHome(store=self.staging, leases=(places.targets, places.dumps), beats=places.beats),)
        return (
            LeaseHome(store=self.staging, leases=(places.dumps,), beats=places.beats),
            LeaseHome(store=self.target, leases=(there.targets,), beats=there.beats),
        )


def place_of(loaded: LoadedPlan) -> str:
    """What tells the stores of a plan file, and its places in them, from those of another."""
    return repr((loaded.staging, loaded.target.storage if is_apart(loaded) and loaded.target else None))


class PlanLeases:
    """The leases of one process: of a dump and of target collections, which may be in two stores."""

    def __init__(self, *, dump: Leases, targets: Leases, clock: Clock) -> None:
        self._dump = dump
        self._targets = targets
        self._clock = clock
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._dump)
            if self._targets is not self._dump:
                stack.enter_context(self._targets)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back."""
        self._stack.__exit__(kind, error, trace)

    def acquire(
        self, targets: Iterable[CollectionRef], *, timeout_s: float, on_wait: Callable[[str, str], None]
    ) -> None:
        """Take the leases of the dump and of `targets`, waiting for other holders up to `timeout_s` in all.

        Raises:
            LockHeld: Somebody alive holds one of them.
        """
        if self._targets is self._dump:
            self._dump.acquire(targets, timeout_s=timeout_s, on_wait=on_wait)
            return
        deadline = self._clock.monotonic() + timeout_s
        self._dump.acquire((), timeout_s=timeout_s, on_wait=on_wait)
        self._targets.acquire(targets, timeout_s=deadline - self._clock.monotonic(), on_wait=on_wait)

    def require_held(self, target: CollectionRef) -> None:
        """Raise `LockHeld` unless the target's lease is ours."""
        self._targets.require_held(target)

    def require_dump_held(self) -> None:
        """Raise `LockHeld` unless the dump's lease is ours."""
        self._dump.require_dump_held()
