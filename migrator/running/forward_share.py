"""What a run brought to the target's store for its imports, and how it goes away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from migrator.steps.forward_segments import ForwardSegments, forwarded_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from migrator.model.segment import StoredObject
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.running.runs import Run

_PAGE = 1000
_DELETERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardShare:
    """The folder of a run in the target's store."""

    prefix: str

    @classmethod
    def of(cls, run: Run) -> Self | None:
        """That of a run; None where its plan brings nothing there."""
        step = next((step for step in run.plan.steps if isinstance(step, ForwardSegments)), None)
        return None if step is None else cls(prefix=forwarded_prefix(step.imports_folder, run.run_id))

    def objects(self, store: ObjectReader) -> Iterator[StoredObject]:
        """All that lies there."""
        return store.list_objects(self.prefix)

    def remove(self, store: ObjectStore) -> None:
        """Delete it, with what a killed write left; the caller knows that no import job reads it any more."""
        with ThreadPoolExecutor(_DELETERS) as pool:
            while page := list(islice(self.objects(store), _PAGE)):
                list(pool.map(lambda found: store.delete([found.key]), page))
        store.sweep(self.prefix)
        store.drop_empty_folders(self.prefix)
