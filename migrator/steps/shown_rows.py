"""The rows that a collection at the target holds for all to see, whoever wrote them: asked before one is dropped."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from migrator.errors import MilvusRefused
from migrator.model.segment import SegmentState
from migrator.steps.flush import flush_and_wait

if TYPE_CHECKING:
    from migrator.model.collection import CollectionRef
    from migrator.steps.base import StepContext


def shown_rows(ctx: StepContext, ref: CollectionRef) -> int:
    """Deleted ones among them; what grows is flushed before, as a rollback does, so that it can be seen."""
    with suppress(MilvusRefused):
        flush_and_wait(ctx.target, [ref], ctx.clock)
    listed = ctx.target.list_segments(ref)
    return sum(each.num_rows for each in listed if each.state is SegmentState.FLUSHED and not each.is_l0)
