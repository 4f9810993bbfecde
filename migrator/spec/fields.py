"""Kinds of values in a plan file: how each is checked, kept, written back, and described to editors."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)

from migrator.spec.fault import Fault
from migrator.spec.render import is_template
from migrator.spec.units import DURATION_PATTERN, SIZE_PATTERN, format_duration, parse_duration, parse_size

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

MAX_TEXT = 4096
BACKUP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
MAX_DURATION_S = 366 * 24 * 3600.0


class SpecModel(BaseModel):
    """A block of a plan file: nothing in it is optional to understand, and nothing in it changes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        str_max_length=MAX_TEXT,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # the input may be a secret that stands where none should
        serialize_by_alias=True,
        defer_build=True,  # a command needs a part of them: each is built when it is first used
    )


@dataclass(slots=True)
class AlsoAccepts:
    """Tells editors of a short form that a validator before the model turns into the long one."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [self.schema, handler(core_schema)]}


def _duration(value: object) -> object:
    if isinstance(value, str):
        return _bounded_duration(parse_duration(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Fault("is a number without a unit", "write a unit, as 30m, 90s or 500ms")
    raise Fault("must be a duration", "write a number with its unit, as 30m, 90s or 1h30m")


def _bounded_duration(seconds: float) -> float:
    if not 0 < seconds <= MAX_DURATION_S:
        raise Fault("must be more than nothing and at most a year", "write a duration as 30m or 90s")
    return seconds


def _size(value: object) -> object:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Fault("must be a size", "write a whole number of bytes, or one with its unit, as 64MiB or 1GB")


Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30m", "90s", "1h30m", "500ms"]}),
]
"""Seconds, whole in milliseconds."""

Size: TypeAlias = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE_PATTERN}],
            "examples": ["64MiB", "1GB", 1048576],
        }
    ),
]
"""Bytes."""


def is_web_address(text: str) -> str:
    """Return `text` without a closing slash when it is `http(s)://host[:port]` and nothing more.

    Raises:
        Fault: It is something else, or carries credentials.
    """
    try:
        url = urlsplit(text)
        port_is_sound = url.port != 0
    except ValueError:
        raise Fault("is not a web address", "write http://host:port or https://host:port") from None
    if url.scheme not in {"http", "https"} or "://" not in text:
        raise Fault("must begin with http:// or https://", "write http://host:port or https://host:port")
    if "@" in url.netloc:
        raise Fault("carries credentials in the address", "give them in keys of their own, as {env: NAME}")
    if url.path not in {"", "/"} or "?" in text or "#" in text:
        raise Fault("has something after host and port", "end it after the port, as http://host:19530")
    if not url.hostname or not port_is_sound or re.search(r"[^\x21-\x7e]|[\\<>\"'{}|^`]", url.netloc):
        raise Fault("has no usable host and port", "write http://host:port or https://host:port")
    return text.rstrip("/")


WebAddress: TypeAlias = Annotated[
    str,
    AfterValidator(is_web_address),
    WithJsonSchema({"type": "string", "pattern": r"^https?://[^/@?#\s]+/?$"}),
]
"""`http://host:port` or `https://host:port`."""


def _absolute(text: str, info: ValidationInfo) -> str:
    if not text or not text.isprintable():
        raise Fault("is not the path of a file", "write a path, relative to this file or absolute")
    folder = (info.context or {}).get("folder", "")
    return os.path.normpath(Path(folder) / Path(text).expanduser()) if folder else text


FilePath: TypeAlias = Annotated[str, AfterValidator(_absolute)]
"""A file; made absolute from the folder of the file it is written in (the validation context's `folder`)."""


def _bucket(text: str) -> str:
    if not text or not text.isprintable() or re.search(r"[\s/\\]", text):
        raise Fault("is not a bucket's name", "write the bucket's name alone, without slashes")
    return text


BucketName: TypeAlias = Annotated[str, AfterValidator(_bucket)]


def checked_root_path(text: str) -> str:
    """Return a root path without closing slashes.

    Raises:
        Fault: It has empty or dotted parts, or characters that do not print.
    """
    path = text.rstrip("/") or ("/" if text.startswith("/") else "")
    if not text.isprintable() or {"", ".", ".."} & set(path.removeprefix("/").split("/")) - {path}:
        raise Fault("is not a plain path", "write folders joined by single slashes, as files or prod/files")
    return path


def _root_path(text: str) -> str:
    return text if is_template(text) else checked_root_path(text)


RootPath: TypeAlias = Annotated[str, AfterValidator(_root_path)]


def checked_backup_name(text: str) -> str:
    """Return `text` when milvus-backup would take it as a backup's name.

    Raises:
        Fault: It would not.
    """
    if not BACKUP_NAME.fullmatch(text):
        raise Fault(
            "is not a backup's name",
            "use 1 to 128 letters, digits and underscores, a letter or underscore first",
        )
    return text


def _backup_name(text: str) -> str:
    return text if is_template(text) else checked_backup_name(text)


BackupName: TypeAlias = Annotated[
    str,
    AfterValidator(_backup_name),
    WithJsonSchema({"type": "string", "pattern": r"^([A-Za-z_][A-Za-z0-9_]{0,127}|.*\{\{.*)$"}),
]


def _plan_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text):
        raise Fault("is not a plan's name", "use 1 to 63 lower-case letters, digits and -, not - first")
    return text


PlanName: TypeAlias = Annotated[
    str,
    AfterValidator(_plan_name),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"}),
]


def _variable_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", text):
        raise Fault("is not a variable's name", "use letters, digits and underscores, not a digit first")
    return text


VariableName: TypeAlias = Annotated[str, AfterValidator(_variable_name)]


def _nonempty(text: str) -> str:
    if not text.strip():
        raise Fault("is empty", "write a value, or remove the key")
    return text


Text: TypeAlias = Annotated[str, AfterValidator(_nonempty)]


def _scalar_kind(value: object) -> str | None:
    kinds = {bool: "<bool>", int: "<int>", float: "<float>", str: "<str>"}
    return kinds.get(type(value))


# Tags stand in pointed brackets, so that a path of a complaint can be told from them.
Scalar: TypeAlias = Annotated[
    Annotated[str, Tag("<str>")]
    | Annotated[int, Tag("<int>")]
    | Annotated[float, Tag("<float>")]
    | Annotated[bool, Tag("<bool>")],
    Discriminator(
        _scalar_kind,
        custom_error_type="scalar",
        custom_error_message="must be text, a number, or true or false",
    ),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]

Names: TypeAlias = Annotated[tuple[Text, ...], Field(strict=False)]
"""A list in the file; strictness is lifted for the change from list to tuple alone."""
