"""The rows of two sides held against each other: merged in key order, in memory that does not grow with them."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from concurrent.futures import wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from migrator.errors import MigratorError
from migrator.model.difference import Difference, DifferenceKind, Differences, show_key
from migrator.model.filters import LARGEST_INT64
from migrator.model.rows import Key, KeyDigest
from migrator.steps.comparing_values import ValueComparison, named, parts, row_difference, times
from migrator.steps.sharing_values import answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from migrator.model.collection import CollectionSchema
    from migrator.model.rows import Sample
    from migrator.model.shard import ValuesAnswer
    from migrator.ports.clock import Clock
    from migrator.ports.rows import RowSource
    from migrator.steps.base import ProgressReport
    from migrator.steps.comparing_values import RowCheck, Valued
    from migrator.steps.sharing_values import SharedValues

BATCH_KEYS = 1000
"""Rows whose values are asked for at a time."""
PROBES = 20
"""Rows that are kept for searches by their vectors."""
MOST_COPIES_COUNTED = 2_000
"""Counts that are spent on keys that are there equally often as a whole, to find some that are not."""
_SENT_KEYS = 4 * BATCH_KEYS
"""A shard of a comparison."""
_SENT_AHEAD = 2
_LOOK_S = 0.5
_NOTE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, order=True)
class Probe:
    """A row drawn for searches: those of the least `rank` are kept."""

    rank: int
    partition: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How far a comparison is and what it found: all it takes to go on, and bounded.

    `basis` says what is compared with what; of another basis nothing is taken up. `after` is the last key that is done
    in the partition after `partitions_done` others.
    """

    basis: str = ""
    partitions_done: int = 0
    after: Key | None = None
    source_keys: int = 0
    target_keys: int = 0
    source_digest: str = ""
    target_digest: str = ""
    rows_valued: int = 0
    """Keys whose values were compared, field by field."""
    rows_routed: int = 0
    """Keys that were looked for by their partition key."""
    unreadable: int = 0
    """Keys of rows that Milvus counts and never gives out."""
    repeated: int = 0
    """Keys that are there more than once at both sides, so that the row a query shows is undefined."""
    probes: tuple[Probe, ...] = ()
    differences: Differences = field(default_factory=Differences)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowComparison:
    """`source`, what is expected, against `target`, what is there, in each of `partitions`.

    All keys are compared, and of those that `sample` takes the values of the fields of `schema`.
    `put_down` is told every few seconds how far it is, and on every error, so that an interrupted comparison goes on
    where it was.
    """

    source: RowSource
    target: RowSource
    schema: CollectionSchema
    partitions: tuple[str, ...]
    sample: Sample
    clock: Clock
    progress: ProgressReport
    put_down: Callable[[Compared], None]
    check: RowCheck | None = None
    total_rows: int = 0
    share: SharedValues | None = None
    """Where values are compared by the workers of an engine; keys are compared here."""

    def run(self, begun: Compared) -> Compared:
        """Go on from `begun` to the end."""
        walk = _Walk(self, begun)
        try:
            for partition in self.partitions[begun.partitions_done :]:
                walk.compare(partition)
        except MigratorError:
            self.put_down(walk.now)
            raise
        finally:
            walk.give_up()
        return walk.now


