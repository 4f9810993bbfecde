"""Rows of the Milvus in memory as exact bytes, and the conditions of `model.filters` on them."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import TYPE_CHECKING, Any

from migrator.errors import MilvusRefused
from migrator.model import filters
from migrator.model.collection import DataType, FieldSchema
from migrator.model.rows import encode, encode_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from migrator.model.rows import Value

_COMPARISON = re.compile(r"\(*(?P<name>\w+) (?P<sign>==|<=|>=|>|in) ")
_SMALLEST = filters.literal(filters.SMALLEST_INT64)


def exact_bytes(field: FieldSchema, value: Any) -> Value:  # noqa: ANN401 - of any type
    """A value as it was inserted, as exact bytes."""
    if value is None:
        return b"{}" if field.is_dynamic else None
    if field.data_type is DataType.ARRAY:
        return encode_array(field.element_type or DataType.VARCHAR, value)
    if field.data_type is DataType.FLOAT_VECTOR:
        return struct.pack(f"<{len(value)}f", *value)
    if field.data_type is DataType.JSON:
        return compact_json(value).encode()
    return encode(field.data_type, value)


def compact_json(value: object) -> str:
    """JSON as applications send it; text is taken for JSON already."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def condition(where: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a condition made by `model.filters` holds for a row by field name."""
    wanted = list(_comparisons(where))
    return lambda row: all(_holds(row[name], sign, value) for name, sign, value in wanted)


def _comparisons(where: str) -> Iterator[tuple[str, str, Any]]:
    """Field, sign and value of all that have to hold."""
    while where:
        found = _COMPARISON.match(where)
        if found is None:
            raise MilvusRefused(f"cannot parse expression: {where}")
        text = where[found.end() :].replace(_SMALLEST, str(filters.SMALLEST_INT64))
        value, end = json.JSONDecoder().raw_decode(text)
        yield found["name"], found["sign"], set(value) if found["sign"] == "in" else value
        where = text[end:].lstrip(")").removeprefix(" and ")


def _holds(value: Any, sign: str, wanted: Any) -> bool:  # noqa: ANN401 - numbers or texts
    if sign == "in":
        return value in wanted
    if sign == "==":
        return bool(value == wanted)
    if sign == ">":
        return bool(value > wanted)
    return bool(value <= wanted if sign == "<=" else value >= wanted)


def score(metric_type: str, first: bytes, second: bytes) -> float:
    """How near two vectors are: by their bits for HAMMING, as Milvus tells it for L2, IP and COSINE."""
    if metric_type == "HAMMING":
        return float(sum((a ^ b).bit_count() for a, b in zip(first, second, strict=True)))
    one, other = (struct.unpack(f"<{len(each) // 4}f", each) for each in (first, second))
    if metric_type == "L2":
        return math.dist(one, other) ** 2
    dot: float = sum(a * b for a, b in zip(one, other, strict=True))
    return dot if metric_type == "IP" else dot / (math.hypot(*one) * math.hypot(*other) or 1.0)
