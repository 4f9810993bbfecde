"""What another program's YAML file says: every value as the text that stands there, under its dotted key.

Read as that program reads it, and more leniently than a plan file: keys know no case, a byte order mark, merge keys and
repeated keys are taken as they come, and `0777` or `9_000` are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from migrator.errors import Complaint, Position, SpecError
from migrator.spec.yaml_file import MAX_DEPTH, MAX_VALUES, compose_text, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOTHING = frozenset({"~", "null", "Null", "NULL"})
_PLACEHOLDER = re.compile(
    r"\$\{(?P<name>[A-Za-z_]\w*)(?::?-(?P<default>[^{}]*))?\}|\$(?P<bare>[A-Za-z_]\w*)|\{\{(?P<template>[^{}]*)\}\}"
)


@dataclass(slots=True)
class ForeignValues:
    """Values that are not empty by their keys in lower case, the keys as written, and the sections at the top."""

    texts: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    sections: set[str] = field(default_factory=set)


def read_values(path: Path, *, what: str) -> ForeignValues:
    """Read the file at `path`; `what` names its role in complaints.

    Raises:
        SpecError: It cannot be read, or is no map.
    """
    try:
        text = read_bytes(path, what).removeprefix(_BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise _refusal(path, f"the {what} is not UTF-8: byte {error.start}", "save the file as UTF-8") from None
    root = compose_text(text, str(path))
    if not isinstance(root, MappingNode):
        raise _refusal(path, f"the {what} is not a map of keys and values", "name its backup.yaml")
    found = ForeignValues(sections={str(key.value).lower() for key, _ in root.value})
    for count, (name, value) in enumerate(_texts(root, (), 1)):
        if count > MAX_VALUES:
            raise _refusal(path, f"the {what} has too many values with its aliases expanded", "write it out")
        key = name.lower()
        found.texts.pop(key, None)  # the last of several is meant
        if value:
            found.texts[key], found.names[key] = value, name
    return found


def _refusal(path: Path, message: str, hint: str) -> SpecError:
    return SpecError([Complaint(message, hint=hint, position=Position(str(path), 1, 1))])


def _texts(node: Node, path: tuple[str, ...], depth: int) -> Iterator[tuple[str, str]]:
    """Every leaf once for each way that leads to it, so that whoever counts can stop a bomb of aliases."""
    if isinstance(node, MappingNode) and node.value and depth <= MAX_DEPTH:
        for key, value in sorted(node.value, key=lambda pair: pair[0].value != "<<"):  # what is merged yields
            is_merged = key.value == "<<"
            values = value.value if is_merged and isinstance(value, SequenceNode) else [value]
            for each in reversed(values):
                yield from _texts(each, path if is_merged else (*path, str(key.value)), depth + 1)
    elif isinstance(node, ScalarNode):
        yield ".".join(path), "" if node.style is None and node.value in _NOTHING else str(node.value).strip()
    else:
        yield ".".join(path), "(a list)" if isinstance(node, SequenceNode) else ""


def fill(text: str, otherwise: str) -> str | None:
    """`text` with its placeholders' defaults or else names in their place; None if it has no placeholder.

    `otherwise` replaces a text that has to be more than a name, as a number.
    """
    if not _PLACEHOLDER.search(text):
        return None
    filled = _PLACEHOLDER.sub(lambda match: match["default"] or otherwise or _as_name(match), text)
    return otherwise if otherwise and not filled.isalnum() else filled


def _as_name(match: re.Match[str]) -> str:
    """`${MILVUS_HOST}` as `milvus-host`, and `{{ .Values.minio.host }}` as `minio-host`."""
    words = re.findall(r"[A-Za-z0-9]+", match["name"] or match["bare"] or match["template"].split("|")[0])
    return "-".join(word.lower() for word in words if word.lower() != "values") or "placeholder"
