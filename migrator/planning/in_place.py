"""What a plan tells of `transfer.mode: in_place`: what it saves, what is copied all the same, and what may go wrong."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from migrator.model.capabilities import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.model.observed import ObservedState
    from migrator.planning.item import PlannedItem

_RISK = (
    "segments are read where the source keeps them: where its compaction moves files meanwhile, the new collection is "
    "dropped and imported anew, so pause it if you can"
)
_NO_BACKUP = "what is read in place is not in the dump, of which only the description stays: it is no backup"


def in_place_notices(observed: ObservedState, todo: Iterable[PlannedItem]) -> Iterator[str]:
    """Nothing where the mode is another."""
    found = observed.in_place
    if found is None:
        return
    if found.why_not:
        yield f"nothing is read in place, everything is copied: {found.why_not}"
        return
    yield _RISK
    yield _NO_BACKUP
    source, target = capabilities(observed.source_version), capabilities(observed.target_version)
    if source.has_l0_segments and not (target.imports_l0 and target.bounds_l0):
        yield (
            f"a collection with deletes in segments of their own is copied: Milvus {observed.target_version} takes "
            f"these in other files only"
        )
    reasons = Counter[str]()
    sources = {item.source for item in todo}
    for ref, reason, number in found.copied:
        reasons[reason] += number if ref in sources else 0
    for reason, number in sorted((+reasons).items()):
        yield f"copied, and not read in place: {number:,} segment{'' if number == 1 else 's'}, {reason}"
