"""Rules about mappings, and the mappings with patterns parsed and defaults merged in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from migrator.model.collection import CollectionRef
from migrator.spec.document import (
    Aliases,
    CollectionMapping,
    CreateOverrides,
    IfExists,
    Indexes,
    LoadWhen,
)
from migrator.spec.fault import Fault
from migrator.spec.names import NamePattern, parse_alias, parse_name, parse_partition, parse_pattern
from migrator.spec.parts import Parts, setting_path
from migrator.spec.render import TARGET_NAMES, VARS_ONLY, check_template, render_name, render_vars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from migrator.spec.report import Report
    from migrator.spec.source_map import Path

Variables: TypeAlias = "Mapping[str, str | int | float | bool]"
T = TypeVar("T")

_VARS: Path = ("vars",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedMapping:
    """One entry of `collections`, with the defaults merged in and everything but `target` rendered."""

    index: int
    source: NamePattern
    target: str | None
    exclude: tuple[NamePattern, ...]
    partitions: tuple[str, ...]
    if_exists: IfExists
    create: CreateOverrides
    indexes: Indexes
    load: LoadWhen
    aliases: Aliases

    @property
    def field(self) -> str:
        """Its place in the plan file, for complaints: `collections[0]`."""
        return f"collections[{self.index}]"

    def wants(self, ref: CollectionRef) -> bool:
        """Whether `ref` is one of its sources."""
        return self.source.matches(ref) and not any(pattern.matches(ref) for pattern in self.exclude)

    def target_of(self, ref: CollectionRef, variables: Variables) -> CollectionRef:
        """Return where the source collection `ref` goes.

        Raises:
            Fault: The template fails for this collection, or gives a name that Milvus does not allow.
        """
        if self.target is None:
            return ref
        return parse_name(render_name(self.target, database=ref.database, collection=ref.name, variables=variables))


def resolve_mappings(parts: Parts, report: Report) -> tuple[ResolvedMapping, ...]:
    """Return the mappings that are sound, checking each by itself and next to the others."""
    found = [_resolve(index, mapping, parts, report) for index, mapping in parts.mappings.items()]
    mappings = tuple(mapping for mapping in found if mapping is not None)
    _check_sources(mappings, report)
    targets = {mapping.index: _check_target(mapping, parts, report) for mapping in mappings}
    _check_targets(mappings, targets, report)
    return mappings


def _resolve(index: int, mapping: CollectionMapping, parts: Parts, report: Report) -> ResolvedMapping | None:
    place: Path = ("collections", index)
    load = setting_path(report, index, "load")
    if mapping.indexes == "none" and mapping.load == "always":
        message, hint = (
            "load: always with indexes: none: Milvus loads nothing without an index",
            "use load: never",
        )
        report.add(load, message, hint, needs=[setting_path(report, index, "indexes")])
    source = _rendered((*place, "source"), mapping.source, parse_pattern, parts, report)
    exclude = _rendered_all(setting_path(report, index, "exclude"), mapping.exclude, parse_pattern, parts, report)
    aliases: Aliases = mapping.aliases
    if isinstance(aliases, tuple):
        aliases = _rendered_all(setting_path(report, index, "aliases"), aliases, parse_alias, parts, report)
    chosen = setting_path(report, index, "partitions")
    partitions = _rendered_all(chosen, mapping.partitions, parse_partition, parts, report)
    if source is None:
        return None
    return ResolvedMapping(
        index=index,
        source=source,
        target=mapping.target,
        exclude=exclude,
        partitions=partitions,
        if_exists=mapping.if_exists,
        create=mapping.create,
        indexes=mapping.indexes,
        load=mapping.load,
        aliases=aliases,
    )


def _rendered_all(
    path: Path, texts: tuple[str, ...], parse: Callable[[str], T], parts: Parts, report: Report
) -> tuple[T, ...]:
    found = (_rendered((*path, index), text, parse, parts, report) for index, text in enumerate(texts))
    return tuple(value for value in found if value is not None)


def _rendered(path: Path, text: str, parse: Callable[[str], T], parts: Parts, report: Report) -> T | None:
    try:
        check_template(text, names=VARS_ONLY, variables=parts.variables)
        return parse(render_vars(text, variables=parts.variables))
    except Fault as fault:
        report.add_fault(path, fault, needs=[_VARS])
        return None


def _check_target(mapping: ResolvedMapping, parts: Parts, report: Report) -> CollectionRef | None:
    """Try the target's template; return the target of an exact source."""
    path = setting_path(report, mapping.index, "target")
    sample = CollectionRef(_sample(mapping.source.database), _sample(mapping.source.collection))
    try:
        check_template(mapping.target or "", names=TARGET_NAMES, variables=parts.variables)
        target = mapping.target_of(sample, parts.variables)
    except Fault as fault:
        report.add_fault(path, fault, needs=[_VARS])
        return None
    return target if mapping.source.exact else None


def _sample(pattern: str) -> str:
    """A name that `pattern` could match, made of several words as names are; an exact name is its own."""
    text = re.sub(r"\[!?(.)[^\]]*\]", r"\1", pattern)
    return text.replace("*", "some_name").replace("?", "x")


def _check_sources(mappings: tuple[ResolvedMapping, ...], report: Report) -> None:
    first: dict[NamePattern, ResolvedMapping] = {}
    for mapping in mappings:
        other = first.setdefault(mapping.source, mapping)
        if other is not mapping:
            path: Path = ("collections", mapping.index, "source")
            message = f"{mapping.source} is mapped twice; {other.field} has it already"
            report.add(path, message, "remove one of them", needs=[("collections", other.index, "source")])


def _check_targets(
    mappings: tuple[ResolvedMapping, ...], targets: Mapping[int, CollectionRef | None], report: Report
) -> None:
    first: dict[CollectionRef, ResolvedMapping] = {}
    for mapping in mappings:
        target = targets[mapping.index]
        if target is None:
            continue
        other = first.setdefault(target, mapping)
        if other is not mapping and other.source != mapping.source:
            message = f"{other.field} and {mapping.field} both go to {target}"
            needs = [setting_path(report, other.index, "target"), ("collections", mapping.index, "source")]
            report.add(setting_path(report, mapping.index, "target"), message, "give another target", needs=needs)
