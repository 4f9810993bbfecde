"""How one plan departs from another, in words: the world moved, or the plan file was edited, in between."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from migrator.model.difference import DifferenceKind
from migrator.model.shape import Shape
from migrator.planning.carriage import ACROSS, STREAMED
from migrator.planning.plan import Action
from migrator.steps.create_snapshot import CreateSnapshot
from migrator.steps.dump_meta import DumpMeta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.model.collection import CollectionRef
    from migrator.model.difference import Difference
    from migrator.planning.plan import Plan, PlannedCollection, Side
    from migrator.steps.base import Step

_NOTHING = {"none", "missing"}
_ACTIONS = {
    Action.MIGRATE: "is to be migrated",
    Action.DONE: "has been migrated",
    Action.SKIP: "is at the target, and is left alone",
}
_TOLD_OTHERWISE = {"planned", "needs", "follows", "collection", "earlier_runs"}
"""Of a step: what is compared by itself, or decides nothing by itself."""
_SIDE_WORDS = {
    "uri": ("is", "was"),
    "version": ("runs Milvus", "ran"),
    "bucket": ("uses bucket", "used"),
    "root_path": ("uses root path", "used"),
}
_LONGEST = 60


def drift(before: Plan, now: Plan) -> tuple[str, ...]:
    """What `now` does otherwise than `before`; empty where they do the same, however many rows there are."""
    return tuple(dict.fromkeys(_drift(before, now)))


def movement(before: Plan, now: Plan) -> tuple[str, ...]:
    """What has moved without changing what is done: rows and segments."""
    then = {(each.source, each.target): each for each in before.collections}
    told = []
    for each in now.collections:
        old = then.get((each.source, each.target))
        rows, rows_then = rows_of(each), rows_of(old) if old else None
        if rows_then is not None and rows != rows_then:
            told.append(f"{each.source.short} has {rows:,} rows now, and had {rows_then:,}")
    return tuple(told)


def rows_of(collection: PlannedCollection) -> int:
    """As many as there are, or as are flushed where nobody counted."""
    estimate = collection.estimate
    return estimate.rows if estimate.counted_rows is None else estimate.counted_rows


def _drift(before: Plan, now: Plan) -> Iterator[str]:
    yield from sides_in_words(before, now)
    yield from _collections(before, now)
    yield from _steps(before, now)
    yield from _lines("access", access_lines(before), access_lines(now))
    yield from _lines("note", decisive(before.notices), decisive(now.notices))


def decisive(notices: Iterable[str]) -> list[str]:
    """Without who carries the files: the source's store shows that by whatever file there is just then."""
    return [text for text in notices if not text.startswith((STREAMED, ACROSS))]


def sides_in_words(before: Plan, now: Plan) -> Iterator[str]:
    """Which clusters, buckets and folders are others."""
    yield from _sides("source", before.source, now.source)
    if before.target is not None and now.target is not None:
        yield from _sides("target", before.target, now.target)
    elif before.target is not now.target:
        yield "the plan has a target now" if before.target is None else "the plan has no target any more"
    if before.dump != now.dump:
        yield f"the dump goes to {now.dump}/, and went to {before.dump}/"


def _sides(name: str, before: Side, now: Side) -> Iterator[str]:
    for field, (verb, past) in _SIDE_WORDS.items():
        old, new = getattr(before, field), getattr(now, field)
        if old != new:
            yield f"the {name} {verb} {new} now, and {past} {old}"
    if before.backup != now.backup:
        yield f"the {name} is backup {now.backup} now, and was {before.backup or 'a server'}"


# -- collections ------------------------------------------------------------------------------------------------------


