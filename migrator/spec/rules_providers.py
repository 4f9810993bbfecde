"""Rules about the storage of each provider: what it needs, and what it has no use for."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from migrator.spec.document import IamCredentials, StaticCredentials

if TYPE_CHECKING:
    from migrator.spec.document import Storage
    from migrator.spec.report import Report
    from migrator.spec.source_map import Path

_CREDENTIALS_OF = {
    "minio": ("static", "iam", "default", "none"),
    "s3": ("static", "iam", "default", "none"),
    "aws": ("static", "iam", "default", "none"),
    "gcp": ("service_account", "static", "iam", "default", "none"),
    "azure": ("shared_key", "iam", "default", "none"),
    "aliyun": ("static", "iam", "default", "none"),
    "tencent": ("static", "iam", "default", "none"),
}
_HAS_REGIONS = frozenset({"aliyun", "tencent"})
"""Their own address has the region in it."""
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{1,61})[a-z0-9]")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"\$root|\$web|(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def check_remote(path: Path, storage: Storage, report: Report) -> None:
    """Check a storage that is not this machine's disk; `path` is where it is written."""
    provider = (*path, "provider")
    for key in _needed(storage):
        if getattr(storage, key) is None:
            message = f"a storage of provider {storage.provider} needs {key}"
            report.add((*path, key), message, f"add {key}: ...", needs=[provider])
    if storage.provider in _HAS_REGIONS and storage.endpoint is None and storage.region is None:
        message = f"a storage of provider {storage.provider} needs region, or an endpoint"
        report.add((*path, "region"), message, "add region: ...", needs=[provider, (*path, "endpoint")])
    if storage.account is not None and storage.provider != "azure":
        report.add((*path, "account"), "account is for provider azure alone", "remove it", needs=[provider])
    if storage.provider == "azure":
        _check_azure_names(path, storage, report)
    _check_credentials(path, storage, report)
    _check_virtual_host(path, storage, report)


def _needed(storage: Storage) -> list[str]:
    needed = ["bucket"]
    needed += ["endpoint"] if storage.provider == "minio" else []
    needed += ["account"] if storage.provider == "azure" else []
    return needed


def _check_azure_names(path: Path, storage: Storage, report: Report) -> None:
    provider = (*path, "provider")
    if storage.account is not None and not _ACCOUNT.fullmatch(storage.account):
        message = "this is not the name of an Azure storage account"
        hint = "write the name alone: 3 to 24 lower-case letters and digits"
        report.add((*path, "account"), message, hint, needs=[provider])
    if storage.bucket is not None and not _CONTAINER.fullmatch(storage.bucket):
        message = "this is not the name of an Azure container"
        hint = "use 3 to 63 lower-case letters, digits and single hyphens"
        report.add((*path, "bucket"), message, hint, needs=[provider])


def _check_credentials(path: Path, storage: Storage, report: Report) -> None:
    place, provider = (*path, "credentials"), (*path, "provider")
    allowed, keys = _CREDENTIALS_OF[storage.provider], storage.credentials
    if keys is None:
        hint = f"add credentials: {{type: ...}} with one of {', '.join(allowed)}"
        report.add(place, "the key credentials is missing", hint, needs=[provider])
    elif keys.type not in allowed:
        message = f"credentials of type {keys.type} are not for provider {storage.provider}"
        report.add((*place, "type"), message, f"use one of {', '.join(allowed)}", needs=[provider])
    elif isinstance(keys, StaticCredentials) and keys.session_token is not None and storage.provider == "gcp":
        message = "the HMAC keys of provider gcp have no session token"
        report.add((*place, "session_token"), message, "remove it", needs=[provider])
    elif isinstance(keys, IamCredentials) and keys.iam_endpoint is not None and storage.provider in _HAS_REGIONS:
        message = f"provider {storage.provider} asks for its role at one address only"
        report.add((*place, "iam_endpoint"), message, "remove it", needs=[provider])


def _check_virtual_host(path: Path, storage: Storage, report: Report) -> None:
    """Check that the bucket's name can stand in the host's, where it is to stand there."""
    place, provider = (*path, "virtual_host_style"), (*path, "provider")
    is_static = isinstance(storage.credentials, StaticCredentials)
    if storage.virtual_host_style is not None and (
        storage.provider == "azure" or (storage.provider == "gcp" and not is_static)
    ):
        message = f"virtual_host_style is not for provider {storage.provider}" + (
            " with these credentials" if storage.provider == "gcp" else ""
        )
        report.add(place, message, "remove it", needs=[provider, (*path, "credentials")])
        return
    is_wanted = storage.virtual_host_style
    if is_wanted is None:
        is_wanted = storage.provider in _HAS_REGIONS
    if is_wanted:
        _check_host_names(path, storage, report)


def _check_host_names(path: Path, storage: Storage, report: Report) -> None:
    needs = [(*path, key) for key in ("provider", "virtual_host_style")]
    if storage.bucket is not None and not _HOST_NAME.fullmatch(storage.bucket):
        message = "this bucket's name cannot stand in a host's name, as virtual-host style has it"
        hint = "set virtual_host_style: false, where the service allows it"
        report.add((*path, "bucket"), message, hint, needs=needs)
    if storage.endpoint is not None and _is_number(urlsplit(storage.endpoint).hostname or ""):
        message = "a bucket's name cannot stand before an address of numbers, as virtual-host style has it"
        report.add((*path, "endpoint"), message, "write the host's name, or virtual_host_style: false", needs=needs)


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
