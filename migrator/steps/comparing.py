"""The rows of two sides held against each other: merged in key order, in memory that does not grow with them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from migrator.errors import MigratorError
from migrator.model.collection import DYNAMIC_FIELD
from migrator.model.difference import KEPT, Difference, DifferenceKind, Differences, show_key
from migrator.model.filters import LARGEST_INT64
from migrator.model.rows import Key, KeyDigest, show_both
from migrator.steps.counting import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from migrator.model.collection import CollectionSchema
    from migrator.model.rows import Sample, Value
    from migrator.ports.clock import Clock
    from migrator.ports.rows import RowSource
    from migrator.steps.base import ProgressReport

BATCH_KEYS = 1000
"""Rows whose values are asked for at a time."""
PROBES = 20
"""Rows that are kept for searches by their vectors."""
MOST_COPIES_COUNTED = 2_000
"""Counts that are spent on keys that are there equally often as a whole, to find some that are not."""
_FEW_KEYS = 50
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


class RowCheck(Protocol):
    """A further look at rows that are at both sides."""

    def __call__(self, prints: Mapping[Key, tuple[bytes, ...]]) -> tuple[int, list[Difference]]:
        """How many of them were looked at, and what was found; `prints` are the source's."""


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

    def run(self, begun: Compared) -> Compared:
        """Go on from `begun` to the end."""
        walk = _Walk(self, begun)
        try:
            for partition in self.partitions[begun.partitions_done :]:
                walk.compare(partition)
        except MigratorError:
            self.put_down(walk.now)
            raise
        return walk.now


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a field's value stands in a row of each side."""

    name: str
    at_source: int
    at_target: int


