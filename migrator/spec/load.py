"""Load a plan file: YAML to blocks, names to clusters, rules, and all complaints at once.

What is wrong with one value does not hide what is wrong with the next: blocks are read as far as they are
sound, and every rule is checked on what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from migrator.spec.clusters import ClusterBook, find_book, folder_of, look_up
from migrator.spec.document import (
    BackupSource,
    Cluster,
    CollectionMapping,
    MappingSettings,
    Options,
    PlanDocument,
    PlanHeader,
    Staging,
)
from migrator.spec.loaded import LoadedPlan
from migrator.spec.parts import Parts
from migrator.spec.reading import key_hint, read_block
from migrator.spec.report import Report
from migrator.spec.rules_clusters import check_clusters
from migrator.spec.rules_mappings import resolve_mappings
from migrator.spec.rules_staging import resolve_staging
from migrator.spec.source_map import dotted
from migrator.spec.yaml_file import YamlFile, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LoadedPlan", "load_plan"]

Model = TypeVar("Model", Staging, MappingSettings, Options)
_BLOCKS: Final = frozenset(PlanDocument.model_fields) - frozenset(PlanHeader.model_fields)


def load_plan(path: Path, *, variables: Mapping[str, str] | None = None, clusters: Path | None = None) -> LoadedPlan:
    """Return the plan that the file at `path` describes.

    Args:
        path: The plan file.
        variables: Values from `--var`; they override the file's `vars`.
        clusters: A clusters file that overrides the one the plan names.

    Raises:
        SpecError: Anything is wrong with the plan file, or with what it uses of the clusters file.
    """
    plan = read_yaml(path, what="plan file")
    report = Report(dict(plan.data), dict(plan.marks), [*plan.complaints], set(plan.broken))
    book = find_book(plan, clusters, report)
    parts = _read_parts(report, book, folder_of(path), variables or {})
    check_clusters(parts, report)
    staging = resolve_staging(parts, report)
    mappings = resolve_mappings(parts, report)
    report.raise_if_any()
    if parts.source is None or staging is None:
        raise AssertionError("a plan without source or staging was not complained about")
    return LoadedPlan(
        name=parts.header.name,
        description=parts.header.description,
        variables=parts.variables,
        source=parts.source if isinstance(parts.source, Cluster) else None,
        target=parts.target,
        source_backup=parts.source if isinstance(parts.source, BackupSource) else None,
        staging=staging,
        mappings=mappings,
        options=parts.options,
        path=path.absolute(),
        clusters_path=book.file.path.absolute() if book.file else None,
        file_digests=_digests(plan, book.file),
        positions={dotted(place): mark.value for place, mark in report.marks.items()},
    )


def _digests(*files: YamlFile | None) -> tuple[tuple[str, str], ...]:
    return tuple((str(file.path.absolute()), file.sha256) for file in files if file is not None)


def _read_parts(report: Report, book: ClusterBook, folder: str, overrides: Mapping[str, str]) -> Parts:
    header = read_block(report, PlanHeader, (), folder=folder, without=_BLOCKS)
    if header is None:
        raise AssertionError("every key of a plan's header has a stand-in")
    source, target = (_read_cluster(side, report, book, folder) for side in ("source", "target"))
    defaults = _read_optional(MappingSettings, "defaults", report, folder)
    return Parts(
        header=header,
        source=source,
        target=target if isinstance(target, Cluster) else None,
        staging=_read_optional(Staging, "staging", report, folder),
        mappings=_read_mappings(defaults, report, folder),
        options=_read_optional(Options, "options", report, folder),
        variables=_override(header, overrides, report),
    )


def _override(header: PlanHeader, overrides: Mapping[str, str], report: Report) -> dict[str, str | int | float | bool]:
    for key in sorted(set(overrides) - set(header.vars)):
        hint = key_hint(key, header.vars) if header.vars else f"add vars: {{{key}: ...}} to the plan file"
        report.add(("vars", key), f"--var sets {key}, which the plan file does not have", hint)
    return {key: overrides.get(key, value) for key, value in header.vars.items()}


def _read_cluster(side: str, report: Report, book: ClusterBook, folder: str) -> Cluster | BackupSource | None:
    written = report.data.get(side)
    if written is None:
        if side == "source":
            report.add((side,), "the key source is missing", "add source: and a cluster's name")
        return None
    if isinstance(written, str):
        return read_block(report, Cluster, (side,), folder=book.folder) if look_up(side, book, report) else None
    if side == "source" and isinstance(written, dict) and "backup" in written:
        return read_block(report, BackupSource, (side,), folder=folder)
    return read_block(report, Cluster, (side,), folder=folder)


def _read_optional(model: type[Model], key: str, report: Report, folder: str) -> Model:
    """Return a block that may be left out, or left empty."""
    if report.data.get(key) is None:
        return model()
    return read_block(report, model, (key,), folder=folder) or model()


def _read_mappings(defaults: MappingSettings, report: Report, folder: str) -> dict[int, CollectionMapping]:
    entries = report.data.get("collections")
    if not isinstance(entries, list) or not entries:
        message = (
            "must be a list with at least one collection"
            if "collections" in report.data
            else "the key collections is missing"
        )
        report.add(("collections",), message, "add collections: [name]", show=False)
        return {}
    read = {
        index: read_block(report, CollectionMapping, ("collections", index), folder=folder)
        for index in range(len(entries))
    }
    return {index: _with_defaults(mapping, defaults) for index, mapping in read.items() if mapping}


def _with_defaults(mapping: CollectionMapping, defaults: MappingSettings) -> CollectionMapping:
    left_out = defaults.model_fields_set - mapping.model_fields_set
    return mapping.model_copy(update={key: getattr(defaults, key) for key in left_out})
