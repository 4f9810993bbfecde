"""A side of a comparison, row by row in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migrator.errors import MilvusUnavailable
from migrator.model.rows import Key, Value, print_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Row = tuple[Key, tuple[Value, ...]]


@dataclass(slots=True)
class FakeSide:
    """Rows by partition, in any order; of keys that are there more than once, a query shows the last."""

    rows: dict[str, list[Row]]
    field_names: tuple[str, ...] = ("title", "vec")
    place: str = "memory"
    page: int = 3
    calls_left: int | None = None
    """Then it is out of reach."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Every request, and how many keys it was for."""

    def keys(self, partition: str, *, after: Key | None = None) -> Iterator[Sequence[Key]]:
        """Pages of keys."""
        every = sorted({key for key, _ in self.rows[partition]})
        left = [key for key in every if after is None or key > after]  # type: ignore[operator]  # all of one type
        for start in range(0, len(left), self.page):
            self._ask("keys", 0)
            yield left[start : start + self.page]

    def prints(self, partition: str, keys: Sequence[Key]) -> dict[Key, tuple[bytes, ...]]:
        """Fingerprints."""
        self._ask("prints", len(keys))
        return {key: tuple(map(print_of, values)) for key, values in self._found(partition, keys)}

    def values(self, partition: str, keys: Sequence[Key]) -> dict[Key, tuple[Value, ...]]:
        """Values."""
        self._ask("values", len(keys))
        return dict(self._found(partition, keys))

    def copies(self, partition: str, keys: Sequence[Key]) -> dict[Key, int]:
        """How often."""
        self._ask("copies", len(keys))
        every = [key for key, _ in self.rows[partition]]
        return {key: every.count(key) for key in keys if key in every}

    def _found(self, partition: str, keys: Sequence[Key]) -> list[Row]:
        return [row for row in self.rows[partition] if row[0] in set(keys)]

    def _ask(self, what: str, keys: int) -> None:
        self.asked.append((what, keys))
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise MilvusUnavailable("nothing answers")