class _Walk:
    """One attempt; `now` is always a place from which another can go on."""

    def __init__(self, comparison: RowComparison, begun: Compared) -> None:
        self.now = begun
        self._all = comparison
        self._noted_at = comparison.clock.monotonic()
        ours, theirs = comparison.source.field_names, comparison.target.field_names
        self._schemas = {each.name: each for each in (*comparison.schema.fields, DYNAMIC_FIELD)}
        common = [name for name in ours if name in theirs and name in self._schemas]
        self._fields = [_Place(name, ours.index(name), theirs.index(name)) for name in common]

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
            while len(pending) >= BATCH_KEYS:
                batch, pending = pending[:BATCH_KEYS], pending[BATCH_KEYS:]
                reached = self._with_values(reached, partition, batch)
                self._breathe(reached)
            if not pending or self._is_due():
                reached = self._settle(reached, partition, pending)
                pending = []
            self._breathe(reached)
        reached = self._settle(reached, partition, pending)
        self.now = replace(reached, partitions_done=self.now.partitions_done + 1, after=None)
        self._breathe(self.now)

    def _settle(self, reached: Compared, partition: str, pending: list[Key]) -> Compared:
        """Nothing is pending any more: from here another attempt can go on."""
        self.now = self._with_values(reached, partition, pending) if pending else reached
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
        found = [_row(DifferenceKind.MISSING, partition, key) for key in ours if key not in there]
        found += [_row(DifferenceKind.EXTRA, partition, key) for key in theirs if key not in here]
        return replace(
            reached,
            source_keys=reached.source_keys + len(ours),
            target_keys=reached.target_keys + len(theirs),
            source_digest=_digest(reached.source_digest, ours),
            target_digest=_digest(reached.target_digest, theirs),
            differences=reached.differences.plus(found),
        )

    # -- values -----------------------------------------------------------------------------------------------------

    def _with_values(self, reached: Compared, partition: str, keys: list[Key]) -> Compared:
        """Compare fingerprints, and where they differ the values."""
        every = self._all
        ours, theirs = (side.prints(partition, keys) for side in (every.source, every.target))
        found = [
            _row(DifferenceKind.MISSING if key in ours else DifferenceKind.EXTRA, partition, key)
            for key in keys
            if (key in ours) != (key in theirs)
        ]
        odd = {key: self._unequal(ours[key], theirs[key]) for key in keys if key in ours and key in theirs}
        repeated = self._name(partition, {key: names for key, names in odd.items() if names}, reached, found)
        routed, misplaced = every.check({key: ours[key] for key in odd}) if every.check else (0, [])
        probes = (Probe(every.sample.rank(key), partition, key) for key in keys)
        return replace(
            reached,
            rows_valued=reached.rows_valued + len(keys) - repeated,
            rows_routed=reached.rows_routed + routed,
            repeated=reached.repeated + repeated,
            probes=tuple(sorted({*reached.probes, *probes})[:PROBES]),
            differences=reached.differences.plus(found).plus(misplaced),
        )

    def _unequal(self, ours: Sequence[object], theirs: Sequence[object]) -> list[_Place]:
        return [place for place in self._fields if ours[place.at_source] != theirs[place.at_target]]

    def _name(self, partition: str, odd: Mapping[Key, list[_Place]], reached: Compared, found: list[Difference]) -> int:
        """Add the differences of rows whose fingerprints differ; how many of the rows have no defined value."""
        repeated = 0
        for keys in _parts(list(odd), _FEW_KEYS):
            single, unequal = self._single(partition, keys)
            repeated += len(keys) - len(single) - len(unequal)
            found += unequal
            if reached.differences.plus(found).count(DifferenceKind.VALUE) < KEPT:
                found += self._values(partition, single)
            else:  # these are only counted
                found += [Difference(kind=DifferenceKind.VALUE) for key in single for _ in odd[key]]
        return repeated

    def _single(self, partition: str, keys: list[Key]) -> tuple[list[Key], list[Difference]]:
        """Those of the keys that are there once at both sides, and those that are there unequally often."""
        if not keys:
            return [], []
        ours, theirs = (side.copies(partition, keys) for side in (self._all.source, self._all.target))
        unequal = [
            Difference(
                kind=DifferenceKind.COPIES,
                partition=_named(partition),
                key=show_key(key),
                source=_times(ours.get(key, 0)),
                target=_times(theirs.get(key, 0)),
            )
            for key in keys
            if ours.get(key, 0) != theirs.get(key, 0)
        ]
        return [key for key in keys if ours.get(key, 0) == theirs.get(key, 0) <= 1], unequal

    def _values(self, partition: str, keys: list[Key]) -> list[Difference]:
        if not keys:
            return []
        ours, theirs = (side.values(partition, keys) for side in (self._all.source, self._all.target))
        return [
            self._value(partition, key, place.name, ours[key][place.at_source], theirs[key][place.at_target])
            for key in keys
            if key in ours and key in theirs
            for place in self._unequal(ours[key], theirs[key])
        ]

    def _value(self, partition: str, key: Key, name: str, ours: Value, theirs: Value) -> Difference:
        source, target = show_both(self._schemas[name], ours, theirs)
        return Difference(
            kind=DifferenceKind.VALUE,
            partition=_named(partition),
            key=show_key(key),
            field=name,
            source=source,
            target=target,
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
            for keys in _parts(_common(ours, theirs), BATCH_KEYS):
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
                partition=_named(partition),
                key=show_key(keys[0]),
                source=_times(ours),
                target=_times(theirs),
            )
            return
        for half in _parts(keys, (len(keys) + 1) // 2):
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


def _parts(keys: list[Key], size: int) -> Iterator[list[Key]]:
    return (keys[at : at + size] for at in range(0, len(keys), size))


def _common(ours: list[Key], theirs: list[Key]) -> list[Key]:
    there = set(theirs)
    return [key for key in ours if key in there]


def _digest(begun: str, keys: Sequence[Key]) -> str:
    digest = KeyDigest(begun)
    digest.add(keys)
    return str(digest)


def _row(kind: DifferenceKind, partition: str, key: Key) -> Difference:
    return Difference(kind=kind, partition=_named(partition), key=show_key(key))


def _named(partition: str) -> str:
    return "" if partition == WHOLE else partition


def _times(count: int) -> str:
    return {0: "not", 1: "once"}.get(count, f"{count:,} times")
