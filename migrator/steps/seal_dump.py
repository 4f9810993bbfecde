"""`seal_dump`: the meta files that make copied binlogs a dump others can list and restore."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from migrator.errors import BackupUnreadable, RunError
from migrator.model import backup_format as fmt
from migrator.model.backup_meta import FULL_META, LEVEL_FILES, BackupInfo, CollectionBackup, Message, PartitionBackup
from migrator.model.collection import CollectionRef
from migrator.model.segment import ALL_PARTITIONS
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.copy_segments import copy_key, require_staged_exactly
from migrator.steps.dump_meta import FrozenDump, frozen_dump
from migrator.steps.in_place import is_read_in_place

if TYPE_CHECKING:
    from migrator.ports.ledger import SegmentTotals
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.steps.base import ReadContext, StepContext

_PART_BYTES = 8 * 1024**2
DESCRIPTION = "in_place-"
"""What the names of files begin with that describe what is not in the dump."""
_Item = str | Iterator[str]
"""JSON of one member of a list: a text, or the pieces of a large one."""


def full_meta_key(dump_prefix: str) -> str:
    """The file whose presence says that a dump is finished."""
    return f"{dump_prefix}/meta/{FULL_META}"


def level_keys(dump_prefix: str) -> tuple[str, ...]:
    """The four files that are written before it."""
    return tuple(f"{dump_prefix}/meta/{name}" for name in LEVEL_FILES)


def description_key(dump_prefix: str, run_id: str) -> str:
    """The file that describes what a run read in place: nothing can be restored from it."""
    return f"{dump_prefix}/meta/{DESCRIPTION}{run_id}.json"


def find_listed(store: ObjectReader, dump_prefix: str) -> frozenset[int] | None:
    """The ids of the collections that the dump lists; None where it is not finished."""
    entries = find_entries(store, dump_prefix)
    return None if entries is None else frozenset(entry["collection_id"] for entry in entries)


def rewrite_level_files(store: ObjectStore, dump_prefix: str) -> None:
    """Make the four files tell what `full_meta.json` tells: a seal that was killed may have left them ahead of it."""
    full = _read_full(store, full_meta_key(dump_prefix))
    entries = full.get("collection_backups") or []
    head = {name: value for name, value in full.items() if name not in {"collection_backups", "database_backups"}}
    levels = (_collection_infos(entries), _partition_infos(entries), _segment_infos(entries))
    contents = (iter([fmt.encode(head)]), *map(_infos, levels))
    for key, parts in zip(level_keys(dump_prefix), contents, strict=True):
        store.write_stream(key, _in_parts(parts), multipart=True, part_size=_PART_BYTES)


def delist(store: ObjectStore, dump_prefix: str, collection_ids: frozenset[int]) -> None:
    """Take collections out of the meta files; a dump that lists no others loses them all, `full_meta.json` first."""
    key = full_meta_key(dump_prefix)
    entries = find_entries(store, dump_prefix) or []
    kept = [entry for entry in entries if entry["collection_id"] not in collection_ids]
    if not kept:
        store.delete([key])
        store.delete(level_keys(dump_prefix))
        return
    if len(kept) < len(entries):
        full = {
            **_read_full(store, key),
            "size": sum(entry.get("size", 0) for entry in kept),
            "database_backups": [
                fmt.database_entry(name) for name in sorted({entry.get("db_name", "default") for entry in kept})
            ],
            "collection_backups": kept,
        }
        store.write(key, fmt.encode(full).encode())
    rewrite_level_files(store, dump_prefix)


def find_entries(store: ObjectReader, dump_prefix: str) -> list[dict[str, Any]] | None:
    """The entries of the collections that the dump lists, each with its id; None where it is not finished."""
    key = full_meta_key(dump_prefix)
    return None if store.find_object(key) is None else _read_full(store, key).get("collection_backups") or []


def _read_full(store: ObjectReader, key: str) -> dict[str, Any]:
    """The file as a run wrote it.

    Raises:
        BackupUnreadable: Somebody else wrote it, or cut it off.
    """
    try:
        full: Any = json.loads(store.read(key))
    except ValueError:
        full = None
    entries = full.get("collection_backups") or [] if isinstance(full, dict) else None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise BackupUnreadable(
            f"{key} is not as a run wrote it: it does not list collections",
            hint="restore the file, or choose another staging.backup_name",
        )
    return dict(full)


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("collection_id"), int)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpedCollection:
    """A collection that the dump shall list once it is fully copied."""

    source: CollectionRef
    collection_id: int

    @property
    def copy_key(self) -> str:
        """The step that copies it."""
        return copy_key(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealDump(Step):
    """Check the copied objects and write the five meta files, `full_meta.json` last.

    Collections that earlier runs of the plan put into the same dump stay in it.
    """

    kind: ClassVar[str] = "seal_dump"
    dump_prefix: str
    name: str
    source_version: str
    collections: tuple[DumpedCollection, ...]

    @property
    def key(self) -> str:
        """One per run."""
        return f"{self.kind}:{self.dump_prefix}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"write the dump's meta files under {self.dump_prefix}/meta/"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Overwrites with the same content, so it is simply done again."""
        return Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Seal what is fully copied; whatever is not makes the step fail after that, to be done again on resume."""
        copied = [c for c in self.collections if ctx.ledger.is_finished(c.copy_key)]
        for collection in copied:
            require_staged_exactly(ctx, collection.source, self.dump_prefix, collection.collection_id)
        elsewhere = [c for c in copied if is_read_in_place(ctx.ledger, c.source)]
        listed = [c for c in copied if c not in elsewhere]
        if copied:
            ctx.lease.require_dump_held()
            self._describe(ctx, elsewhere)
            self._write(ctx, listed)
        if missing := [c.source.short for c in self.collections if c not in copied]:
            raise RunError(
                f"the dump {self.dump_prefix} lists {len(copied)} of {len(self.collections)} collections; "
                f"not copied: {', '.join(missing[:5])}"
            )
        size_bytes = sum(ctx.ledger.totals(c.collection_id).size_bytes for c in listed)
        said = [f"{self.dump_prefix}/meta/{FULL_META}"]
        said += [f"{len(elsewhere)} read in place are described, and cannot be restored"] if elsewhere else []
        return Outcome(size_bytes=size_bytes, detail="; ".join(said))

    # -- writing ----------------------------------------------------------------------------------------------------

    def _write(self, ctx: StepContext, copied: list[DumpedCollection]) -> None:
        earlier = self._earlier(ctx, {c.collection_id for c in copied})
        writer = _MetaWriter(self, ctx, copied, earlier)
        for name, parts in writer.files():
            key = f"{self.dump_prefix}/meta/{name}"
            ctx.staging.write_stream(key, _in_parts(parts), multipart=True, part_size=_PART_BYTES)

    def _describe(self, ctx: StepContext, elsewhere: list[DumpedCollection]) -> None:
        """What was read in place, in a file of its own that no restore looks at."""
        if elsewhere:
            key = description_key(self.dump_prefix, ctx.run_id)
            parts = _MetaWriter(self, ctx, elsewhere, []).full()
            ctx.staging.write_stream(key, _in_parts(parts), multipart=True, part_size=_PART_BYTES)

    def _earlier(self, ctx: StepContext, now: set[int]) -> list[dict[str, Any]]:
        """What the dump lists already, as whole collection entries."""
        listed = find_entries(ctx.staging, self.dump_prefix) or []
        return [entry for entry in listed if entry.get("collection_id") not in now]


def _in_parts(texts: Iterable[str]) -> Iterator[bytes]:
    """Small texts gathered into parts of a megabyte or so."""
    gathered: list[str] = []
    length = 0
    for text in texts:
        gathered.append(text)
        length += len(text)
        if length >= 1024**2:
            yield "".join(gathered).encode()
            gathered, length = [], 0
    yield "".join(gathered).encode()


def _joined(items: Iterable[_Item]) -> Iterator[str]:
    """The items with commas between them."""
    for number, item in enumerate(items):
        if number:
            yield ","
        if isinstance(item, str):
            yield item
        else:
            yield from item


def _with_list(kind: type[Message], entry: dict[str, Any], name: str, items: Iterable[_Item]) -> Iterator[str]:
    """The entry as JSON, with a list streamed in where the message has it."""
    order = [info.alias or key for key, info in kind.model_fields.items()]
    rest = {key: value for key, value in entry.items() if key in order and order.index(key) > order.index(name)}
    yield fmt.encode({key: value for key, value in entry.items() if key not in rest})[:-1]
    yield f',"{name}":['
    yield from _joined(items)
    yield "]" + (f",{fmt.encode(rest)[1:]}" if rest else "}")


class _MetaWriter:
    """The five files as streams: a dump of a million binlogs is written without holding it."""

    def __init__(
        self, step: SealDump, ctx: StepContext, copied: list[DumpedCollection], earlier: list[dict[str, Any]]
    ) -> None:
        self._step = step
        self._ctx = ctx
        self._dumps = [(c, frozen_dump(ctx.ledger, c.source)) for c in copied]
        self._earlier = earlier

    def files(self) -> Iterator[tuple[str, Iterator[str]]]:
        """Names and contents in the order of writing; `full_meta.json` is the mark that all is there."""
        yield "backup_meta.json", iter([fmt.encode(self._backup())])
        yield "collection_meta.json", _infos(self._collection_infos())
        yield "partition_meta.json", _infos(self._partition_infos())
        yield "segment_meta.json", _infos(self._segment_infos())
        yield FULL_META, self.full()

    # -- entries ----------------------------------------------------------------------------------------------------

    def _backup(self) -> dict[str, Any]:
        own = sum(self._ctx.ledger.totals(c.collection_id).size_bytes for c, _ in self._dumps)
        return fmt.backup_entry(
            task_id=self._ctx.run_id,
            name=self._step.name,
            size_bytes=own + sum(entry.get("size", 0) for entry in self._earlier),
            milvus_version=f"v{self._step.source_version}" if self._step.source_version else "",
        )

    def _collection(self, item: DumpedCollection, dump: FrozenDump) -> dict[str, Any]:
        size_bytes = self._ctx.ledger.totals(item.collection_id).size_bytes
        moment = dump.cut_ts if dump.backed_up_ts is None else dump.backed_up_ts
        return fmt.collection_entry(
            dump.collection,
            task_id=self._ctx.run_id,
            cut_ts=moment,
            size_bytes=size_bytes,
            l0_segments=self._l0_segments(item),
        )

    def _l0_segments(self, item: DumpedCollection) -> Iterator[dict[str, Any]]:
        """Deletes of all partitions: there are few such segments at a time."""
        for entry in self._ctx.ledger.segments(item.collection_id):
            if entry.segment.partition_id == ALL_PARTITIONS:
                yield self._segment(item, entry)

    def _segment(self, item: DumpedCollection, entry: SegmentTotals) -> dict[str, Any]:
        binlogs = self._ctx.ledger.binlogs(item.collection_id, segment_id=entry.segment.segment_id)
        return fmt.segment_entry(entry.segment, binlogs)

    def _partitions(
        self, item: DumpedCollection, dump: FrozenDump
    ) -> Iterator[tuple[dict[str, Any], list[SegmentTotals]]]:
        listing = self._ctx.ledger.segments(item.collection_id)
        by_id = {key: list(group) for key, group in groupby(listing, key=lambda e: e.segment.partition_id)}
        for partition in dump.collection.partitions:
            segments = by_id.get(partition.partition_id, [])
            size_bytes = sum(entry.size_bytes for entry in segments)
            yield fmt.partition_entry(partition, dump.collection, size_bytes), segments

    def _segments(self, item: DumpedCollection, segments: Iterable[SegmentTotals]) -> Iterator[str]:
        for entry in segments:
            yield fmt.encode(self._segment(item, entry))

    # -- the lists of the level files -------------------------------------------------------------------------------

    def _collection_infos(self) -> Iterator[str]:
        yield from _collection_infos(self._earlier)
        for item, dump in self._dumps:
            parts = [partition for partition, _ in self._partitions(item, dump)]
            own = _without(self._collection(item, dump), "l0_segments")
            yield fmt.encode(_in_order({**own, "partition_backups": parts}))

    def _partition_infos(self) -> Iterator[str]:
        yield from _partition_infos(self._earlier)
        for item, dump in self._dumps:
            for partition, _ in self._partitions(item, dump):
                yield fmt.encode(partition)

    def _segment_infos(self) -> Iterator[str]:
        yield from _segment_infos(self._earlier)
        for item, dump in self._dumps:
            for _, segments in self._partitions(item, dump):
                yield from self._segments(item, segments)

    # -- the whole tree ---------------------------------------------------------------------------------------------

    def full(self) -> Iterator[str]:
        """All that is known, in one file."""
        databases = {entry.get("db_name", "default") for entry in self._earlier}
        databases |= {dump.collection.ref.database for _, dump in self._dumps}
        head = {
            **self._backup(),
            "database_backups": [fmt.database_entry(name) for name in sorted(databases)],
        }
        yield from _with_list(BackupInfo, head, "collection_backups", self._full_collections())

    def _full_collections(self) -> Iterator[_Item]:
        yield from map(fmt.encode, self._earlier)
        for item, dump in self._dumps:
            entry = _in_order(self._collection(item, dump))
            yield _with_list(CollectionBackup, entry, "partition_backups", self._full_partitions(item, dump))

    def _full_partitions(self, item: DumpedCollection, dump: FrozenDump) -> Iterator[_Item]:
        for partition, segments in self._partitions(item, dump):
            yield _with_list(PartitionBackup, partition, "segment_backups", self._segments(item, segments))


def _in_order(entry: dict[str, Any]) -> dict[str, Any]:
    """A collection's members as the message has them; unknown ones stay at the end."""
    known = [info.alias or name for name, info in CollectionBackup.model_fields.items()]
    return {name: entry[name] for name in known if name in entry} | entry


def _infos(items: Iterable[str]) -> Iterator[str]:
    yield '{"infos":['
    yield from _joined(items)
    yield "]}"


def _collection_infos(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        parts = [_without(partition, "segment_backups") for partition in entry.get("partition_backups", [])]
        yield fmt.encode(_in_order({**_without(entry, "l0_segments"), "partition_backups": parts}))


def _partition_infos(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for partition in entry.get("partition_backups", []):
            yield fmt.encode(_without(partition, "segment_backups"))


def _segment_infos(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for partition in entry.get("partition_backups", []):
            yield from map(fmt.encode, partition.get("segment_backups", []))


def _without(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != name}