class _Walk:
    """One attempt; `now` is always a place from which another can go on."""

    def __init__(self, comparison: RowComparison, begun: Compared) -> None:
        self.now = begun
        self._all = comparison
        self._noted_at = comparison.clock.monotonic()
        self._values = ValueComparison(comparison.source, comparison.target, comparison.schema, comparison.check)
        self._sent: deque[tuple[Future[ValuesAnswer], str, list[Key]]] = deque()

    @property
    def _batch_keys(self) -> int:
        return BATCH_KEYS if self._all.share is None else _SENT_KEYS

    def compare(self, partition: str) -> None:
        """One partition, from behind the last key that is done."""
        after, every = self.now.after, self._all
        pending: list[Key] = []
        reached = self.now
        pages = (side.keys(partition, after=after) for side in (every.source, every.target))
        for bound, ours, theirs in merge_keys(*pages):
            reached = self._with_keys(reached, partition, ours, theirs)
            wanted = [key for key in _common(ours, theirs) if every.sample.takes(key)]
            pending += [key for key in wanted if key != LARGEST_INT64]
            unreadable = reached.unreadable + (LARGEST_INT64 in wanted[-1:])
            reached = replace(reached, after=bound, unreadable=unreadable)
            while len(pending) >= self._batch_keys:
                batch, pending = pending[: self._batch_keys], pending[self._batch_keys :]
                reached = self._send(reached, partition, batch)
                self._breathe(reached)
            if self._is_due() or not (pending or self._sent):
                reached = self._settle(reached, partition, pending)
                pending = []
            self._breathe(reached)
        reached = self._settle(reached, partition, pending)
        self.now = replace(reached, partitions_done=self.now.partitions_done + 1, after=None)
        self._breathe(self.now)

    def _settle(self, reached: Compared, partition: str, pending: list[Key]) -> Compared:
        """Nothing is pending any more: from here another attempt can go on."""
        reached = self._send(reached, partition, pending) if pending else reached
        while self._sent:
            reached = self._take(reached)
        self.now = reached
        if self._is_due():
            self._all.put_down(self.now)
            self._noted_at = self._all.clock.monotonic()
        return self.now

    def _is_due(self) -> bool:
        return self._all.clock.monotonic() - self._noted_at >= _NOTE_EVERY_S

    def _breathe(self, reached: Compared) -> None:
        self._all.progress(
            "comparing rows",
            done=reached.source_keys,
            total=max(self._all.total_rows, reached.source_keys),
            unit="rows",
        )
        self._all.clock.sleep(0)  # where a person's wish to stop is heard

    # -- keys -------------------------------------------------------------------------------------------------------

    def _with_keys(self, reached: Compared, partition: str, ours: list[Key], theirs: list[Key]) -> Compared:
        here, there = set(ours), set(theirs)
        found = [row_difference(DifferenceKind.MISSING, partition, key) for key in ours if key not in there]
        found += [row_difference(DifferenceKind.EXTRA, partition, key) for key in theirs if key not in here]
        return replace(
            reached,
            source_keys=reached.source_keys + len(ours),
            target_keys=reached.target_keys + len(theirs),
            source_digest=_digest(reached.source_digest, ours),
            target_digest=_digest(reached.target_digest, theirs),
            differences=reached.differences.plus(found),
        )

    # -- values -----------------------------------------------------------------------------------------------------

    def _send(self, reached: Compared, partition: str, keys: list[Key]) -> Compared:
        """Have the values of some keys compared, here and now or by others; what is known by then is in the answer."""
        share = self._all.share
        if share is None:
            found = self._values.compare(partition, keys, reached.differences.count(DifferenceKind.VALUE))
            return self._with_values(reached, partition, keys, found)
        while len(self._sent) >= max(1, _SENT_AHEAD * share.width):
            reached = self._take(reached)
        shard = share.shard(partition, keys, reached.differences.count(DifferenceKind.VALUE))
        self._sent.append((share.engine.compare(shard), partition, keys))
        return reached

    def _take(self, reached: Compared) -> Compared:
        """With the oldest of the answers that others owe, which is waited for."""
        future, partition, keys = self._sent.popleft()
        while not future.done():
            wait([future], timeout=_LOOK_S)
            self._breathe(reached)
        return self._with_values(reached, partition, keys, answer_of(future.result()))

    def give_up(self) -> None:
        """Nobody waits for what was sent."""
        for future, _, __ in self._sent:
            future.cancel()
        self._sent.clear()

    def _with_values(self, reached: Compared, partition: str, keys: list[Key], found: Valued) -> Compared:
        probes = (Probe(self._all.sample.rank(key), partition, key) for key in keys)
        known = reached.differences
        return replace(
            reached,
            rows_valued=reached.rows_valued + len(keys) - found.repeated,
            rows_routed=reached.rows_routed + found.routed,
            repeated=reached.repeated + found.repeated,
            probes=tuple(sorted({*reached.probes, *probes})[:PROBES]),
            differences=known.and_those_of(found.differences) if found.differences else known,
        )


def unequal_copies(
    source: RowSource, target: RowSource, partitions: Iterable[str], *, clock: Clock, progress: ProgressReport
) -> Iterator[Difference]:
    """Keys of both sides that are there unequally often, found by counting batches of them, and halves of those.

    Where a batch has as many rows at both sides, and more than it has keys, its halves are counted too, as long as that
    takes no more than `MOST_COPIES_COUNTED` counts: in a collection of nothing but copies it would never end.
    """
    counts = _Counts(source, target, MOST_COPIES_COUNTED)
    done = 0
    for partition in partitions:
        for _, ours, theirs in merge_keys(source.keys(partition), target.keys(partition)):
            for keys in parts(_common(ours, theirs), BATCH_KEYS):
                yield from counts.unequal_among(partition, keys)
                done += len(keys)
                progress("counting the copies of keys", done=done, unit="rows")
                clock.sleep(0)  # see above


@dataclass(slots=True)
class _Counts:
    """Rows of some keys, counted at both sides."""

    source: RowSource
    target: RowSource
    left: int
    """How many counts are left for batches that differ in nothing yet."""

    def unequal_among(self, partition: str, keys: list[Key]) -> Iterator[Difference]:
        ours, theirs = (side.count(partition, keys) for side in (self.source, self.target))
        if ours == theirs:
            if ours <= len(keys) or len(keys) == 1 or self.left <= 0:
                return
            self.left -= 2
        if len(keys) == 1:
            yield Difference(
                kind=DifferenceKind.COPIES,
                partition=named(partition),
                key=show_key(keys[0]),
                source=times(ours),
                target=times(theirs),
            )
            return
        for half in parts(keys, (len(keys) + 1) // 2):
            yield from self.unequal_among(partition, half)


def merge_keys(
    ours: Iterable[Sequence[Key]], theirs: Iterable[Sequence[Key]]
) -> Iterator[tuple[Key, list[Key], list[Key]]]:
    """Windows of two ascending streams of keys: the last key of the window, and the keys of each side up to it."""
    one, other = filter(None, ours), filter(None, theirs)
    a, b = list(next(one, ())), list(next(other, ()))
    while a or b:
        bound = min(a[-1], b[-1]) if a and b else (a or b)[-1]
        i, j = bisect_right(a, bound), bisect_right(b, bound)
        yield bound, a[:i], b[:j]
        a = a[i:] or list(next(one, ()))
        b = b[j:] or list(next(other, ()))


def _common(ours: list[Key], theirs: list[Key]) -> list[Key]:
    there = set(theirs)
    return [key for key in ours if key in there]


def _digest(begun: str, keys: Sequence[Key]) -> str:
    digest = KeyDigest(begun)
    digest.add(keys)
    return str(digest)
