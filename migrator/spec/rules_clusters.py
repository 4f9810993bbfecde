"""Rules about a cluster: the connection to Milvus, and the storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.spec.document import BackupSource, Cluster, NoCredentials
from migrator.spec.places import is_same_milvus, is_same_store, is_within
from migrator.spec.rules_providers import check_remote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.spec.document import Milvus, Storage, Tls
    from migrator.spec.parts import Parts
    from migrator.spec.report import Report
    from migrator.spec.source_map import Path

_REMOTE_KEYS = ("endpoint", "region", "virtual_host_style", "ca_cert", "bucket", "account", "credentials")


def check_clusters(parts: Parts, report: Report) -> None:
    """Check source and target, each by itself and next to each other."""
    for side, cluster in parts.clusters():
        _check_milvus((side, "milvus"), cluster.milvus, report)
        check_storage((side, "storage"), cluster.storage, report)
    if isinstance(parts.source, BackupSource):
        check_storage(("source", "backup", "storage"), parts.source.backup.storage, report)
        if parts.target is None and report.is_intact(("target",)):
            message = "a backup as source needs a target: there is nothing to back up"
            report.add(("target",), message, "add target: and a cluster's name")
    if parts.target is not None and parts.target.protected:
        report.add(("target", "protected"), "the target is protected", "choose another target, or set it to false")
    _check_pause(parts, report)
    if isinstance(parts.source, Cluster) and parts.target is not None:
        _check_root_paths(parts.source, parts.target, report)


def _check_pause(parts: Parts, report: Report) -> None:
    is_managed = isinstance(parts.source, Cluster) and parts.source.milvus.management_uri is not None
    if parts.options.pause_gc == "always" and not is_managed and report.is_intact(("source",)):
        message = "pause_gc is always, and the source has no management_uri to ask for the pause"
        report.add(("options", "pause_gc"), message, "add source.milvus.management_uri, or write pause_gc: auto")


def check_storage(path: Path, storage: Storage, report: Report) -> None:
    """Check what the provider needs and allows; `path` is where the storage is written."""
    check_root_path((*path, "root_path"), storage, report, needs=[(*path, "provider")])
    if storage.provider == "local":
        _check_local(path, storage, report)
    else:
        check_remote(path, storage, report)


def address_of(path: Path) -> list[Path]:
    """The places that tell which folder of which store the storage at `path` is."""
    return [(*path, key) for key in ("provider", "endpoint", "bucket", "account", "root_path")]


def check_root_path(path: Path, storage: Storage, report: Report, *, needs: Iterable[Path]) -> None:
    """Check that a directory is absolute, and a folder in a bucket is not; `path` is where it is written."""
    is_absolute = storage.root_path.startswith("/")
    if storage.provider == "local" and not is_absolute:
        message = "the root path of a local storage must be absolute"
        report.add(path, message, "write the directory from / on", needs=needs)
    if storage.provider != "local" and is_absolute:
        report.add(path, "the root path in a bucket begins with a slash", "remove the slash", needs=needs)


def _check_milvus(path: Path, milvus: Milvus, report: Report) -> None:
    user, password, token = (*path, "username"), (*path, "password"), (*path, "token")
    if milvus.username and not milvus.password:
        report.add(user, "username without password", "add password: {env: NAME}", needs=[password])
    if milvus.password and not milvus.username:
        report.add(password, "password without username", "add username: ...", needs=[user])
    if milvus.token and (milvus.username or milvus.password):
        report.add(token, "token together with username or password", "keep one of them", needs=[user, password])
    if milvus.tls is not None:
        _check_tls(path, milvus.uri, milvus.tls, report)


def _check_tls(path: Path, uri: str, tls: Tls, report: Report) -> None:
    mode, address = (*path, "tls", "mode"), (*path, "uri")
    if uri.startswith("https") and tls.mode == "disabled":
        report.add(
            mode,
            "the address says https, and tls is disabled",
            "write http:// or another mode",
            needs=[address],
        )
    if not uri.startswith("https") and tls.mode != "disabled":
        message = f"tls is {tls.mode}, and the address says http"
        report.add(address, message, "write https://, or tls: {mode: disabled}", needs=[mode])
    for key in ("client_cert", "client_key"):
        given = getattr(tls, key) is not None
        if given != (tls.mode == "mutual"):
            message = f"{key} is for tls mode mutual alone" if given else f"tls mode mutual needs {key}"
            hint = "write mode: mutual, or remove it" if given else f"add {key}: path"
            report.add((*path, "tls", key), message, hint, needs=[mode])


def _check_local(path: Path, storage: Storage, report: Report) -> None:
    for key in _REMOTE_KEYS:
        value = getattr(storage, key)
        if value is not None and not isinstance(value, NoCredentials):
            report.add((*path, key), f"a local storage has no {key}", "remove it", needs=[(*path, "provider")])


def _check_root_paths(source: Cluster, target: Cluster, report: Report) -> None:
    """Two instances must not share a folder; one instance, cloned into itself, does."""
    one, other = source.storage, target.storage
    if is_same_milvus(source.milvus.uri, target.milvus.uri) or not is_same_store(one, other):
        return
    if is_within(one.root_path, other.root_path) or is_within(other.root_path, one.root_path):
        report.add(
            ("target", "storage", "root_path"),
            f"two Milvus instances share a folder of one bucket: the source's root path is {one.root_path!r}",
            "give each instance's own minio.rootPath",
            needs=[
                place
                for side in ("source", "target")
                for place in (*address_of((side, "storage")), (side, "milvus", "uri"))
            ],
        )
