"""The sandbox in which templates of names are read and rendered; what it lets through is told in `render.py`."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2 import filters as builtin
from jinja2.sandbox import ImmutableSandboxedEnvironment

from migrator.spec.render import MAX_RENDERED, MAX_TEMPLATE, TemplateFault

if TYPE_CHECKING:
    from collections.abc import Iterable

_METHODS = frozenset(
    {
        "endswith",
        "lower",
        "lstrip",
        "removeprefix",
        "removesuffix",
        "rstrip",
        "split",
        "startswith",
        "strip",
        "upper",
    }
)
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.Filter, nodes.Test, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.Neg, nodes.Concat, nodes.Add, nodes.Sub, nodes.Call,
)  # fmt: skip


class _Sandbox(ImmutableSandboxedEnvironment):
    def getattr(self, obj: object, attribute: str) -> object:
        """Of vars what the plan file sets, under whatever name: Jinja2 would take a method of dictionaries first."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


_FAULTS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


def check(template: str, *, names: frozenset[str], variables: Iterable[str]) -> None:
    """Find what can be found without rendering: syntax, forbidden constructs, names that will not be there.

    Raises:
        TemplateFault: The first such thing.
    """
    tree = _parse(template)
    for name in tree.find_all(nodes.Name):
        _require_known(name.name, names, "")
    known = frozenset(variables)
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        key = _key_of_vars(node)
        if key is not None:
            _require_known(key, known, "vars.")


def render(template: str, names: dict[str, object]) -> str:
    """The text that a template gives.

    Raises:
        TemplateFault: Anything that goes wrong; its hint is an edit of the template.
    """
    try:
        text = _compile(template).render(names)
    except UndefinedError as error:
        raise TemplateFault(f"uses something that is not there: {error.message}", _names_hint(names)) from None
    except _FAULTS as error:
        raise TemplateFault(f"cannot be rendered: {error}", "simplify the expression") from None
    if len(text) > MAX_RENDERED:
        raise TemplateFault(f"renders to more than {MAX_RENDERED} characters", "shorten the template or its vars")
    return text


def _names_hint(names: Iterable[str]) -> str:
    return f"there is: {', '.join(sorted(names))}"


@lru_cache(maxsize=256)
def _compile(template: str) -> Template:
    _parse(template)
    return _ENVIRONMENT.from_string(template)


def _parse(template: str) -> nodes.Template:
    if len(template) > MAX_TEMPLATE:
        raise TemplateFault(f"is a template of more than {MAX_TEMPLATE} characters", "shorten it")
    try:
        tree = _ENVIRONMENT.parse(template)
    except TemplateSyntaxError as error:
        raise TemplateFault(f"is not a valid template: {error.message}", "check the {{ }} and quotes") from None
    except RecursionError:
        raise TemplateFault("is nested too deeply", "simplify the expression") from None
    for node in tree.find_all(nodes.Node):
        _require_allowed(node)
    return tree


def _require_allowed(node: nodes.Node) -> None:
    if not isinstance(node, _NODES):
        raise TemplateFault(
            f"uses {type(node).__name__}, which templates of names do without",
            "use an expression of texts, as {{ database }}.{{ collection }}_bak",
        )
    if isinstance(node, nodes.Filter) and node.name not in _ENVIRONMENT.filters:
        _require_known(node.name, _ENVIRONMENT.filters, "filter ")
    if isinstance(node, nodes.Call) and not _is_text_method(node.node):
        raise TemplateFault("calls something other than a text method", f"methods: {', '.join(sorted(_METHODS))}")


def _is_text_method(callee: nodes.Node) -> bool:
    return isinstance(callee, nodes.Getattr) and callee.attr in _METHODS


def _key_of_vars(node: nodes.Node) -> str | None:
    """The variable that `node` reads, for `vars.key` and `vars["key"]`."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return None
    if not (isinstance(node.node, nodes.Name) and node.node.name == "vars"):
        return None
    if isinstance(node, nodes.Getattr):
        return node.attr
    return str(node.arg.value) if isinstance(node.arg, nodes.Const) else None


def _require_known(name: str, known: Iterable[str], prefix: str) -> None:
    choices = sorted(known)
    if name in choices:
        return
    near = difflib.get_close_matches(name, choices, n=1)
    among = f"there is: {', '.join(choices)}" if choices else "the plan file sets no vars"
    raise TemplateFault(
        f"uses {prefix}{name}, which is not defined", f"did you mean {prefix}{near[0]}?" if near else among
    )


def _replace(text: object, old: str, new: str) -> str:
    """Replace in a text; a bounded one, because a chain of replacements grows exponentially."""
    if len(str(text)) * max(len(new), 1) > 64 * MAX_RENDERED:
        raise TemplateFault("renders to a text that is too long", "shorten the replacement")
    return str(text).replace(old, new)


def _environment() -> ImmutableSandboxedEnvironment:
    # Not HTML but names: escaping would change them.
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False)
    chosen = (
        "capitalize",
        "default",
        "first",
        "int",
        "last",
        "length",
        "lower",
        "string",
        "title",
        "trim",
        "upper",
    )
    environment.filters = {name: builtin.FILTERS[name] for name in chosen} | {"replace": _replace}
    environment.globals = {}
    return environment


_ENVIRONMENT = _environment()
