"""Copies by the workers of an engine: what is sent to them, what they do, and what a run makes of their answers."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heapreplace
from typing import TYPE_CHECKING

from migrator import errors
from migrator.errors import Interrupted, MigratorError, ObjectMissing, RunError
from migrator.model.shard import CopyAnswer, CopyShard, ShardFailure, StoreRole
from migrator.steps.streaming import EtagEvidence, Streamer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from migrator.model.segment import Binlog, StoredObject
    from migrator.model.shard import Cargo
    from migrator.ports.clock import Clock
    from migrator.ports.engine import Engine
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.steps.throttle import Throttle
    from migrator.steps.transfer import Transfer

_MOST_OBJECTS = 64
_MOST_BYTES = 128 * 1024**2
"""Of a shard: so much is done again when its worker is lost."""
_ROUNDS_AHEAD = 2
"""Shards that are sent for each that can be done at a time: no worker waits for the next one."""
_SHARD_CONCURRENCY = 16
_LAST_SHARDS_S = 60.0
"""As long as workers have to end what they are at when a run is stopped."""
_LOOK_S = 0.5
_SLICE_S = 0.5


# -- on the side of the run -------------------------------------------------------------------------------------------


def carry_sharded(
    transfer: Transfer,
    engine: Engine,
    todo: Iterator[Binlog],
    *,
    cargo_of: Callable[[Binlog], Cargo],
    concurrency: int,
    note: Callable[[list[Binlog]], None],
    told: Callable[[int, int], None],
) -> None:
    """Have all streamed by the engine's workers; what they say has arrived is noted, also when another part fails."""
    _Carrying(transfer, engine, cargo_of, concurrency, note).run(todo, told)


@dataclass(slots=True)
class _Carrying:
    transfer: Transfer
    engine: Engine
    cargo_of: Callable[[Binlog], Cargo]
    concurrency: int
    note: Callable[[list[Binlog]], None]
    flying: dict[Future[CopyAnswer], list[Binlog]] = field(default_factory=dict)
    done: int = 0
    size_bytes: int = 0

    def run(self, todo: Iterator[Binlog], told: Callable[[int, int], None]) -> None:
        clock = self.transfer.ctx.clock
        self.transfer.announce()
        try:
            while self._send(todo):
                for future in wait(self.flying, timeout=_LOOK_S, return_when=FIRST_COMPLETED).done:
                    self._land(self.flying.pop(future), future.result())
                told(self.done, self.size_bytes)
                if not self.engine.width:
                    self.transfer.ctx.progress(f"waiting for a worker of {self.engine.place}")
                clock.sleep(0)  # where a person's wish to stop is heard
        finally:
            self._give_up()

    def _send(self, todo: Iterator[Binlog]) -> bool:
        """Fill the lanes; whether anything is under way."""
        lanes = max(1, _ROUNDS_AHEAD * self.engine.width) - len(self.flying)
        ctx = self.transfer.ctx
        for part in _dealt(todo, lanes, self._most_bytes):
            shard = self._shard(part)
            ctx.throttle.take(shard.size_bytes, now=ctx.clock.monotonic(), pause=self._pause)
            self.flying[self.engine.copy(shard)] = part
        return bool(self.flying)

    @property
    def _most_bytes(self) -> int:
        """A shard begins when those before it are over at the limit's rate, so it is no more than a second of it."""
        return min(_MOST_BYTES, self.transfer.ctx.throttle.limit_bytes_per_s or _MOST_BYTES)

    def _shard(self, part: Sequence[Binlog]) -> CopyShard:
        transfer = self.transfer
        return CopyShard(
            origin=_role_of(transfer, transfer.origin),
            destination=_role_of(transfer, transfer.destination),
            cargo=tuple(map(self.cargo_of, part)),
            part_size=transfer.part_size,
            multipart_threshold=transfer.multipart_threshold,
            concurrency=min(self.concurrency, _SHARD_CONCURRENCY),
            limit_bytes_per_s=transfer.ctx.throttle.limit_bytes_per_s,
        )

    def _land(self, part: Sequence[Binlog], answer: CopyAnswer) -> None:
        landed = [part[number] for number in answer.landed]
        self.note(landed)
        self.transfer.streamed += len(landed)
        self.done += len(landed)
        self.size_bytes += sum(binlog.source.size_bytes for binlog in landed)
        if answer.failure is not None:
            raise self._error_of(answer.failure)

    def _error_of(self, failure: ShardFailure) -> MigratorError:
        return self.transfer.outdated(failure.key, failure.fate) if failure.fate else error_of(failure)

    def _pause(self, seconds: float) -> None:
        self.transfer.ctx.clock.sleep(seconds)

    def _give_up(self) -> None:
        """Take back what no worker is at, and wait a while for the rest: what it still writes should not come later.

        What has arrived by then is noted.
        """
        under_way = list(self.flying)[: self.engine.width]  # in the order in which they were sent
        for future in self.flying:
            if future not in under_way:
                future.cancel()
        wait(under_way, timeout=_LAST_SHARDS_S)
        for future, part in self.flying.items():
            if not future.cancel():
                with suppress(MigratorError, CancelledError):
                    self._land(part, future.result())


