"""What a plan does otherwise than an earlier one, as a reviewer would ask; both as values, so it needs no server."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from migrator.model.difference import DifferenceKind
from migrator.model.shape import Shape
from migrator.planning.drift import (
    access_lines,
    arrow,
    decisive,
    dumps_by_source,
    in_words,
    rows_of,
    sides_in_words,
    what_became_of,
)
from migrator.planning.plan import Action
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_index import CreateIndex
from migrator.steps.create_snapshot import CreateSnapshot
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.load_collection import LoadCollection
from migrator.steps.restore_rbac import RestoreRbac
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.retire_predecessor import RetirePredecessor
from migrator.steps.seal_dump import SealDump
from migrator.steps.switch_alias import SwitchAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from migrator.model.collection import Index
    from migrator.planning.plan import Plan, PlannedCollection
    from migrator.steps.base import Step

_OF_ALL = "not carried: row timestamps"
_TOLD_BY_KIND = {
    CreateCollection.kind,
    CreateIndex.kind,
    CreateSnapshot.kind,
    DumpMeta.kind,
    LoadCollection.kind,
    RestoreRbac.kind,
    RestoreSnapshot.kind,
    RetirePredecessor.kind,
    SealDump.kind,
    SwitchAlias.kind,
}
"""Steps whose members have words of their own."""
_TOLD_OTHERWISE = {
    "collection",
    "collection_id",
    "collections",
    "dump_prefix",
    "earlier_runs",
    "follows",
    "imports_folder",
    "needs",
    "plan",
    "shape",
    "source",
    "source_bucket",
    "source_root",
    "staging_bucket",
    "target",
    "target_bucket",
    "targets",
    "claims_folder",
    "collection_ids",
}
"""Members of steps that follow from the places, the collections, or who made the plan."""
_OF_SCHEMA = {DifferenceKind.SCHEMA}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing told of a collection, or of the plan as a whole where `collection` is empty."""

    collection: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a plan comes to."""

    collections: int
    rows: int
    objects: int
    size_bytes: int
    import_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanges:
    """What differs, in the order a reviewer asks for it.

    `added`, `removed` and `renamed` are collections as `source → target`; `moved` are rows and segments, which are no
    change of what is done.
    """

    digest_then: str
    digest_now: str
    places: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[str, ...]
    changed: tuple[Change, ...]
    risks: tuple[Change, ...]
    """Newly there."""
    risks_gone: tuple[Change, ...]
    access: tuple[str, ...]
    moved: tuple[str, ...]
    then: Totals
    now: Totals

    @property
    def does_the_same(self) -> bool:
        """Whether both plans do the same, however many rows there are."""
        return not any((self.places, self.added, self.removed, self.renamed, self.changed, self.access))


def changes(before: Plan, now: Plan) -> PlanChanges:
    """What `now` does otherwise than `before`."""
    pairs = _Pairs(before, now)
    return PlanChanges(
        digest_then=before.digest,
        digest_now=now.digest,
        places=tuple(sides_in_words(before, now)),
        added=tuple(arrow(each) for each in pairs.added),
        removed=tuple(arrow(each) for each in pairs.removed),
        renamed=tuple(f"{arrow(new)}, and was {arrow(old)}" for old, new in pairs.both if arrow(old) != arrow(new)),
        changed=tuple(_changed(before, now, pairs)),
        risks=(*_new_risks(pairs.both, before, now), *_risks_of_added(before, pairs)),
        risks_gone=tuple(_new_risks([(new, old) for old, new in pairs.both], now, before)),
        access=tuple(_signed(access_lines(before), access_lines(now))),
        moved=tuple(_moved(pairs)),
        then=_totals(before),
        now=_totals(now),
    )


class _Pairs:
    """Collections of both plans: by source and target, else by a source that goes elsewhere now."""

    def __init__(self, before: Plan, now: Plan) -> None:
        old = {(each.source, each.target): each for each in before.collections}
        new = {(each.source, each.target): each for each in now.collections}
        self.both = [(old[pair], new[pair]) for pair in new if pair in old]
        gone = [each for pair, each in old.items() if pair not in new]
        came = [each for pair, each in new.items() if pair not in old]
        once_gone, once_came = (Counter(each.source for each in found) for found in (gone, came))
        by_source = {each.source: each for each in gone}
        moved = [each for each in came if once_came[each.source] == 1 == once_gone[each.source]]
        self.both += [(by_source[each.source], each) for each in moved]
        sources = {each.source for each in moved}
        self.added = [each for each in came if each.source not in sources]
        self.removed = [each for each in gone if each.source not in sources]


def _totals(plan: Plan) -> Totals:
    todo = [each.estimate for each in plan.collections if each.action is Action.MIGRATE]
    return Totals(
        collections=len(todo),
        rows=sum(each.rows if each.counted_rows is None else each.counted_rows for each in todo),
        objects=sum(each.objects for each in todo),
        size_bytes=sum(each.size_bytes for each in todo),
        import_requests=sum(each.import_requests for each in todo) if plan.target is not None else 0,
    )


# -- what is done otherwise -------------------------------------------------------------------------------------------


def _changed(before: Plan, now: Plan, pairs: _Pairs) -> Iterator[Change]:
    dumped, dumps = dumps_by_source(before), dumps_by_source(now)
    old_steps, new_steps = _by_collection(before), _by_collection(now)
    for old, new in pairs.both:
        if old.action is not new.action:
            yield Change(collection=new.label, text=what_became_of(old, new))
            continue
        then, today = old_steps.get(old.label, {}), new_steps.get(new.label, {})
        texts = [*_source_changes(dumped.get(old.source), dumps.get(new.source))]
        if (old.target is None) == (new.target is None):  # else all of it follows from the target that came or went
            texts += [*_facet_changes(_facets(old, then), _facets(new, today)), *_step_changes(then, today)]
        yield from (Change(collection=new.label, text=text) for text in texts)
    yield from (
        Change(collection="", text=text)
        for text in _step_changes(old_steps.get("", {}), new_steps.get("", {}))
        if before.has_changes and now.has_changes
    )


def _by_collection(plan: Plan) -> dict[str, dict[str, Step]]:
    """Steps by label, and by kind; of the run's own, databases are told by the collections in them."""
    found: dict[str, dict[str, Step]] = {}
    for step in plan.steps:
        if step.kind != "create_database":
            found.setdefault(step.collection, {})[step.kind] = step
    return found


