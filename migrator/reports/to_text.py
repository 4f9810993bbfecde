"""Plans and runs as lines of text for a terminal; each line knows its style, and looks right without one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from migrator.planning.drift import rows_of
from migrator.planning.plan import Action, has_dump
from migrator.reports.beside import MOST_TOLD, beside, bottleneck_text, heading, range_text, time_text, told_changes
from migrator.reports.exceptions import CHANGED, NOT_CARRIED, NOTE, REPLACED, to_know
from migrator.reports.plain import clean, count, size
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.copy_segments import CopySegments
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_database import CreateDatabase
from migrator.steps.create_index import CreateIndex
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.switch_alias import SwitchAlias
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from migrator.errors import Complaint, MigratorError
    from migrator.model.observed import Estimate
    from migrator.planning.plan import Access, Plan, PlannedCollection, Side
    from migrator.reports.beside import Against, Beside
    from migrator.steps.base import Step

_FEW = 12
"""More collections than that are told in brief unless everything is asked for."""
_MOST_IN_BRIEF = 20
_WIDE = 60


class Style(StrEnum):
    """How a line may be coloured; the words carry the meaning without it."""

    PLAIN = ""
    TITLE = "bold"
    FAINT = "dim"
    NEW = "green"
    CHANGED = "yellow"
    CONFLICT = "bold red"
    SAME = "cyan"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; where a terminal has to wrap it, it goes on at the column `hang`, or a little indented."""

    text: str = ""
    style: Style = Style.PLAIN
    hang: int | None = None


def error_lines(error: MigratorError, complaints: Iterable[Complaint] = ()) -> Iterator[Line]:
    """The sentence, then the hint; a complaint each where there are several."""
    listed = list(complaints)
    if not listed:
        first, *more = error.message.split("\n")  # the end of a server's log, for one
        yield Line(f"error: {clean(first)}", Style.CONFLICT)
        yield from (Line(f"       {clean(text)}") for text in more)
        if error.hint:
            yield Line(f"  hint: {clean(error.hint)}", Style.FAINT)
    for complaint in listed:
        yield Line(f"! {clean(str(complaint))}", Style.CONFLICT)
        if complaint.hint:
            yield Line(f"    hint: {clean(complaint.hint)}", Style.FAINT)


def plan_lines(plan: Plan, told: Beside | None = None, *, verbose: bool = False) -> Iterator[Line]:
    """What a reviewer needs: where from and to, what has changed, exceptions, collections, sums."""
    told = told or beside(plan)
    yield Line(
        f"Plan {plan.name}" + (f": {clean(' '.join(plan.description.split()))}" if plan.description else ""),
        Style.TITLE,
    )
    yield Line()
    yield _side("from", plan.source)
    if plan.target is not None:
        yield _side("to", plan.target)
    if has_dump(plan):
        deleted = " (deleted once everything is verified)" if _is_cleaned(plan) else ""
        yield Line(f"  dump  {clean(plan.dump)}/{deleted}")
    yield Line()
    if told.against is not None:
        yield from _changes(told.against, verbose=verbose)
    yield from _exceptions(plan, verbose=verbose)
    yield from _collections(plan, told, verbose=verbose)
    if plan.access is not None:
        yield from _access(plan.access, verbose=verbose)
    yield from _sums(plan, told)
    if verbose:
        yield from _steps(plan)


def _is_cleaned(plan: Plan) -> bool:
    return any(isinstance(step, CleanStaging) for step in plan.steps)


def _changes(against: Against, *, verbose: bool) -> Iterator[Line]:
    """What is done otherwise than before: the first thing a reviewer asks of a plan that was edited."""
    styles = {"+": Style.NEW, "-": Style.CONFLICT, "~": Style.CHANGED, "=": Style.SAME}
    yield Line(f"  {clean(heading(against))}", Style.TITLE)
    for each in told_changes(against, most=None if verbose else MOST_TOLD):
        yield Line(f"  {each.sign} {clean(each.text)}", styles[each.sign])
    yield Line()


