"""The blocks of one plan, as far as they are sound, with clusters looked up and defaults merged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.spec.document import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.spec.document import (
        BackupSource,
        CollectionMapping,
        Options,
        PlanHeader,
        Staging,
    )
    from migrator.spec.report import Report
    from migrator.spec.source_map import Path


@dataclass(frozen=True, slots=True)
class Parts:
    """What the rules look at; `None` stands for a block that is absent, or too broken to be looked at."""

    header: PlanHeader
    source: Cluster | BackupSource | None
    target: Cluster | None
    staging: Staging
    mappings: dict[int, CollectionMapping]
    options: Options
    variables: dict[str, str | int | float | bool]

    def clusters(self) -> Iterator[tuple[str, Cluster]]:
        """Source and target, as far as they are clusters."""
        for side, cluster in (("source", self.source), ("target", self.target)):
            if isinstance(cluster, Cluster):
                yield side, cluster


def setting_path(report: Report, index: int, key: str) -> Path:
    """Where a setting of mapping `index` is written: with the mapping, or with the defaults."""
    own: Path = ("collections", index, key)
    shared: Path = ("defaults", key)
    return shared if report.has(shared) and not report.has(own) else own
