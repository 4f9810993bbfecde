"""JSON text of something huge, piece by piece: the text is never held as a whole, nor what its long lists are made of.

An iterator stands for a list, whose items are made, encoded and let go one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_COMPACT: Final = json.JSONEncoder().encode


def canonical(value: object) -> Iterator[str]:
    """What `json.dumps` makes of it with sorted keys and without spaces: equal for equal values."""
    if isinstance(value, Iterator):
        yield from _framed("[]", ([_CANONICAL(item)] for item in value), "", "")
    elif isinstance(value, dict):
        yield from _framed(
            "{}", (_member(_CANONICAL(name) + ":", canonical(value[name])) for name in sorted(value)), "", ""
        )
    else:
        yield _CANONICAL(value)


def indented(value: object, indent: int) -> Iterator[str]:
    """What `json.dumps` makes of it with so much indentation, and letters of all languages as they are."""
    return _spread(value, json.JSONEncoder(indent=indent, ensure_ascii=False).encode, " " * indent, "\n")


def in_lines(value: object) -> Iterator[str]:
    """A line for each member, and for each item of an iterator: written and read fast, and still a text for tools."""
    return _spread(value, _COMPACT, "", "\n")


def _spread(value: object, encode: Callable[[object], str], step: str, line: str) -> Iterator[str]:
    inner = line + step
    if isinstance(value, Iterator):
        yield from _framed("[]", ([encode(item).replace("\n", inner)] for item in value), inner, line)
    elif isinstance(value, dict):
        members = (_member(f"{encode(name)}: ", _spread(each, encode, step, inner)) for name, each in value.items())
        yield from _framed("{}", members, inner, line)
    else:
        yield encode(value).replace("\n", line)  # a text's own line ends are escaped


def _member(name: str, value: Iterator[str]) -> Iterator[str]:
    yield name
    yield from value


def _framed(frame: str, items: Iterable[Iterable[str]], inner: str, line: str) -> Iterator[str]:
    """Empty, they stand on no line of their own."""
    between = frame[0]
    for item in items:
        yield between + inner
        yield from item
        between = ","
    yield line + frame[1] if between == "," else frame
