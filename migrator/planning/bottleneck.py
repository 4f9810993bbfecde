"""What the end of a run mostly waits for: the longest of the queues that its steps share, or one collection's chain.

Pure. Steps of a kind that take turns are one queue; those of other kinds go on side by side.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.planning.pace import DEFAULT_PARALLELISM, Pace
from migrator.steps.copy_segments import CopySegments
from migrator.steps.create_index import CreateIndex
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_segments import DELETES, ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.planning.pace import Work

_COPIES = "the copies"
_IMPORTS = "the target's imports"
_INDEXES = "the target's index builds"
_QUEUES = {
    CopySegments.kind: _COPIES,
    ForwardSegments.kind: _COPIES,
    ImportSegments.kind: _IMPORTS,
    DELETES: _IMPORTS,
    CreateIndex.kind: _INDEXES,
}
_SIDE_BY_SIDE = {LoadCollection.kind: "loading", VerifyCollection.kind: "the verification"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """What takes longest, in words, and how many seconds of it there are, between fast and slow."""

    what: str
    seconds: float
    all_s: float
    """The same of everything that is done, as if one thing were done after the other."""
    collection: str = ""
    """Whose chain it is, where it is one collection's."""

    @property
    def share(self) -> float:
        """Of all the work, from 0 to 1."""
        return self.seconds / self.all_s if self.all_s else 0.0


def find_bottleneck(
    works: Mapping[str, Work], pace: Pace | None = None, *, parallelism: int = DEFAULT_PARALLELISM
) -> Bottleneck | None:
    """The longest of them; None where there is nothing to do, or nothing that can be called one."""
    seconds = (pace or Pace()).middles(works)
    queues: dict[str, float] = defaultdict(float)
    chains: dict[str, float] = defaultdict(float)
    for key, work in works.items():
        if work.kind in _QUEUES:
            queues[_QUEUES[work.kind]] += seconds[key]
        elif work.kind in _SIDE_BY_SIDE:
            queues[_SIDE_BY_SIDE[work.kind]] += seconds[key] / parallelism
        if work.collection:
            chains[work.collection] += seconds[key]
    if not queues:
        return None
    all_s = sum(seconds.values())
    what = max(queues, key=lambda name: queues[name])
    longest = max(chains, key=lambda name: chains[name])
    if len(chains) > 1 and chains[longest] > queues[what]:
        return Bottleneck(what="one collection", seconds=chains[longest], all_s=all_s, collection=longest)
    return Bottleneck(what=what, seconds=queues[what], all_s=all_s)
