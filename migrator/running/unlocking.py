"""Who holds the leases that a plan needs, and breaking them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.running.lock import BEAT_S, Holder, LeaseName, LeasePlaces, break_lease, find_holder, read_pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from migrator.model.collection import CollectionRef
    from migrator.ports.clock import Clock
    from migrator.ports.store import ObjectReader, ObjectStore

WATCH_S = BEAT_S + 2.0
"""So long a heartbeat is watched: a living one moves in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease with its holder; `is_beating` says whether the holder's heart was seen to beat."""

    lease: LeaseName
    holder: Holder
    is_beating: bool


def find_held(
    store: ObjectReader,
    places: LeasePlaces,
    dump_prefix: str,
    targets: Iterable[CollectionRef],
    *,
    clock: Clock,
    tell: Callable[[str], None],
) -> list[HeldLease]:
    """The leases of a dump and of target collections that somebody holds; watches their heartbeats for a while."""
    leases = [places.dump(dump_prefix), *map(places.target, targets)]
    held = [(lease, holder) for lease in leases if (holder := find_holder(store, lease)) is not None]
    if not held:
        return []
    holders = {holder.beat: holder for _, holder in held}
    before = {beat: read_pulse(store, holder) for beat, holder in holders.items()}
    tell(f"watching for {WATCH_S:.0f} s whether the holder is alive")
    clock.sleep(WATCH_S)
    beating = {beat for beat, holder in holders.items() if read_pulse(store, holder) not in {None, before[beat]}}
    return [HeldLease(lease=lease, holder=holder, is_beating=holder.beat in beating) for lease, holder in held]


def break_held(store: ObjectStore, held: Sequence[HeldLease]) -> None:
    """Take the leases from their holders, who stop before their next import."""
    for each in held:
        break_lease(store, each.lease)
