"""Look up the clusters that a plan names, in the plan file itself or in a file of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import SpecError
from migrator.spec.reading import key_hint
from migrator.spec.report import Report
from migrator.spec.source_map import moved
from migrator.spec.yaml_file import YamlFile, read_yaml

if TYPE_CHECKING:
    from migrator.spec.source_map import Data, SourceMap
    from migrator.spec.source_map import Path as Place


@dataclass(frozen=True, slots=True)
class ClusterBook:
    """Clusters by name, where they stand, and what relative paths in them start from."""

    clusters: dict[str, Data]
    marks: SourceMap
    place: Place
    folder: str
    file: YamlFile | None = None
    is_readable: bool = True


def folder_of(path: Path) -> str:
    """Return the absolute folder that holds the file at `path`."""
    return str(path.absolute().parent)


def find_book(plan: YamlFile, override: Path | None, report: Report) -> ClusterBook:
    """Return the clusters that `plan` may name; `override` is the file given on the command line."""
    written = plan.data.get("clusters")
    if override is not None:
        return _read(override, report)
    if isinstance(written, str) and written:
        return _read(plan.path.parent / Path(written).expanduser(), report)
    if written is not None and not isinstance(written, dict):
        report.add(("clusters",), "must be a file's path, or a map of clusters", "write clusters: clusters.yaml")
        return _no_book()
    return ClusterBook(written or {}, plan.marks, ("clusters",), folder_of(plan.path))


def look_up(side: str, book: ClusterBook, report: Report) -> bool:
    """Replace the name that stands under `side` by its cluster; whether the cluster is one of `book`."""
    name = report.data.get(side)
    if not isinstance(name, str):
        return False
    if name in book.clusters:
        report.data[side] = book.clusters[name]
        report.marks |= moved(book.marks, (*book.place, name), (side,))
        return True
    if book.is_readable:
        report.add((side,), "no cluster has this name", _name_hint(name, book))
    report.broken.add((side,))
    return False


def _name_hint(name: str, book: ClusterBook) -> str:
    if not book.clusters:
        return "name a file of clusters, as clusters: clusters.yaml, or pass --clusters FILE"
    near = key_hint(name, book.clusters)
    return near if near.startswith("did you mean") else f"known clusters: {', '.join(sorted(book.clusters))}"


def _no_book() -> ClusterBook:
    return ClusterBook({}, {}, (), "", is_readable=False)


def _read(path: Path, report: Report) -> ClusterBook:
    try:
        file = read_yaml(path, what="clusters file")
    except SpecError as error:
        place = report.position_of(("clusters",))
        report.complaints += [
            replace(complaint, field="clusters", position=complaint.position or place) for complaint in error.complaints
        ]
        return _no_book()
    return _open(file, report)


def _open(file: YamlFile, report: Report) -> ClusterBook:
    inner = Report(file.data, file.marks, [*file.complaints], set(file.broken))
    place: Place = ("clusters",) if "clusters" in file.data else ()
    _check_frame(file, place, inner)
    written = file.data.get("clusters") if place else {k: v for k, v in file.data.items() if k != "version"}
    clusters = written if isinstance(written, dict) else {}
    for name, cluster in clusters.items():
        if not isinstance(cluster, dict):
            inner.add((*place, name), "must be a cluster, a map of keys and values", show=False)
    report.complaints += inner.complaints
    return ClusterBook(clusters, file.marks, place, folder_of(file.path), file)


def _check_frame(file: YamlFile, place: Place, inner: Report) -> None:
    """Check what stands around the clusters of a clusters file."""
    if file.data.get("version", 1) != 1:
        inner.add(("version",), "must be 1", "write version: 1")
    if place and not isinstance(file.data["clusters"], dict):
        inner.add(place, "must be a map of clusters", "write a name and its cluster below it", show=False)
    for key in file.data if place else ():
        if key not in {"version", "clusters"}:
            inner.add((key,), f"unknown key {key}", "move it below clusters", show=False, at_key=True)
