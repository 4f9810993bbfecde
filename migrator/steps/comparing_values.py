"""The values of rows that both sides have, held against each other: fingerprints, and where they differ the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from migrator.model.collection import DYNAMIC_FIELD
from migrator.model.difference import KEPT, Difference, DifferenceKind, Differences, show_key
from migrator.model.rows import show_both
from migrator.steps.counting import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from migrator.model.collection import CollectionSchema
    from migrator.model.rows import Key, Value
    from migrator.ports.rows import RowSource

_FEW_KEYS = 50


class RowCheck(Protocol):
    """A further look at rows that are at both sides."""

    def __call__(self, prints: Mapping[Key, tuple[bytes, ...]]) -> tuple[int, list[Difference]]:
        """How many of them were looked at, and what was found; `prints` are the source's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Valued:
    """What was found of some keys."""

    repeated: int = 0
    """Those that are there more than once at both sides, so that the row a query shows is undefined."""
    routed: int = 0
    """Those that were looked for by their partition key."""
    differences: Differences = field(default_factory=Differences)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a field's value stands in a row of each side."""

    name: str
    at_source: int
    at_target: int


class ValueComparison:
    """Compares the fields of `schema` that both sides have."""

    def __init__(
        self, source: RowSource, target: RowSource, schema: CollectionSchema, check: RowCheck | None = None
    ) -> None:
        self._source = source
        self._target = target
        self._check = check
        ours, theirs = source.field_names, target.field_names
        self._schemas = {each.name: each for each in (*schema.fields, DYNAMIC_FIELD)}
        common = [name for name in ours if name in theirs and name in self._schemas]
        self._fields = [_Place(name, ours.index(name), theirs.index(name)) for name in common]

    def compare(self, partition: str, keys: Sequence[Key], named_before: int = 0) -> Valued:
        """Rows of `keys`; of values that differ so many were named before, and beyond a bound they are only counted."""
        ours, theirs = (side.prints(partition, keys) for side in (self._source, self._target))
        found = [
            row_difference(DifferenceKind.MISSING if key in ours else DifferenceKind.EXTRA, partition, key)
            for key in keys
            if (key in ours) != (key in theirs)
        ]
        odd = {key: self._unequal(ours[key], theirs[key]) for key in keys if key in ours and key in theirs}
        repeated = self._name(partition, {key: names for key, names in odd.items() if names}, named_before, found)
        routed, misplaced = self._check({key: ours[key] for key in odd}) if self._check else (0, [])
        return Valued(repeated=repeated, routed=routed, differences=Differences().plus(found).plus(misplaced))

    def _unequal(self, ours: Sequence[object], theirs: Sequence[object]) -> list[_Place]:
        return [place for place in self._fields if ours[place.at_source] != theirs[place.at_target]]

    def _name(self, partition: str, odd: Mapping[Key, list[_Place]], named_before: int, found: list[Difference]) -> int:
        """Add the differences of rows whose fingerprints differ; how many of the rows have no defined value."""
        repeated = 0
        for keys in parts(list(odd), _FEW_KEYS):
            single, unequal = self._single(partition, keys)
            repeated += len(keys) - len(single) - len(unequal)
            found += unequal
            if named_before + sum(each.kind is DifferenceKind.VALUE for each in found) < KEPT:
                found += self._values(partition, single)
            else:  # these are only counted
                found += [Difference(kind=DifferenceKind.VALUE) for key in single for _ in odd[key]]
        return repeated

    def _single(self, partition: str, keys: list[Key]) -> tuple[list[Key], list[Difference]]:
        """Those of the keys that are there once at both sides, and those that are there unequally often."""
        if not keys:
            return [], []
        ours, theirs = (side.copies(partition, keys) for side in (self._source, self._target))
        unequal = [
            Difference(
                kind=DifferenceKind.COPIES,
                partition=named(partition),
                key=show_key(key),
                source=times(ours.get(key, 0)),
                target=times(theirs.get(key, 0)),
            )
            for key in keys
            if ours.get(key, 0) != theirs.get(key, 0)
        ]
        return [key for key in keys if ours.get(key, 0) == theirs.get(key, 0) <= 1], unequal

    def _values(self, partition: str, keys: list[Key]) -> list[Difference]:
        if not keys:
            return []
        ours, theirs = (side.values(partition, keys) for side in (self._source, self._target))
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
            partition=named(partition),
            key=show_key(key),
            field=name,
            source=source,
            target=target,
        )


def row_difference(kind: DifferenceKind, partition: str, key: Key) -> Difference:
    """A row as a whole."""
    return Difference(kind=kind, partition=named(partition), key=show_key(key))


def named(partition: str) -> str:
    """As a difference has it."""
    return "" if partition == WHOLE else partition


def times(count: int) -> str:
    """How often, for a person."""
    return {0: "not", 1: "once"}.get(count, f"{count:,} times")


def parts(keys: Sequence[Key], size: int) -> Iterator[list[Key]]:
    """The same in lists of at most `size`."""
    return (list(keys[at : at + size]) for at in range(0, len(keys), size))
