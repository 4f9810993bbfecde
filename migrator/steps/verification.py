"""The ladder of a verification: what the target was asked to be, its counts, its keys, its values, its searches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

from migrator.errors import BinlogUnreadable, MilvusRefused, ObjectMissing
from migrator.model.collection import DEFAULT_PARTITION
from migrator.model.difference import KEPT, ROW_KINDS, Difference, DifferenceKind, Differences
from migrator.model.filters import can_name
from migrator.model.rows import Sample
from migrator.steps.comparing import Compared, RowComparison, unequal_copies
from migrator.steps.counting import WHOLE
from migrator.steps.sharing_values import SharedValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from migrator.model.collection import Collection, CollectionSchema, FieldSchema
    from migrator.model.shape import Shape
    from migrator.ports.clock import Clock
    from migrator.ports.engine import Engine
    from migrator.ports.rows import RowSource
    from migrator.steps.base import ProgressReport
    from migrator.steps.comparing_values import RowCheck
    from migrator.steps.searching import Overlap, Searcher


_TTL = "collection.ttl.seconds"
_OF_EXPIRY = (DifferenceKind.MISSING, DifferenceKind.EXTRA, DifferenceKind.COUNT)
_SEARCHES_SETTLE_S = 60.0
_SEARCHES_PAUSE_S = 5.0


class Level(StrEnum):
    """How far the ladder is climbed."""

    NONE = "none"
    COUNTS = "counts"
    SAMPLE = "sample"
    FULL = "full"

    @property
    def looks_at_rows(self) -> bool:
        """Whether keys and values are compared, and not just counted."""
        return self in {Level.SAMPLE, Level.FULL}


class Basis(StrEnum):
    """Where the expected rows were read."""

    SOURCE = "source"
    DUMP = "dump"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The level, and what it is done with."""

    level: Level
    sample: int = 10_000
    seed: int = 7

    def __str__(self) -> str:
        return {
            Level.NONE: "nothing",
            Level.COUNTS: "numbers of rows",
            Level.SAMPLE: f"all keys, and up to {self.sample:,} rows",
            Level.FULL: "all keys and all rows",
        }[self.level]

    def sample_of(self, rows: int) -> Sample:
        """What is looked at of so many rows."""
        return Sample.of(self.sample, rows, self.seed) if self.level is Level.SAMPLE else Sample(self.seed, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of it; `basis` is None where no rows could be compared, and `remarks` say what else could not."""

    differences: Differences
    basis: Basis | None = None
    compared: Compared = field(default_factory=Compared)
    undecided: bool = False
    """Whether the differences may be the source's, which has moved, and nothing is left to tell."""
    remarks: tuple[str, ...] = ()

    def with_counts(self, differences: Iterable[Difference]) -> Finding:
        """With what the counts say; that nothing can excuse."""
        counts = Differences().plus(differences)
        undecided = self.undecided and not counts
        return replace(self, differences=self.differences.and_those_of(counts), undecided=undecided)

    @property
    def verdict(self) -> str:
        """What was held against what; equality is said only of what was compared."""
        return "; ".join([self._said_of_rows(), *self.remarks])

    def _said_of_rows(self) -> str:
        if self.differences:
            note = "; the source has moved since the cut, and that may be why" if self.undecided else ""
            return f"{self._sides} differ: {self.differences.summary()}{note}"
        if self.basis is None:
            return "no rows were compared"
        rows, valued = self.compared.source_keys, self.compared.rows_valued + self.compared.repeated
        keys = "" if valued == rows else f"{rows:,} keys, and "
        return f"{self._sides} are equal: {keys}every value of {valued:,} {'row' if valued == 1 else 'rows'}"

    @property
    def _sides(self) -> str:
        return "dump and target" if self.basis is Basis.DUMP else "source and target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One collection, verified as deep as `depth` says.

    `live` are the rows of the source where it may be asked, else None, and `why_not_live` says why; `open_dump` gives
    the rows up to the cut, and where it is None `why_no_dump` says why. `put_down` and `begun` let an interrupted one
    go on.
    """

    depth: Depth
    shape: Shape
    found: Collection
    target: RowSource | None
    why_no_target: str = ""
    live: RowSource | None
    why_not_live: str = ""
    open_dump: Callable[[Sample], AbstractContextManager[RowSource]] | None
    why_no_dump: str = ""
    has_moved: Callable[[], bool]
    expected_rows: int
    """Those of the cut: what the import jobs brought."""
    rows_are_told: bool = True
    """Whether they are: how many rows deletes of L0 segments took afterwards, nobody tells."""
    live_counts: Mapping[str, int]
    """What the source counts, and `target_counts` the target, by partition."""
    target_counts: Mapping[str, int]
    check: Callable[[RowSource], RowCheck] | None = None
    searcher: Searcher | None = None
    """Where both sides can be searched."""
    engine: Engine | None = None
    """Where values of `live`, which is of `live_is`, may be compared by others."""
    live_is: Collection | None = None
    clock: Clock
    progress: ProgressReport
    put_down: Callable[[Compared], None]
    begun: Compared = field(default_factory=Compared)

    def run(self) -> Finding:
        """Climb the ladder."""
        shape = Differences().plus(self.shape.differences(self.found))
        rows = self._rows()
        undecided = rows.undecided and not shape
        remarks = (*rows.remarks, *self._said_of_expiry(rows))
        return replace(rows, differences=shape.and_those_of(rows.differences), undecided=undecided, remarks=remarks)

    def _said_of_expiry(self, rows: Finding) -> Iterator[str]:
        seconds = dict(self.found.properties).get(_TTL, "0")
        if seconds != "0" and any(rows.differences.count(kind) for kind in _OF_EXPIRY):
            yield f"rows of the target expire {seconds} s after they were imported, which may be why"

    # -- rows -------------------------------------------------------------------------------------------------------

    def _rows(self) -> Finding:
        """The live source first; where it differs, the dump decides."""
        why = self._why_unasked
        if self.target is None or why:
            return Finding(differences=Differences(), remarks=(why,) if why else ())
        if self.live is None or self.begun.basis == self._basis(Basis.DUMP):
            return self._against_dump()
        finding = self._compare(self.live, Basis.SOURCE)
        if not any(finding.differences.count(kind) for kind in ROW_KINDS):
            return finding
        by_dump = self._against_dump()
        if by_dump.basis is not None:
            return by_dump
        return replace(finding, undecided=self.has_moved(), remarks=(*finding.remarks, *by_dump.remarks))

    @property
    def _why_unasked(self) -> str:
        """Why the target's rows cannot be asked for; empty where they can, or where others tell why."""
        name = self.shape.schema.primary_field.name
        if self._is_other:
            by_key = self.shape.schema.has_partition_key != self.found.schema.has_partition_key
            return f"the target has another {'partition' if by_key else 'primary'} key"
        if self.target is None:
            return self.why_no_target
        if self.shape.partitions and not self._partitions:
            return f"the target holds none of the partitions loaded: {', '.join(sorted(self.shape.partitions))}"
        if not can_name(name):
            return f"rows cannot be asked for by their key {name!r}, which is a word of Milvus's filters"
        return ""

    @property
    def _is_other(self) -> bool:
        """Whether the target's keys and partitions are of another kind, so that no row of it is the like of one."""
        wanted, found = self.shape.schema, self.found.schema
        types = {schema.primary_field.data_type for schema in (wanted, found)}
        return len(types) > 1 or wanted.has_partition_key != found.has_partition_key

    def _against_dump(self) -> Finding:
        if self.open_dump is None:
            return self._not_compared(self.why_no_dump)
        try:
            with self.open_dump(self._sample) as dump:
                finding = self._compare(dump, Basis.DUMP)
        except ObjectMissing as error:
            return self._not_compared(f"the dump is not whole any more: {error.message}")
        except BinlogUnreadable as error:  # the target could import it, so its form is only unknown here
            return self._not_compared(error.message)
        return replace(finding, remarks=(*self._said_of_source(finding), *finding.remarks))

    def _said_of_source(self, finding: Finding) -> Iterator[str]:
        """Why the dump was read: where the live source differs, either it has moved, or the target was changed."""
        if self.why_not_live:
            yield self.why_not_live
        elif not finding.differences or self.has_moved():
            yield "the source has other rows now than at the cut"

    def _not_compared(self, why: str) -> Finding:
        return Finding(differences=Differences(), remarks=tuple(filter(None, (self.why_not_live, why))))

    @property
    def _sample(self) -> Sample:
        return self.depth.sample_of(self.expected_rows)

    def _compare(self, source: RowSource, basis: Basis) -> Finding:
        assert self.target is not None  # noqa: S101 - for the types: seen by the caller
        wanted = self._partitions
        name = self._basis(basis)
        begun = self.begun if self.begun.basis == name else Compared(basis=name)
        compared = RowComparison(
            source=source,
            target=self.target,
            schema=self._common_schema,
            partitions=wanted,
            sample=self._sample,
            clock=self.clock,
            progress=self.progress,
            put_down=self.put_down,
            check=self.check(source) if self.check else None,
            total_rows=self.expected_rows,
            share=self._share if basis is Basis.SOURCE else None,
        ).run(begun)
        searched: str | tuple[Overlap, ...] = ()
        if sum(self.target_counts.values()) > compared.target_keys:
            searched = "searches were not compared: keys that are there more than once take each other's places"
        elif basis is Basis.SOURCE:
            searched = self._refusal_or_overlaps(source, compared)
        overlaps = () if isinstance(searched, str) else searched
        found = compared.differences.plus(filter(None, (overlap.difference() for overlap in overlaps)))
        found = found.plus(self._strangers())
        found = found.plus(self._unexplained(source, compared, self._expected(basis)))
        said = (searched,) if isinstance(searched, str) else map(str, overlaps)
        remarks = (*self._remarks(compared), *said)
        return Finding(differences=found, basis=basis, compared=compared, remarks=remarks)

    @property
    def _share(self) -> SharedValues | None:
        """For all rows; a sample is compared sooner than workers are told of it."""
        if self.engine is None or self.live_is is None or self.depth.level is not Level.FULL:
            return None
        return SharedValues(
            engine=self.engine,
            source_is=self.live_is,
            target_is=self.found,
            schema=self._common_schema,
            level=self.depth.level,
        )

    @property
    def _common_schema(self) -> CollectionSchema:
        """The fields that are of one type at both sides; the others are differences of the schema."""
        there = {field.name: field for field in self.found.schema.fields}
        wanted = self.shape.schema
        alike = (field for field in wanted.fields if field.name in there and _is_alike(field, there[field.name]))
        return replace(wanted, fields=tuple(alike))

    def _expected(self, basis: Basis) -> int | None:
        """Rows in the partitions that are compared; None where they were not counted apart."""
        wanted = self._partitions
        if basis is Basis.SOURCE:
            return sum(self.live_counts.get(partition, 0) for partition in wanted) if self.live_counts else None
        is_whole = wanted == (WHOLE,) or set(self.shape.partitions) == set(wanted)
        return self.expected_rows if is_whole and self.rows_are_told else None

    def _strangers(self) -> Iterator[Difference]:
        """Rows in the partition that every target has, where it was not to come along."""
        for name, rows in self.target_counts.items():
            if name == DEFAULT_PARTITION and rows and name not in self.shape.partitions:
                told = f"{rows:,} at the target"
                yield Difference(kind=DifferenceKind.COUNT, partition=name, source="none at the source", target=told)

    def _unexplained(self, source: RowSource, compared: Compared, rows: int | None) -> Iterator[Difference]:
        """Counts that differ by something else than the keys do: some are there more than once, at one side."""
        there = sum(self.target_counts.get(partition, 0) for partition in self._partitions)
        if rows is None and not self.rows_are_told and self.depth.level is Level.FULL:
            rows = there - compared.target_keys + compared.source_keys  # as if explained: every key is looked at
        if rows is None or self.target is None:
            return
        explained = there - rows == compared.target_keys - compared.source_keys
        if explained and (self.depth.level is not Level.FULL or there == compared.target_keys):
            return  # else as many rows may be copies of other keys
        known = {(each.partition, each.key) for each in compared.differences.shown}
        copies = unequal_copies(source, self.target, self._partitions, clock=self.clock, progress=self.progress)
        found = list(islice((each for each in copies if (each.partition, each.key) not in known), KEPT))
        yield from found
        if not found and not explained and not compared.differences.count(DifferenceKind.COPIES):
            yield Difference(
                kind=DifferenceKind.COUNT,
                source=f"{rows:,} of {compared.source_keys:,} keys at the source",
                target=f"{there:,} of {compared.target_keys:,} keys at the target",
            )

    def _overlaps(self, source: RowSource, compared: Compared) -> tuple[Overlap, ...]:
        """Searches by vectors that both sides have: of no use where the rows differ.

        Compared again for a while where they differ: an index that is built reaches those who search only afterwards.
        """
        if self.searcher is None or compared.differences:
            return ()
        self.progress("comparing searches")
        deadline = self.clock.monotonic() + _SEARCHES_SETTLE_S
        while True:
            found = tuple(self.searcher.overlaps(source, compared.probes))
            if not any(each.difference() for each in found):
                return found
            if self.clock.monotonic() >= deadline:
                return tuple(self._doubted(self.searcher, each) for each in found)
            self.progress("comparing searches again: an index may be on its way to the query nodes")
            self.clock.sleep(_SEARCHES_PAUSE_S)

    def _doubted(self, searcher: Searcher, overlap: Overlap) -> Overlap:
        return replace(overlap, unbuilt=searcher.unbuilt(overlap.field)) if overlap.difference() else overlap

    def _refusal_or_overlaps(self, source: RowSource, compared: Compared) -> tuple[Overlap, ...] | str:
        """A login that may query need not be allowed to search."""
        try:
            return self._overlaps(source, compared)
        except MilvusRefused as error:
            return f"searches were not compared: {error.message}"

    def _basis(self, basis: Basis) -> str:
        """What is compared with what: another collection, level or seed is another comparison."""
        depth, partitions = self.depth, ",".join(self._partitions)
        deep = f"{depth.level} of {depth.sample} by {depth.seed}, {self.expected_rows} rows"
        named = hashlib.blake2b(partitions.encode(), digest_size=8).hexdigest()  # there may be thousands
        return f"{basis}, {self.found.collection_id}, {deep}, partitions {named}"

    @property
    def _partitions(self) -> tuple[str, ...]:
        """Those that can be read at both sides; one that is missing altogether is a difference of its own."""
        if self.found.schema.has_partition_key:
            return (WHOLE,)
        there = set(self.found.loaded_partitions)
        return tuple(sorted(name for name in self.shape.partitions if name in there))

    def _remarks(self, compared: Compared) -> Iterator[str]:
        unread = {partition.name for partition in self.found.partitions} - set(self.found.loaded_partitions)
        if unread and not self.found.schema.has_partition_key:
            yield f"not compared, as the target does not hold them loaded: partitions {', '.join(sorted(unread))}"
        if hidden := self.shape.schema.unread_fields:
            yield f"not compared, as Milvus gives them out in no form to compare: {', '.join(hidden)}"
        if compared.repeated:
            is_one = compared.repeated == 1
            twice = f"{compared.repeated:,} key{' is' if is_one else 's are'} there more than once at both sides"
            yield f"{twice}, so {'its' if is_one else 'their'} values were not compared"
        if compared.unreadable:
            yield "a row of the largest number as its key was not compared, as Milvus 2.3 never gives it out"
        key = next((each.name for each in self.found.schema.fields if each.is_partition_key), None)
        if key is not None and not can_name(key):
            yield f"no row was looked for by its partition key {key!r}, which is a word of Milvus's filters"
        if compared.rows_routed:
            yield f"{compared.rows_routed:,} rows were found by their partition key"


def _is_alike(field: FieldSchema, other: FieldSchema) -> bool:
    return (field.data_type, field.element_type) == (other.data_type, other.element_type)