def _side(label: str, side: Side) -> Line:
    place = "/".join(part for part in (side.bucket, side.root_path) if part)
    if side.backup:
        maker = f"made by Milvus v{side.version}" if side.version else "made by a Milvus of unknown version"
        made = f" on {side.made_at[:10]}" if side.made_at else ""
        address = f"{side.uri}/{place}" if side.bucket else place
        return Line(f"  {label:<5} backup {clean(side.backup)} at {clean(address)}/, {clean(maker)}{made}")
    return Line(f"  {label:<5} {clean(side.uri)}  Milvus {clean(side.version)}  {clean(place)}/")


def _exceptions(plan: Plan, *, verbose: bool) -> Iterator[Line]:
    """What has to be known, the gravest first."""
    forms = {REPLACED: "~ {}: {}", NOT_CARRIED: "~ not carried ({}): {}", CHANGED: "~ {}: {}", NOTE: "  note ({}): {}"}
    lines = [
        Line(
            f"  {forms[told.kind].format(clean(told.whose), clean(told.text))}".replace("note ():", "note:", 1),
            Style.CONFLICT if told.kind == REPLACED else Style.CHANGED,
        )
        for told in to_know(plan, verbose=verbose)
    ]
    yield from lines
    if lines:
        yield Line()


def _collections(plan: Plan, told: Beside, *, verbose: bool) -> Iterator[Line]:
    todo = [c for c in plan.collections if c.action is Action.MIGRATE]
    rest = [c for c in plan.collections if c.action is not Action.MIGRATE]
    for database in (step.name for step in plan.steps if isinstance(step, CreateDatabase)):
        yield Line(f"  + database {clean(database)}", Style.NEW)
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in plan.steps:
        steps[step.collection].append(step)
    if len(todo) > _FEW and not verbose:
        yield from _in_brief(todo)
    else:
        for collection in todo:
            yield from _in_full(collection, steps[collection.label], told, verbose=verbose)
    for collection in rest if verbose else rest[:_FEW]:
        yield Line(f"  = {_arrow(collection)}  {clean(collection.reason)}", Style.SAME)
        yield from (Line(f"      note: {clean(notice)}", Style.CHANGED) for notice in collection.notices)
    if not verbose and len(rest) > _FEW:
        yield Line(f"  = … and {len(rest) - _FEW:,} more with nothing to do (-v lists them)", Style.FAINT)
    yield Line()


def _in_brief(todo: Sequence[PlannedCollection]) -> Iterator[Line]:
    """A line each, the largest first."""
    shown = sorted(todo, key=lambda each: -each.estimate.size_bytes)[:_MOST_IN_BRIEF]
    width = max(len(_arrow(each)) for each in shown)
    for each in shown:
        sign, style = ("+", Style.NEW) if each.replaces is None else ("~", Style.CHANGED)
        data = f"{count(rows_of(each), 'row')}, {size(each.estimate.size_bytes)}"
        yield Line(f"  {sign} {_arrow(each):<{min(width, _WIDE)}}  {data}", style)
    if (more := len(todo) - len(shown)) > 0:
        yield Line(f"  + … and {more:,} more, none of them larger (-v lists everything)", Style.FAINT)


def _in_full(collection: PlannedCollection, steps: Sequence[Step], told: Beside, *, verbose: bool) -> Iterator[Line]:
    if collection.built_as is None:
        yield from _backed_up(collection)
    else:
        yield from _migrated(collection, steps, verbose=verbose)
    if verbose and (alone := told.each.get(collection.label)) is not None:
        yield Line(f"      takes {range_text(alone)} by itself", Style.FAINT)


def _arrow(collection: PlannedCollection) -> str:
    if collection.target is None:
        return clean(collection.source.short)
    return f"{clean(collection.source.short)} → {clean(collection.target.short)}"


def _backed_up(collection: PlannedCollection) -> Iterator[Line]:
    estimate = collection.estimate
    rows = count(estimate.rows if estimate.counted_rows is None else estimate.counted_rows, "row")
    yield Line(f"  + {_arrow(collection)}", Style.NEW)
    yield Line(f"      → copy {count(estimate.objects, 'object')}, {size(estimate.size_bytes)}; {rows}")