def _role_of(transfer: Transfer, store: ObjectReader) -> StoreRole:
    ctx = transfer.ctx
    roles = ((StoreRole.SOURCE, ctx.source_store), (StoreRole.STAGING, ctx.staging))
    return next((role for role, each in roles if each is store), StoreRole.TARGET)


def _dealt(todo: Iterator[Binlog], lanes: int, most_bytes: int) -> list[list[Binlog]]:
    """The next objects, dealt out to at most `lanes` shards of about the same size."""
    taken: list[Binlog] = []
    size_bytes = 0
    while lanes > 0 and len(taken) < lanes * _MOST_OBJECTS and size_bytes < lanes * most_bytes:
        binlog = next(todo, None)
        if binlog is None:
            break
        taken.append(binlog)
        size_bytes += binlog.source.size_bytes
    hands: list[list[Binlog]] = [[] for _ in range(min(lanes, len(taken)))]
    lightest = [(0, 0, number) for number in range(len(hands))]  # bytes, objects, whose
    for binlog in sorted(taken, key=lambda each: -each.source.size_bytes):
        held_bytes, held, number = lightest[0]
        hands[number].append(binlog)
        heapreplace(lightest, (held_bytes + binlog.source.size_bytes, held + 1, number))
    return hands


def failure_of(error: Exception) -> ShardFailure:
    """What a worker says of an error; of a bug only its class, for its text may hold anything."""
    if isinstance(error, MigratorError):
        return ShardFailure(kind=type(error).__name__, message=error.message, hint=error.hint)
    return ShardFailure(
        kind="", message=f"a worker failed with {type(error).__name__}", hint="look at the worker's log"
    )


def error_of(failure: ShardFailure) -> MigratorError:
    """The error that a worker told of, as if it had come up here."""
    kind = getattr(errors, failure.kind, None) if failure.kind else None
    if isinstance(kind, type) and issubclass(kind, MigratorError) and kind.__init__ is MigratorError.__init__:
        return kind(failure.message, hint=failure.hint)
    return RunError(failure.message, hint=failure.hint)


# -- on the side of a worker ------------------------------------------------------------------------------------------


def copy_shard(
    shard: CopyShard, origin: ObjectReader, destination: ObjectStore, *, clock: Clock, throttle: Throttle
) -> CopyAnswer:
    """Stream the objects of a shard; the first failure ends it, and what has arrived by then is told."""
    return _Copying(shard, origin, destination, clock, throttle).run()


@dataclass(slots=True)
class _Copying:
    shard: CopyShard
    origin: ObjectReader
    destination: ObjectStore
    clock: Clock
    throttle: Throttle
    is_given_up: bool = False
    etags: EtagEvidence = field(default_factory=EtagEvidence)
    failure: ShardFailure | None = None
    guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> CopyAnswer:
        with ThreadPoolExecutor(self.shard.concurrency, thread_name_prefix="shard") as pool:
            arrived = list(pool.map(self._carry, self.shard.cargo))
        landed = tuple(number for number, is_there in enumerate(arrived) if is_there)
        return CopyAnswer(landed=landed, failure=self.failure)

    def _carry(self, cargo: Cargo) -> bool:
        """Whether it has arrived."""
        if self.is_given_up:
            return False
        try:
            failure = self._stream(cargo)
        except Interrupted:  # because another one failed
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the others' answer has to reach the run
            failure = failure_of(error)
        if failure is not None:
            with self.guard:
                self.failure = self.failure or failure
                self.is_given_up = True
        return failure is None

    def _stream(self, cargo: Cargo) -> ShardFailure | None:
        def require(found: StoredObject) -> None:
            if not cargo.is_still(found):
                raise _Changed

        try:
            self._streamer().send(cargo.origin, cargo.key, require=require)
        except ObjectMissing:
            return _lost(cargo, "vanished")
        except _Changed:
            return _lost(cargo, "changed")
        return None

    def _streamer(self) -> Streamer:
        return Streamer(
            origin=self.origin,
            destination=self.destination,
            part_size=self.shard.part_size,
            multipart_threshold=self.shard.multipart_threshold,
            throttle=self.throttle,
            clock=self.clock,
            pause=self._pause,
            etags=self.etags,
        )

    def _pause(self, seconds: float) -> None:
        left_s = seconds
        while True:
            if self.is_given_up:
                raise Interrupted("the shard was given up, because another object of it failed")
            self.clock.sleep(min(left_s, _SLICE_S))
            left_s -= _SLICE_S
            if left_s <= 0:
                return


class _Changed(Exception):
    """What is read is not what was listed."""


def _lost(cargo: Cargo, fate: str) -> ShardFailure:
    return ShardFailure(kind="", message="", key=cargo.origin.key, fate=fate)
