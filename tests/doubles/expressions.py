"""Filter expressions: comparisons, `in`, `like`, logic, arithmetic, NULL, JSON keys and array functions."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.doubles.state import Refusal

Row = Mapping[str, Any]
Term = Callable[[Row], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?P<name>[A-Za-z_$][\w$]*)|(?P<sign><=|>=|==|!=|&&|\|\||\*\*|[<>+\-*/%()\[\],!]))"""
)
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ADD = {"+": operator.add, "-": operator.sub}
_MULTIPLY = {"*": operator.mul, "/": operator.truediv, "%": operator.mod}
_FUNCTIONS: dict[str, Callable[[list[Any], Any], bool]] = {
    "contains": lambda values, wanted: wanted in values,
    "contains_all": lambda values, wanted: all(each in values for each in wanted),
    "contains_any": lambda values, wanted: any(each in values for each in wanted),
}


def compile_filter(text: str) -> Term:
    """A function of a row that says whether it is wanted; an empty text wants every row.

    Raises:
        Refusal: It cannot be parsed.
    """
    if not text.strip():
        return lambda _: True
    parser = _Parser(text)
    found = parser.either()
    if parser.sign is not None or parser.kind is not None:
        raise parser.complaint()
    return found


class _Parser:
    """One token ahead; each method parses one level of precedence."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.kind: str | None = None
        self.sign: str | None = None
        self._take()

    def complaint(self) -> Refusal:
        return Refusal(f"cannot parse expression: {self._text}, error: at {self._at}: invalid parameter", code=1100)

    def _take(self) -> str:
        """Step on; return the token that was."""
        before = self.sign or ""
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            if self._text[self._at :].strip():
                raise self.complaint()
            self.kind, self.sign = None, None
            return before
        self._at = match.end()
        self.kind, self.sign = match.lastgroup, match.group(match.lastgroup or 0)
        return before

    def _accept(self, *words: str) -> str | None:
        if self.kind in {"sign", "name"} and self.sign is not None and self.sign.lower() in words:
            return self._take().lower()
        return None

    def _expect(self, sign: str) -> None:
        if self._accept(sign) is None:
            raise self.complaint()

    def either(self) -> Term:
        terms = [self._both()]
        while self._accept("or", "||"):
            terms.append(self._both())
        return terms[0] if len(terms) == 1 else lambda row: any(term(row) for term in terms)

    def _both(self) -> Term:
        terms = [self._negated()]
        while self._accept("and", "&&"):
            terms.append(self._negated())
        return terms[0] if len(terms) == 1 else lambda row: all(term(row) for term in terms)

    def _negated(self) -> Term:
        if self._accept("not", "!"):
            inner = self._negated()
            return lambda row: not inner(row)
        if self._accept("exists"):
            known = self._sum()
            return lambda row: known(row) is not None
        return self._comparison()

    def _comparison(self) -> Term:
        left = self._sum()
        if self._accept("is"):
            wanted = self._accept("not") is not None
            self._expect("null")
            return lambda row: (left(row) is not None) == wanted
        if self._accept("not"):
            self._expect("in")
            return self._member(left, wanted=False)
        if self._accept("in"):
            return self._member(left, wanted=True)
        if self._accept("like"):
            return self._like(left)
        terms: list[Term] = []
        while sign := self._accept(*_COMPARE):  # 1 < x <= 5
            right = self._sum()
            terms.append(_compared(_COMPARE[sign], left, right))
            left = right
        if not terms:
            return left
        return terms[0] if len(terms) == 1 else lambda row: all(term(row) for term in terms)

    def _member(self, left: Term, *, wanted: bool) -> Term:
        listed = self._sum()
        constant = listed({})
        values = set(constant) if isinstance(constant, list) else set()
        return lambda row: left(row) is not None and (left(row) in values) == wanted

    def _like(self, left: Term) -> Term:
        text = self._sum()({})
        pattern = re.compile("".join({"%": ".*", "_": "."}.get(each, re.escape(each)) for each in text), re.DOTALL)
        return lambda row: isinstance(left(row), str) and pattern.fullmatch(left(row)) is not None

    def _sum(self) -> Term:
        left = self._product()
        while sign := self._accept(*_ADD):
            left = _computed(_ADD[sign], left, self._product())
        return left

    def _product(self) -> Term:
        left = self._atom()
        while sign := self._accept(*_MULTIPLY):
            left = _computed(_MULTIPLY[sign], left, self._atom())
        return left

    def _atom(self) -> Term:
        if self._accept("-"):
            inner = self._atom()
            return lambda row: -inner(row)
        if self._accept("("):
            found = self.either()
            self._expect(")")
            return found
        if self._accept("["):
            return self._list()
        if self.kind == "number":
            text = self._take()
            number = float(text) if re.search(r"[.eE]", text) else int(text)
            return lambda _: number
        if self.kind == "text":
            value = _unquoted(self._take())
            return lambda _: value
        if self.kind == "name":
            return self._named(self._take())
        raise self.complaint()

    def _list(self) -> Term:
        terms: list[Term] = []
        while not self._accept("]"):
            terms.append(self._sum())
            self._accept(",")
        return lambda row: [term(row) for term in terms]

    def _named(self, name: str) -> Term:
        if name.lower() in {"true", "false"}:
            return lambda _: name.lower() == "true"
        if self._accept("("):
            return self._function(name.lower())
        found: Term = lambda row: row.get(name)  # noqa: E731 - it may be wrapped below
        while self._accept("["):
            found = _item(found, self._sum())
            self._expect("]")
        return found

    def _function(self, name: str) -> Term:
        value = self._sum()
        if name == "array_length":
            self._expect(")")
            return lambda row: len(value(row) or [])
        self._expect(",")
        wanted = self._sum()
        self._expect(")")
        kind = name.removeprefix("json_").removeprefix("array_")
        if kind not in _FUNCTIONS:
            raise self.complaint()
        return lambda row: value(row) is not None and _FUNCTIONS[kind](value(row), wanted(row))


def _compared(compare: Callable[[Any, Any], bool], left: Term, right: Term) -> Term:
    def found(row: Row) -> bool:
        first, second = left(row), right(row)
        if first is None or second is None or isinstance(first, str) != isinstance(second, str):
            return False
        return compare(_ordered(first), _ordered(second))

    return found


def _ordered(value: Any) -> Any:  # noqa: ANN401 - of any type
    """Texts compare by their bytes."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _computed(compute: Callable[[Any, Any], Any], left: Term, right: Term) -> Term:
    def found(row: Row) -> Any:  # noqa: ANN401 - of any type
        first, second = left(row), right(row)
        return None if first is None or second is None else compute(first, second)

    return found


def _item(holder: Term, key: Term) -> Term:
    def found(row: Row) -> Any:  # noqa: ANN401 - of any type
        value, wanted = holder(row), key(row)
        try:
            return value[wanted]
        except (KeyError, IndexError, TypeError):
            return None

    return found


def _unquoted(text: str) -> str:
    if text[0] == "'":
        text = '"' + text[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    found: str = json.loads(text, strict=False)
    return found
