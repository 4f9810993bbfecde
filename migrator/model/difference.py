"""Differences between two sides of a comparison, named one by one and counted beyond what can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.rows import Key

KEPT = 100
"""Differences of one kind that are kept; the others are counted."""
_SHOWN_CHARACTERS = 60


class DifferenceKind(StrEnum):
    """What differs."""

    SCHEMA = "schema"
    SETTING = "setting"
    PARTITION = "partition"
    INDEX = "index"
    ALIAS = "alias"
    LOAD = "load state"
    COUNT = "count"
    MISSING = "missing row"
    EXTRA = "extra row"
    VALUE = "value"
    COPIES = "copies of a row"
    ROUTING = "routing"
    SEARCH = "search"


ROW_KINDS = frozenset(
    {
        DifferenceKind.COUNT,
        DifferenceKind.MISSING,
        DifferenceKind.EXTRA,
        DifferenceKind.VALUE,
        DifferenceKind.COPIES,
    }
)
"""What a source that moved may explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference; `source` and `target` are what each side says, shortened for a person.

    `partition`, `key` and `field` are empty where they say nothing: `field` is a field, an index or a setting.
    """

    kind: DifferenceKind
    partition: str = ""
    key: str = ""
    field: str = ""
    source: str = ""
    target: str = ""

    def __str__(self) -> str:
        place = f" in partition {self.partition!r}" if self.partition else ""
        return _WORDS.get(self.kind, _DESCRIBED).format(d=self, place=place)


_DESCRIBED = "{d.kind} {d.field}: {d.source} at the source, {d.target} at the target"
_WORDS = {
    DifferenceKind.MISSING: "row {d.key}{place} is missing at the target",
    DifferenceKind.EXTRA: "row {d.key}{place} is only at the target",
    DifferenceKind.VALUE: "row {d.key}{place}: {d.field} is {d.source} at the source, {d.target} at the target",
    DifferenceKind.COPIES: "row {d.key}{place} is there {d.source} at the source, {d.target} at the target",
    DifferenceKind.ROUTING: "row {d.key} is not found at the target by its partition key, {d.field} {d.source}: it "
    "lies in another partition than the key says",
    DifferenceKind.COUNT: "rows{place}: {d.source}, {d.target}",
    DifferenceKind.PARTITION: "partition {d.partition!r} is {d.source} at the source, {d.target} at the target",
    DifferenceKind.ALIAS: "alias {d.field!r} points at {d.target} at the target, and not at {d.source}",
    DifferenceKind.LOAD: "{d.field}{place}: {d.source} by the run, {d.target} now",
    DifferenceKind.SEARCH: "searches by {d.field}: {d.target}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """The first `KEPT` differences of each kind, and how many of each kind there are; bounded."""

    shown: tuple[Difference, ...] = ()
    totals: tuple[tuple[DifferenceKind, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.totals)

    @property
    def total(self) -> int:
        """All, those that are not shown too."""
        return sum(count for _, count in self.totals)

    def count(self, kind: DifferenceKind) -> int:
        """All of one kind."""
        return dict(self.totals).get(kind, 0)

    def plus(self, more: Iterable[Difference]) -> Differences:
        """With more of them."""
        shown, totals = list(self.shown), dict(self.totals)
        for each in more:
            totals[each.kind] = totals.get(each.kind, 0) + 1
            if totals[each.kind] <= KEPT:
                shown.append(each)
        return Differences(shown=tuple(shown), totals=tuple(totals.items()))

    def and_those_of(self, other: Differences) -> Differences:
        """Both together."""
        totals = dict(self.totals)
        for kind, count in other.totals:
            totals[kind] = totals.get(kind, 0) + count
        shown: list[Difference] = []
        for each in (*self.shown, *other.shown):
            if sum(one.kind is each.kind for one in shown) < KEPT:
                shown.append(each)
        return Differences(shown=tuple(shown), totals=tuple(totals.items()))

    def told(self, most: int) -> str:
        """The first of each kind, and how many there are beside them."""
        firsts = {each.kind: each for each in reversed(self.shown)}
        chosen = [each for each in self.shown if firsts[each.kind] is each]
        chosen = (chosen + [each for each in self.shown if each not in chosen])[:most]
        left = self.total - len(chosen)
        return "; ".join([*map(str, chosen), *([f"and {left:,} more differences"] if left > 0 else [])])

    def summary(self) -> str:
        """How many of which kind: `2 missing rows, 1 value`."""
        return ", ".join(f"{count:,} {_plural(kind, count)}" for kind, count in self.totals)


def _plural(kind: DifferenceKind, count: int) -> str:
    if count == 1:
        return kind
    return {
        DifferenceKind.INDEX: "indexes",
        DifferenceKind.ALIAS: "aliases",
        DifferenceKind.SCHEMA: "parts of the schema",
        DifferenceKind.COPIES: "rows with other numbers of copies",
        DifferenceKind.ROUTING: "rows in a wrong partition",
        DifferenceKind.SEARCH: "searches",
    }.get(kind, f"{kind}s")


def show_key(key: Key) -> str:
    """A primary key for a person: text in quotes, and a long one without its middle."""
    text = repr(key)
    return text if len(text) <= 2 * _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…{text[-_SHOWN_CHARACTERS:]}"