def _migrated(collection: PlannedCollection, steps: Sequence[Step], *, verbose: bool) -> Iterator[Line]:
    """One line for each thing that is done to it, in the order of its steps."""
    if collection.replaces is None:
        yield Line(f"  + {_arrow(collection)}", Style.NEW)
    else:
        yield Line(f"  ~ {_arrow(collection)}, in place of the one that is there", Style.CHANGED)
    listed = [text for text in collection.carried if not text.startswith(("index ", "alias ", "loaded"))]
    restored = any(isinstance(step, RestoreSnapshot) for step in steps)
    for step in steps:
        if restored and isinstance(step, CreateIndex):  # they come with it, and are only waited for
            continue
        yield from (Line(f"      {clean(text)}") for text in _deeds(collection, step))
        if isinstance(step, CreateCollection):
            shown = listed if verbose else [text for text in listed if text.startswith("property ")]
            yield from (Line(f"        = {clean(text)}") for text in shown)
    if collection.replaces is not None:
        yield Line(
            f"      ~ rename {clean(collection.label)} to {clean(collection.replaces.retired.short)}, and "
            f"{clean(collection.replaces.temporary.short)} to {clean(collection.label)}",
            Style.CHANGED,
        )
    estimate = collection.estimate
    if estimate.counted_rows is not None and estimate.counted_rows > estimate.rows:
        yield Line("      note: some rows are not flushed yet; the flush brings them along", Style.FAINT)


def _deeds(collection: PlannedCollection, step: Step) -> Iterator[str]:
    """What a step does, under its sign; nothing of those that only look, or write for the run itself."""
    estimate = collection.estimate
    match step:
        case RestoreSnapshot():
            yield f"+ {step.describe()}: {count(rows_of(collection), 'row')}"
        case CreateCollection():
            yield f"+ {step.describe()}"
        case CopySegments():
            yield from _ways(estimate)
        case ForwardSegments():
            yield f"→ bring them on to the target's storage, {size(estimate.size_bytes)}, until they are imported"
        case ImportSegments():
            segments = count(estimate.segments, "flushed segment")
            requests = count(estimate.import_requests, "request")
            yield f"⇣ import {count(rows_of(collection), 'row')} from {segments} in {requests}"
        case CreateIndex():
            yield from (f"+ build index {index}" for index in step.indexes)
        case LoadCollection():
            yield f"+ {_load_text(step)}"
        case SwitchAlias():
            owners = {move.alias: move.owner for move in step.moves}
            yield from (
                f"~ move alias {alias} from {owners[alias]}" if alias in owners else f"+ alias {alias}"
                for alias in step.aliases
            )
        case _:
            pass


def _ways(estimate: Estimate) -> Iterator[str]:
    """What is copied, and what is read where it lies."""
    objects, size_bytes = copied(estimate)
    if objects or not estimate.in_place_objects:
        yield f"→ copy {count(objects, 'object')}, {size(size_bytes)}"
    if estimate.in_place_objects:
        told = f"{count(estimate.in_place_objects, 'object')}, {size(estimate.in_place_bytes)}"
        yield f"= read in place, not copied: {told}"


def copied(estimate: Estimate) -> tuple[int, int]:
    """How many objects and bytes go into the dump."""
    return estimate.objects - estimate.in_place_objects, estimate.size_bytes - estimate.in_place_bytes


def _load_text(step: LoadCollection) -> str:
    parts = [f"partitions {', '.join(step.partitions)}"] if step.partitions else []
    parts += [count(step.replica_number, "replica")] if step.replica_number > 1 else []
    parts += [f"in {', '.join(step.resource_groups)}"] if step.resource_groups else []
    return f"load {', '.join(parts)}" if parts else "load it"


