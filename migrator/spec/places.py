"""Whether two addresses are one place, as far as that can be told without asking anybody.

Equal addresses are one place. Different ones may still be: that is proven online, by the planner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from migrator.spec.document import Provider, StagingStorage, Storage

S3_FAMILY = frozenset({"minio", "s3", "aws"})
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MILVUS_PORTS = {"http": 19530, "https": 443}


def is_same_milvus(one: str, other: str) -> bool:
    """Whether two Milvus URIs name the same host and port."""
    return _host_port(one, _MILVUS_PORTS) == _host_port(other, _MILVUS_PORTS)


def is_same_endpoint(one: str | None, other: str | None) -> bool:
    """Whether two endpoints of stores are equal; `None` is the provider's own."""
    if one is None or other is None:
        return one is other
    return _host_port(one, _DEFAULT_PORTS) == _host_port(other, _DEFAULT_PORTS)


def is_same_store(one: Storage, other: Storage) -> bool:
    """Whether two storages are one bucket at one endpoint, or both this machine's disk."""
    return (
        is_same_kind(one.provider, other.provider)
        and is_same_endpoint(one.endpoint, other.endpoint)
        and (one.bucket, one.account) == (other.bucket, other.account)
    )


def is_same_kind(one: Provider, other: Provider) -> bool:
    """Whether two providers are spoken to alike; credentials of one make sense to the other."""
    return one == other or {one, other} <= S3_FAMILY


def is_elsewhere(staging: StagingStorage, base: Storage) -> bool:
    """Whether `staging` names another provider, endpoint or account, which `base`'s keys must not reach."""
    return (
        (staging.provider is not None and not _is_same_service(staging.provider, base, staging.endpoint))
        or (staging.endpoint is not None and not is_same_endpoint(staging.endpoint, base.endpoint))
        or (staging.account is not None and staging.account != base.account)
    )


def _is_same_service(provider: Provider, base: Storage, endpoint: str | None) -> bool:
    """Whether another provider's name means `base`'s own service: `aws` without an endpoint is Amazon's."""
    if provider == base.provider or {provider, base.provider} <= {"minio", "s3"}:
        return True
    return is_same_kind(provider, base.provider) and endpoint is not None


def is_within(inner: str, outer: str) -> bool:
    """Whether the folder `inner` is `outer` or lies in it; the empty path is the whole bucket."""
    return not outer.strip("/") or f"{inner.strip('/')}/".startswith(f"{outer.strip('/')}/")


def _host_port(address: str, ports: dict[str, int]) -> tuple[str, int]:
    url = urlsplit(address)
    host = url.hostname or ""
    return ("localhost" if host in _THIS_MACHINE else host, url.port or ports.get(url.scheme, 0))
