"""Which collections a plan file's mappings select, and where each goes; an exact name beats a glob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import Complaint
from migrator.model.collection import DEFAULT_DATABASE
from migrator.spec.fault import Fault
from migrator.spec.names import is_harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from migrator.model.collection import CollectionRef
    from migrator.spec.loaded import LoadedPlan
    from migrator.spec.rules_mappings import ResolvedMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """One source collection, the mapping that selects it, and its target; the same name where the plan has none."""

    mapping: ResolvedMapping
    source: CollectionRef
    target: CollectionRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the mappings select, in their order, and what is wrong with it."""

    items: tuple[Selected, ...]
    complaints: tuple[Complaint, ...]


def select(loaded: LoadedPlan, names: Sequence[CollectionRef]) -> Selection:
    """Expand the mappings over the source's collections `names`."""
    complaints: list[Complaint] = []
    chosen: dict[CollectionRef, ResolvedMapping] = {}
    ordered, known = sorted(names), frozenset(names)
    for mapping in sorted(loaded.mappings, key=lambda m: (m.source.is_glob, m.index)):
        exact = mapping.source.exact
        candidates = ordered if exact is None else known & {exact}
        found = [ref for ref in candidates if mapping.wants(ref)]
        if not found:
            complaints.append(_nothing_matches(loaded, mapping, names))
        for ref in found:
            if not is_harmless(ref):
                complaints.append(_not_allowed(loaded, mapping, ref))
                continue
            other = chosen.setdefault(ref, mapping)
            if other is not mapping and other.source.is_glob:
                complaints.append(_two_globs(loaded, mapping, other, ref))
    items, faults = _with_targets(loaded, chosen)
    complaints += [*faults, *_collisions(loaded, items)]
    return Selection(items=items, complaints=tuple(complaints))


def _complain(loaded: LoadedPlan, field: str, message: str, hint: str, value: str | None = None) -> Complaint:
    return Complaint(message, field=field, hint=hint, value=value, position=loaded.locate(field))


def _nothing_matches(loaded: LoadedPlan, mapping: ResolvedMapping, names: Iterable[CollectionRef]) -> Complaint:
    known = [ref.short for ref in sorted(names)]
    listed = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "") or "none at all"
    what = "no collection of the source matches" if mapping.source.is_glob else "the source has no collection"
    pattern = str(mapping.source).removeprefix(f"{DEFAULT_DATABASE}.")
    return _complain(loaded, f"{mapping.field}.source", f"{what} {pattern}", f"the source holds: {listed}")


def _not_allowed(loaded: LoadedPlan, mapping: ResolvedMapping, ref: CollectionRef) -> Complaint:
    message = f"the source tells of a collection {str(ref)!r}, which is no name that Milvus allows"
    hint = "see who made that backup, or what answers there; or exclude the collection"
    return _complain(loaded, f"{mapping.field}.source", message, hint)


def _two_globs(loaded: LoadedPlan, mapping: ResolvedMapping, other: ResolvedMapping, ref: CollectionRef) -> Complaint:
    return _complain(
        loaded,
        f"{mapping.field}.source",
        f"{ref.short} is selected by {mapping.source} and by {other.source} of {other.field}",
        f"exclude {ref.short} in one of them, or name it in a mapping of its own",
    )


def _with_targets(
    loaded: LoadedPlan, chosen: dict[CollectionRef, ResolvedMapping]
) -> tuple[tuple[Selected, ...], list[Complaint]]:
    items: list[Selected] = []
    faults: list[Complaint] = []
    for ref, mapping in sorted(chosen.items(), key=lambda item: (item[1].index, item[0])):
        try:
            target = ref if loaded.target is None else mapping.target_of(ref, loaded.variables)
        except Fault as fault:
            message = f"the target of {ref.short}: {fault}"
            faults.append(_complain(loaded, f"{mapping.field}.target", message, fault.hint, mapping.target))
            continue
        items.append(Selected(mapping=mapping, source=ref, target=target))
    return tuple(items), faults


def _collisions(loaded: LoadedPlan, items: Iterable[Selected]) -> list[Complaint]:
    taken: dict[CollectionRef, Selected] = {}
    complaints = []
    for item in items:
        other = taken.setdefault(item.target, item)
        if other is not item:
            complaints.append(
                _complain(
                    loaded,
                    f"{item.mapping.field}.target",
                    f"{item.source.short} and {other.source.short} would both become {item.target.short}",
                    "let the template name the source: {{ database }}, {{ collection }}",
                )
            )
    return complaints
