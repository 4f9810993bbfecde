"""Segments that the target reads where the source keeps them (`transfer.mode: in_place`): which, and whether they hold.

A folder is read as it is only while it holds the frozen files and no others, by the listing that the target's own
credentials show. What does not is copied, as in any other mode; so one collection may have segments of both kinds. The
routes are noted once for each frozen listing, and under no step: copies that are made anew do not choose anew, for what
is imported was cut into requests by the routes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby, islice, pairwise
from typing import TYPE_CHECKING

from migrator.errors import StoreRefused
from migrator.model.codec import from_plain, to_plain
from migrator.model.segment import LogKind, StoredObject
from migrator.steps.in_place_routes import STRANGE_FILES, Candidate, choose_route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from migrator.model.collection import CollectionRef
    from migrator.model.segment import Binlog, Segment
    from migrator.ports.ledger import Ledger, LedgerReader, SegmentTotals
    from migrator.ports.store import ObjectReader
    from migrator.steps.base import StepContext

ROUTES = "routes"
"""The note of them."""
CHECKED = "checked"
"""The note of an import after which the files were seen to be the same still."""
_MOVED = "moved"
_FEW = 8
"""So many folders of segments are listed one by one; of more, the partition's."""
_PAGE = 1000
_PRINT_BYTES = 16


class FilesMoved(Exception):
    """The source's files are not those that were frozen: what of them, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Which segments of a listing are read where they lie, below `root`; of partitions that are `whole`, all."""

    listing: str
    """The print of the listing they are for."""
    root: str
    whole: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()
    """In ascending order."""
    copied: dict[str, int]
    """How many are not, by reason."""

    def holds(self, segment_id: int) -> bool:
        """Whether a segment is among them."""
        place = bisect_left(self.segments, segment_id)
        return place < len(self.segments) and self.segments[place] == segment_id

    def told(self) -> str:
        """In words."""
        parts = [f"{len(self.segments):,} segments are read in place"] if self.segments else []
        parts += [f"{number:,} copied: {reason}" for reason, number in sorted(self.copied.items())]
        return "; ".join(parts)


def find_routes(ledger: LedgerReader, source: CollectionRef) -> Routes | None:
    """As noted; None where everything is copied."""
    noted = ledger.notes(_run_key(source)).get(ROUTES)
    routes = None if noted is None else from_plain(Routes, noted)
    return routes if routes is not None and routes.segments else None


def is_read_in_place(ledger: LedgerReader, source: CollectionRef) -> bool:
    """Whether anything of `source` is."""
    return find_routes(ledger, source) is not None


def place_of(ledger: LedgerReader, source: CollectionRef, staged: Callable[[Binlog], str]) -> Callable[[Binlog], str]:
    """Tells where a frozen binlog is read, which is its own place or where it was `staged`."""
    routes = find_routes(ledger, source)
    segments = frozenset(routes.segments) if routes is not None else frozenset[int]()
    return lambda binlog: binlog.source.key if binlog.segment_id in segments else staged(binlog)


def note_movement(ledger: Ledger, source: CollectionRef) -> None:
    """Note, for the whole run, that files came between: no partition is read as a whole any more.

    Where the source is written to, each flush would make a folder whole that is not for long.
    """
    ledger.note(_run_key(source), {_MOVED: True})


def forget_routes(ledger: Ledger, source: CollectionRef) -> None:
    """Have them chosen anew, even for the same listing."""
    ledger.note(_run_key(source), {ROUTES: None})


def _run_key(source: CollectionRef) -> str:
    return f"in_place:{source}"


def stand_ins(
    ledger: LedgerReader, source: CollectionRef, collection_id: int, partition_id: int | None = None
) -> Iterator[StoredObject]:
    """What a dump would hold of the segments that are read in place, keyed by suffix: they are looked at elsewhere."""
    if (routes := find_routes(ledger, source)) is None:
        return
    segments = frozenset(routes.segments)
    for binlog in ledger.binlogs(collection_id):
        if binlog.segment_id in segments and partition_id in {None, binlog.partition_id}:
            yield StoredObject(binlog.staged_suffix, binlog.source.size_bytes, binlog.source.etag)


# -- choosing ---------------------------------------------------------------------------------------------------------


