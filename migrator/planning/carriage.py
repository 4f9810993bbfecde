"""What a plan tells of the way its files go, where that is not the plain one: copied inside one bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.way import Way
from migrator.planning.places import imports_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.observed import ObservedState
    from migrator.spec.loaded import LoadedPlan


STREAMED = "the files are streamed through this machine"
ACROSS = "the storage service copies the files out of its bucket"


def carriage_notices(loaded: LoadedPlan, observed: ObservedState) -> Iterator[str]:
    """Who carries the files into the dump, and that they have to be brought on to the target's store."""
    copies = observed.copies
    if copies is not None and copies.way is Way.ACROSS:
        yield f"{ACROSS} {loaded.source_storage.bucket} by itself"
    if copies is not None and copies.way is Way.STREAM:
        yield f"{STREAMED}: {copies.reason}"
    if observed.forwards and loaded.target is not None:
        bucket = loaded.target.storage.bucket
        place = "/".join(part for part in (bucket or "", imports_folder(loaded)) if part)
        yield (
            f"the dump is not in the target's storage: for the import its files are brought to {place}/ too, which "
            f"takes as much space there once more, until it is over"
        )