def _access(access: Access, *, verbose: bool) -> Iterator[Line]:
    """Users, roles and grants, the exceptions first."""
    yield Line("  Access: users, roles and grants", Style.TITLE)
    texts = (
        *((f"~ {text}", Style.CHANGED) for text in access.changed),
        *((f"~ not carried: {text}", Style.CHANGED) for text in access.not_carried),
    )
    yield from (Line(f"      {clean(text)}", style) for text, style in texts)
    for sign, listed, style in (("+", access.added, Style.NEW), ("= stays:", access.stays, Style.SAME)):
        shown = listed if verbose else listed[:_FEW]
        yield from (Line(f"      {sign} {clean(text)}", style) for text in shown)
        if len(shown) < len(listed):
            yield Line(f"      {sign} … and {len(listed) - len(shown):,} more (-v lists them)", Style.FAINT)
    if not access.added:
        yield Line("      = nothing to add", Style.SAME)
    yield Line()


def head_lines(plan: Plan) -> Iterator[Line]:
    """How many collections there are to migrate."""
    if plan.access is not None and plan.access.added:
        yield Line(f"{count(len(plan.access.added), 'role or grant', 'roles and grants')} to add.", Style.TITLE)
    todo = sum(c.action is Action.MIGRATE for c in plan.collections)
    if todo:
        same = len(plan.collections) - todo
        rest = f", {same:,} with nothing to do" if same else ""
        verb = "migrate" if plan.target else "back up"
        yield Line(f"{count(todo, 'collection')} to {verb}{rest}.", Style.TITLE)
    elif not plan.has_changes:
        yield Line("Nothing to do.", Style.TITLE)


def figures(plan: Plan, told: Beside) -> list[tuple[str, str]]:
    """What it comes to, under a word each: data, imports, space, time, what is compared."""
    todo = [c for c in plan.collections if c.action is Action.MIGRATE]
    if not todo:
        return []
    objects, size_bytes = sum(c.estimate.objects for c in todo), sum(c.estimate.size_bytes for c in todo)
    requests = sum(c.estimate.import_requests for c in todo)
    rows = count(sum(map(rows_of, todo)), "row")
    verified = next((step for step in plan.steps if isinstance(step, VerifyCollection)), None)
    data = f"{rows} in {count(objects, 'object')}, {size(size_bytes)}"
    return [
        ("data", f"{data}; {count(requests, 'import request')}" if plan.target is not None else data),
        ("space", _space(plan, sum(copied(each.estimate)[1] for each in todo))),
        *_saved(todo),
        ("time", time_text(told.expected)),
        *([("slowest", bottleneck_text(told.bottleneck))] if told.bottleneck else []),
        ("compared", f"{verified.depth} of each collection" if verified else "nothing"),
    ]


def _saved(todo: Sequence[PlannedCollection]) -> Iterator[tuple[str, str]]:
    """What reading in place saves."""
    objects = sum(each.estimate.in_place_objects for each in todo)
    size_bytes = sum(each.estimate.in_place_bytes for each in todo)
    if objects:
        told = f"{count(objects, 'object')}, {size(size_bytes)}"
        yield "saved", f"{told} are read in place: neither copied nor kept twice"


def _space(plan: Plan, size_bytes: int) -> str:
    """Where and for how long."""
    parts = [
        f"{size(size_bytes)} for the dump, {'until everything is verified' if _is_cleaned(plan) else 'which stays'}"
    ]
    if any(isinstance(step, ForwardSegments) for step in plan.steps):
        parts.append("as much in the target's bucket until it is imported")
    if plan.target is not None:
        parts.append("at the target about as much for its own files, and its indexes")
    return "; ".join(parts)


def _sums(plan: Plan, told: Beside) -> Iterator[Line]:
    yield from head_lines(plan)
    yield from (Line(f"  {word:<9} {text}", hang=12) for word, text in figures(plan, told))


def _steps(plan: Plan) -> Iterator[Line]:
    if plan.steps:
        yield Line()
        yield Line("Steps", Style.TITLE)
    for step in plan.steps:
        yield Line(f"  {clean(step.key)}  {clean(step.describe())}", Style.FAINT)
    yield Line()
    yield Line(f"digest {plan.digest}", Style.FAINT)
