"""Which segments the target reads where they lie (`transfer.mode: in_place`), and which are copied all the same.

Pure: who looks into the store brings what was found. Milvus 2.3 takes one folder in a request and two seconds for each,
so there a whole partition goes as one where its folder holds the live segments and nothing else; else each segment by
itself, and small ones are copied into a folder of their own where that is quicker than a request for each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEST_BYTES = 1024**3
"""Largest partition brought by one request: a 2.3 task expires 900 s after its start, and slow stores do 10 MB/s."""
REQUEST_S = 2.0
"""What a request costs where the server takes one at a time, in ticks."""
_COPIED_OBJECTS_PER_S = 280.0
"""The middle of what the pace of a copy is guessed at; so the next."""
_COPIED_BYTES_PER_S = 140e6
SMALL = "small ones that one request brings together"
STRANGE_FILES = "its folder holds other files than are its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A live segment; `obstacle` says why its folder cannot be read as it is, empty where it can."""

    segment_id: int
    objects: int
    size_bytes: int
    obstacle: str = ""

    @property
    def copying_s(self) -> float:
        """About how long its copy takes."""
        return self.objects / _COPIED_OBJECTS_PER_S + self.size_bytes / _COPIED_BYTES_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRoute:
    """The way of one partition's segments; those that are not `in_place` are `copied`, by reason."""

    in_place: frozenset[int]
    is_whole: bool = False
    """Whether the partition's folder goes as one request."""
    copied: Counter[str] = field(default_factory=Counter)


def choose_route(segments: Sequence[Candidate], *, is_littered: bool, takes_many: bool) -> PartitionRoute:
    """The cheapest way for the live segments of a partition.

    `is_littered` says that its folder holds more than those; `takes_many` that a job of the target takes many folders.
    """
    free = [each for each in segments if not each.obstacle]
    everything = frozenset(each.segment_id for each in free)
    copied = Counter(each.obstacle for each in segments if each.obstacle)
    if takes_many:
        return PartitionRoute(in_place=everything, copied=copied)
    size_bytes = sum(each.size_bytes for each in segments)
    if not copied and not is_littered and size_bytes <= REQUEST_BYTES:
        return PartitionRoute(in_place=everything, is_whole=True)
    small = _worth_copying(free, room_bytes=REQUEST_BYTES - _copied_bytes(segments), has_request=bool(copied))
    if small:
        copied[SMALL] += len(small)
    return PartitionRoute(in_place=everything - small, copied=copied)


def _copied_bytes(segments: Sequence[Candidate]) -> int:
    return sum(each.size_bytes for each in segments if each.obstacle)


def _worth_copying(free: Sequence[Candidate], *, room_bytes: int, has_request: bool) -> frozenset[int]:
    """Those whose copies, brought by one request, are there sooner than by a request for each."""
    chosen: list[Candidate] = []
    for each in sorted(free, key=lambda one: (one.copying_s, one.segment_id)):
        room_bytes -= each.size_bytes
        if each.copying_s >= REQUEST_S or room_bytes < 0:
            break
        chosen.append(each)
    saved_s = REQUEST_S * (len(chosen) - (0 if has_request else 1)) - sum(each.copying_s for each in chosen)
    return frozenset(each.segment_id for each in chosen) if saved_s > 0 else frozenset()
