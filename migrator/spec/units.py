"""Durations (`1h30m`) and sizes (`64MiB`) as people write them; seconds and bytes as we count them."""

from __future__ import annotations

import re
from fractions import Fraction

from migrator.spec.fault import Fault

DURATION_PATTERN = (
    r"^(?=[0-9])([0-9]{1,9}(\.[0-9]{1,6})?h)?([0-9]{1,9}(\.[0-9]{1,6})?m)?"
    r"([0-9]{1,9}(\.[0-9]{1,6})?s)?([0-9]{1,12}ms)?$"
)
SIZE_PATTERN = r"^[0-9]{1,19}(\.[0-9]{1,6})?\s?(B|[KMGT]B|[KMGT]iB)$"

_DURATION_PART = re.compile(r"([0-9.]+)(ms|h|m|s)")
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_SIZE_PARTS = re.compile(r"([0-9.]+)\s?([KMGTiB]+)")
_BYTES = {"B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
_DURATION_HINT = "write a number with its unit, as 30m, 90s, 1h30m or 500ms"
_SIZE_HINT = "write a whole number of bytes, or one with its unit, as 64MiB or 1GB"


def parse_duration(text: str) -> float:
    """Return the seconds that `text` means; it is exact to the millisecond.

    Raises:
        Fault: It is not a duration, or finer than a millisecond.
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        raise Fault("is not a duration", _DURATION_HINT)
    parts = _DURATION_PART.findall(text)
    milliseconds = sum((Fraction(number) * _MILLISECONDS[unit] for number, unit in parts), Fraction(0))
    if milliseconds.denominator != 1:
        raise Fault("is finer than a millisecond", "round it to whole milliseconds")
    return float(milliseconds / 1000)


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads as `seconds`, which are whole milliseconds."""
    rest, parts = round(seconds * 1000), []
    for unit, size in _MILLISECONDS.items():
        count, rest = divmod(rest, size)
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Return the bytes that `text` means: KB is 1000 bytes, KiB 1024.

    Raises:
        Fault: It is not a size, or not a whole number of bytes.
    """
    match = _SIZE_PARTS.fullmatch(text) if re.fullmatch(SIZE_PATTERN, text) else None
    if match is None:
        raise Fault("is not a size", _SIZE_HINT)
    size = Fraction(match[1]) * _BYTES[match[2]]
    if size.denominator != 1:
        raise Fault("is not a whole number of bytes", _SIZE_HINT)
    return int(size)


def format_size(size_bytes: int) -> str:
    """Return `size_bytes` in the largest binary unit that divides it: `64MiB`, `1000B`."""
    for letter in "TGMK":
        unit = f"{letter}iB"
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit}"
    return f"{size_bytes}B"
