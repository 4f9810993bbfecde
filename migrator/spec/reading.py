"""Turn data into blocks of the document, reporting what is wrong and keeping what is sound.

A block with a mistake in it is read a second time without the mistake, so that the rules between blocks can
be checked in the same go. Required values are replaced by stand-ins then; no complaint of a rule is taken
that rests on a place complained about before, so the stand-ins are never seen.
"""

from __future__ import annotations

import copy
import difflib
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError

from migrator.spec.document import CREDENTIAL_TYPES, CollectionMapping
from migrator.spec.fault import Fault
from migrator.spec.report import SECRET_KEYS, Report, subject, value_at, written_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from migrator.spec.source_map import Data, Path

_MESSAGES: Final = {
    "string_type": "must be text",
    "string_unicode": "holds characters that are not Unicode",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a map of keys and values",
    "model_type": "must be a map of keys and values",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "is longer than {max_length} characters",
    "too_short": "must have at least one entry",
    "finite_number": "must be a finite number",
}
_QUOTE: Final = "put it into quotes"
_BLOCK_HINT: Final = "write `key: value` pairs below it"
_HINTS: Final = {
    "string_type": _QUOTE,
    "int_type": "write the number without quotes and unit",
    "float_type": "write the number without quotes and unit",
    "bool_type": "write true or false, without quotes",
    "tuple_type": "put it into brackets: [...]",
    "too_short": "add an entry, or remove the key",
    "dict_type": _BLOCK_HINT,
    "model_type": _BLOCK_HINT,
}
_BLOCK_ERRORS: Final = frozenset({"dict_type", "model_type"})
_ELSEWHERE: Final = {
    "container": "the name of an azure container goes into bucket",
    "use_ssl": "write https:// in endpoint instead",
    "secure": "write https:// in the address instead",
}
_STAND_INS: Final[dict[str, Data]] = {
    "version": 1,
    "name": "standin",
    "milvus": {"uri": "http://stand-in"},
    "uri": "http://stand-in",
    "storage": {"provider": "s3", "root_path": "stand-in"},
    "provider": "s3",
    "root_path": "stand-in",
    "source": "stand_in",
    "field": "stand_in",
    "index_type": "stand_in",
}
_ROUNDS: Final = 10

Block = TypeVar("Block", bound=BaseModel)


def read_block(
    report: Report, model: type[Block], path: Path, *, folder: str, without: frozenset[str] = frozenset()
) -> Block | None:
    """Return the block that stands at `path`, reporting what is wrong; `None` if nothing can be made of it.

    Args:
        report: Holds the data, and takes the complaints.
        model: The kind of block.
        path: Where it stands.
        folder: What relative paths in it start from.
        without: Keys that stand there and are no part of this block.
    """
    raw = _long_form(model, value_at(report.data, path), without)
    try:
        return model.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        block = _Block(path, model, raw, without)
        found = [_complain(report, block, details) for details in _own_problems(error)]
        report.broken.update(found)
        return _salvage(model, raw, error, folder)


def _long_form(model: type[Block], raw: Data, without: frozenset[str]) -> Data:
    if isinstance(raw, str) and issubclass(model, CollectionMapping):
        return {"source": raw}
    return {key: value for key, value in raw.items() if key not in without} if isinstance(raw, dict) else raw


def _own_problems(error: ValidationError) -> list[ErrorDetails]:
    """The errors, but for lists that are too short only because their entries are wrong."""
    problems = error.errors(include_url=False, include_input=False)
    places = {details["loc"][:length] for details in problems for length in range(len(details["loc"]))}
    return [details for details in problems if details["type"] != "too_short" or details["loc"] not in places]


@dataclass(frozen=True, slots=True)
class _Block:
    """A block that is being read: its place, kind and data, and keys beside it that are read elsewhere."""

    path: Path
    model: type[BaseModel]
    raw: Data
    neighbours: frozenset[str]

    def known_keys(self, path: Path, raw: Data) -> set[str]:
        """The keys that the block at `path` may have, which holds `raw`."""
        known = _keys_at(self.model, path[len(self.path) :], raw)
        return known | self.neighbours if path == self.path else known


def _complain(report: Report, block: _Block, details: ErrorDetails) -> Path:
    """Report one error of pydantic's; return the place it is about."""
    path, kind = block.path + _path_of(details["loc"], block.raw), details["type"]
    if kind == "credentials_type":
        path = (*path, "type")
    key = str(path[-1]) if path else ""
    if kind == "missing":
        value = "{env: NAME}" if key in SECRET_KEYS else "..."
        report.add(path, f"the key {key} is missing", f"add {key}: {value}")
    elif kind == "extra_forbidden":
        known = block.known_keys(path[:-1], value_at(report.data, path[:-1]))
        report.add(path, f"unknown key {key}", key_hint(key, known), show=False, at_key=True)
    else:
        message, hint = _words(details, written_at(report.data, path))
        hint = "" if SECRET_KEYS & set(path) and hint == _QUOTE else hint
        is_key = details["loc"][-1:] == ("[key]",)
        report.add(path, f"{subject(path)} {message}", hint, show=kind not in _BLOCK_ERRORS, at_key=is_key)
    return path


