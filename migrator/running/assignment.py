"""What a run sends to the workers of an engine, and what they answer: JSON, with references in place of secrets."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from migrator import __version__
from migrator.model.codec import from_plain, to_plain
from migrator.model.shard import CopyAnswer, CopyShard, StoreRole, ValuesAnswer, ValuesShard
from migrator.spec.document import Cluster, Storage  # noqa: TC001 - values travel as JSON by their annotations

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.spec.loaded import LoadedPlan

A = TypeVar("A")


class Transport(Protocol):
    """Brings a text to a worker, which makes another of it; a text whose worker is lost goes to another one."""

    @property
    def place(self) -> str:
        """Where it is, for a person."""

    @property
    def width(self) -> int:
        """How many texts are worked at at a time."""

    def send(self, text: str) -> Future[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """A store as the plan file names it, and where it does."""

    storage: Storage
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The stores and clusters of a plan; the source is None where a backup stands for it."""

    stores: dict[StoreRole, StorePlace]
    source: Cluster | None
    target: Cluster | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A shard of either kind, with all that a worker has to know beside it.

    `attempt` is another one each time a run is taken up: connections are kept as long as it is the same.
    """

    version: str
    attempt: str
    places: Places
    copy: CopyShard | None = None
    compare: ValuesShard | None = None

    def to_json(self) -> str:
        """As it is sent."""
        return json.dumps(to_plain(self))

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        """What `to_json` gave."""
        return from_plain(cls, json.loads(text))


def places_of(loaded: LoadedPlan) -> Places:
    """Those of a plan; without a target, staging stands for its store."""
    source_field = "source.storage" if loaded.source_backup is None else "source.backup.storage"
    staging = StorePlace(storage=loaded.staging.storage, field=loaded.staging_field)
    target = staging if loaded.target is None else StorePlace(storage=loaded.target.storage, field="target.storage")
    stores = {
        StoreRole.SOURCE: StorePlace(storage=loaded.source_storage, field=source_field),
        StoreRole.STAGING: staging,
        StoreRole.TARGET: target,
    }
    return Places(stores=stores, source=loaded.source, target=loaded.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSender:
    """The engine of one attempt at a run."""

    transport: Transport
    attempt: str
    places: Places

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return self.transport.place

    @property
    def width(self) -> int:
        """How many shards its workers do at a time."""
        return self.transport.width

    def copy(self, shard: CopyShard) -> Future[CopyAnswer]:
        """Have the objects of a shard streamed."""
        return self._send(self._assignment(copy=shard), CopyAnswer)

    def compare(self, shard: ValuesShard) -> Future[ValuesAnswer]:
        """Have the values of a shard's rows compared."""
        return self._send(self._assignment(compare=shard), ValuesAnswer)

    def _assignment(self, *, copy: CopyShard | None = None, compare: ValuesShard | None = None) -> Assignment:
        return Assignment(version=__version__, attempt=self.attempt, places=self.places, copy=copy, compare=compare)

    def _send(self, assignment: Assignment, kind: type[A]) -> Future[A]:
        return _mapped(self.transport.send(assignment.to_json()), lambda text: from_plain(kind, json.loads(text)))


def _mapped(sent: Future[str], read: Callable[[str], A]) -> Future[A]:
    """The same future of what its text says; to cancel it cancels the other one."""
    answered: Future[A] = Future()

    def receive(done: Future[str]) -> None:
        if done.cancelled() or not answered.set_running_or_notify_cancel():
            answered.cancel()
            return
        try:
            answered.set_result(read(done.result()))
        except Exception as error:  # noqa: BLE001 - to be raised where the answer is taken
            answered.set_exception(error)

    def forget(done: Future[A]) -> None:
        if done.cancelled():
            sent.cancel()

    answered.add_done_callback(forget)
    sent.add_done_callback(receive)
    return answered
