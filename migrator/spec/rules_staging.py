"""Rules about the staging folder, and what it comes to when the target's storage fills the gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.spec.document import BackupSource, StagingStorage, Storage
from migrator.spec.fault import Fault
from migrator.spec.fields import checked_backup_name, checked_root_path
from migrator.spec.places import is_elsewhere, is_same_kind, is_same_store, is_within
from migrator.spec.render import VARS_ONLY, check_template, is_template, render_vars
from migrator.spec.report import Report
from migrator.spec.rules_clusters import address_of, check_root_path, check_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.spec.parts import Parts
    from migrator.spec.source_map import Path

_STORAGE: Path = ("staging", "storage")
_VARS: Path = ("vars",)
_ADDRESS = (
    "provider",
    "endpoint",
    "region",
    "virtual_host_style",
    "ca_cert",
    "bucket",
    "account",
    "credentials",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStaging:
    """Where the dump goes: `<bucket>/<root_path>/<backup_name>/`, with nothing left to look up."""

    storage: Storage
    root_path: str
    backup_name: str
    keep: bool

    @property
    def prefix(self) -> str:
        """The dump's own folder in the bucket (or on the disk), without a closing slash."""
        return f"{self.root_path.rstrip('/')}/{self.backup_name}" if self.root_path else self.backup_name


def resolve_staging(parts: Parts, report: Report) -> ResolvedStaging | None:
    """Return the staging folder, checking it on the way; `None` where it cannot be told."""
    staging = parts.staging
    if not staging.keep and parts.target is None and report.is_intact(("target",)):
        message = "keep: false without a target: nothing would be left"
        report.add(("staging", "keep"), message, "remove keep, or name a target")
    if parts.options.transfer.mode == "in_place" and parts.target is None and report.is_intact(("target",)):
        message = "mode: in_place without a target: nobody would read the source's files, and no backup be made"
        report.add(("options", "transfer", "mode"), message, "remove mode, or name a target")
    if not staging.keep and parts.options.verify.level == "none":
        message = "keep: false with verify: none: the dump is deleted after a verified run only"
        needs: list[Path] = [("options", "verify")]
        report.add(("staging", "keep"), message, "remove keep, or set options.verify to counts", needs=needs)
    root_path = _rendered(("staging", "root_path"), staging.root_path, checked_root_path, parts, report)
    name = staging.backup_name or default_backup_name(parts.header.name)
    backup_name = _rendered(("staging", "backup_name"), name, checked_backup_name, parts, report)
    storage = _resolve_storage(parts, staging.root_path if root_path is None else root_path, report)
    if storage is None or root_path is None or backup_name is None:
        return None
    resolved = ResolvedStaging(storage=storage, root_path=root_path, backup_name=backup_name, keep=staging.keep)
    _check_outside(resolved, parts, report)
    _check_beside_backup(resolved, parts, report)
    return resolved


def default_backup_name(plan_name: str) -> str:
    """Return the backup name of a plan that gives none: its name, in the letters milvus-backup allows."""
    name = plan_name.replace("-", "_")
    return f"_{name}" if name[0].isdigit() else name


def _rendered(path: Path, text: str, check: Callable[[str], str], parts: Parts, report: Report) -> str | None:
    if not is_template(text):
        return text
    try:
        check_template(text, names=VARS_ONLY, variables=parts.variables)
        return check(render_vars(text, variables=parts.variables))
    except Fault as fault:
        report.add_fault(path, fault, needs=[_VARS])
        return None


def _resolve_storage(parts: Parts, root_path: str, report: Report) -> Storage | None:
    own, base = parts.staging.storage, parts.target.storage if parts.target else None
    if base is None:
        return _stand_alone(own, root_path, report)
    if own is None:
        own = StagingStorage()
    elif is_elsewhere(own, base) and own.credentials is None and own.provider != "local":
        message = "the staging storage is elsewhere, and the target's credentials are not sent there"
        report.add((*_STORAGE, "credentials"), message, "give credentials of its own", needs=[("target", "storage")])
        return None
    storage = _merged(own, base, root_path)
    if _is_sound(base):  # else the same is said of the target's storage
        _check(storage, report, needs=[("target", "storage")])
    return storage


def _stand_alone(own: StagingStorage | None, root_path: str, report: Report) -> Storage | None:
    if own is None or own.provider is None:
        path = _STORAGE if own is None else (*_STORAGE, "provider")
        report.add(path, "without a target, the staging storage is needed in full", "add it", needs=[("target",)])
        return None
    storage = Storage(root_path=root_path, **{key: getattr(own, key) for key in _ADDRESS})
    _check(storage, report, needs=[])
    return storage


def _is_sound(storage: Storage) -> bool:
    scratch = Report({}, {})
    check_storage((), storage, scratch)
    return not scratch.complaints


def _check(storage: Storage, report: Report, *, needs: list[Path]) -> None:
    """Check the staging storage; its root path stands outside `staging.storage`."""
    place = ("staging", "root_path")
    check_root_path(place, storage, report, needs=[*needs, _STORAGE])
    rest = storage.model_copy(update={"root_path": "/" if storage.provider == "local" else ""})
    check_storage(_STORAGE, rest, report)


def _merged(own: StagingStorage, base: Storage, root_path: str) -> Storage:
    """`own`, with what it leaves out from `base`; elsewhere that is the bucket's name at most."""
    values = {key: getattr(base, key) for key in _ADDRESS}
    if own.provider is not None and not is_same_kind(own.provider, base.provider):
        values = dict.fromkeys(_ADDRESS)
    elif is_elsewhere(own, base):
        values = dict.fromkeys(_ADDRESS) | {key: values[key] for key in ("provider", "bucket", "account")}
    values |= {key: getattr(own, key) for key in own.model_fields_set if getattr(own, key) is not None}
    return Storage(root_path=root_path, **values)


def _check_beside_backup(staging: ResolvedStaging, parts: Parts, report: Report) -> None:
    """A backup is read, and never written into."""
    if not isinstance(parts.source, BackupSource):
        return
    backup = parts.source.backup
    folder = "/".join(part for part in (backup.storage.root_path.rstrip("/"), backup.name) if part)
    if not is_same_store(staging.storage, backup.storage):
        return
    if is_within(staging.prefix, folder) or is_within(folder, staging.prefix):
        report.add(
            ("staging", "backup_name"),
            f"the dump's folder {staging.prefix!r} overlaps the backup {folder!r} that is restored",
            "choose another backup_name",
            needs=[("source", "backup"), *address_of(_STORAGE), ("staging", "root_path"), ("name",)],
        )


def _check_outside(staging: ResolvedStaging, parts: Parts, report: Report) -> None:
    for side, cluster in parts.clusters():
        milvus_path = cluster.storage.root_path
        if not is_same_store(staging.storage, cluster.storage):
            continue
        if is_within(staging.prefix, milvus_path) or is_within(milvus_path, staging.prefix):
            report.add(
                ("staging", "root_path"),
                f"the dump's folder {staging.prefix!r} overlaps the {side}'s Milvus folder {milvus_path!r}",
                "choose a root_path outside of it, as backup",
                needs=[
                    *address_of((side, "storage")),
                    *address_of(("target", "storage")),
                    *address_of(_STORAGE),
                    ("staging", "backup_name"),
                    ("name",),
                ],
            )
