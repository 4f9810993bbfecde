"""Read a YAML file into plain data, with the position of every value, and say what is wrong in plain words.

Only what JSON knows comes out of it: no tags, no merge keys, no duplicate keys. Size, depth and the number of
values after expansion of aliases are bounded, so a hostile file is refused in a moment.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from migrator.errors import Complaint, Position, SpecError
from migrator.spec.source_map import Data, Mark, Path, SourceMap, dotted

if TYPE_CHECKING:
    import pathlib

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 50
MAX_VALUES: Final = 100_000

_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "UTF-8 with a byte order mark",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_STANDARD = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    f"{_STANDARD}{name}"
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file's content, where its values stand, its digest, what is wrong, and which values that cost."""

    path: pathlib.Path
    data: dict[str, Data]
    marks: SourceMap
    sha256: str
    complaints: tuple[Complaint, ...]
    broken: frozenset[Path]


def read_yaml(path: pathlib.Path, *, what: str) -> YamlFile:
    """Read the map that stands in the file at `path`; `what` names the file's role in complaints.

    Raises:
        SpecError: It cannot be read at all; what can be worked around is in the result's `complaints`.
    """
    raw = read_bytes(path, what)
    root = compose_text(_decode(raw, path), str(path))
    if root is None:
        raise _refusal(f"the {what} is empty", Position(str(path), 1, 1), hint=f"write the {what}'s keys into it")
    walk = _Walk(str(path))
    data = walk.value(root, (), 1)
    if not isinstance(data, dict):
        raise _refusal(f"the {what} is not a map of keys and values", walk.at(root), hint="write `key: value` lines")
    return YamlFile(
        path,
        data,
        walk.marks,
        hashlib.sha256(raw).hexdigest(),
        tuple(walk.complaints),
        frozenset(walk.broken),
    )


def _refusal(message: str, position: Position | None = None, *, field: str = "", hint: str = "") -> SpecError:
    return SpecError([Complaint(message, field=field, hint=hint, position=position)])


