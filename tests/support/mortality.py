"""A process that dies, or a network that loses replies, at a chosen point: every durable write, every writer call.

The points are found by a pass in which nothing happens; so a step that gains a call gains its points by itself.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from migrator.errors import MilvusUnavailable, StoreUnavailable
from migrator.ports.milvus import MilvusReader, MilvusSource, MilvusTarget
from migrator.ports.store import ObjectReader, ObjectStore
from migrator.running.journal import Journal
from tests.support.builders import RecordingWatcher

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from migrator.ports.clock import Clock
    from migrator.ports.ledger import StagedDifference
    from migrator.steps.base import Step


def _own_methods(*protocols: type) -> frozenset[str]:
    return frozenset(name for protocol in protocols for name in vars(protocol) if not name.startswith("_"))


WRITERS = _own_methods(MilvusSource, MilvusTarget, ObjectStore)
"""What changes something, by its name: what a writer port has and its reader port has not."""
assert not WRITERS & _own_methods(MilvusReader, ObjectReader)


class Killed(BaseException):
    """The process is no more; no `except Exception` hears of it."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment at which a process may die: just before or just after something `what` takes effect."""

    kind: str
    what: str
    moment: str

    @property
    def is_request(self) -> bool:
        """Whether it goes to a server, which may do it and its reply be lost."""
        return self.what != "journal"


@dataclass(slots=True)
class Fate:
    """Counts the points that are passed, and strikes at one of them."""

    strike_at: int | None = None
    lost_reply: bool = False
    """A request that fails, and nothing more, instead of the end of the process."""
    points: list[Point] = field(default_factory=list)
    kind: str = ""
    is_dead: bool = False

    def require_alive(self) -> None:
        """The dead do nothing."""
        if self.is_dead:
            raise Killed

    def pass_point(self, what: str, moment: str) -> None:
        """Go on, or not."""
        self.require_alive()
        self.points.append(Point(self.kind, what, moment))
        if len(self.points) - 1 != self.strike_at:
            return
        if self.lost_reply:
            error = StoreUnavailable if what in _own_methods(ObjectStore) else MilvusUnavailable
            raise error(f"the connection broke {moment} {what}")
        self.is_dead = True
        raise Killed


class MortalPort:
    """A port whose writer calls are points."""

    def __init__(self, port: object, fate: Fate) -> None:
        self._port = port
        self._fate = fate

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the port has
        self._fate.require_alive()
        found = getattr(self._port, name)
        return self._guarded(name, found) if name in WRITERS else found

    def _guarded(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def guarded(*args: object, **named: object) -> object:
            self._fate.pass_point(name, "before")
            result = call(*args, **named)
            self._fate.pass_point(name, "after")
            return result

        return guarded


def mortal_target(port: object, fate: Fate) -> MilvusTarget:
    """The target, seen from a mortal process."""
    return cast("MilvusTarget", MortalPort(port, fate))


def mortal_source(port: object, fate: Fate) -> MilvusSource:
    """The source, seen from a mortal process."""
    return cast("MilvusSource", MortalPort(port, fate))


def mortal_store(port: object, fate: Fate) -> ObjectStore:
    """A store, seen from a mortal process."""
    return cast("ObjectStore", MortalPort(port, fate))


class MortalJournal(Journal):
    """A journal whose every transaction has a point before and after it.

    What is written survives the process, not the machine: so it need not reach the disk, which is quicker.
    """

    def __init__(self, path: Path, clock: Clock, fate: Fate) -> None:
        self._fate = fate
        self._is_passing = False
        super().__init__(path, clock)
        self._db.execute("PRAGMA synchronous=OFF")

    @contextmanager
    def _in_passing(self) -> Iterator[None]:
        """Transactions that fill and drop tables which die with the process anyway: no points."""
        self._is_passing = True
        try:
            yield
        finally:
            self._is_passing = False

    def compare_staged(self, *args: Any, **named: Any) -> tuple[StagedDifference, ...]:  # noqa: ANN401 - as the original
        """Of its transactions one is durable."""
        self._fate.pass_point("journal", "before")
        with self._in_passing():
            found = super().compare_staged(*args, **named)
        self._fate.pass_point("journal", "after")
        return found

    def changed_at_source(self, *args: Any, **named: Any) -> tuple[str, ...]:  # noqa: ANN401 - as the original
        """Of its transactions none is durable."""
        with self._in_passing():
            return super().changed_at_source(*args, **named)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._is_passing:
            with super()._transaction() as db:
                yield db
            return
        self._fate.pass_point("journal", "before")
        with super()._transaction() as db:
            yield db
        self._fate.pass_point("journal", "after")

    def _rows(self, *args: Any, **named: Any) -> list[Any]:  # noqa: ANN401 - as the original
        self._fate.require_alive()
        return super()._rows(*args, **named)


class FateWatcher(RecordingWatcher):
    """Tells `fate` which kind of step is at work."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def step_started(self, step: Step) -> None:
        """From here on points are of this kind."""
        self._fate.kind = step.kind
