"""Which versions this tool moves between, and why not others."""

from __future__ import annotations

from migrator.model.capabilities import parse_version

OLDEST_SOURCE = (2, 2, 9)
"""The first with databases."""
OLDEST_TARGET = (2, 3, 0)
FIRST_UNSUPPORTED = (2, 4, 0)
"""From here on deletes live in L0 segments and imports go over REST; that path is not built yet."""


def unsupported_source(version: str) -> str:
    """Why a source of this version cannot be read, or an empty text."""
    return _unsupported("source", version, OLDEST_SOURCE)


def unsupported_target(version: str) -> str:
    """Why a target of this version cannot be written, or an empty text."""
    return _unsupported("target", version, OLDEST_TARGET)


def _unsupported(side: str, version: str, oldest: tuple[int, int, int]) -> str:
    parsed = parse_version(version)
    if parsed is None:
        return f"the {side} Milvus calls its version {version!r}, which cannot be read as one"
    if parsed < oldest:
        return f"the {side} Milvus is {version}; {'.'.join(map(str, oldest))} is the oldest supported"
    if parsed >= FIRST_UNSUPPORTED:
        return f"the {side} Milvus is {version}, which is not supported yet: from 2.2 or 2.3 to 2.3 is what is built"
    return ""