def _collections(before: Plan, now: Plan) -> Iterator[str]:
    old, new = ({(c.source, c.target): c for c in plan.collections} for plan in (before, now))
    dumped, dumps = (dumps_by_source(plan) for plan in (before, now))
    for pair, collection in new.items():
        if pair not in old:
            yield f"{arrow(collection)} is new"
    for pair, collection in old.items():
        if pair not in new:
            yield f"{arrow(collection)} is not in it any more"
    for pair in (pair for pair in new if pair in old):
        yield from _collection(old[pair], new[pair], dumped.get(pair[0]), dumps.get(pair[0]))


def dumps_by_source(plan: Plan) -> dict[CollectionRef, DumpMeta | CreateSnapshot]:
    """The steps that describe the source's collections."""
    return {step.planned.ref: step for step in plan.steps if isinstance(step, DumpMeta | CreateSnapshot)}


def arrow(collection: PlannedCollection) -> str:
    """`coll → coll_bak`."""
    source = collection.source.short
    return source if collection.target is None else f"{source} → {collection.target.short}"


def _collection(
    before: PlannedCollection,
    now: PlannedCollection,
    dumped: DumpMeta | CreateSnapshot | None,
    dumps: DumpMeta | CreateSnapshot | None,
) -> Iterator[str]:
    if before.action is not now.action:
        yield f"{now.label} {what_became_of(before, now)}"
        return
    if dumped is not None and dumps is not None:
        then, today = dumped.planned, dumps.planned
        for difference in Shape.of(then).differences(today):
            yield f"{now.source.short} {in_words(difference)}"
        if then.collection_id != today.collection_id:
            yield f"{now.source.short} was dropped at the source, and created again"
    yield from _lines(now.label, before.changed, now.changed)


def what_became_of(before: PlannedCollection, now: PlannedCollection) -> str:
    """What is done with it, and was not before."""
    return f"{_ACTIONS[now.action]} now, and {_ACTIONS[before.action].replace('is ', 'was ', 1)} then"


def in_words(difference: Difference) -> str:
    """Of one collection at two moments; `source` is then, `target` is now."""
    what = difference.field
    if difference.kind is DifferenceKind.PARTITION:
        what = f"partition {difference.partition!r}"
    elif difference.kind is DifferenceKind.INDEX:
        what = f"an index {difference.field}"
    if difference.source in _NOTHING:
        return f"gained {what}" if difference.target == "there" else f"gained {what}: {difference.target}"
    if difference.target in _NOTHING:
        return f"lost {what}"
    return f"has {what} {difference.target} now, and had {difference.source}"


# -- all else ---------------------------------------------------------------------------------------------------------


def _steps(before: Plan, now: Plan) -> Iterator[str]:
    """Steps of collections that are in both."""
    old, new = ({step.key: step for step in plan.steps} for plan in (before, now))
    shared = {each.label for each in before.collections} & {each.label for each in now.collections}
    for key in (key for key in (*old, *new) if (key in old) != (key in new)):
        step = (old if key in old else new)[key]
        if step.collection in shared:
            yield f"{step.collection}: {'no longer' if key in old else 'it will'} {step.describe()}"
    for key in (key for key in new if key in old):
        yield from _step(old[key], new[key])


def _step(before: Step, now: Step) -> Iterator[str]:
    for member in fields(now):
        if member.name in _TOLD_OTHERWISE:
            continue
        old, new = getattr(before, member.name, None), getattr(now, member.name)
        if old != new:
            place = now.collection or now.kind
            yield f"{place}: {member.name} of {now.kind} is {_short(new)} now, and was {_short(old)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def access_lines(plan: Plan) -> tuple[str, ...]:
    """What happens to users, roles and grants, but for what stays."""
    return () if plan.access is None else (*plan.access.added, *plan.access.changed, *plan.access.not_carried)


def _lines(name: str, before: Iterable[str], now: Iterable[str]) -> Iterator[str]:
    """Of two lists of remarks: what came, and what went."""
    old, new = tuple(before), tuple(now)
    yield from (f"{name}: {text}" for text in new if text not in old)
    yield from (f"{name}: no longer {text}" for text in old if text not in new)
