"""What a refresh sees of `transfer.mode: in_place`: whether it can be, and how much would be read where it lies."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from migrator.errors import StoreRefused
from migrator.model.observed import ObservedInPlace
from migrator.model.segment import STORAGE_V2, LogKind, parse_binlog
from migrator.planning.places import is_apart, source_root
from migrator.ports.backup import as_backup
from migrator.steps.in_place_routes import REQUEST_BYTES, STRANGE_FILES, Candidate, choose_route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from migrator.model.observed import Estimate, ObservedCollection, ObservedState
    from migrator.model.segment import Binlog, Segment, StoredObject
    from migrator.ports.store import ObjectReader
    from migrator.running.refresh import Readers
    from migrator.spec.loaded import LoadedPlan


def with_in_place(loaded: LoadedPlan, readers: Readers, observed: ObservedState) -> ObservedState:
    """The observed state, with what can be read in place where the plan asks for that."""
    if loaded.options.transfer.mode != "in_place" or readers.target is None or readers.target_store is None:
        return observed
    survey = _Survey(loaded, readers, readers.target_store)
    why_not = survey.why_not(observed)
    if why_not:
        return replace(observed, in_place=ObservedInPlace(why_not=why_not))
    takes_many = readers.target.capabilities.entries_per_job > 1
    found = [survey.look_at(each, takes_many=takes_many) for each in observed.source]
    copied = [
        (each.collection.ref, reason, number)
        for each, (_, reasons) in zip(observed.source, found, strict=True)
        for reason, number in sorted(reasons.items())
    ]
    source = tuple(replace(each, estimate=estimate) for each, (estimate, _) in zip(observed.source, found, strict=True))
    return replace(observed, source=source, in_place=ObservedInPlace(copied=tuple(copied)))


@dataclass(frozen=True, slots=True)
class _Survey:
    loaded: LoadedPlan
    readers: Readers
    target_store: ObjectReader

    def why_not(self, observed: ObservedState) -> str:
        """By what the target's and staging's credentials show of a file; empty where it can be."""
        if as_backup(self.readers.source) is not None:
            return "the source is a backup"
        if observed.forwards:
            return "staging is not in the target's storage"
        sample = next((each for one in observed.source for each in self._listed(one)), None)
        stores = [("the target's storage", self.target_store)]
        stores += [("staging", self.readers.staging)] if is_apart(self.loaded) else []
        return "" if sample is None else _why_not_shown(stores, sample)

    def _listed(self, observed: ObservedCollection) -> Iterator[StoredObject]:
        root = source_root(self.loaded)
        for kind in LogKind:
            folder = f"{root}/{kind}/{observed.collection.collection_id}".lstrip("/")
            yield from self.readers.source_store.list_objects(folder)

    def look_at(self, observed: ObservedCollection, *, takes_many: bool) -> tuple[Estimate, Counter[str]]:
        """The estimate of a collection with what is read in place, and what is copied all the same, by reason."""
        found = observed.collection
        here = {partition.partition_id for partition in found.partitions}
        listed = self.readers.source.list_segments(found.ref)
        folders = InPlaceSurvey(each for each in listed if each.num_rows > 0 and each.partition_id in here)
        for each in self._listed(observed):
            folders.add(parse_binlog(each, source_root(self.loaded)))
        limit = self.loaded.options.import_.segments_per_job
        return folders.estimate(
            observed.estimate, takes_many=takes_many, segments_per_job=None if limit == "auto" else limit
        )


def _why_not_shown(stores: Sequence[tuple[str, ObjectReader]], sample: StoredObject) -> str:
    for name, store in stores:
        try:
            found = store.find_object(sample.key)
        except StoreRefused as error:
            return f"{name} does not let it be seen: {error.message}"
        if found != sample:
            return f"{name} does not show the source's {sample.key}"
    return ""


@dataclass(slots=True)
class _Folder:
    """What was seen of one live segment."""

    partition_id: int
    storage_version: int = 0
    size_bytes: int = 0
    objects: int = 0
    logs: Counter[int] = field(default_factory=Counter)
    """How many insert logs there are of each column."""

    @property
    def obstacle(self) -> str:
        is_whole = self.storage_version == STORAGE_V2 or len(set(self.logs.values())) == 1
        return "" if is_whole else STRANGE_FILES


class InPlaceSurvey:
    """Of one collection: told of every file, it tells what would be read in place, about."""

    def __init__(self, live: Iterable[Segment]) -> None:
        self._folders = {each.segment_id: _Folder(each.partition_id, each.storage_version) for each in live}
        self._littered: set[int] = set()

    def add(self, binlog: Binlog | None) -> None:
        """A file of the collection's folders; None where it is no binlog."""
        if binlog is None:
            return
        folder = self._folders.get(binlog.segment_id)
        if folder is None:
            self._littered.add(binlog.partition_id)
            return
        folder.objects += 1
        folder.size_bytes += binlog.source.size_bytes
        if binlog.field_id is not None:
            folder.logs[binlog.field_id] += 1

    def estimate(
        self, found: Estimate, *, takes_many: bool, segments_per_job: int | None
    ) -> tuple[Estimate, Counter[str]]:
        """The estimate with what is read in place, and how many segments are copied all the same, by reason."""
        by_partition = defaultdict[int, list[Candidate]](list)
        for segment_id, folder in self._folders.items():
            candidate = Candidate(
                segment_id=segment_id,
                objects=folder.objects,
                size_bytes=folder.size_bytes,
                obstacle=folder.obstacle,
            )
            by_partition[folder.partition_id].append(candidate)
        objects, size_bytes, requests, as_copied = 0, 0, 0, 0
        copied = Counter[str]()
        for partition_id, candidates in by_partition.items():
            is_littered = partition_id in self._littered
            route = choose_route(candidates, is_littered=is_littered, takes_many=takes_many)
            read = [each for each in candidates if each.segment_id in route.in_place]
            objects += sum(each.objects for each in read)
            size_bytes += sum(each.size_bytes for each in read)
            is_one = route.is_whole and (segments_per_job is None or len(read) <= segments_per_job)
            requests += 1 if is_one else len(read) + (1 if route.copied else 0)
            copied += route.copied
            fits = sum(each.size_bytes for each in candidates) <= REQUEST_BYTES
            as_copied += 1 if fits and (segments_per_job or len(candidates)) >= len(candidates) else len(candidates)
        requests = found.import_requests + (0 if takes_many else requests - as_copied)
        told = replace(found, in_place_objects=objects, in_place_bytes=size_bytes, import_requests=requests)
        return told, copied
