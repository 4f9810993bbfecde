"""`create_index`: the indexes of the source, built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, RunError, SchemaDiffers
from migrator.model.collection import CollectionRef, Index
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.create_collection import require_own
from migrator.steps.import_deletes import has_imported_deletes
from migrator.steps.import_segments import imported_rows
from migrator.steps.restored import is_restored
from migrator.steps.waiting import Look, wait_until_over

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.collection import IndexProgress
    from migrator.ports.ledger import LedgerReader
    from migrator.steps.base import ReadContext, StepContext

_SHRUNK_S = 60.0
_GIVEN_UP_S = 120.0
"""Of which the source stands still as well for the second half: indexes wait for those of other collections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIndex(Step):
    """Create `indexes` on `target` and wait until every imported row is in them.

    The server's own `state` is not asked: 2.3 says Finished while all rows are still pending. What `source` has not
    built either is not waited for without end: 2.3.5 accepts kinds that it cannot build, and tries for ever.
    """

    kind: ClassVar[str] = "create_index"
    target: CollectionRef
    indexes: tuple[Index, ...]
    source: CollectionRef | None = None

    @property
    def key(self) -> str:
        """By the target collection."""
        return f"{self.kind}:{self.target}"

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"build {', '.join(map(str, self.indexes))}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when equal indexes are there and nothing is pending."""
        found = ctx.target.index_progress(self.target)
        if any(_find(index, found) is None for index in self.indexes):
            return Evidence.ABSENT
        return Evidence.DONE if self._are_built(found, self._expected(ctx.ledger)) else Evidence.RUNNING

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Create what is missing, then wait."""
        require_own(ctx, self.target)
        there = ctx.target.index_progress(self.target)
        for index in self.indexes:
            found = _find(index, there)
            if found is None:
                ctx.target.create_index(self.target, index)
            elif not index.is_like(found):
                raise SchemaDiffers(
                    f"{self.target.short} has an index {index.name!r} with other parameters than the plan's",
                    hint="drop that index at the target, then run migrator apply --resume",
                )
        rows = self._wait(ctx)
        detail = f"{len(self.indexes)} index{'' if len(self.indexes) == 1 else 'es'}"
        if unbuilt := [p.index.field_name for p in ctx.target.index_progress(self.target) if not p.is_built]:
            detail += f"; not built to its end, as at the source: that on {', '.join(unbuilt)}"
        return Outcome(rows=rows, detail=detail)

    def _wait(self, ctx: StepContext) -> int:
        """Until all imported rows are in; fewer are right once compaction has dropped some (TTL) and nothing moves.

        Then too, an index is left to the server where the source's like has rows waiting as well.
        """
        expected = self._expected(ctx.ledger)
        source_then: list[IndexProgress] | None = None

        def look(still_s: float) -> Look:
            nonlocal source_then
            found = ctx.target.index_progress(self.target)
            if failed := next((p for p in found if p.failure), None):
                raise RunError(
                    f"the index {failed.index.name!r} of {self.target.short} cannot be built: {failed.failure}"
                )
            done = min((p.indexed_rows for p in found), default=0)
            is_over = self._are_built(found, expected if still_s < _SHRUNK_S else 0)
            if still_s < _SHRUNK_S:
                source_then = None
            elif not is_over:
                at_source = self._unbuilt_at_source(ctx)
                source_then = at_source if source_then is None else source_then
                is_over = still_s >= _GIVEN_UP_S and at_source == source_then
                is_over = is_over and _has_likes_of([p.index for p in found if not p.is_built], at_source)
            return Look(is_over=is_over, done=done, total=expected, unit="rows")

        wait_until_over(ctx, look, doing="target builds indexes")
        return expected

    def _expected(self, ledger: LedgerReader) -> int:
        """The rows that are in it at last; 0 where deletes by themselves took some, and nobody tells how many."""
        if has_imported_deletes(ledger, self.target) or is_restored(ledger, self.target):
            return 0
        return imported_rows(ledger, self.target)

    def _unbuilt_at_source(self, ctx: StepContext) -> list[IndexProgress]:
        try:
            there = () if self.source is None else ctx.source.index_progress(self.source)
        except MilvusRefused:  # a backup does not tell
            return []
        return [p for p in there if not p.is_built]

    def _are_built(self, found: Iterable[IndexProgress], expected: int) -> bool:
        return all(p.is_built and p.total_rows >= expected for p in found)


def _has_likes_of(indexes: list[Index], there: list[IndexProgress]) -> bool:
    return all(any(index.is_like(p.index) for p in there) for index in indexes)


def _find(index: Index, there: Iterable[IndexProgress]) -> Index | None:
    """The index of its name; one that a JSON path named is found by what it is, since its server names it again."""
    found = [progress.index for progress in there]
    named = next((each for each in found if each.name == index.name), None)
    if named is not None or "/" not in index.name:
        return named
    return next((each for each in found if index.is_like(each)), None)
