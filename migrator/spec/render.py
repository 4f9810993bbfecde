"""Jinja2 in names: `coll{{ vars.suffix }}`, rendered in a sandbox that can only join and reshape short texts.

Templates are allowed where a plan file holds a name somebody might want to vary, and nowhere else:

- `target` of a mapping (or of `defaults`): with `database` and `collection` of the source, and `vars`;
- `source`, `exclude` and alias names of a mapping, `staging.root_path`, `staging.backup_name`: with `vars`.

Secrets, URIs and credentials never pass through here. Of Jinja2 there are expressions with a chosen set of
filters and text methods; statements, arithmetic that grows text (`*`, `**`, `%`) and other calls are refused
before anything runs, so that neither a hang nor a gigabyte can be asked for.

What only puts known names in, as most templates do, is rendered here: Jinja2 is slow to import. The text is the one
that it gives, and whatever else a template holds, all complaints too, is left to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from migrator.spec.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TEMPLATE = 1024
MAX_RENDERED = 1024
TARGET_NAMES: Final = frozenset({"database", "collection", "vars"})
VARS_ONLY: Final = frozenset({"vars"})
_PLACE: Final = re.compile(r"\{\{ *((?:vars\.)?[A-Za-z][A-Za-z0-9_]*) *\}\}")
_NOT_SIMPLE: Final = re.compile(r"[{}\r\n]")
"""Outside of places: Jinja2 reads something there, or changes it."""


class TemplateFault(Fault):
    """A template that cannot be rendered, or not to a text of sensible length."""


def is_template(text: str) -> bool:
    """Whether Jinja2 would change `text`."""
    return any(mark in text for mark in ("{{", "{%", "{#"))


def render_name(template: str, *, database: str, collection: str, variables: Mapping[str, object]) -> str:
    """Return the target name that `template` gives for one source collection.

    Raises:
        TemplateFault: Anything that goes wrong; its hint is an edit of the template.
    """
    return _render(template, {"database": database, "collection": collection}, variables)


def render_vars(template: str, *, variables: Mapping[str, object]) -> str:
    """Return `template` rendered with `vars` alone.

    Raises:
        TemplateFault: Anything that goes wrong; its hint is an edit of the template.
    """
    return _render(template, {}, variables)


def check_template(template: str, *, names: frozenset[str], variables: Iterable[str]) -> None:
    """Find what can be found without rendering: syntax, forbidden constructs, names that will not be there.

    Raises:
        TemplateFault: The first such thing.
    """
    if is_template(template) and not _is_simple(template, _places(dict.fromkeys(names), dict.fromkeys(variables))):
        from migrator.spec.sandbox import check  # noqa: PLC0415 - Jinja2 is slow to import: only where it is needed

        check(template, names=names, variables=variables)


def _render(template: str, names: dict[str, object], variables: Mapping[str, object]) -> str:
    if not is_template(template):
        return template
    places = _places(names, variables)
    if _is_simple(template, places):
        text = _PLACE.sub(lambda place: str(places[place[1]]), template)
        if len(text) <= MAX_RENDERED:
            return text
    from migrator.spec.sandbox import render  # noqa: PLC0415 - as above

    return render(template, {**names, "vars": dict(variables)})


def _places(names: Mapping[str, object], variables: Mapping[str, object]) -> dict[str, object]:
    """What may be put in, by how it is written."""
    own = {f"vars.{name}": value for name, value in variables.items()}
    return {name: value for name, value in names.items() if name != "vars"} | own


def _is_simple(template: str, places: Mapping[str, object]) -> bool:
    """Whether nothing but these places stands in the template, and text."""
    rest = _PLACE.sub("", template)
    is_text = len(template) <= MAX_TEMPLATE and not _NOT_SIMPLE.search(rest)
    return is_text and all(place in places for place in _PLACE.findall(template))
