"""Numbers, durations and foreign names as people read them."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING

from migrator.planning.json_pieces import indented

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `6,000 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: float) -> str:
    """Bytes with three figures at the most: `262 KiB`, `1.5 GiB`."""
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 10 min`, `4 d 6 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"
    return f"{minutes} min" if not hours else f"{hours} h {rest} min" if rest else f"{hours} h"


def clean(text: str) -> str:
    """Foreign text without what could move a terminal's cursor, colour it, turn its direction, or begin a line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def wrapped(text: str, width: int, *, hang: int | None = None) -> list[str]:
    """The text in lines of so many cells, broken between words; the later ones begin at `hang`.

    A word that is longer than a line is left whole: it may be a digest or a path that somebody copies.
    """
    indent = len(text) - len(text.lstrip(" ")) + 4 if hang is None else hang
    lines, line = [], ""
    for word in re.findall(r" *[^ ]+", text):
        if line.strip() and _cells(line + word) > width:
            lines.append(line)
            line = " " * indent + word.lstrip(" ")
        else:
            line += word
    return [*lines, line]


def _cells(text: str) -> int:
    """How wide it is on a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def to_json(value: object, *, indent: int | None = None) -> str:
    """JSON that reads as it is written, foreign text in it as harmless as by `clean`."""
    return _harmless(json.dumps(value, indent=indent, ensure_ascii=False))


def json_pieces(value: object, *, indent: int) -> Iterator[str]:
    """The same piece by piece, where iterators stand for lists."""
    return map(_harmless, indented(value, indent))


def _harmless(text: str) -> str:
    """JSON whose only line breaks are its own."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _escaped(character: str) -> str:
    """As Python writes it, with a backslash."""
    return repr(character)[1:-1]
