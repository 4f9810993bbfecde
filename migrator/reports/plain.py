"""Numbers, durations and foreign names as people read them."""

from __future__ import annotations

import json

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
    """`45 s`, `3 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if not hours else f"{hours} h {rest} min" if rest else f"{hours} h"


def clean(text: str) -> str:
    """Foreign text without what could move a terminal's cursor, colour it, turn its direction, or begin a line."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def to_json(value: object, *, indent: int | None = None) -> str:
    """JSON that reads as it is written, foreign text in it as harmless as by `clean`."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)  # only JSON's own breaks


def _escaped(character: str) -> str:
    """As Python writes it, with a backslash."""
    return repr(character)[1:-1]