def read_bytes(path: pathlib.Path, what: str) -> bytes:
    """A file's content, up to the largest that is read at all."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "not readable"
        raise _refusal(f"the {what} {path} cannot be read: {reason}", hint="check the path") from None
    except ValueError:  # a NUL in the name
        raise _refusal(f"the {what}'s path is not a path", hint="check the path") from None
    if len(raw) > MAX_BYTES:
        raise _refusal(f"the {what} {path} is larger than {MAX_BYTES:,} bytes", hint="split it into several plans")
    return raw


def _decode(raw: bytes, path: pathlib.Path) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if raw.startswith(mark):
            message = f"the file is {encoding}, and is read as plain UTF-8"
            raise _refusal(message, Position(str(path), 1, 1), hint="save it as UTF-8 without a byte order mark")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise _refusal(message, Position(str(path), line, column), hint="save the file as UTF-8") from None


class _TooMuch(MarkedYAMLError):
    """The file asks for more than we are willing to hold."""


class _BoundedComposer(Composer):
    """Composes nodes up to a depth and a number, and is silent about an anchor that is used again."""

    def __init__(self, loader: Any = None) -> None:  # noqa: ANN401 - ruamel's own signature
        super().__init__(loader)
        self.warn_double_anchors = False
        self._nodes = 0
        self._levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - ruamel's own signature
        self._nodes += 1
        self._levels += 1
        problem = _excess(self._levels, self._nodes)
        if problem:
            raise _TooMuch(problem=problem, problem_mark=self.parser.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node


def _excess(depth: int, values: int) -> str:
    if depth > MAX_DEPTH:
        return f"the file is nested more than {MAX_DEPTH} levels deep"
    return f"the file has more than {MAX_VALUES:,} values with its aliases expanded" if values > MAX_VALUES else ""


def compose_text(text: str, file: str) -> Node | None:
    """The nodes of a YAML text; what is no YAML is refused with its place."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _BoundedComposer
    try:
        node: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        raise _syntax_refusal(error, file) from None
    except ReaderError as error:
        before = text[: error.position]
        position = Position(file, before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        raise _refusal("a control character stands in the file", position, hint="remove it") from None
    except (YAMLError, ValueError, OverflowError, AssertionError, RecursionError):
        # Corners of ruamel's scanner (an escape beyond Unicode, a bad directive) that carry no position.
        raise _refusal("the file is not valid YAML", Position(file, 1, 1), hint="check escapes and % lines") from None
    return node


def _syntax_refusal(error: MarkedYAMLError, file: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    position = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
    message, hint = _syntax_words(error)
    return _refusal(message, position, hint=hint)


def _syntax_words(error: MarkedYAMLError) -> tuple[str, str]:
    """A sentence and a hint; never a piece of the file beyond one character, because it may be a secret."""
    problem = str(error.problem or error.context or "it cannot be parsed")
    if isinstance(error, _TooMuch):
        return problem, "write it out more simply"
    if "'\\t'" in problem or "\t" in problem:
        return "a tab stands where YAML wants spaces", "indent with spaces"
    if "undefined alias" in problem:
        return "an alias (*name) has no anchor (&name) before it", "quote the value if the * belongs to it"
    if "another document" in problem:
        return "the file holds more than one YAML document", "keep one plan per file, without --- between"
    if "tag handle" in problem:
        return "a tag (!name) is used, and tags are not allowed", "quote the value if the ! belongs to it"
    return f"the file is not valid YAML: {problem}", "check indentation, quotes and colons here"


@dataclass(slots=True)
class _Walk:
    """Turns nodes into data, noting positions; complains about keys and goes on."""

    file: str
    marks: SourceMap = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    count: int = 0

    def at(self, node: Node) -> Position:
        return Position(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def value(self, node: Node, path: Path, depth: int, key: Position | None = None) -> Data:
        self.count += 1
        problem = _excess(depth, self.count)
        if problem:
            raise _refusal(problem, self.at(node), hint="write it out more simply")
        is_empty = node.start_mark.index == node.end_mark.index  # its mark is where the next token stands
        self.marks[path] = Mark(key if key and is_empty else self.at(node), key)
        if str(node.tag) not in _PLAIN_TAGS:
            self._complain("a tag (!name) is used, and tags are not allowed", node, path, "remove the tag")
            self.broken.add(path)
            return None
        if isinstance(node, MappingNode):
            return self._map(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, ScalarNode) else None

    def _map(self, node: MappingNode, path: Path, depth: int) -> dict[str, Data]:
        data: dict[str, Data] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in data:
                first = self.marks[here].start.line
                message = f"the key appears twice; it stands in line {first} already"
                self._complain(message, key_node, here, "remove one of them")
                self.value(value_node, (*path, f"{key} (again)"), depth + 1, self.at(key_node))
            else:
                data[key] = self.value(value_node, here, depth + 1, self.at(key_node))
        return data

    def _key(self, node: Node, path: Path) -> str | None:
        if not isinstance(node, ScalarNode):
            self._complain("a key is not plain text", node, path, "write the key as a word")
        elif str(node.tag) == f"{_STANDARD}merge":
            self._complain("merge keys (<<) are not allowed", node, path, "write the keys out")
        elif str(node.tag) not in _PLAIN_TAGS:
            self._complain("a tag (!name) is used, and tags are not allowed", node, path, "remove the tag")
        else:
            return str(node.value)
        return None

    def _scalar(self, node: ScalarNode, path: Path) -> Data:
        text = str(node.value)
        if node.style is not None or str(node.tag) == f"{_STANDARD}str":
            return text
        if text in _WORDS:
            return _WORDS[text]
        try:
            return int(text) if _INT.fullmatch(text) else float(text) if _FLOAT.fullmatch(text) else text
        except ValueError:  # more digits than Python turns into a number
            self._complain("the number has too many digits", node, path, "quote it if it is text")
            self.broken.add(path)
            return None

    def _complain(self, message: str, node: Node, path: Path, hint: str) -> None:
        self.complaints.append(Complaint(message, field=dotted(path), hint=hint, position=self.at(node)))
