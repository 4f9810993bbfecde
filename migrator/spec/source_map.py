"""Where each value of a plan file stands, and how its place is written: `collections[0].target`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from migrator.errors import Position

Data: TypeAlias = "str | int | float | bool | list[Data] | dict[str, Data] | None"
Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value stands, and its key where it has one."""

    value: Position
    key: Position | None = None

    @property
    def start(self) -> Position:
        """The key of the value, or the value itself in a list."""
        return self.key or self.value


SourceMap: TypeAlias = dict[Path, Mark]


def dotted(path: Path) -> str:
    """Return `path` as a user writes it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(marks: SourceMap, path: Path) -> tuple[Path, Mark] | None:
    """Return the innermost place on the way to `path` that the file has."""
    for length in range(len(path), -1, -1):
        if mark := marks.get(path[:length]):
            return path[:length], mark
    return None


def moved(marks: SourceMap, old: Path, new: Path) -> SourceMap:
    """Return the marks below `old`, as seen from `new`."""
    depth = len(old)
    return {new + path[depth:]: mark for path, mark in marks.items() if path[:depth] == old}
