"""A plan's graph of steps as a Mermaid flowchart: a box per collection, arrows for what waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.reports.plain import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from migrator.planning.plan import Plan
    from migrator.steps.base import Step

MOST_COLLECTIONS = 12
"""More make a graph nobody can read: those with like steps become one. Mermaid itself gives up at 500 edges."""
_NAMED = 3
_ENTITIES = {ord(c): f"#{ord(c)};" for c in '"#;<>&`[]{}()|\\'}


def plan_mermaid(plan: Plan) -> str:
    """The flowchart's text, for a fence of its own; where there are many collections, like ones are drawn once."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield "flowchart LR"
    if not plan.steps:
        yield '  nothing["nothing to do"]'
        return
    by_collection: dict[str, list[Step]] = {}
    for step in plan.steps:
        by_collection.setdefault(step.collection, []).append(step)
    own = by_collection.pop("", [])
    boxes = _boxes(by_collection)
    shown, left = boxes[:MOST_COLLECTIONS], boxes[MOST_COLLECTIONS:]
    ids = {step.key: f"s{number}" for number, step in enumerate(plan.steps)}
    for step in own:
        yield f"  {_node(step, ids[step.key])}"
    for number, names in enumerate(shown):
        first = by_collection[names[0]]
        for name in names[1:]:  # their arrows are those of the first
            ids |= {step.key: ids[like.key] for step, like in zip(by_collection[name], first, strict=True)}
        yield f'  subgraph c{number}["{label(_title(names))}"]'
        yield from (f"    {_node(step, ids[step.key])}" for step in first)
        yield "  end"
    if left:
        yield f'  more["… and {sum(map(len, left)):,} more collections"]'
    drawn = {"", *(name for names in shown for name in names)}
    nodes = {step.key: ids[step.key] for step in plan.steps if step.collection in drawn}
    behind = {step.key: {*step.needs, *step.follows} for step in plan.steps}
    yield from dict.fromkeys(edge for step in plan.steps for edge in _edges(step, nodes, behind))


def _boxes(by_collection: Mapping[str, Sequence[Step]]) -> list[list[str]]:
    """The collections that are drawn as one: each by itself where they are few, else all that have like steps."""
    if len(by_collection) <= MOST_COLLECTIONS:
        return [[name] for name in by_collection]
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, steps in by_collection.items():
        alike.setdefault(tuple(step.kind for step in steps), []).append(name)
    return list(alike.values())


def _title(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{len(names):,} collections: {', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}"


def _node(step: Step, node: str) -> str:
    return f'{node}["{label(step.kind.replace("_", " "))}"]'


def _edges(step: Step, nodes: Mapping[str, str], behind: Mapping[str, set[str]]) -> Iterator[str]:
    """Solid where a step needs the other's success, dotted where it only comes after it; no detour beside a way."""
    if step.key not in nodes:
        return
    implied = {key for need in step.needs for key in behind[need]}
    for arrow, keys in (("-->", step.needs), ("-.->", step.follows)):
        yield from (f"  {nodes[key]} {arrow} {nodes[step.key]}" for key in keys if key in nodes and key not in implied)


def label(text: str) -> str:
    """Foreign text within a quoted label: no character of it means anything to Mermaid, or to the page around it."""
    return clean(text).replace("\n", " ").translate(_ENTITIES)
