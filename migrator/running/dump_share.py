"""A run's share of a dump: what it copied there, whether a finished dump lists it, and how it goes away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from migrator.model.segment import LogKind
from migrator.steps.copy_segments import CopySegments
from migrator.steps.dump_claim import drop_claim, read_claims
from migrator.steps.seal_dump import (
    description_key,
    find_listed,
    full_meta_key,
    level_keys,
    rewrite_level_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from migrator.model.segment import StoredObject
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.running.runs import Run

_PAGE = 1000
_DELETERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpShare:
    """What one run holds in a dump that it claimed.

    `unlisted` are the ids of its collections that `full_meta.json` does not list, `listed` the names of those it does.
    """

    run_id: str
    dump_prefix: str
    claims_folder: str
    unlisted: tuple[int, ...]
    listed: tuple[str, ...]
    is_listing: bool
    """Whether there is a `full_meta.json` that lists a collection; one of a run that read all in place lists none."""
    is_alone: bool
    """Whether no other run has a claim on the dump."""

    @classmethod
    def find(cls, store: ObjectReader, run: Run) -> Self | None:
        """The share of a run as it is now; None where it has no claim, and so nothing in the dump."""
        copies = [step for step in run.plan.steps if isinstance(step, CopySegments)]
        if not copies:
            return None
        claims = {claim.run_id for claim in read_claims(store, copies[0].claims_folder)}
        if run.run_id not in claims:
            return None
        listing = find_listed(store, copies[0].dump_prefix)
        listed = listing or frozenset()
        return cls(
            run_id=run.run_id,
            dump_prefix=copies[0].dump_prefix,
            claims_folder=copies[0].claims_folder,
            unlisted=tuple(step.collection_id for step in copies if step.collection_id not in listed),
            listed=tuple(step.source.short for step in copies if step.collection_id in listed),
            is_listing=bool(listing),
            is_alone=claims == {run.run_id},
        )

    def objects(self, store: ObjectReader) -> Iterator[StoredObject]:
        """All that lies there of its unlisted collections, and the meta files of a seal that was stopped."""
        for folder in self._folders():
            yield from store.list_objects(folder)
        keys = [description_key(self.dump_prefix, self.run_id)]
        if not self.is_listing and self.is_alone:
            keys += [full_meta_key(self.dump_prefix), *level_keys(self.dump_prefix)]
        yield from filter(None, map(store.find_object, keys))

    def remove(self, store: ObjectStore) -> None:
        """Delete them and, last, the claim; what a finished dump lists stays, and is no run's any more."""
        with ThreadPoolExecutor(_DELETERS) as pool:
            while page := list(islice(self.objects(store), _PAGE)):
                list(pool.map(lambda found: store.delete([found.key]), page))
        for folder in (*self._folders(), f"{self.dump_prefix}/meta"):
            store.sweep(folder)
        if self.is_listing and self.unlisted:
            rewrite_level_files(store, self.dump_prefix)
        drop_claim(store, self.claims_folder, self.run_id)

    def _folders(self) -> Iterator[str]:
        for collection_id in self.unlisted:
            yield from (f"{self.dump_prefix}/binlogs/{kind}/{collection_id}" for kind in LogKind)
