"""Where this tool keeps what is its own in the object stores: leases, claims, mirrored runs.

All of it lies in a folder `.migrator`, outside of every root path of a Milvus and of every dump; in a bucket that is at
the top, on a file system beside the root path or the dump's folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.spec.places import is_same_store

if TYPE_CHECKING:
    from migrator.spec.document import Storage
    from migrator.spec.loaded import LoadedPlan

_OWN = ".migrator"


def flat(prefix: str) -> str:
    """A prefix as one name, so that nothing of one lies within another's folder."""
    return prefix.strip("/").replace("/", "~")


def dump_place(loaded: LoadedPlan) -> str:
    """Where the dump of a plan file goes: `<bucket>/<root_path>/<backup_name>`."""
    prefix = loaded.staging.prefix.strip("/")
    return "/".join(part for part in (loaded.staging.storage.bucket or "", prefix) if part)


def source_root(loaded: LoadedPlan) -> str:
    """What the keys of the source's binlogs begin with, before `insert_log`."""
    return loaded.source_prefix if loaded.source_backup is None else f"{loaded.source_prefix}/binlogs"


def is_apart(loaded: LoadedPlan) -> bool:
    """Whether the dump's store has another address than the target's; both may still be one."""
    return loaded.target is not None and not is_same_store(loaded.staging.storage, loaded.target.storage)


def targets_folder(loaded: LoadedPlan) -> str:
    """Of the leases of target collections, told apart by the target's root path: two clusters may share a bucket.

    It is in the target's store.
    """
    root = _target_storage(loaded).root_path.strip("/")
    return f"{_target_folder(loaded)}/leases/targets/{flat(root) or 'root'}"


def target_beats_folder(loaded: LoadedPlan) -> str:
    """Of the heartbeats in the target's store, where that is another than the dump's."""
    return f"{_target_folder(loaded)}/leases/beats"


def imports_folder(loaded: LoadedPlan) -> str:
    """Of what runs bring into the target's store for their imports."""
    return f"{_target_folder(loaded)}/imports"


def dumps_folder(loaded: LoadedPlan) -> str:
    """Of the leases of dumps."""
    return f"{_staging_folder(loaded)}/leases/dumps"


def beats_folder(loaded: LoadedPlan) -> str:
    """Of the heartbeats of processes that hold leases."""
    return f"{_staging_folder(loaded)}/leases/beats"


def claims_folder(loaded: LoadedPlan) -> str:
    """Of what runs say of the dump they copied into."""
    return f"{_staging_folder(loaded)}/dumps/{flat(loaded.staging.prefix)}"


def canaries_folder(loaded: LoadedPlan) -> str:
    """Of what the canaries of preflights say that they are about to make."""
    return f"{_staging_folder(loaded)}/canaries"


def canary_imports_folder(loaded: LoadedPlan) -> str:
    """Of what canaries bring into the target's store, where that is another than the dump's."""
    return f"{_target_folder(loaded)}/canaries"


def mirror_folder(loaded: LoadedPlan) -> str:
    """Of the plan's runs that are mirrored (`state: staging`)."""
    return f"{_staging_folder(loaded)}/runs/{loaded.name}"


def _staging_folder(loaded: LoadedPlan) -> str:
    above, _, _ = loaded.staging.prefix.strip("/").rpartition("/")
    return beside(above, is_bucket=loaded.staging.storage.bucket is not None)


def _target_folder(loaded: LoadedPlan) -> str:
    storage = _target_storage(loaded)
    return beside(storage.root_path.strip("/"), is_bucket=storage.bucket is not None)


def _target_storage(loaded: LoadedPlan) -> Storage:
    """Without a target nothing lies there."""
    return loaded.target.storage if loaded.target is not None else loaded.source_storage


def beside(root: str, *, is_bucket: bool) -> str:
    """The tool's own folder for what lies in the folder `root`."""
    if is_bucket:
        return _OWN
    above, _, _ = root.rpartition("/")
    return f"{above}/{_OWN}" if above else _OWN
