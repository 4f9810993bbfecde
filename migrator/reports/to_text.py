"""Plans and runs as lines of text for a terminal; each line knows its style, and looks right without one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from migrator.planning.plan import Action
from migrator.reports.exceptions import Remark, told_once
from migrator.reports.plain import clean, count, duration, size
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_database import CreateDatabase
from migrator.steps.load_collection import LoadCollection
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.errors import Complaint, MigratorError
    from migrator.planning.plan import Access, Plan, PlannedCollection, Side

_FEW = 12
"""More collections than that are summed up unless everything is asked for."""


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
    """One line of text."""

    text: str = ""
    style: Style = Style.PLAIN


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


def plan_lines(plan: Plan, *, verbose: bool = False) -> Iterator[Line]:
    """What a reviewer needs: where from and to, exceptions, collections, sums."""
    yield Line(
        f"Plan {plan.name}" + (f": {clean(' '.join(plan.description.split()))}" if plan.description else ""),
        Style.TITLE,
    )
    yield Line()
    yield _side("from", plan.source)
    if plan.target is not None:
        yield _side("to", plan.target)
    cleaned = any(isinstance(step, CleanStaging) for step in plan.steps)
    yield Line(f"  dump  {clean(plan.dump)}/{' (deleted once everything is verified)' if cleaned else ''}")
    yield Line()
    yield from _exceptions(plan, verbose=verbose)
    yield from _collections(plan, verbose=verbose)
    if plan.access is not None:
        yield from _access(plan.access, verbose=verbose)
    yield from sum_lines(plan)
    if verbose:
        yield from _steps(plan)


def _side(label: str, side: Side) -> Line:
    place = "/".join(part for part in (side.bucket, side.root_path) if part)
    if side.backup:
        maker = f"made by Milvus v{side.version}" if side.version else "made by a Milvus of unknown version"
        made = f" on {side.made_at[:10]}" if side.made_at else ""
        address = f"{side.uri}/{place}" if side.bucket else place
        return Line(f"  {label:<5} backup {clean(side.backup)} at {clean(address)}/, {clean(maker)}{made}")
    return Line(f"  {label:<5} {clean(side.uri)}  Milvus {clean(side.version)}  {clean(place)}/")


def _exceptions(plan: Plan, *, verbose: bool) -> Iterator[Line]:
    """What is changed by the plan, what does not come along, what has to be known; the same for many is said once."""
    told = False
    todo = [c for c in plan.collections if c.action is Action.MIGRATE]
    for sign, kind in (
        ("~ {}: {}", "changed"),
        ("~ not carried ({}): {}", "not_carried"),
        ("  note ({}): {}", "notices"),
    ):
        remarks = [Remark(c.source.short, text) for c in todo for text in getattr(c, kind)]
        for remark in told_once(remarks, verbose=verbose):
            told = True
            yield Line(f"  {sign.format(clean(remark.collection), clean(remark.text))}", Style.CHANGED)
    for collection, predecessor in ((c, c.replaces) for c in todo if c.replaces is not None):
        told = True
        yield Line(f"  ~ {clean(collection.label)}: {clean(predecessor.in_words())}", Style.CHANGED)
    if told:
        yield Line()


def _collections(plan: Plan, *, verbose: bool) -> Iterator[Line]:
    todo = [c for c in plan.collections if c.action is Action.MIGRATE]
    rest = [c for c in plan.collections if c.action is not Action.MIGRATE]
    creates = {step.target: step for step in plan.steps if isinstance(step, CreateCollection)}
    loads = {step.target for step in plan.steps if isinstance(step, LoadCollection)}
    for database in (step.name for step in plan.steps if isinstance(step, CreateDatabase)):
        yield Line(f"  + database {clean(database)}", Style.NEW)
    for collection in todo if verbose else todo[:_FEW]:
        if collection.built_as is None:
            yield from _backed_up(collection)
            continue
        create, is_loaded = creates[collection.built_as], collection.built_as in loads
        yield from _migrated(collection, create, loaded=is_loaded, verbose=verbose)
    if not verbose and len(todo) > _FEW:
        yield Line(f"  + … and {len(todo) - _FEW:,} more collections (-v lists them)", Style.FAINT)
    for collection in rest if verbose else rest[:_FEW]:
        yield Line(f"  = {_arrow(collection)}  {clean(collection.reason)}", Style.SAME)
        yield from (Line(f"      note: {clean(notice)}", Style.CHANGED) for notice in collection.notices)
    if not verbose and len(rest) > _FEW:
        yield Line(f"  = … and {len(rest) - _FEW:,} more with nothing to do (-v lists them)", Style.FAINT)
    yield Line()


def _arrow(collection: PlannedCollection) -> str:
    if collection.target is None:
        return clean(collection.source.short)
    return f"{clean(collection.source.short)} → {clean(collection.target.short)}"


def _backed_up(collection: PlannedCollection) -> Iterator[Line]:
    estimate = collection.estimate
    rows = count(estimate.rows if estimate.counted_rows is None else estimate.counted_rows, "row")
    yield Line(f"  + {_arrow(collection)}", Style.NEW)
    yield Line(f"      → copy {count(estimate.objects, 'object')}, {size(estimate.size_bytes)}; {rows}")


def _migrated(
    collection: PlannedCollection, create: CreateCollection, *, loaded: bool, verbose: bool
) -> Iterator[Line]:
    estimate = collection.estimate
    if collection.replaces is None:
        yield Line(f"  + {_arrow(collection)}", Style.NEW)
    else:
        yield Line(f"  ~ {_arrow(collection)}, in place of the one that is there", Style.CHANGED)
    yield Line(f"      + {clean(create.describe())}")
    yield Line(f"      → copy {count(estimate.objects, 'object')}, {size(estimate.size_bytes)}")
    rows = count(estimate.rows if estimate.counted_rows is None else estimate.counted_rows, "row")
    segments = count(estimate.segments, "flushed segment")
    yield Line(f"      ⇣ import {rows} from {segments} in {count(estimate.import_requests, 'request')}")
    extras = [text for text in collection.carried if verbose or text.startswith(("index ", "alias ", "property "))]
    extras += ["load it"] if loaded and not verbose else []
    yield from (Line(f"      + {clean(text)}") for text in extras)
    if collection.replaces is not None:
        yield Line(
            f"      ~ rename {clean(collection.label)} to {clean(collection.replaces.retired.short)}, and "
            f"{clean(collection.replaces.temporary.short)} to {clean(collection.label)}",
            Style.CHANGED,
        )
    if estimate.counted_rows is not None and estimate.counted_rows > estimate.rows:
        yield Line("      note: some rows are not flushed yet; the flush brings them along", Style.FAINT)


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


def sum_lines(plan: Plan) -> Iterator[Line]:
    """What it comes to: collections first, then figures, what is compared, and what holds for all."""
    if plan.access is not None and plan.access.added:
        yield Line(f"{count(len(plan.access.added), 'role or grant', 'roles and grants')} to add.", Style.TITLE)
    todo = [c.estimate for c in plan.collections if c.action is Action.MIGRATE]
    if not todo:
        if not plan.has_changes:
            yield Line("Nothing to do.", Style.TITLE)
        return
    objects, size_bytes = sum(e.objects for e in todo), sum(e.size_bytes for e in todo)
    requests = sum(e.import_requests for e in todo) if plan.target is not None else 0
    rows = sum(e.rows if e.counted_rows is None else e.counted_rows for e in todo)
    same = len(plan.collections) - len(todo)
    rest = f", {same:,} with nothing to do" if same else ""
    verb, imports = ("migrate", f"{count(requests, 'import request')}; ") if plan.target else ("back up", "")
    yield Line(f"{count(len(todo), 'collection')} to {verb}{rest}.", Style.TITLE)
    yield Line(
        f"{count(rows, 'row')}, {count(objects, 'object')}, {size(size_bytes)}; {imports}"
        f"{size(size_bytes)} of space for the dump; {_time_range(objects, size_bytes, rows, requests, len(todo))}."
    )
    verified = next((step for step in plan.steps if isinstance(step, VerifyCollection)), None)
    yield Line(
        f"Compared in the end: {verified.depth} of each collection." if verified else "Nothing is compared in the end."
    )
    for notice in plan.notices:
        yield Line(f"{notice[0].upper()}{notice[1:]}.", Style.CHANGED)


def _time_range(objects: int, size_bytes: int, rows: int, requests: int, collections: int) -> str:
    """From rates seen on small machines with Milvus 2.3: a range wide enough to be honest.

    Copies 100 to 800 objects/s, imports 2 s a request and 10 to 60 MB/s, indexes 2,000 to 50,000 rows/s, and 1 to 5 s
    a collection for flush, creation and loading.
    """
    fast = objects / 800 + requests * 2 + size_bytes / 60e6 + rows / 50_000 + collections + 2
    slow = objects / 100 + requests * 4 + size_bytes / 10e6 + rows / 2_000 + collections * 5 + 10
    return f"roughly {duration(fast)} to {duration(slow)}"


def _steps(plan: Plan) -> Iterator[Line]:
    if plan.steps:
        yield Line()
        yield Line("Steps", Style.TITLE)
    for step in plan.steps:
        yield Line(f"  {clean(step.key)}  {clean(step.describe())}", Style.FAINT)
    yield Line()
    yield Line(f"digest {plan.digest}", Style.FAINT)
