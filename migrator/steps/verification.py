"""The ladder of a verification: what the target was asked to be, its counts, its keys, its values, its searches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from migrator.errors import ObjectMissing
from migrator.model.difference import ROW_KINDS, Difference, DifferenceKind, Differences
from migrator.model.rows import Sample
from migrator.steps.comparing import Compared, RowComparison
from migrator.steps.counting import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from migrator.model.collection import Collection
    from migrator.model.shape import Shape
    from migrator.ports.clock import Clock
    from migrator.ports.rows import RowSource
    from migrator.steps.base import ProgressReport
    from migrator.steps.comparing import RowCheck
    from migrator.steps.searching import Overlap, Searcher


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
            Level.COUNTS: "the numbers of rows",
            Level.SAMPLE: f"all keys and {self.sample:,} rows",
            Level.FULL: "all rows, bit for bit,",
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
        return f"{self._sides} are equal: {keys}every value of {valued:,} rows"

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
    live: RowSource | None
    why_not_live: str = ""
    open_dump: Callable[[Sample], AbstractContextManager[RowSource]] | None
    why_no_dump: str = ""
    has_moved: Callable[[], bool]
    expected_rows: int
    """Those of the cut: what the import jobs brought."""
    live_rows: int | None = None
    """What the source counts, and `target_rows` the target, in the partitions that are compared."""
    target_rows: int | None = None
    check: Callable[[RowSource], RowCheck] | None = None
    searcher: Searcher | None = None
    """Where both sides can be searched."""
    clock: Clock
    progress: ProgressReport
    put_down: Callable[[Compared], None]
    begun: Compared = field(default_factory=Compared)

    def run(self) -> Finding:
        """Climb the ladder."""
        shape = Differences().plus(self.shape.differences(self.found))
        rows = self._rows()
        undecided = rows.undecided and not shape
        return replace(rows, differences=shape.and_those_of(rows.differences), undecided=undecided)

    # -- rows -------------------------------------------------------------------------------------------------------

    def _rows(self) -> Finding:
        """The live source first; where it differs, the dump decides."""
        if self.target is None:
            why = "the target has no vector index, so its rows could not be queried"
            return Finding(differences=Differences(), remarks=(why,))
        if self.live is None or self.begun.basis == self._basis(Basis.DUMP):
            return self._against_dump()
        finding = self._compare(self.live, Basis.SOURCE)
        if not any(finding.differences.count(kind) for kind in ROW_KINDS):
            return finding
        by_dump = self._against_dump()
        if by_dump.basis is not None:
            return by_dump
        return replace(finding, undecided=self.has_moved(), remarks=(*finding.remarks, *by_dump.remarks))

    def _against_dump(self) -> Finding:
        if self.open_dump is None:
            return self._not_compared(self.why_no_dump)
        try:
            with self.open_dump(self._sample) as dump:
                finding = self._compare(dump, Basis.DUMP)
        except ObjectMissing as error:
            return self._not_compared(f"the dump is not whole any more: {error.message}")
        why = self.why_not_live or "the source has other rows now than at the cut"
        return replace(finding, remarks=(why, *finding.remarks))

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
            schema=self.shape.schema,
            partitions=wanted,
            sample=self._sample,
            clock=self.clock,
            progress=self.progress,
            put_down=self.put_down,
            check=self.check(source) if self.check else None,
            total_rows=self.expected_rows,
        ).run(begun)
        overlaps = self._overlaps(source, compared) if basis is Basis.SOURCE else ()
        found = compared.differences.plus(filter(None, (overlap.difference() for overlap in overlaps)))
        found = found.plus(self._unexplained(compared, self.live_rows if basis is Basis.SOURCE else self.expected_rows))
        remarks = (*self._remarks(compared), *map(str, overlaps))
        return Finding(differences=found, basis=basis, compared=compared, remarks=remarks)

    def _unexplained(self, compared: Compared, rows: int | None) -> Iterator[Difference]:
        """Counts that differ by something else than the keys do: some are there more than once, at one side."""
        if rows is None or self.target_rows is None:
            return
        if self.target_rows - rows != compared.target_keys - compared.source_keys:
            yield Difference(
                kind=DifferenceKind.COUNT,
                source=f"{rows:,} rows of {compared.source_keys:,} keys at the source",
                target=f"{self.target_rows:,} rows of {compared.target_keys:,} keys at the target",
            )

    def _overlaps(self, source: RowSource, compared: Compared) -> tuple[Overlap, ...]:
        """Searches by vectors that both sides have: of no use where the rows differ."""
        if self.searcher is None or compared.differences:
            return ()
        self.progress("comparing searches")
        return tuple(self.searcher.overlaps(source, compared.probes))

    def _basis(self, basis: Basis) -> str:
        """What is compared with what: another collection, level or seed is another comparison."""
        depth = self.depth
        deep = f"{depth.level} of {depth.sample} by {depth.seed}, {self.expected_rows} rows"
        return f"{basis}, {self.found.collection_id}, {deep}, partitions {','.join(self._partitions)}"

    @cached_property
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
        if compared.repeated:
            twice = f"{compared.repeated:,} keys are there more than once at both sides"
            yield f"{twice}, so their values were not compared"
        if compared.rows_routed:
            yield f"{compared.rows_routed:,} rows were found by their partition key"
