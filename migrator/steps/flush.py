"""`flush`: fix the moment up to which everything comes along."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, MilvusUnavailable, RunError
from migrator.model.collection import CollectionRef
from migrator.model.timestamps import physical_ms
from migrator.ports.milvus import FlushResult
from migrator.steps.abreast import abreast
from migrator.steps.base import Evidence, Outcome, Step
from migrator.steps.counting import count_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from migrator.ports.clock import Clock
    from migrator.ports.ledger import JsonValue
    from migrator.ports.milvus import MilvusReader, MilvusSource, MilvusTarget
    from migrator.steps.base import ReadContext, StepContext

FLUSH_KEY = "flush"
_CLOCK_STEP_S = 0.002
_POLL_S = 0.1
_FLUSH_PATIENCE_S = 600.0
_RATE_PATIENCE_S = 60.0
_log = logging.getLogger(__name__)


def pass_millisecond(source: MilvusReader, clock: Clock) -> None:
    """Return once the server's clock shows a later millisecond than at the call.

    Bounds count in milliseconds on old servers: a cut taken after this one holds all that was written before.
    """
    began = physical_ms(source.allocate_timestamp())
    while physical_ms(source.allocate_timestamp()) <= began:
        clock.sleep(_CLOCK_STEP_S)


def flush_and_wait(
    source: MilvusSource | MilvusTarget, refs: Sequence[CollectionRef], clock: Clock
) -> Mapping[CollectionRef, FlushResult]:
    """Flush collections of one database, and return once all up to the cut, deletes too, is in object storage.

    The cut is that of a first flush. Milvus 2.3 gives a row its timestamp before its segment, so rows under way in that
    moment may be older than the cut and in none of the segments the flush names. Once it has ended, every row up to the
    cut has a segment, and a second flush seals what still grows. `sealed_ids` are the segments of that second one. What
    was flushed in between without its doing is not named: it may be the product of a compaction.
    """
    pass_millisecond(source, clock)
    _log.info("flush sent: %s", ", ".join(ref.short for ref in refs))
    first = source.flush(refs)
    _log.info("cut of %d collections: %d", len(first), max((result.cut_ts for result in first.values()), default=0))
    _wait_until_flushed(source, first, clock)
    second = _flush_again(source, refs, clock)
    _wait_until_flushed(source, second, clock)
    return {ref: _joined(first[ref], second[ref]) for ref in refs}


def _joined(first: FlushResult, second: FlushResult) -> FlushResult:
    late = set(second.sealed_ids) - set(first.segment_ids)
    return FlushResult(
        cut_ts=first.cut_ts,
        segment_ids=tuple(sorted({*first.segment_ids, *late})),
        sealed_ids=tuple(sorted(late)),
    )


def _flush_again(
    source: MilvusSource | MilvusTarget, refs: Sequence[CollectionRef], clock: Clock
) -> Mapping[CollectionRef, FlushResult]:
    """Flush, waiting for a rate limit that the flush before may have used up."""
    deadline = clock.monotonic() + _RATE_PATIENCE_S
    while True:
        try:
            return source.flush(refs)
        except MilvusUnavailable:
            if clock.monotonic() > deadline:
                raise
            clock.sleep(1.0)


def _wait_until_flushed(source: MilvusReader, results: Mapping[CollectionRef, FlushResult], clock: Clock) -> None:
    deadline = clock.monotonic() + _FLUSH_PATIENCE_S

    def wait(flushed: tuple[CollectionRef, FlushResult]) -> None:
        ref, result = flushed
        while not source.is_flushed(ref, result):
            if clock.monotonic() > deadline:
                raise RunError(
                    f"the flush of {ref.short} did not end within {_FLUSH_PATIENCE_S / 60:.0f} minutes",
                    hint="look at the source's data nodes, then run migrator apply --resume",
                )
            clock.sleep(_POLL_S)

    abreast(wait, results.items(), pause=clock.sleep)


def cut_note(result: FlushResult) -> dict[str, JsonValue]:
    """A flush as it is noted."""
    return {
        "cut_ts": result.cut_ts,
        "segment_ids": list(result.segment_ids),
        "sealed_ids": list(result.sealed_ids),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush(Step):
    """Seal what grows in `collections` and note the cut of each; with `enabled` False only note the time."""

    kind: ClassVar[str] = "flush"
    collections: tuple[CollectionRef, ...]
    enabled: bool = True

    @property
    def key(self) -> str:
        """One per run."""
        return FLUSH_KEY

    def describe(self) -> str:
        """What it does, in a few words."""
        count = len(self.collections)
        noun = f"{count} collection{'s' if count != 1 else ''}"
        return f"flush {noun} and note the cut" if self.enabled else f"note the cut of {noun}, without a flush"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Noted once per run, so noted is done."""
        return Evidence.DONE if "cuts" in self.notes(ctx) else Evidence.ABSENT

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Flush database by database; a collection that cannot be flushed is noted and fails later, by itself."""
        counts = abreast(partial(count_named, ctx.source), self.collections, pause=ctx.clock.sleep)
        counted = zip(self.collections, counts, strict=True)
        self.note(ctx, counts_before={str(ref): dict(found) for ref, found in counted})
        cuts: dict[str, JsonValue] = {}
        faults: dict[str, JsonValue] = {}
        for _, group in groupby(sorted(self.collections), key=lambda ref: ref.database):
            refs = tuple(group)
            if not self.enabled:
                cut = FlushResult(cut_ts=ctx.source.allocate_timestamp(), segment_ids=())
                cuts |= {str(ref): cut_note(cut) for ref in refs}
                continue
            ctx.progress(f"flushing {', '.join(ref.short for ref in refs[:3])}{' …' if len(refs) > 3 else ''}")
            flushed, refused = self._flush(ctx, refs)
            cuts |= {str(ref): cut_note(result) for ref, result in flushed.items()}
            faults |= refused
        self.note(ctx, cuts=cuts, faults=faults)
        return Outcome(detail=f"cut noted for {len(cuts)} of {len(self.collections)}")

    def _flush(
        self, ctx: StepContext, refs: tuple[CollectionRef, ...]
    ) -> tuple[Mapping[CollectionRef, FlushResult], dict[str, JsonValue]]:
        """All by one request; where that is refused, one by one, to tell whose fault it is."""
        try:
            return flush_and_wait(ctx.source, refs, ctx.clock), {}
        except MilvusRefused as error:
            if len(refs) == 1:
                return {}, {str(refs[0]): error.message}
        flushed: dict[CollectionRef, FlushResult] = {}
        faults: dict[str, JsonValue] = {}
        for ref in refs:
            results, refused = self._flush(ctx, (ref,))
            flushed |= results
            faults |= refused
        return flushed, faults
