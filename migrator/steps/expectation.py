"""Which rows a verification may expect: the source's where it is as it was at the cut, else the dump's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from migrator.model.segment import ALL_PARTITIONS, STORAGE_V2
from migrator.ports.backup import as_backup
from migrator.ports.rows import Dump
from migrator.steps.copy_segments import staged_key
from migrator.steps.counting import count_partitions
from migrator.steps.in_place import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from migrator.model.collection import Collection
    from migrator.model.rows import Sample
    from migrator.model.segment import Segment
    from migrator.ports.clock import Clock
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.rows import DumpReader, RowSource
    from migrator.ports.store import ObjectReader
    from migrator.steps.base import ProgressReport
    from migrator.steps.dump_meta import FrozenDump


def find_chosen(source: MilvusReader, dump: FrozenDump) -> Collection | None:
    """The source's collection as it is now, with no other partitions than those that came along."""
    now = source.find_collection(dump.collection.ref)
    if now is None or now.schema.has_partition_key:
        return now
    return now.only([partition.name for partition in dump.collection.partitions])


def why_not_live(source: MilvusReader, now: Collection | None, dump: FrozenDump) -> str:
    """Why the source's rows are not those of the cut, as far as can be told; empty where they are."""
    return next(_reasons(source, now, dump), "")


def _reasons(source: MilvusReader, now: Collection | None, dump: FrozenDump) -> Iterator[str]:
    if now is None:
        yield "the source is gone"
    elif reason := why_not_readable(source, now):
        yield reason
    elif dump.left_behind:
        yield "the source lost deletes in a compaction, which were applied to the target"
    elif dump.late_deletes:
        yield f"the source shows {dump.late_deletes:,} rows less than its files had at the cut"
    elif not dump.can_count:
        yield "the source cannot count its rows"
    elif not dump.rows_at_cut:
        yield "the source was not counted at the cut"
    elif not dump.held_still:
        yield "the source moved while it was counted"
    elif count_partitions(source, now) != dump.rows_at_cut:
        yield "the source has moved since the cut"


def why_not_readable(source: MilvusReader, now: Collection) -> str:
    """Why the source cannot be asked for all its rows; empty where it can."""
    if as_backup(source) is not None:
        return "the source is a backup"
    if not now.loaded_partitions:
        return "the source is not loaded"
    return "" if len(now.loaded_partitions) == len(now.partitions) else "the source is loaded in part only"


def has_moved(source: MilvusReader, dump: FrozenDump, ledger: LedgerReader) -> bool:
    """Whether the source holds other rows or segments than at the cut."""
    now = find_chosen(source, dump)
    if now is None or now.collection_id != dump.collection.collection_id:
        return True
    if dump.rows_at_cut and count_partitions(source, now) != dump.rows_at_cut:
        return True
    frozen = [each.segment for each in ledger.segments(now.collection_id)]
    chosen = {ALL_PARTITIONS, *(partition.partition_id for partition in now.partitions)}
    live = [each for each in source.list_segments(now.ref) if each.partition_id in chosen]
    return _with_rows(live) != _with_rows(frozen) or bool(_of_deletes(live) - _of_deletes(frozen))


def _with_rows(segments: Iterable[Segment]) -> set[tuple[int, int]]:
    return {(each.segment_id, each.num_rows) for each in segments if each.num_rows and not each.is_l0}


def _of_deletes(segments: Iterable[Segment]) -> set[int]:
    """L0 segments: one that is gone was applied to the others, a new one holds new deletes."""
    return {each.segment_id for each in segments if each.is_l0}


def open_dump(
    reader: DumpReader,
    dump: FrozenDump,
    dump_prefix: str,
    sample: Sample,
    *,
    ledger: LedgerReader,
    staging: ObjectReader,
    clock: Clock,
    progress: ProgressReport,
    source_store: ObjectReader | None = None,
) -> AbstractContextManager[RowSource]:
    """The rows of a collection up to its cut, as they lie in the dump that was frozen in `ledger`.

    With `source_store`, as they lie where the dump was copied from.
    """

    def report(done: int, total: int) -> None:
        progress("reading the dump", done=done, total=total, unit="objects")
        clock.sleep(0)  # where a person's wish to stop is heard

    key_of = place_of(ledger, dump.collection.ref, partial(staged_key, dump_prefix))
    frozen = Dump(
        collection=dump.collection,
        place=f"the dump {dump_prefix}" if source_store is None else "the backup",
        store=source_store or staging,
        binlogs=ledger.binlogs(dump.collection.collection_id),
        key_of=key_of if source_store is None else lambda binlog: binlog.source.key,
        end_ts=dump.cut_ts,
        grouped_segments=frozenset(
            each.segment.segment_id
            for each in ledger.segments(dump.collection.collection_id)
            if each.segment.storage_version == STORAGE_V2
        ),
    )
    return reader.open(frozen, wants=sample.takes, report=report)
