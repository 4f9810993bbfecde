"""Rows as exact bytes: the same value has the same bytes wherever it was read, and no other value has them.

Numbers are little endian (integers and booleans of 8 bytes, FLOAT of 4, DOUBLE of 8, so that NaN and -0.0 are told
apart as they are stored); VARCHAR is UTF-8; JSON is its text as stored; vectors are their components as Milvus packs
them; an ARRAY is its elements, each with its length before it. `None` stands for NULL.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from migrator.model.collection import DataType, FieldSchema

Key = int | str
"""A primary key. Milvus orders text by its bytes in UTF-8, which is Python's order of text."""
Value = bytes | None

PRINT_BYTES = 16
_SHOWN_CHARACTERS = 60
_SHOWN_COMPONENTS = 4
_INTEGERS = {DataType.BOOL, DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64}


def encode(data_type: DataType, value: bool | float | str | bytes) -> bytes:  # noqa: FBT001 - a value of any type
    """A scalar as exact bytes; `value` is what Python makes of it."""
    if data_type in _INTEGERS:
        return int(value).to_bytes(8, "little", signed=True)
    if data_type is DataType.FLOAT:
        return struct.pack("<f", value)
    if data_type is DataType.DOUBLE:
        return struct.pack("<d", value)
    return value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[arg-type]  # text or bytes are left


def encode_array(element_type: DataType, values: Iterable[bool | float | str]) -> bytes:
    """An ARRAY as exact bytes."""
    parts = [encode(element_type, value) for value in values]
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def show(field: FieldSchema, value: Value) -> str:
    """A value as a person would write it, shortened."""
    if value is None:
        return "NULL"
    text = _text(field, value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def show_both(field: FieldSchema, ours: Value, theirs: Value) -> tuple[str, str]:
    """Two unequal values as a person would write them, shortened to where they differ."""
    if ours is None or theirs is None:
        return show(field, ours), show(field, theirs)
    if field.data_type is DataType.FLOAT_VECTOR and len(ours) == len(theirs):
        at = next(i for i in range(0, len(ours), 4) if ours[i : i + 4] != theirs[i : i + 4])
        texts = [f"{struct.unpack_from('<f', value, at)[0]:.9g}" for value in (ours, theirs)]
        return _told_apart([f"{text} (component {at // 4})" for text in texts], ours[at : at + 4], theirs[at : at + 4])
    if field.data_type.is_vector:
        at = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(map(len, (ours, theirs)))
        )
        a, b = (f"0x{value[at : at + 8].hex()} (from byte {at} of {len(value)})" for value in (ours, theirs))
        return a, b
    texts = [_text(field, value) for value in (ours, theirs)]
    at = _first_unequal(*texts)
    return _told_apart([_around(text, at) for text in texts], ours, theirs)


def _first_unequal(ours: Sequence[object], theirs: Sequence[object]) -> int:
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))


def _around(text: str, at: int) -> str:
    """At most `_SHOWN_CHARACTERS` of a text, the one at `at` among them."""
    start = max(0, at - _SHOWN_CHARACTERS // 3) if len(text) > _SHOWN_CHARACTERS else 0
    end = start + _SHOWN_CHARACTERS
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _told_apart(texts: list[str], ours: bytes, theirs: bytes) -> tuple[str, str]:
    """The texts; with their bytes where they read the same, as those of two kinds of NaN do."""
    if texts[0] == texts[1]:
        texts = [f"{text} (0x{value[:8].hex()})" for text, value in zip(texts, (ours, theirs), strict=True)]
    return texts[0], texts[1]


def _text(field: FieldSchema, value: bytes) -> str:
    if field.data_type is DataType.ARRAY:
        return f"[{', '.join(_scalar_text(field.element_type or DataType.VARCHAR, part) for part in _parts(value))}]"
    if field.data_type is DataType.FLOAT_VECTOR:
        count = len(value) // 4
        shown = ", ".join(f"{x:.9g}" for x in struct.unpack(f"<{min(count, _SHOWN_COMPONENTS)}f", value[:16]))
        return f"[{shown}{', …' if count > _SHOWN_COMPONENTS else ''}]"
    if field.data_type.is_vector:
        return f"0x{value[:8].hex()}{'…' if len(value) > 8 else ''} ({len(value)} bytes)"
    return _scalar_text(field.data_type, value)


def _parts(value: bytes) -> Iterable[bytes]:
    while value:
        size = int.from_bytes(value[:4], "little")
        yield value[4 : 4 + size]
        value = value[4 + size :]


def _scalar_text(data_type: DataType, value: bytes) -> str:
    if data_type is DataType.BOOL:
        return "true" if any(value) else "false"
    if data_type in _INTEGERS:
        return str(int.from_bytes(value, "little", signed=True))
    if data_type is DataType.FLOAT:
        return f"{struct.unpack('<f', value)[0]:.9g}"
    if data_type is DataType.DOUBLE:
        return repr(struct.unpack("<d", value)[0])
    text = value.decode(errors="replace")
    return text if data_type is DataType.JSON else repr(text)


def print_of(value: Value) -> bytes:
    """A value's fingerprint, of `PRINT_BYTES`: what is compared where values are too many to keep."""
    if value is None:
        return bytes(PRINT_BYTES)
    return hashlib.blake2b(value, digest_size=PRINT_BYTES).digest()


def _draw(key: Key, seed: int) -> int:
    text = f"{seed}:{key}" if isinstance(key, int) else f"{seed}:'{key}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Sample:
    """Which keys are looked at in full: drawn by hash, so both sides and every attempt draw the same."""

    seed: int
    share: float

    @classmethod
    def of(cls, wanted: int, total: int, seed: int) -> Sample:
        """About `wanted` of `total` keys; all of them where there are no more."""
        return cls(seed, 1.0 if total <= wanted else wanted / total)

    def rank(self, key: Key) -> int:
        """A number by which keys are in an order that has nothing to do with them."""
        return _draw(key, self.seed)

    def takes(self, key: Key) -> bool:
        """Whether the key is drawn."""
        return self.share >= 1.0 or _draw(key, self.seed) < self.share * 2**64


class KeyDigest:
    """A digest of a set of keys, whatever their order; it can be put down and taken up again."""

    def __init__(self, text: str = "") -> None:
        self._sum = int(text or "0", 16)

    def add(self, keys: Sequence[Key]) -> None:
        """Take keys into it, each of them once."""
        for key in keys:
            text = f"{key}" if isinstance(key, int) else f"'{key}"
            self._sum += int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
        self._sum %= 2**128

    def __str__(self) -> str:
        return f"{self._sum:032x}"