def _source_changes(then: DumpMeta | CreateSnapshot | None, now: DumpMeta | CreateSnapshot | None) -> Iterator[str]:
    """Of the source's schema; what else is another there shows in what is asked of the target."""
    if then is None or now is None:
        return
    for difference in Shape.of(then.planned).differences(now.planned):
        if difference.kind in _OF_SCHEMA:
            yield f"the source {in_words(difference)}"
    if then.planned.collection_id != now.planned.collection_id:
        yield "was dropped at the source, and created again"


@dataclass(frozen=True, slots=True)
class _Facet:
    """What is asked for, under a word for it: of several, or as one."""

    word: str
    values: tuple[str, ...]
    is_list: bool = True


def _facets(collection: PlannedCollection, steps: Mapping[str, Step]) -> list[_Facet]:
    """What the plan asks of a collection, in words."""
    if collection.action is not Action.MIGRATE:
        return []
    dump, create = steps.get(DumpMeta.kind), steps.get(CreateCollection.kind) or steps.get(RestoreSnapshot.kind)
    facets = []
    if isinstance(create, CreateCollection):
        of_key = (f"{create.num_partitions} of its key",) if create.num_partitions else ()
        facets += [
            _Facet("shards", (str(create.shards_num),), is_list=False),
            _Facet("consistency", (create.consistency_level.name.title(),), is_list=False),
            _Facet("description", (repr(create.schema.description),), is_list=False),
            _Facet("partition", of_key or create.partitions),
            _Facet("property", tuple(f"{key}={value}" for key, value in create.properties)),
        ]
    elif isinstance(dump, DumpMeta):
        facets.append(_Facet("partition", dump.partitions or tuple(each.name for each in dump.planned.partitions)))
    return [*facets, *_later_facets(collection, steps)]


