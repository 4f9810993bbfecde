"""Frozen values to plain JSON and back, by their types; the one way values travel into journals and plans."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from migrator.errors import RunError

T = TypeVar("T")


_adapters: dict[Any, TypeAdapter[Any]] = {}
"""Making one costs milliseconds; using it costs microseconds."""


def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - pydantic takes any type form
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_plain(value: object) -> Any:  # noqa: ANN401 - plain JSON has no better type
    """Dictionaries, lists, strings and numbers that `from_plain` reads back equal."""
    return _adapter(type(value)).dump_python(value, mode="json")


def from_plain(kind: type[T], plain: object) -> T:
    """The value of type `kind` that `to_plain` made `plain` of."""
    try:
        value: T = _adapter(kind).validate_python(plain)
    except ValidationError as error:
        raise _unreadable(kind, error) from None
    return value


def from_json(kind: type[T], text: str) -> T:
    """The same of its JSON, in half the time; members that `kind` does not have are left out."""
    try:
        value: T = _adapter(kind).validate_json(text)
    except ValidationError as error:
        raise _unreadable(kind, error) from None
    return value


def _unreadable(kind: Any, error: ValidationError) -> RunError:  # noqa: ANN401 - as above
    places = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()})[:5])
    return RunError(
        f"what was written down as {kind} cannot be read by this version of migrator ({places})",
        hint="use the version that began the run",
    )
