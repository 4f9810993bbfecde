"""What a run noted of collections that a target restored from snapshots, for steps and readers of all kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.model.collection import CollectionRef
    from migrator.ports.ledger import LedgerReader

CREATE_SNAPSHOT = "create_snapshot"
"""The kind of the step that takes one."""
SNAPSHOT_PLACE = "location"
"""Its note of where the source has it."""
RESTORE_SNAPSHOT = "restore_snapshot"
"""The kind of the step that makes a collection of a snapshot."""
NO_DUMP = "it came by a snapshot, of which no dump is made"
ROWS = "rows"
"""Its note of the rows that the collection had when the restore was over, deleted ones among them."""


def snapshot_key(source: CollectionRef) -> str:
    """The key of the step that takes a snapshot of `source`."""
    return f"{CREATE_SNAPSHOT}:{source}"


def restore_key(target: CollectionRef) -> str:
    """The key of the step that restores `target`."""
    return f"{RESTORE_SNAPSHOT}:{target}"


def is_restored(ledger: LedgerReader, target: CollectionRef) -> bool:
    """Whether it came by a snapshot: its segments have rows that deletes took, and there is no dump of it."""
    return ROWS in ledger.notes(restore_key(target))


def restored_rows(ledger: LedgerReader, target: CollectionRef) -> int:
    """The rows that it came with; 0 where it did not come so."""
    rows = ledger.notes(restore_key(target)).get(ROWS, 0)
    return rows if isinstance(rows, int) else 0
