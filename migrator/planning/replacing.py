"""`if_exists: replace`: what stands in a target's place, and which names both collections have meanwhile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.collection import CollectionRef
from migrator.model.timestamps import as_utc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.observed import ObservedTarget

LONGEST_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """A collection that will be replaced; `rows` are those counted, None where it is not loaded.

    Its successor is built as `temporary`; itself it is kept as `retired`. Its `aliases` follow its name.
    """

    collection_id: int
    created_ts: int
    rows: int | None
    aliases: tuple[str, ...]
    temporary: CollectionRef
    retired: CollectionRef

    def in_words(self) -> str:
        """Which one it is, and what becomes of it."""
        rows = "rows not counted" if self.rows is None else f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return (
            f"replaces collection {self.collection_id} ({rows}, created {as_utc(self.created_ts):%Y-%m-%d %H:%M} UTC), "
            f"which is kept as {self.retired.short} until migrator clean"
        )

    def notices(self, target: CollectionRef) -> Iterator[str]:
        """What happens to those who read and write meanwhile."""
        yield f"what is written to {target.short} until the renames stays with {self.retired.short}"
        yield (
            f"between two renames, some milliseconds apart, there is no {target.short}; if the run dies in between, "
            f"until it is resumed"
        )
        if self.aliases:
            yield f"its aliases answer all the time, and follow after the renames: {', '.join(self.aliases)}"


def predecessor(plan_name: str, source: CollectionRef, target: ObservedTarget) -> Predecessor:
    """What stands at `target`, with names that are the same whenever the plan is made again."""
    ref = target.ref
    digest = hashlib.sha256(f"{plan_name}\n{source}\n{ref}".encode()).hexdigest()
    return Predecessor(
        collection_id=target.collection_id,
        created_ts=target.created_ts,
        rows=target.rows,
        aliases=target.aliases,
        temporary=_named(ref, f"_mig_{digest[:8]}"),
        retired=_named(ref, f"_retired_{target.collection_id}"),
    )


def _named(ref: CollectionRef, suffix: str) -> CollectionRef:
    return CollectionRef(ref.database, f"{ref.name[: LONGEST_NAME - len(suffix)]}{suffix}")
