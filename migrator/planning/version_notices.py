"""What a plan tells of its two versions together: pairs that nobody ran, and known faults that care can avoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.model.capabilities import capabilities, parse_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.model.observed import ObservedState
    from migrator.planning.item import PlannedItem
    from migrator.spec.loaded import LoadedPlan

_AZURE_PAGE = 5_000
"""Files that Azure lists at once."""


def version_notices(observed: ObservedState) -> Iterator[str]:
    """Nothing between the versions that most tests are of."""
    source, target = parse_version(observed.source_version), parse_version(observed.target_version)
    if source is None or target is None:
        return
    if source[:2] == target[:2] and target < source:
        yield (
            f"the target is Milvus {observed.target_version}, an older patch of the source's line "
            f"({observed.source_version}): what is known to differ is looked at, and a small collection is worth "
            f"trying first"
        )
    old, new = capabilities(observed.source_version), capabilities(observed.target_version)
    if old.has_l0_segments and new.imports_l0 and new.compacts_l0_while_importing:
        yield (
            f"Milvus {observed.target_version} may spoil an import of deletes when others delete there meanwhile "
            f"(milvus-io/milvus#47762): let nobody delete at the target during the run, or upgrade it to 2.6.12"
        )


def cut_listings(loaded: LoadedPlan, observed: ObservedState, todo: Iterable[PlannedItem]) -> Iterator[str]:
    """Collections whose files an import by whole partitions would not all see: old servers read one page of Azure."""
    target = capabilities(observed.target_version)
    is_azure = loaded.target is not None and loaded.target.storage.provider == "azure"
    if (
        not is_azure
        or target.lists_all_of_azure
        or target.lists_one_level
        or loaded.options.import_.segments_per_job == 1
    ):
        return
    yield from (each.source.short for each in todo if each.observed.estimate.objects > _AZURE_PAGE)
