"""How objects come from one store to another: copied by the service where that is shown to work, else streamed."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from migrator.errors import Interrupted, ObjectMissing, StoreRefused
from migrator.model.way import Choice, Way
from migrator.steps.flight import Flight
from migrator.steps.sharding import carry_sharded
from migrator.steps.streaming import EtagEvidence, Streamer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.errors import MigratorError
    from migrator.model.segment import Binlog, StoredObject
    from migrator.model.shard import Cargo
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.steps.base import StepContext

WAY = "way"
"""The note of how the files came, in words."""
PIECES = "pieces"
"""The note of a step whose writes may leave pieces when they are killed."""
_NOTE_EVERY_S = 0.1
_ONE_COPY_BYTES = 5 * 1024**3
"""S3 copies larger objects in parts."""
_SLICE_S = 0.5
"""So long a worker waits before it looks whether it is wanted."""
_log = logging.getLogger(__name__)


class TransferMode(StrEnum):
    """How binlogs travel."""

    AUTO = "auto"
    SERVER_SIDE = "server_side"
    STREAM = "stream"
    IN_PLACE = "in_place"
    """Not at all, where they can be read in place; else as by `auto`."""


def choose_way(destination: ObjectReader, bucket: str | None, sample: StoredObject) -> Choice:
    """The best way for objects like `sample`, by evidence: it is asked for with the destination's own credentials.

    Whoever shows the very object that the origin shows can copy it: keys carry ids that no two clusters share, and
    every copy is held against the listed size in the end. `bucket` is the origin's; None where it is in none.
    """
    refusals = []
    try:
        if destination.find_object(sample.key) == sample:
            return Choice(Way.INSIDE)
    except StoreRefused as error:
        refusals.append(error.message)
    try:
        if bucket is not None and destination.find_beside(bucket, sample.key) == sample:
            return Choice(Way.ACROSS)
    except StoreRefused as error:
        refusals.append(error.message)
    beside = f", nor does a bucket {bucket!r} beside it" if bucket is not None else ""
    return Choice(Way.STREAM, refusals[-1] if refusals else f"{destination.place} does not show {sample.key}{beside}")


@dataclass(slots=True, kw_only=True)
class Transfer:
    """One step's objects on their way from `origin` to `destination`; `bucket` is the origin's, None without one.

    Many workers carry at a time. `streamed` counts what this machine had to carry, for the first of the `reasons`.
    """

    ctx: StepContext
    origin: ObjectReader
    destination: ObjectStore
    bucket: str | None
    mode: TransferMode
    part_size: int
    multipart_threshold: int
    outdated: Callable[[str, str], MigratorError]
    """Makes the error of an object that is not what was listed, of its key and its fate: `vanished` or `changed`."""
    way: Way = Way.STREAM
    streamed: int = 0
    reasons: list[str] = field(default_factory=list)
    before_pieces: Callable[[], None]
    """Called before the first write of which a kill may leave pieces: by the next attempt they are swept."""
    _is_given_up: bool = False
    _etags: EtagEvidence = field(default_factory=EtagEvidence)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _is_announced: bool = False
    _trial: threading.Lock = field(default_factory=threading.Lock)
    _is_proven: bool = False
    """Whether a copy that the service made was seen."""

    # -- which way --------------------------------------------------------------------------------------------------

    def choose(self, sample: Cargo) -> None:
        """Decide on the way, with the first object that is carried.

        Raises:
            StoreRefused: The mode is `server_side`, and the service cannot copy.
        """
        if self.mode is TransferMode.STREAM:
            return
        choice = choose_way(self.destination, self.bucket, self._require_still(sample))
        self.way = choice.way
        _log.info("copies go %s, by the evidence of %s %s", choice.way, sample.origin.key, choice.reason)
        if choice.way is not Way.STREAM:
            if self.ctx.engine is not None:  # what its workers are given is known only when the way is proven
                self.carry(sample)
            return
        if self.mode is TransferMode.SERVER_SIDE:
            raise StoreRefused(
                f"{self.destination.place} cannot copy {sample.origin.key} by itself: {choice.reason}",
                hint="set options.transfer.mode to auto or stream",
            )
        self._give_reason(choice.reason)

    @property
    def in_words(self) -> str:
        """How it went, where it was not the plain way."""
        across = f"copied by the service from its bucket {self.bucket}" if self.way is Way.ACROSS else ""
        if not self.streamed:
            return across
        because = f": {self.reasons[0]}" if self.reasons else ""
        noun = "object" if self.streamed == 1 else "objects"
        some = "" if self.way is Way.STREAM else f"{self.streamed:,} {noun} "
        return "; ".join(filter(None, [across, f"{some}streamed through {self._through}{because}"]))

    @property
    def _through(self) -> str:
        is_shared = self.ctx.engine is not None and self.way is Way.STREAM
        return f"the workers of {self.ctx.engine.place}" if self.ctx.engine and is_shared else "this machine"

    # -- one object -------------------------------------------------------------------------------------------------

    def carry(self, cargo: Cargo) -> None:
        """Bring one object to its place; what the service refuses to copy is streamed, unless the mode forbids it."""
        if self.way is Way.STREAM:
            self._stream(cargo)
            return
        most = self.destination.most_copied_bytes
        if most is not None and cargo.origin.size_bytes > most:
            if self.mode is TransferMode.SERVER_SIDE:
                raise StoreRefused(
                    f"the service copies no object above {most // 1024**3} GiB at once, as {cargo.origin.key} is",
                    hint="pip install 'migrator[s3]' copies it in parts; or set options.transfer.mode to auto",
                )
            self._stream(cargo, f"the service copies no object above {most // 1024**3} GiB")
            return
        if cargo.origin.size_bytes > _ONE_COPY_BYTES:
            self.announce()
        self.ctx.throttle.take(cargo.origin.size_bytes, now=self.ctx.clock.monotonic(), pause=self._pause)
        try:
            self._copy(cargo)
        except ObjectMissing as error:  # where the service looks there may be less than at the origin
            self._require_still(cargo)
            self._stream_instead(cargo, error)
        except StoreRefused as error:  # for want of a permission, or between two file systems
            self._stream_instead(cargo, error)

    def _copy(self, cargo: Cargo) -> None:
        """The first copy is made alone, and looked at: a service may refuse, or make something else of the request."""
        with nullcontext() if self._is_proven else self._trial:
            if self.way is Way.STREAM:  # the trial ended so meanwhile
                raise StoreRefused(self.reasons[0])
            try:
                self._ask_to_copy(cargo)
                self._prove(cargo)
            except StoreRefused as error:
                if not self._is_proven and self.mode is TransferMode.AUTO:
                    self.way = Way.STREAM
                    self._give_reason(error.message)
                raise

    def _prove(self, cargo: Cargo) -> None:
        if self._is_proven:
            return
        made = self.destination.find_object(cargo.key)
        if made is None or made.size_bytes != cargo.origin.size_bytes:
            found = "nothing" if made is None else f"an object of {made.size_bytes:,} bytes"
            raise StoreRefused(
                f"{self.destination.place} made {found} of {cargo.origin.key}, which has "
                f"{cargo.origin.size_bytes:,}, when it was asked to copy it",
                hint="set options.transfer.mode to stream",
            )
        self._is_proven = True

    def _ask_to_copy(self, cargo: Cargo) -> None:
        if self.way is Way.ACROSS and self.bucket is not None:
            self.destination.copy_from(self.bucket, cargo.origin.key, cargo.key)
        else:
            self.destination.copy_inside(cargo.origin.key, cargo.key)

    def _stream_instead(self, cargo: Cargo, error: MigratorError) -> None:
        if self.mode is TransferMode.SERVER_SIDE:
            raise error
        self._stream(cargo, error.message)

    def _stream(self, cargo: Cargo, reason: str = "") -> None:
        self.announce()
        try:
            self._streamer().send(cargo.origin, cargo.key, require=partial(self._require_same, cargo))
        except ObjectMissing:
            raise self.outdated(cargo.origin.key, "vanished") from None
        with self._guard:
            self.streamed += 1
        if reason:
            self._give_reason(reason)

    def _give_reason(self, reason: str) -> None:
        with self._guard:
            is_first = not self.reasons
            if is_first:
                self.reasons.append(reason)
        if is_first:
            _log.info("objects are streamed through %s: %s", self._through, reason)
            self.ctx.progress(f"streaming through {self._through}: {reason}")

    def _streamer(self) -> Streamer:
        return Streamer(
            origin=self.origin,
            destination=self.destination,
            part_size=self.part_size,
            multipart_threshold=self.multipart_threshold,
            throttle=self.ctx.throttle,
            clock=self.ctx.clock,
            pause=self._pause,
            etags=self._etags,
        )

    def announce(self) -> None:
        """Say, once, that a write may leave pieces."""
        with self._guard:
            if not self._is_announced:
                self.before_pieces()
                self._is_announced = True

    def _require_still(self, cargo: Cargo) -> StoredObject:
        """The origin's object as it is now, if it is the one that was listed."""
        found = self.origin.find_object(cargo.origin.key)
        if found is None:
            raise self.outdated(cargo.origin.key, "vanished")
        self._require_same(cargo, found)
        return found

    def _require_same(self, cargo: Cargo, found: StoredObject) -> None:
        if not cargo.is_still(found):
            raise self.outdated(cargo.origin.key, "changed")

    def _pause(self, seconds: float) -> None:
        """Wait, unless the run is stopped or the step has failed meanwhile; of 0 seconds only that is looked at."""
        left_s = seconds
        while True:
            if self._is_given_up:
                raise Interrupted("the copy was given up, because another one failed")
            self.ctx.clock.sleep(min(left_s, _SLICE_S))
            left_s -= _SLICE_S
            if left_s <= 0:
                return

    # -- many at once -----------------------------------------------------------------------------------------------

    def carry_all(
        self,
        todo: Iterator[Binlog],
        *,
        cargo_of: Callable[[Binlog], Cargo],
        concurrency: int,
        note: Callable[[list[Binlog]], None],
        told: Callable[[int, int], None],
    ) -> None:
        """Keep `concurrency` objects in flight and note them in groups; a stop notes those that got through.

        `told` hears how many objects and bytes have arrived.
        """
        if self.ctx.engine is not None and self.way is Way.STREAM:
            carry_sharded(self, self.ctx.engine, todo, cargo_of=cargo_of, concurrency=concurrency, note=note, told=told)
            return
        landed: list[Binlog] = []
        done = size_bytes = 0
        noted_at = self.ctx.clock.monotonic()
        self._is_given_up = False
        with self.ctx.copies.join() as share:
            flight: Flight[Binlog] = Flight(
                ctx=self.ctx, share=share, carry=lambda each: self.carry(cargo_of(each)), most=concurrency
            )
            try:
                for arrived in flight.arrivals(todo):
                    landed += arrived
                    done, size_bytes = done + len(arrived), size_bytes + sum(b.source.size_bytes for b in arrived)
                    if len(landed) >= concurrency or self.ctx.clock.monotonic() - noted_at >= _NOTE_EVERY_S:
                        note(landed)
                        landed, noted_at = [], self.ctx.clock.monotonic()
                    told(done, size_bytes)
                    self.ctx.clock.sleep(0)  # where a person's wish to stop is heard
            finally:
                self._is_given_up = True
                landed.extend(flight.land())
                note(landed)
