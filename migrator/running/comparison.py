"""Comparing source and target outside of a run: what each side says now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import RunError, SourceMoved, VerificationFailed
from migrator.model.collection import LoadState
from migrator.planning.partitions import ALL, with_chosen_partitions
from migrator.steps.counting import PartitionCount, compare_counts, count_partitions, difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.model.collection import Collection, CollectionRef
    from migrator.model.observed import MigratedRecord
    from migrator.ports.clock import Clock
    from migrator.ports.milvus import MilvusReader, MilvusTarget

_POLL_S = 0.5
_LOAD_PATIENCE_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One mapping compared; `exit_code` is 0, 50 or 51."""

    source: str
    target: str
    counts: tuple[PartitionCount, ...]
    verdict: str
    exit_code: int


def compare(
    source: MilvusReader,
    target: MilvusTarget,
    pair: tuple[CollectionRef, CollectionRef],
    records: Sequence[MigratedRecord],
    clock: Clock,
    *,
    partitions: Sequence[str] = ALL,
) -> Comparison:
    """Compare one mapping by counts; only a target that a run of this plan made is loaded for it, and released.

    Of the source count the `partitions` that the mapping chooses, and at the target those of their names.
    """
    record = next((r for r in records if (r.source, r.target) == pair), None)
    ours, theirs = source.find_collection(pair[0]), target.find_collection(pair[1])
    if ours is None or theirs is None:
        gone = f"{pair[0].short} is gone from the source" if ours is None else f"{pair[1].short} is not at the target"
        return _compared(pair, (), gone, VerificationFailed.exit_code)
    chosen = with_chosen_partitions(partitions, ours)
    at_source = count_partitions(source, chosen)
    own = record is not None and record.target_collection_id == theirs.collection_id
    at_target = _count_target(target, theirs, clock, may_load=own)
    if chosen != ours:  # the target's `_default` is there without having been brought
        brought = {each.name for each in chosen.partitions}
        at_target = {name: rows for name, rows in at_target.items() if name in brought or rows}
    counts = compare_counts(at_source, at_target)
    said = difference(counts, *pair)
    if said:
        moved = record is not None and not (record.held_still and dict(record.rows_at_cut) == at_source)
        note = "; the source has moved since the cut" if moved else ""
        return _compared(pair, counts, said + note, SourceMoved.exit_code if moved else VerificationFailed.exit_code)
    return _without_difference(pair, counts, record, at_target)


def _without_difference(
    pair: tuple[CollectionRef, CollectionRef],
    counts: tuple[PartitionCount, ...],
    record: MigratedRecord | None,
    at_target: dict[str, int],
) -> Comparison:
    """Equal, or as equal as could be asked."""
    if not at_target:
        return _compared(pair, counts, "the target is not loaded, so nothing could be compared", SourceMoved.exit_code)
    rows = sum(at_target.values())
    compared = [count for count in counts if None not in (count.source_rows, count.target_rows)]
    if compared == list(counts):
        return _compared(pair, counts, f"equal: {rows:,} rows at both sides", 0)
    if compared:
        verdict = f"equal in {len(compared)} of {len(counts)} partitions; the others are not loaded at both sides"
        return _compared(pair, counts, verdict, SourceMoved.exit_code)
    if record is None:
        verdict = "the source is not loaded, so its rows could not be counted"
        return _compared(pair, counts, verdict, SourceMoved.exit_code)
    if rows != record.rows:
        verdict = f"{pair[1].short} holds {rows:,} rows, and run {record.run_id} imported {record.rows:,}"
        return _compared(pair, counts, verdict, VerificationFailed.exit_code)
    verdict = f"{rows:,} rows at the target, as many as were imported; the source is not loaded"
    return _compared(pair, counts, verdict, 0)


def _compared(
    pair: tuple[CollectionRef, CollectionRef], counts: tuple[PartitionCount, ...], verdict: str, exit_code: int
) -> Comparison:
    return Comparison(source=pair[0].short, target=pair[1].short, counts=counts, verdict=verdict, exit_code=exit_code)


def _count_target(target: MilvusTarget, found: Collection, clock: Clock, *, may_load: bool) -> dict[str, int]:
    if found.load_state is LoadState.LOADED:
        return count_partitions(target, found)
    indexed = {index.field_name for index in found.indexes}
    has_indexes = all(not f.data_type.is_vector or f.name in indexed for f in found.schema.fields)
    if not may_load or not has_indexes:
        return {}
    try:
        target.load(found.ref, partitions=(), replica_number=1)
        deadline = clock.monotonic() + _LOAD_PATIENCE_S
        while target.load_state(found.ref) is not LoadState.LOADED:
            if clock.monotonic() > deadline:
                raise RunError(f"{found.ref.short} did not load within {_LOAD_PATIENCE_S / 60:.0f} minutes")
            clock.sleep(_POLL_S)
        loaded = target.find_collection(found.ref)
        return count_partitions(target, loaded) if loaded else {}
    finally:
        target.release(found.ref)