def settle_routes(
    ctx: StepContext,
    source: CollectionRef,
    collection_id: int,
    *,
    root: str,
    staged: Iterable[StoredObject],
    dump_prefix: str,
    obstacle: str = "",
) -> None:
    """Choose and note the routes of the frozen listing, and count what is read in place as copied.

    `staged` is what the dump holds, keyed by suffix: copies that another listing made of such segments go. With an
    `obstacle` everything is copied, for that reason.
    """
    key, listing = _run_key(source), _print_of_listing(ctx.ledger, collection_id)
    noted = ctx.ledger.notes(key).get(ROUTES)
    routes = None if noted is None else from_plain(Routes, noted)
    if routes is None or routes.listing != listing:
        has_moved = bool(ctx.ledger.notes(key).get(_MOVED))
        routes = _Choice(ctx, collection_id, root, obstacle, has_moved).routes(listing)
        ctx.ledger.note(key, {ROUTES: to_plain(routes)})
    segments = frozenset(routes.segments)
    names = frozenset(map(str, segments))
    ctx.staging.delete(f"{dump_prefix}/binlogs/{each.key}" for each in staged if _segment_of(each.key) in names)
    ours = (binlog for binlog in ctx.ledger.binlogs(collection_id) if binlog.segment_id in segments)
    while page := list(islice(ours, _PAGE)):
        ctx.ledger.note_copied(collection_id, page)


def _segment_of(suffix: str) -> str:
    """Of `insert_log/C/P/GROUP/S/F/L`, or `delta_log/C/P/GROUP/S/L`, without the group in the partition of all.

    What somebody else put there may have any name, and is told of later.
    """
    kind, *parts = suffix.split("/")
    return ["", "", "", *parts][-3 if kind == LogKind.INSERT else -2]


def _print_of_listing(ledger: LedgerReader, collection_id: int) -> str:
    digest = blake2b(digest_size=_PRINT_BYTES)
    for each in ledger.segments(collection_id):
        told = (each.segment.segment_id, each.insert_objects, each.delta_objects, each.size_bytes)
        digest.update(repr(told).encode())
    return digest.hexdigest()


@dataclass(slots=True)
class _Choice:
    ctx: StepContext
    collection_id: int
    root: str
    obstacle: str
    has_moved: bool

    def routes(self, listing: str) -> Routes:
        """Partition by partition."""
        found, fault = self._found()
        takes_many = self.ctx.target.capabilities.entries_per_job > 1
        copied = Counter[str]()
        whole: list[int] = []
        segments: list[int] = []
        entries = self.ctx.ledger.segments(self.collection_id)
        for partition_id, group in groupby(entries, key=lambda each: each.segment.partition_id):
            totals = list(group)
            folders = found.get(str(partition_id), {})
            clashes = dict.fromkeys(_beginnings(folders), "the name of its folder is the beginning of another's")
            candidates = [self._candidate(each, folders, fault or clashes.get(_name(each), "")) for each in totals]
            is_littered = self.has_moved or len(folders) > len(totals)
            route = choose_route(candidates, is_littered=is_littered, takes_many=takes_many)
            whole += [partition_id] if route.is_whole else []
            segments += route.in_place
            copied += route.copied
        return Routes(
            listing=listing, root=self.root, whole=tuple(whole), segments=tuple(sorted(segments)), copied=dict(copied)
        )

    def _found(self) -> tuple[dict[str, dict[str, int]], str]:
        """The prints of the folders of segments, by partition; and why none is to be seen."""
        if self.obstacle:
            return {}, self.obstacle
        try:
            return _prints(_listed(self.ctx.target_store, self.root, f"{self.collection_id}")), ""
        except StoreRefused as error:
            return {}, error.message

    def _candidate(self, entry: SegmentTotals, folders: Mapping[str, int], fault: str) -> Candidate:
        found = folders.get(_name(entry))
        is_exact = not fault and found == _frozen_print(self.ctx.ledger, self.collection_id, entry.segment)
        return Candidate(
            segment_id=entry.segment.segment_id,
            objects=entry.insert_objects + entry.delta_objects,
            size_bytes=entry.size_bytes,
            obstacle=fault or ("" if is_exact else STRANGE_FILES),
        )


def _name(entry: SegmentTotals) -> str:
    return str(entry.segment.segment_id)


def _beginnings(names: Iterable[str]) -> frozenset[str]:
    """Those that another begins with: ids of one cluster are of one length, and a prefix is plain text to a server."""
    return frozenset(one for one, following in pairwise(sorted(names)) if following.startswith(one))


# -- looking ----------------------------------------------------------------------------------------------------------


def require_unmoved(
    ctx: StepContext, source: CollectionRef, collection_id: int, *, partition_id: int | None = None, of: Iterable[int]
) -> None:
    """See that the segments `of` a collection, or of one partition of it, have the frozen files and no others.

    Delta logs that came since are no fault: every import is bounded by the cut, and so are its deletes.

    Raises:
        FilesMoved: They have not; or the folder of a partition that is read as a whole holds more.
    """
    if (routes := find_routes(ctx.ledger, source)) is None:
        return
    wanted = frozenset(of) & frozenset(routes.segments)
    if wanted:
        _Look(ctx, collection_id, routes, wanted, partition_id).look()


