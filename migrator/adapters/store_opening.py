"""Opening a store of each provider through obstore."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from migrator.adapters.ambient import visible_environment
from migrator.adapters.store_credentials import google_provider, s3_provider
from migrator.errors import StoreRefused

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

    from migrator.adapters.store_endpoint import StoreEndpoint

ForeignStore: TypeAlias = S3Store | AzureStore | GCSStore | LocalStore

_AWS = "https://s3.amazonaws.com"
_REGION_IN_HOST = re.compile(
    r"(?:\bs3[.-](?:dualstack\.)?|\boss-|\bcos\.)([a-z0-9-]+?)(?:-internal)?\.(?:amazonaws|aliyuncs|myqcloud)\.com"
)
_WITHOUT_BULK_DELETE = frozenset({"aliyun", "tencent", "gcp"})


def open_store(
    endpoint: StoreEndpoint, *, silence_s: int, retries: int = 8, is_for_bodies: bool = False
) -> ForeignStore:
    """The bucket as obstore's value; nothing is asked of it yet.

    Args:
        endpoint: What to open, and as whom.
        silence_s: How long a request may hear nothing.
        retries: How often obstore asks again by itself after a 5xx, a 429 or a broken connection.
        is_for_bodies: Whether objects' bytes go through it: S3's signatures leave them out, as its clients do, for what
            arrived is held against what was sent anyway, and hashing everything once more takes longer than sending it.

    Raises:
        StoreRefused: A certificate or a package is missing.
        ValueError, obstore.exceptions.BaseError: obstore does not take the settings.
    """
    if endpoint.bucket is None:
        return LocalStore("/")
    options = _client_options(endpoint, silence_s)
    common: dict[str, Any] = {"client_options": options, "retry_config": _retry(endpoint, retries)}
    if endpoint.speaks_s3:
        settings = _s3_settings(endpoint) | common | {"unsigned_payload": is_for_bodies}
        with visible_environment(endpoint):
            return S3Store(endpoint.bucket, **settings)
    settings = (_azure_settings(endpoint) if endpoint.provider == "azure" else _google_settings(endpoint)) | common
    with visible_environment(endpoint):
        return (AzureStore if endpoint.provider == "azure" else GCSStore)(endpoint.bucket, **settings)


def settled(endpoint: StoreEndpoint) -> StoreEndpoint:
    """The same with the region to sign for: the plan's, or what the address or the service says, or the usual one."""
    if not endpoint.speaks_s3 or endpoint.region or endpoint.bucket is None:
        return endpoint
    return replace(endpoint, region=_region(endpoint))


def _region(endpoint: StoreEndpoint) -> str:
    if endpoint.provider == "gcp":
        return "auto"
    named = _REGION_IN_HOST.search(endpoint.endpoint or "")
    if named:
        return named[1]
    found = _aws_region(endpoint) if endpoint.provider != "minio" and endpoint.endpoint is None else None
    return found or "us-east-1"


def service_root(endpoint: StoreEndpoint) -> S3Store:
    """The service itself, as a store whose root is the list of buckets: for signing a request for it."""
    settings = _s3_settings(replace(endpoint, address=endpoint.service_url))
    with visible_environment(endpoint):
        return S3Store("-", client_options=_client_options(endpoint, 30), **settings)


def _client_options(endpoint: StoreEndpoint, silence_s: int) -> ClientConfig:
    # A big object may take long; silence is what tells a dead connection.
    options: ClientConfig = {"connect_timeout": "5s", "read_timeout": f"{silence_s}s", "timeout": "6h"}
    if endpoint.endpoint and endpoint.endpoint.startswith("http://"):
        options["allow_http"] = True
    if endpoint.ca_cert:
        options["root_certificate"] = _certificate(endpoint, endpoint.ca_cert)
    return options


def _certificate(endpoint: StoreEndpoint, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StoreRefused(
            f"the certificate file {path} cannot be read: {error.strerror}",
            hint=f"correct {endpoint.plan_field}.ca_cert",
        ) from error


def _retry(endpoint: StoreEndpoint, retries: int) -> RetryConfig:
    return {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=endpoint.patience_s),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }


def _given(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


def _s3_settings(endpoint: StoreEndpoint) -> dict[str, Any]:
    return _given(
        {
            "endpoint": endpoint.bucket_url,
            "virtual_hosted_style_request": endpoint.has_bucket_in_address,
            "region": endpoint.region or "us-east-1",
            "access_key_id": endpoint.access_key_id,
            "secret_access_key": endpoint.secret_access_key,
            "session_token": endpoint.session_token,
            "metadata_endpoint": endpoint.iam_endpoint,
            "endpoint_url_sts": endpoint.iam_endpoint,
            "skip_signature": True if endpoint.credentials == "none" else None,
            "disable_bulk_delete": True if endpoint.provider in _WITHOUT_BULK_DELETE else None,
            "credential_provider": s3_provider(endpoint),
        }
    )


def _azure_settings(endpoint: StoreEndpoint) -> dict[str, Any]:
    return _given(
        {
            "account_name": endpoint.account,
            "account_key": endpoint.account_key,
            "endpoint": endpoint.service_url,
            "msi_endpoint": endpoint.iam_endpoint and f"{endpoint.iam_endpoint}/metadata/identity/oauth2/token",
            "skip_signature": True if endpoint.credentials == "none" else None,
        }
    )


def _google_settings(endpoint: StoreEndpoint) -> dict[str, Any]:
    return _given(
        {
            "base_url": endpoint.endpoint,
            "service_account": endpoint.credentials_file,
            "skip_signature": True if endpoint.credentials == "none" else None,
            "credential_provider": google_provider(endpoint),
        }
    )


def _aws_region(endpoint: StoreEndpoint) -> str | None:
    """Where AWS says the bucket is, which it tells anybody who asks; None where it tells nothing."""
    import httpx  # noqa: PLC0415 - slow to import, and seldom used

    try:
        answer = httpx.head(f"{_AWS}/{endpoint.bucket}", timeout=5, follow_redirects=False)
    except httpx.HTTPError:
        return None
    region: str | None = answer.headers.get("x-amz-bucket-region")
    return region
