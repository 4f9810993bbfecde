"""Complaints as annotations of a pull request: the commands that GitHub's runners read from a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.reports.plain import clean

if TYPE_CHECKING:
    from migrator.errors import Complaint

_IN_MESSAGES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTIES = _IN_MESSAGES | {":": "%3A", ",": "%2C"}


def annotation(complaint: Complaint) -> str:
    """One line of the log; the file's path is told from the repository's root, as GitHub wants it."""
    properties = {"title": complaint.field}
    if complaint.position is not None:
        at = complaint.position
        properties = {"file": _from_root(at.file), "line": str(at.line), "col": str(at.column)} | properties
    told = ",".join(f"{name}={_escaped(value, _IN_PROPERTIES)}" for name, value in properties.items() if value)
    value = "" if complaint.value is None else f" (got {complaint.value})"
    hint = f"%0Ahint: {_escaped(complaint.hint, _IN_MESSAGES)}" if complaint.hint else ""
    return f"::error {told}::{_escaped(f'{complaint.message}{value}', _IN_MESSAGES)}{hint}"


def _from_root(file: str) -> str:
    """The path from where the runner checked the repository out, or else from the working directory."""
    path = os.path.relpath(file, os.environ.get("GITHUB_WORKSPACE") or ".")
    return str(Path(file).absolute()) if path.startswith("..") else path


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in clean(text))
