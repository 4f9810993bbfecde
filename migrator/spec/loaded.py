"""A plan file, read and found sound: everything looked up, filled in and made absolute."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from migrator.errors import Complaint, Position, SpecError
from migrator.spec.document import BackupSource, Cluster, Options, Storage
from migrator.spec.rules_mappings import ResolvedMapping
from migrator.spec.rules_staging import ResolvedStaging


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPlan:
    """What the planner works from; equal when it would plan the same, wherever things stand in the files.

    `file_digests` are the absolute paths of the plan file and, if one was read, of the clusters file, each
    with the SHA-256 of its bytes. The source is a cluster, or a backup: one of `source` and `source_backup` is None.
    Without a `target`, a backup is made and that is all.
    """

    name: str
    description: str
    variables: dict[str, str | int | float | bool]
    source: Cluster | None
    target: Cluster | None
    source_backup: BackupSource | None = None
    staging: ResolvedStaging
    mappings: tuple[ResolvedMapping, ...]
    options: Options
    path: Path
    clusters_path: Path | None
    file_digests: tuple[tuple[str, str], ...]
    positions: dict[str, Position] = field(default_factory=dict, compare=False, repr=False)

    @property
    def source_storage(self) -> Storage:
        """The store that the source's files are read from."""
        if self.source_backup is not None:
            return self.source_backup.backup.storage
        if self.source is None:
            raise AssertionError("a plan has a source")
        return self.source.storage

    @property
    def source_prefix(self) -> str:
        """What the keys of the source begin with: a Milvus's root path, or a backup's folder."""
        root = self.source_storage.root_path.strip("/")
        if self.source_backup is None:
            return root
        return "/".join(part for part in (root, self.source_backup.backup.name) if part)

    @property
    def staging_field(self) -> str:
        """The dotted path of the staging store's settings: the target's, where it has none of its own."""
        is_written = any(path.startswith("staging.storage") for path in self.positions)
        return "staging.storage" if is_written or self.target is None else "target.storage"

    def locate(self, dotted_path: str) -> Position | None:
        """Return where `dotted_path` is written, or the nearest block around it; `None` for a frozen plan.

        A setting that a mapping takes from the defaults is found there.
        """
        shared = re.sub(r"^collections\[[0-9]+\]\.", "defaults.", dotted_path)
        if dotted_path not in self.positions and shared in self.positions:
            return self.positions[shared]
        while dotted_path and dotted_path not in self.positions:
            dotted_path = re.sub(r"(^|\.)[^.\[]+$|\[[0-9]+\]$|.$", "", dotted_path)
        return self.positions.get(dotted_path)

    def frozen(self) -> dict[str, Any]:
        """Return the plan as JSON data; secrets are in it as references only."""
        frozen: dict[str, Any] = _adapter().dump_python(self, mode="json", exclude={"positions"})
        return frozen

    @classmethod
    def from_frozen(cls, frozen: dict[str, Any]) -> LoadedPlan:
        """Return the plan that `frozen` gave; nothing is read from any file.

        Raises:
            SpecError: Another version froze it, or it was changed since.
        """
        try:
            return _adapter().validate_python(frozen)
        except ValidationError as error:
            places = sorted({".".join(map(str, details["loc"])) for details in error.errors()})
            message = f"the plan frozen with the run cannot be read: {', '.join(places)}"
            hint = "use the migrator version that began the run"
            raise SpecError([Complaint(message, hint=hint)]) from None


@cache
def _adapter() -> TypeAdapter[LoadedPlan]:
    return TypeAdapter(LoadedPlan)