def _later_facets(collection: PlannedCollection, steps: Mapping[str, Step]) -> Iterator[_Facet]:
    index, load, alias = (steps.get(kind.kind) for kind in (CreateIndex, LoadCollection, SwitchAlias))
    if isinstance(index, CreateIndex):
        yield _Facet("index", tuple(map(_index, index.indexes)))
    if isinstance(load, LoadCollection):
        parts = [f"partitions {', '.join(load.partitions)}"] if load.partitions else ["all of it"]
        parts += [f"{load.replica_number} replicas"] if load.replica_number > 1 else []
        parts += [f"in {', '.join(load.resource_groups)}"] if load.resource_groups else []
        yield _Facet("load", (", ".join(parts),), is_list=False)
    if isinstance(alias, SwitchAlias):
        owners = {move.alias: move.owner for move in alias.moves}
        yield _Facet(
            "alias", tuple(f"{each} from {owners[each]}" if each in owners else each for each in alias.aliases)
        )
    if collection.replaces is not None:
        yield _Facet("replaces", (f"collection {collection.replaces.collection_id}",), is_list=False)


def _index(index: Index) -> str:
    flat = {key: value for key, value in index.flat_params.items() if key not in {"index_type", "metric_type"}}
    inner = ", ".join(f"{key}={value}" for key, value in sorted(flat.items()))
    return f"{index} ({inner})" if inner else str(index)


def _facet_changes(before: list[_Facet], now: list[_Facet]) -> Iterator[str]:
    old, new = {each.word: each for each in before}, {each.word: each for each in now}
    for word in dict.fromkeys((*old, *new)):
        facet = new.get(word) or old[word]
        then, today = (found[word].values if word in found else () for found in (old, new))
        lost = [each for each in then if each not in today]
        gained = [each for each in today if each not in then]
        if not facet.is_list:
            if then != today:
                yield f"{word} {''.join(then) or 'no'} → {''.join(today) or 'no'}"
        elif len(lost) == len(gained) == 1:
            yield f"{word} {lost[0]} → {gained[0]}"
        else:
            yield from (f"no longer {word} {each}" for each in lost)
            yield from (f"now {word} {each}" for each in gained)


def _step_changes(before: Mapping[str, Step], now: Mapping[str, Step]) -> Iterator[str]:
    """What no facet has a word for: kinds of steps that came or went, and their settings."""
    for kind in dict.fromkeys((*before, *now)):
        old, new = before.get(kind), now.get(kind)
        if kind in _TOLD_BY_KIND:
            continue
        if old is None or new is None:
            yield f"{'no longer' if new is None else 'now'} a step {kind.replace('_', ' ')}"
        else:
            yield from _settings(old, new)


def _settings(before: Step, now: Step) -> Iterator[str]:
    for member in fields(now):
        old, new = getattr(before, member.name, None), getattr(now, member.name)
        if member.name not in _TOLD_OTHERWISE and old != new:
            yield f"{member.name.replace('_', ' ')} of {now.kind.replace('_', ' ')} {old} → {new}"


# -- what has to be known ---------------------------------------------------------------------------------------------


def _new_risks(
    both: Iterable[tuple[PlannedCollection, PlannedCollection]], before: Plan, now: Plan
) -> Iterator[Change]:
    """What does not come along, or has to be known, and was not so before."""
    for old, new in both:
        known = set(_risks(old))
        yield from (Change(collection=new.label, text=text) for text in _risks(new) if text not in known)
    known = set(decisive(before.notices))
    yield from (Change(collection="", text=text) for text in decisive(now.notices) if text not in known)


def _risks_of_added(before: Plan, pairs: _Pairs) -> Iterator[Change]:
    """Those of new collections, without what is true of all of them anyhow."""
    usual = {text for each in before.collections for text in _risks(each) if text.startswith(_OF_ALL)}
    for each in pairs.added:
        yield from (Change(collection=each.label, text=text) for text in _risks(each) if text not in usual)


def _risks(collection: PlannedCollection) -> list[str]:
    left = [f"not carried: {text}" for text in collection.not_carried]
    replaced = [] if collection.replaces is None else [collection.replaces.in_words()]
    return [*replaced, *left, *collection.notices]


def _signed(before: Iterable[str], now: Iterable[str]) -> Iterator[str]:
    old, new = tuple(before), tuple(now)
    yield from (text for text in new if text not in old)
    yield from (f"no longer: {text}" for text in old if text not in new)


def _moved(pairs: _Pairs) -> Iterator[str]:
    """Numbers of rows, the largest movement first."""
    moved = [(new.source.short, rows_of(old), rows_of(new)) for old, new in pairs.both if rows_of(old) != rows_of(new)]
    for name, then, today in sorted(moved, key=lambda each: -abs(each[2] - each[1])):
        yield f"{name}: {then:,} → {today:,} rows ({today - then:+,})"
