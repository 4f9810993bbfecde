"""Frozen values to plain JSON and back, by their types; the one way values travel into journals and plans."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from migrator.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with _told(kind):
        value: T = _adapter(kind).validate_python(plain)
    return value


def from_json(kind: type[T], text: str) -> T:
    """The same of its JSON, in half the time; members that `kind` does not have are left out."""
    with _told(kind):
        value: T = _adapter(kind).validate_json(text)
    return value


@contextmanager
def _told(kind: Any) -> Iterator[None]:  # noqa: ANN401 - as above
    try:
        yield
    except ValidationError as error:
        places = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()})[:5])
        raise RunError(
            f"what was written down as {kind} cannot be read by this version of migrator ({places})",
            hint="use the version that began the run",
        ) from None
