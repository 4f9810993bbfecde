"""Milvus's hybrid timestamps: `physical_ms << 18 | logical`, physical being Unix milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime

_LOGICAL_BITS = 18
END_OF_TIME = 2**63 - 1
"""The last hybrid timestamp there is: as a bound it lets everything in."""


def physical_ms(hybrid_ts: int) -> int:
    """The Unix milliseconds of a hybrid timestamp."""
    return hybrid_ts >> _LOGICAL_BITS


def at_millisecond(hybrid_ts: int) -> int:
    """The same timestamp cut to its millisecond, as a bound in milliseconds sees it."""
    return physical_ms(hybrid_ts) << _LOGICAL_BITS


def as_utc(hybrid_ts: int) -> datetime:
    """The moment, to the millisecond."""
    return datetime.fromtimestamp(physical_ms(hybrid_ts) / 1000, tz=UTC)


def told_as_utc(hybrid_ts: int) -> str:
    """The moment in ISO format, to the second; empty for 0, which is none, and for what no calendar has."""
    try:
        return as_utc(hybrid_ts).isoformat(timespec="seconds") if hybrid_ts else ""
    except (ValueError, OverflowError, OSError):
        return ""