def _path_of(loc: tuple[int | str, ...], raw: Data) -> Path:
    """Pydantic's place of an error in `raw`, without what is no key there: tags of unions, and `[key]`."""
    path: Path = ()
    for part in loc:
        holder = value_at(raw, path)
        is_label = isinstance(part, str) and (part[:1] == "<" or part == "[key]")
        if not is_label or (isinstance(holder, dict) and part in holder):
            path = (*path, part)
    return path


def _words(details: ErrorDetails, raw: Data) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    fault = context.get("error")
    if isinstance(fault, Fault):
        return fault.message, fault.hint
    if kind == "literal_error":
        return _choice_words(str(context["expected"]), raw)
    if kind == "credentials_type":
        return _choice_words(", ".join(CREDENTIAL_TYPES), raw)
    message = _MESSAGES.get(kind, details["msg"]).format(**context)
    if raw is None:
        return message, "remove the key, or give it a value"
    return message, _HINTS.get(kind, "")


def _choice_words(expected: str, raw: Data) -> tuple[str, str]:
    choices = expected.replace("'", "").replace(" or ", ", ").split(", ")
    if len(choices) == 1:
        return f"must be {choices[0]}", f"write {choices[0]}"
    near = difflib.get_close_matches(str(raw), choices, n=1)
    return f"must be one of {', '.join(choices)}", f"did you mean {near[0]}?" if near else ""


def key_hint(key: str, known: Iterable[str]) -> str:
    """Return what a user who wrote the unknown `key` probably meant."""
    choices = sorted(known)
    near = difflib.get_close_matches(key.lower(), choices, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return _ELSEWHERE.get(key) or f"remove it; known here: {', '.join(choices)}"


def _keys_at(model: type[BaseModel], path: Path, raw: Data) -> set[str]:
    """The keys of the block at `path` below `model`; of several kinds of block, the one of `raw`'s type."""
    kinds = {model}
    for part in path:
        if isinstance(part, str):
            kinds = {kind for outer in kinds for kind in _kinds_in(_annotation(outer, part))}
    said = raw.get("type") if isinstance(raw, dict) else None
    chosen = {kind for kind in kinds if said in typing.get_args(_annotation(kind, "type"))} or kinds
    return {field.alias or name for kind in chosen for name, field in kind.model_fields.items()}


def _annotation(model: type[BaseModel], key: str) -> object:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return fields[key].annotation if key in fields else None


def _kinds_in(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {kind for part in typing.get_args(annotation) for kind in _kinds_in(part)}


def _salvage(model: type[Block], raw: Data, error: ValidationError, folder: str) -> Block | None:
    data = copy.deepcopy(raw)
    for _ in range(_ROUNDS):
        for path, stand_in in sorted(_faulty(error, data).items(), key=_last_first, reverse=True):
            if not _mend(data, path, stand_in):
                return None
        try:
            return model.model_validate(data, context={"folder": folder})
        except ValidationError as again:
            error = again
    return None


def _faulty(error: ValidationError, data: Data) -> dict[Path, Data]:
    """The places to mend, and what to put there; for a key that lacks and has no stand-in, its block."""
    places: dict[Path, Data] = {}
    for details in error.errors(include_url=False, include_input=False):
        path = _path_of(details["loc"], data)
        stand_in = _STAND_INS.get(str(path[-1])) if path else None
        if details["type"] == "missing" and stand_in is None:
            path = path[:-1]
        places[path] = None if details["type"] == "extra_forbidden" else stand_in
    return places


def _last_first(place: tuple[Path, Data]) -> list[tuple[bool, int, str]]:
    """Orders places so that, from the end, the last of a list's entries is removed first."""
    return [(isinstance(part, int), part if isinstance(part, int) else 0, str(part)) for part in place[0]]


def _mend(data: Data, path: Path, stand_in: Data) -> bool:
    """Remove or replace what stands at `path`; whether that was possible."""
    holder, key = value_at(data, path[:-1]), path[-1] if path else None
    if isinstance(holder, list) and isinstance(key, int):
        del holder[key : key + 1]
    elif isinstance(holder, dict) and isinstance(key, str):
        holder.pop(key, None)
        if stand_in is not None:
            holder[key] = copy.deepcopy(stand_in)
    return key is not None