@dataclass(slots=True)
class _Look:
    ctx: StepContext
    collection_id: int
    routes: Routes
    wanted: frozenset[int]
    partition_id: int | None

    def look(self) -> None:
        """Hold the folders' prints against the frozen ones; where they differ, file by file."""
        try:
            found = _prints(self._listed())
        except StoreRefused as error:
            raise FilesMoved(error.message) from error
        live = defaultdict[str, set[str]](set)
        for entry in self.ctx.ledger.segments(self.collection_id):
            segment = entry.segment
            folders = found.get(str(segment.partition_id), {})
            live[str(segment.partition_id)].add(str(segment.segment_id))
            is_asked = segment.segment_id in self.wanted
            frozen = _frozen_print(self.ctx.ledger, self.collection_id, segment) if is_asked else 0
            if is_asked and folders.get(str(segment.segment_id)) != frozen:
                self._compare(segment)
        for partition_id in self._whole():
            if strangers := found.get(str(partition_id), {}).keys() - live[str(partition_id)]:
                raise FilesMoved(f"segment {min(strangers)} has come into the folder of partition {partition_id}")

    def _whole(self) -> Iterable[int]:
        return [each for each in self.routes.whole if self.partition_id in {None, each}]

    def _listed(self) -> Iterator[StoredObject]:
        store, root = self.ctx.target_store, self.routes.root
        if self.partition_id is None:
            yield from _listed(store, root, f"{self.collection_id}")
        elif self.partition_id in self.routes.whole or len(self.wanted) > _FEW:
            yield from _listed(store, root, f"{self.collection_id}/{self.partition_id}")
        else:
            for segment_id in sorted(self.wanted):
                yield from _listed(store, root, f"{self.collection_id}/{self.partition_id}/{segment_id}")

    def _compare(self, segment: Segment) -> None:
        below = f"{self.collection_id}/{segment.partition_id}/{segment.segment_id}"
        found = {each.key: each for each in _listed(self.ctx.target_store, self.routes.root, below)}
        for binlog in self.ctx.ledger.binlogs(self.collection_id, segment_id=segment.segment_id):
            now = found.pop(binlog.source.key, None)
            if now != binlog.source:
                raise FilesMoved(f"{binlog.source.key} has {'vanished' if now is None else 'changed'}")
        deltas = _folder(self.routes.root, LogKind.DELTA, below)
        if strangers := sorted(key for key in found if not key.startswith(f"{deltas}/")):
            raise FilesMoved(f"{strangers[0]} has come")


def _folder(root: str, kind: LogKind, below: str) -> str:
    return f"{root}/{kind}/{below}".lstrip("/")


def _listed(store: ObjectReader, root: str, below: str) -> Iterator[StoredObject]:
    for kind in LogKind:
        yield from store.list_objects(_folder(root, kind, below))


def _prints(objects: Iterable[StoredObject]) -> dict[str, dict[str, int]]:
    """A print of each segment's files, whatever their order, by partition and segment: as they are in the keys."""
    found = defaultdict[str, dict[str, int]](dict)
    for each in objects:
        parts = each.key.split("/")
        depth = next(place for place in range(len(parts) - 1, -1, -1) if parts[place] in set(LogKind))
        partition, segment = (*parts[depth + 2 :], "", "")[:2]
        found[partition][segment] = found[partition].get(segment, 0) + _print(each)
    return found


def _frozen_print(ledger: LedgerReader, collection_id: int, segment: Segment) -> int:
    return sum(_print(each.source) for each in ledger.binlogs(collection_id, segment_id=segment.segment_id))


def _print(found: StoredObject) -> int:
    told = f"{found.key}\0{found.size_bytes}\0{found.etag}"
    return int.from_bytes(blake2b(told.encode(), digest_size=_PRINT_BYTES).digest())


# -- what is asked for ------------------------------------------------------------------------------------------------


def entry_in_place(
    ctx: StepContext,
    routes: Routes,
    collection_id: int,
    segment: Segment,
    *,
    is_whole: bool,
    kinds: Iterable[LogKind],
) -> tuple[str, ...]:
    """The folders of a segment, or of its partition, as the target's server shall see them.

    Where it lists a prefix one level deep, a segment goes without a slash at the end: what is found is the segment.
    """
    slash = "" if ctx.target.capabilities.lists_one_level and not segment.is_l0 else "/"
    below = f"{collection_id}/{segment.partition_id}" + ("" if is_whole else f"/{segment.segment_id}")
    return tuple(ctx.target_store.server_path(_folder(routes.root, kind, below) + slash) for kind in kinds)
