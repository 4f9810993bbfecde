"""A plan as Markdown for a pull request: short, the exceptions first, details folded, foreign text escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.planning.plan import Action
from migrator.reports.exceptions import Remark, told_once
from migrator.reports.plain import clean, count, size
from migrator.reports.to_mermaid import plan_mermaid
from migrator.reports.to_text import plan_lines, sum_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.planning.plan import Plan, PlannedCollection, Side

MOST_ROWS = 40
MOST_CHARACTERS = 60_000
"""A comment on GitHub holds 65,536."""
_ESCAPES = {ord(c): f"\\{c}" for c in r"\`*_{}[]()#+-.!|~"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}
_ESCAPES |= {ord("@"): "@\u200b"}  # nobody is called by a collection's name


def plan_markdown(plan: Plan) -> str:
    """The whole comment; the folded details are left out where they would make it longer than a comment may be."""
    short = "\n".join(_short(plan)) + "\n"
    whole = short + "\n".join(_folded(plan)) + "\n"
    return whole if len(whole) <= MOST_CHARACTERS else short + "\n_The details are too long for a comment._\n"


def _short(plan: Plan) -> Iterator[str]:
    sums = [escaped(line.text) for line in sum_lines(plan)]
    yield f"### Plan {escaped(plan.name)}: {sums[0].rstrip('.').removesuffix(chr(92))}"
    yield ""
    if plan.description:
        yield escaped(plan.description)
        yield ""
    yield from _places(plan)
    yield from _exceptions(plan)
    yield from _table(plan)
    yield from _access(plan)
    yield from (f"{line}  " for line in sums[1:])
    yield ""


def _places(plan: Plan) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield f"| from | {_side(plan.source)} |"
    if plan.target is not None:
        yield f"| to | {_side(plan.target)} |"
    yield f"| dump | {escaped(plan.dump)}/ |"
    yield ""


def _side(side: Side) -> str:
    place = escaped("/".join(part for part in (side.bucket, side.root_path) if part))
    if side.backup:
        return f"backup **{escaped(side.backup)}** at {escaped(side.uri)} {place}/"
    return f"{escaped(side.uri)}, Milvus {escaped(side.version)}, {place}/"


def _exceptions(plan: Plan) -> Iterator[str]:
    """What a reviewer has to decide on: what differs, what stays behind, what is replaced."""
    todo = [each for each in plan.collections if each.action is Action.MIGRATE]
    told = [
        f"- **{escaped(each.label)} is replaced**: {escaped(each.replaces.in_words())}"
        for each in todo
        if each.replaces is not None
    ]
    for sign, kind in (("changed", "changed"), ("not carried", "not_carried"), ("note", "notices")):
        remarks = [Remark(each.source.short, text) for each in todo for text in getattr(each, kind)]
        told += [
            f"- {sign} ({escaped(remark.collection)}): {escaped(remark.text)}"
            for remark in told_once(remarks, verbose=False)
        ]
    if told:
        yield "**Please look at**"
        yield ""
        yield from told
        yield ""


def _table(plan: Plan) -> Iterator[str]:
    todo = [each for each in plan.collections if each.action is Action.MIGRATE]
    if todo:
        yield "| | collection | rows | objects | size | imports |"
        yield "|---|---|---:|---:|---:|---:|"
        yield from (_row(each) for each in todo[:MOST_ROWS])
        if more := len(todo) - MOST_ROWS if len(todo) > MOST_ROWS else 0:
            yield f"| + | … and {more:,} more | | | | |"
        yield ""
    rest = [each for each in plan.collections if each.action is not Action.MIGRATE]
    lines = [f"- = {_arrow(each)}: {escaped('; '.join([each.reason, *each.notices]))}" for each in rest]
    yield from _details(f"{count(len(rest), 'collection')} with nothing to do", lines)


def _row(collection: PlannedCollection) -> str:
    estimate = collection.estimate
    rows = estimate.rows if estimate.counted_rows is None else estimate.counted_rows
    imports = "" if collection.target is None else f"{estimate.import_requests:,}"
    sign = "+" if collection.replaces is None else "~"
    return (
        f"| {sign} | {_arrow(collection)} | {rows:,} | {estimate.objects:,} | {size(estimate.size_bytes)} | {imports} |"
    )


def _arrow(collection: PlannedCollection) -> str:
    source = escaped(collection.source.short)
    return source if collection.target is None else f"{source} → {escaped(collection.target.short)}"


def _access(plan: Plan) -> Iterator[str]:
    access = plan.access
    if access is None:
        return
    lines = [
        *(f"- + {escaped(text)}" for text in access.added),
        *(f"- ~ {escaped(text)}" for text in access.changed),
        *(f"- not carried: {escaped(text)}" for text in access.not_carried),
        *(f"- = stays: {escaped(text)}" for text in access.stays),
    ]
    yield from _details(f"Users, roles and grants: {len(access.added):,} to add", lines)


def _folded(plan: Plan) -> Iterator[str]:
    if plan.steps:
        yield from _details("Graph of steps", ["```mermaid", *plan_mermaid(plan).splitlines(), "```"])
    text = [line.text.replace("`", "'") for line in plan_lines(plan, verbose=True)]
    yield from _details("Everything, as `migrator plan -v` prints it", ["```text", *text, "```"])
    yield f"<sub>digest {escaped(plan.digest)}</sub>"


def _details(summary: str, lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)
    if listed:
        yield from (f"<details><summary>{summary}</summary>", "", *listed, "", "</details>", "")


def escaped(text: str) -> str:
    """Foreign text that Markdown and HTML take for text, in one line."""
    return clean(text).replace("\n", " ").translate(_ESCAPES)
