"""Conditions in Milvus's filter language, with keys and values written so that none is taken for another."""

from __future__ import annotations

import json
from collections.abc import Iterable

from migrator.errors import MilvusRefused
from migrator.model.rows import Key

SMALLEST_INT64 = -(2**63)
LARGEST_INT64 = 2**63 - 1
_WORDS = {"and", "or", "not", "in", "like", "exists", "true", "false"}
_FUNCTIONS = {
    "json_contains",
    "json_contains_all",
    "json_contains_any",
    "array_contains",
    "array_contains_all",
    "array_contains_any",
    "array_length",
}


def can_name(name: str) -> bool:
    """Whether a filter can speak of field `name`: Milvus 2.3 allows fields that are called by a word of its filters."""
    return name.lower() not in _WORDS | _FUNCTIONS


def literal(value: Key) -> str:
    """A number or a text as the parser of Milvus reads it.

    Raises:
        MilvusRefused: A text that UTF-8 has no bytes for, which no filter can hold.
    """
    if isinstance(value, int):  # the smallest is read as a minus before a number that is too large
        return f"{SMALLEST_INT64 + 1} - 1" if value == SMALLEST_INT64 else str(value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MilvusRefused(f"the value {value!r} cannot be asked for: it is no text in UTF-8") from error
    return json.dumps(value, ensure_ascii=False)  # its escapes are known there, but not its pairs of surrogates


def equals(name: str, value: Key) -> str:
    """That field `name` is `value`."""
    return f"{name} == {literal(value)}"


def one_of(name: str, values: Iterable[Key]) -> str:
    """That field `name` is one of `values`."""
    return f"{name} in [{', '.join(map(literal, values))}]"


def behind(name: str, after: Key | None, *, text: bool) -> str:
    """That field `name` is larger than `after`; None stands before every number, or every `text`."""
    if after is None:
        return f'{name} >= ""' if text else f"{name} <= {LARGEST_INT64}"
    return f"{name} > {literal(after)}"


def up_to(name: str, last: Key) -> str:
    """That field `name` is not larger than `last`."""
    return f"{name} <= {literal(last)}"


def both(first: str, second: str) -> str:
    """That both hold; an empty one always does."""
    return f"({first}) and ({second})" if first and second else first or second
