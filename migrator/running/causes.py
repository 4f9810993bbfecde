"""Causes: the field of the plan file that an error comes from, and how to put it right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.running.findings import named_field

if TYPE_CHECKING:
    from migrator.errors import MigratorError
    from migrator.ports.probe import Sighting

_SETTING = re.compile(r"(?:source|target|staging)\.[a-z_.]+ (?:cannot be read|holds)")
_ANSWERS = {"http1", "http2", "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The field to change, what is wrong with it, and how to put it right."""

    field: str
    message: str
    hint: str
    value: str | None = None


def cause_of_secret(error: MigratorError, field: str) -> Cause | None:
    """Of a secret that cannot be read: the error says all."""
    if not _SETTING.match(error.message):
        return None
    return Cause(field=named_field(error, field), message=error.message, hint=error.hint)


def takes_connections(seen: Sighting) -> bool:
    """Whether anything is there."""
    return seen.answer in _ANSWERS


def other_scheme(address: str) -> str:
    """The address with http for https, or the other way round."""
    scheme, _, rest = address.partition("://")
    return f"{'http' if scheme == 'https' else 'https'}://{rest}"


def is_named(host: str, names: tuple[str, ...]) -> bool:
    """Whether a certificate of these names is for the host; a wildcard stands for one label."""
    _, _, domain = host.partition(".")
    return host in names or f"*.{domain}" in names
