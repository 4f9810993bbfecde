"""Who holds the leases that a plan needs, and breaking them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migrator.running.lock import BEAT_S, Holder, LeaseName, break_lease, find_holder, read_pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from migrator.ports.clock import Clock
    from migrator.ports.store import ObjectStore

WATCH_S = BEAT_S + 2.0
"""So long a heartbeat is watched: a living one moves in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease with its holder; `is_beating` says whether the holder's heart was seen to beat."""

    store: ObjectStore = field(repr=False)
    lease: LeaseName
    holder: Holder
    is_beating: bool


def find_held(
    leases: Iterable[tuple[ObjectStore, LeaseName]],
    *,
    clock: Clock,
    tell: Callable[[str], None],
) -> list[HeldLease]:
    """Those of the leases, each with its store, that somebody holds; watches their heartbeats for a while."""
    held = [(store, lease, found) for store, lease in leases if (found := find_holder(store, lease)) is not None]
    if not held:
        return []
    hearts = {holder.beat: (store, holder) for store, _, holder in held}
    before = {beat: read_pulse(*heart) for beat, heart in hearts.items()}
    tell(f"watching for {WATCH_S:.0f} s whether the holder is alive")
    clock.sleep(WATCH_S)
    beating = {beat for beat, heart in hearts.items() if read_pulse(*heart) not in {None, before[beat]}}
    return [
        HeldLease(store=store, lease=lease, holder=holder, is_beating=holder.beat in beating)
        for store, lease, holder in held
    ]


def break_held(held: Sequence[HeldLease]) -> None:
    """Take the leases from their holders, who stop before their next import."""
    for each in held:
        break_lease(each.store, each.lease)
