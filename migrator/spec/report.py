"""Collects the complaints about one plan, each with its place, value and hint."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from migrator.errors import Complaint, Position, SpecError
from migrator.spec.source_map import Data, Path, SourceMap, dotted, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.spec.fault import Fault

SECRET_KEYS: Final = frozenset(
    {"password", "token", "access_key_id", "secret_access_key", "session_token", "account_key"}
)
_SHOWN: Final = 80


@dataclass(slots=True)
class Report:
    """What is wrong with the plan whose values are `data` and stand at `marks`."""

    data: dict[str, Data]
    marks: SourceMap
    complaints: list[Complaint] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)

    def add(
        self,
        path: Path,
        message: str,
        hint: str = "",
        *,
        needs: Iterable[Path] = (),
        show: bool = True,
        at_key: bool = False,
    ) -> None:
        """Complain about the value at `path`, unless it or one of `needs` has been complained about already.

        Args:
            path: The place of the value; it becomes the complaint's field and position.
            message: One sentence.
            hint: One edit.
            needs: Other places that the complaint rests on.
            show: Whether the value is repeated; a secret's never is.
            at_key: Whether the key is what is wrong.
        """
        if not all(self.is_intact(place) for place in (path, *needs)):
            return
        position = self.position_of(path, at_key=at_key)
        value = self._shown_value(path) if show else None
        self.complaints.append(
            Complaint(_printable(message), _printable(dotted(path)), _printable(hint), value, position)
        )

    def add_fault(self, path: Path, fault: Fault, *, needs: Iterable[Path] = ()) -> None:
        """Complain about the value at `path` in the words of `fault`, which speak of it as the subject."""
        self.add(path, f"{subject(path)} {fault.message}", fault.hint, needs=needs)

    def is_intact(self, path: Path) -> bool:
        """Whether the value at `path` has the right form, and so have what is around it and in it."""
        return not any(_is_prefix(path, other) or _is_prefix(other, path) for other in self.broken)

    def has(self, path: Path) -> bool:
        """Whether the file says something at `path`."""
        return path in self.marks

    def raise_if_any(self) -> None:
        """Raise all complaints, in the order of the files.

        Raises:
            SpecError: There are some.
        """
        if self.complaints:
            # The same cluster may be source and target: one mistake is told once.
            unique = {(complaint.position, complaint.message): complaint for complaint in reversed(self.complaints)}
            raise SpecError(sorted(unique.values(), key=_reading_order))

    def position_of(self, path: Path, *, at_key: bool = False) -> Position | None:
        """Where the value at `path` stands (or its key), or what is nearest around it."""
        found = nearest(self.marks, path)
        if found is None:
            return None
        place, mark = found
        return mark.value if place == path and not at_key else mark.start

    def _shown_value(self, path: Path) -> str | None:
        if SECRET_KEYS & set(path) or path[-1:] == ("credentials",):
            return None
        return _shown(written_at(self.data, path))


def value_at(data: Data, path: Path) -> Data:
    """Return what `data` holds at `path`, or `None`."""
    for part in path:
        if isinstance(data, dict) and isinstance(part, str):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def written_at(data: Data, path: Path) -> Data:
    """Return what `data` holds at `path`, or the short form that stands for the whole block around it."""
    value = value_at(data, path)
    if value is None and path[-1:] in {("source",), ("level",)}:
        short = value_at(data, path[:-1])
        return short if isinstance(short, str) else None
    return value


def subject(path: Path) -> str:
    """Return what a sentence about the value at `path` calls it."""
    names = [index for index, part in enumerate(path) if isinstance(part, str)]
    return dotted(path[names[-1] :]) if names else "the file"


def _shown(value: Data) -> str | None:
    """A short form of a scalar that can be printed, without what an address may carry of a secret."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = re.sub(r"(://|^)[^/\s@]*@", r"\1...@", text)
    text = _printable(re.sub(r"(://[^?#]*[?#]).+", r"\1...", text))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _printable(text: str) -> str:
    """`text` with control characters escaped: a plan file must not be able to steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _is_prefix(short: Path, long: Path) -> bool:
    return long[: len(short)] == short


def _reading_order(complaint: Complaint) -> tuple[bool, str, int, int, str]:
    position = complaint.position
    if position is None:
        return (True, "", 0, 0, complaint.field)
    return (False, position.file, position.line, position.column, complaint.field)
