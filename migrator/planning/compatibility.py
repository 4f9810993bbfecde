"""Which versions this tool moves between, and why not others."""

from __future__ import annotations

from migrator.model.capabilities import LINES, Line, Version, parse_version

OLDEST_SOURCE: Version = (2, 2, 9)
"""The first with databases."""
OLDEST_TARGET: Version = (2, 3, 0)
NEWEST: Line = LINES[-1]
BROKEN_TARGETS: dict[Version, str] = {
    (2, 4, 0): "its imports into several partitions go wrong (milvus-io/milvus#32807), 2.4.1 mended that"
}


def unsupported_source(version: str) -> str:
    """Why a source of this version cannot be read, or an empty text."""
    return _unsupported("source", version, OLDEST_SOURCE)


def unsupported_target(version: str) -> str:
    """Why a target of this version cannot be written, or an empty text."""
    reason = _unsupported("target", version, OLDEST_TARGET)
    broken = BROKEN_TARGETS.get(parse_version(version) or OLDEST_TARGET, "")
    return reason or (f"the target Milvus is {version}: {broken}" if broken else "")


def unsupported_pair(source: str, target: str) -> str:
    """Why nothing goes from one version to the other, each of which is supported by itself; or an empty text."""
    written, reads = parse_version(source), parse_version(target)
    if written is None or reads is None or written[:2] <= reads[:2]:
        return ""
    return (
        f"the source is Milvus {source}, and the target is {target}: an older line cannot read what a newer one wrote, "
        f"and nothing would tell"
    )


def _unsupported(side: str, version: str, oldest: Version) -> str:
    parsed = parse_version(version)
    if parsed is None:
        return f"the {side} Milvus calls its version {version!r}, which cannot be read as one"
    if parsed < oldest:
        return f"the {side} Milvus is {version}; {'.'.join(map(str, oldest))} is the oldest supported"
    if parsed[:2] > NEWEST:
        return f"the {side} Milvus is {version}, which is not supported yet: {'.'.join(map(str, NEWEST))} is the newest"
    return ""
