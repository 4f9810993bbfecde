"""A plan's graph of steps as a Mermaid flowchart: a box per collection, arrows for what waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.reports.plain import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.planning.plan import Plan
    from migrator.steps.base import Step

MOST_COLLECTIONS = 12
"""More make a graph nobody can read; Mermaid itself gives up at 500 edges."""
_ENTITIES = {ord(c): f"#{ord(c)};" for c in '"#;<>&`[]{}()|\\'}


def plan_mermaid(plan: Plan) -> str:
    """The flowchart's text, for a fence of its own; only the first collections where there are many."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield "flowchart LR"
    if not plan.steps:
        yield '  nothing["nothing to do"]'
        return
    groups: dict[str, list[Step]] = {}
    for step in plan.steps:
        groups.setdefault(step.collection, []).append(step)
    named = [name for name in groups if name]
    shown = named[:MOST_COLLECTIONS]
    ids = {step.key: f"s{number}" for number, step in enumerate(plan.steps) if step.collection in {"", *shown}}
    for step in groups.get("", []):
        yield f"  {_node(step, ids[step.key])}"
    for number, name in enumerate(shown):
        yield f'  subgraph c{number}["{label(name)}"]'
        yield from (f"    {_node(step, ids[step.key])}" for step in groups[name])
        yield "  end"
    if more := len(named) - len(shown):
        yield f'  more["… and {more:,} more collections, each with the same steps"]'
    for step in plan.steps:
        yield from _edges(step, ids)


def _node(step: Step, node: str) -> str:
    return f'{node}["{label(step.kind.replace("_", " "))}"]'


def _edges(step: Step, ids: dict[str, str]) -> Iterator[str]:
    """Solid where a step needs the other's success, dotted where it only comes after it."""
    if step.key not in ids:
        return
    for arrow, keys in (("-->", step.needs), ("-.->", step.follows)):
        yield from (f"  {ids[key]} {arrow} {ids[step.key]}" for key in keys if key in ids)


def label(text: str) -> str:
    """Foreign text within a quoted label: no character of it means anything to Mermaid, or to the page around it."""
    return clean(text).replace("\n", " ").translate(_ENTITIES)
