"""A plan as Markdown for a pull request: short, the exceptions first, details folded, foreign text escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.planning.plan import Action, has_dump
from migrator.reports.beside import beside, heading, told_changes
from migrator.reports.exceptions import REPLACED, to_know
from migrator.reports.plain import clean, count, size
from migrator.reports.to_mermaid import plan_mermaid
from migrator.reports.to_text import figures, head_lines, plan_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from migrator.planning.plan import Plan, PlannedCollection, Side
    from migrator.reports.beside import Against, Beside
    from migrator.reports.exceptions import Told

_FEW = 12
"""More collections than that are folded."""
MOST_ROWS = 40
MOST_CHARACTERS = 60_000
"""A comment on GitHub holds 65,536."""
MOST_OF_TEXT = 200
"""Of one remark or name."""
_SPARE = 400
_TOO_LONG = "\n_The details are too long for a comment: `migrator plan -v` prints them._\n\n"
_ESCAPES = {ord(c): f"\\{c}" for c in r"\`*_{}[]()#+-.!|~"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}
_ESCAPES |= {ord("@"): "@\u200b"}  # nobody is called by a collection's name


def plan_markdown(plan: Plan, told: Beside | None = None) -> str:
    """The whole comment; of the folded details those that fit into one."""
    told = told or beside(plan)
    text = "\n".join(_short(plan, told)) + "\n"
    for details in _folded(plan, told):
        folded = "\n".join(details) + "\n"
        text += folded if len(text) + len(folded) <= MOST_CHARACTERS - _SPARE else _TOO_LONG
    return f"{text}<sub>digest {escaped(plan.digest)}</sub>\n"


def _short(plan: Plan, told: Beside) -> Iterator[str]:
    heads = [escaped(line.text.rstrip(".")) for line in head_lines(plan)]
    yield f"### Plan {escaped(plan.name)}: {'; '.join(heads)}"
    yield ""
    if plan.description:
        yield _clipped(plan.description)
        yield ""
    if told.against is not None:
        yield from _changes(told.against)
    yield from _exceptions(plan)
    yield from _places(plan, told)
    yield from _table(plan)
    yield from _access(plan)


def _changes(against: Against) -> Iterator[str]:
    yield f"**{escaped(heading(against))}**"
    yield ""
    yield from (f"- {escaped(each.sign)} {_clipped(each.text)}" for each in told_changes(against))
    yield ""


def _places(plan: Plan, told: Beside) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield f"| from | {_side(plan.source)} |"
    if plan.target is not None:
        yield f"| to | {_side(plan.target)} |"
    if has_dump(plan):
        yield f"| dump | {escaped(plan.dump)}/ |"
    yield from (f"| {word} | {escaped(text)} |" for word, text in figures(plan, told))
    yield ""


def _side(side: Side) -> str:
    place = escaped("/".join(part for part in (side.bucket, side.root_path) if part))
    if side.backup:
        return f"backup **{escaped(side.backup)}** at {escaped(side.uri)} {place}/"
    return f"{escaped(side.uri)}, Milvus {escaped(side.version)}, {place}/"


def _exceptions(plan: Plan) -> Iterator[str]:
    """What a reviewer has to decide on, the gravest first."""
    told = [_exception(each) for each in to_know(plan, verbose=False)]
    if told:
        yield "**Please look at**"
        yield ""
        yield from told
        yield ""


def _exception(told: Told) -> str:
    if told.kind == REPLACED:
        return f"- **{_clipped(told.whose)} is replaced**: {_clipped(told.text)}"
    whose = f" ({_clipped(told.whose)})" if told.whose else ""
    return f"- {told.kind}{whose}: {_clipped(told.text)}"


def _table(plan: Plan) -> Iterator[str]:
    todo = [each for each in plan.collections if each.action is Action.MIGRATE]
    if len(todo) > _FEW:
        yield from _unfolded(f"{count(len(todo), 'collection')}, the largest first", _rows(todo))
    elif todo:
        yield from _rows(todo)
        yield ""
    rest = [each for each in plan.collections if each.action is not Action.MIGRATE]
    lines = [f"- {_arrow(each)}: {_clipped('; '.join([each.reason, *each.notices]))}" for each in rest]
    yield from _details(f"{count(len(rest), 'collection')} with nothing to do", lines)


def _rows(todo: Sequence[PlannedCollection]) -> Iterator[str]:
    yield "| | collection | rows | objects | size | imports |"
    yield "|---|---|---:|---:|---:|---:|"
    largest = sorted(todo, key=lambda each: -each.estimate.size_bytes) if len(todo) > _FEW else todo
    yield from (_row(each) for each in largest[:MOST_ROWS])
    if (more := len(todo) - MOST_ROWS) > 0:
        yield f"| + | … and {more:,} more, none of them larger | | | | |"


def _row(collection: PlannedCollection) -> str:
    estimate = collection.estimate
    rows = estimate.rows if estimate.counted_rows is None else estimate.counted_rows
    imports = "" if collection.target is None else f"{estimate.import_requests:,}"
    sign = "+" if collection.replaces is None else "~"
    return (
        f"| {sign} | {_arrow(collection)} | {rows:,} | {estimate.objects:,} | {size(estimate.size_bytes)} | {imports} |"
    )


def _arrow(collection: PlannedCollection) -> str:
    source = _clipped(collection.source.short)
    return source if collection.target is None else f"{source} → {_clipped(collection.target.short)}"


def _access(plan: Plan) -> Iterator[str]:
    access = plan.access
    if access is None:
        return
    lines = [
        *(f"- \\+ {_clipped(text)}" for text in access.added),
        *(f"- changed: {_clipped(text)}" for text in access.changed),
        *(f"- not carried: {_clipped(text)}" for text in access.not_carried),
        *(f"- stays: {_clipped(text)}" for text in access.stays),
    ]
    yield from _details(f"Users, roles and grants: {len(access.added):,} to add", lines)


def _folded(plan: Plan, told: Beside) -> Iterator[list[str]]:
    if plan.steps:
        graph = plan_mermaid(plan).splitlines()
        yield [*_unfolded("Graph of steps", ["```mermaid", *graph, "```"])]
    text = [line.text.replace("`", "'") for line in plan_lines(plan, told, verbose=True)]
    yield [*_unfolded("Everything, as <code>migrator plan -v</code> prints it", ["```text", *text, "```"])]


def _details(summary: str, lines: Sequence[str]) -> Iterator[str]:
    """A folded list, of which not more is told than a comment has room for."""
    if lines:
        more = [f"- … and {len(lines) - MOST_ROWS:,} more"] if len(lines) > MOST_ROWS else []
        yield from _unfolded(summary, [*lines[:MOST_ROWS], *more])


def _unfolded(summary: str, lines: Iterable[str]) -> Iterator[str]:
    yield from (f"<details><summary>{summary}</summary>", "", *lines, "", "</details>", "")


def _clipped(text: str) -> str:
    """Foreign text, escaped, and not so long that a few would fill the comment."""
    return escaped(text if len(text) <= MOST_OF_TEXT else f"{text[:MOST_OF_TEXT]}…")


def escaped(text: str) -> str:
    """Foreign text that Markdown and HTML take for text, in one line."""
    return clean(text).replace("\n", " ").translate(_ESCAPES)
