"""Jinja2 in names: `coll{{ vars.suffix }}`, rendered in a sandbox that can only join and reshape short texts.

Templates are allowed where a plan file holds a name somebody might want to vary, and nowhere else:

- `target` of a mapping (or of `defaults`): with `database` and `collection` of the source, and `vars`;
- `source`, `exclude` and alias names of a mapping, `staging.root_path`, `staging.backup_name`: with `vars`.

Secrets, URIs and credentials never pass through here. Of Jinja2 there are expressions with a chosen set of
filters and text methods; statements, arithmetic that grows text (`*`, `**`, `%`) and other calls are refused
before anything runs, so that neither a hang nor a gigabyte can be asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from migrator.spec.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TEMPLATE = 1024
MAX_RENDERED = 1024
TARGET_NAMES: Final = frozenset({"database", "collection", "vars"})
VARS_ONLY: Final = frozenset({"vars"})


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
    return _render(template, {"database": database, "collection": collection, "vars": dict(variables)})


def render_vars(template: str, *, variables: Mapping[str, object]) -> str:
    """Return `template` rendered with `vars` alone.

    Raises:
        TemplateFault: Anything that goes wrong; its hint is an edit of the template.
    """
    return _render(template, {"vars": dict(variables)})


def check_template(template: str, *, names: frozenset[str], variables: Iterable[str]) -> None:
    """Find what can be found without rendering: syntax, forbidden constructs, names that will not be there.

    Raises:
        TemplateFault: The first such thing.
    """
    if is_template(template):
        from migrator.spec.sandbox import check  # noqa: PLC0415 - Jinja2 costs 40 ms: only where there is a template

        check(template, names=names, variables=variables)


def _render(template: str, names: dict[str, object]) -> str:
    if not is_template(template):
        return template
    from migrator.spec.sandbox import render  # noqa: PLC0415 - as above

    return render(template, names)
