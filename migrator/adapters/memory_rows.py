"""Rows of the Milvus in memory as exact bytes, and the conditions of `model.filters` on them."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import TYPE_CHECKING, Any

from migrator.errors import MilvusRefused
from migrator.model.collection import DataType, FieldSchema
from migrator.model.rows import encode, encode_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.model.rows import Value

_COMPARISON = re.compile(r"\(*(?P<name>\w+) (?P<sign>==|<=|>=|>|in) ")
_SMALLEST = re.compile(r"(-\d+) - 1")


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


def fits(where: str, row: Mapping[str, Any]) -> bool:
    """Whether a condition made by `model.filters` holds for a row by field name."""
    while where:
        found = _COMPARISON.match(where)
        if found is None:
            raise MilvusRefused(f"cannot parse expression: {where}")
        text = _SMALLEST.sub(lambda number: str(int(number[1]) - 1), where[found.end() :])
        wanted, end = json.JSONDecoder().raw_decode(text)
        if not _holds(row[found["name"]], found["sign"], wanted):
            return False
        where = text[end:].lstrip(")").removeprefix(" and ")
    return True


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
