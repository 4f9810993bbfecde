"""Credentials that obstore has to be given by a function of ours, which it calls anew before they expire."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from migrator.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import GCSCredential, S3Credential

    from migrator.adapters.store_endpoint import StoreEndpoint

_GOOGLE_METADATA = "http://metadata.google.internal"
_GOOGLE_TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 - a path
_LIFE = timedelta(minutes=10)
"""After what time the providers' own clients are asked again; they keep what is still good."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A pair of keys, and the token of a temporary one."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def s3_provider(endpoint: StoreEndpoint) -> Callable[[], S3Credential] | None:
    """What gives the keys, for a store that speaks S3; None where obstore finds them by itself."""
    if endpoint.credentials not in {"iam", "default"}:
        return None
    if endpoint.provider == "aliyun":
        return _alibaba(endpoint)
    if endpoint.provider == "tencent":
        return _tencent(endpoint)
    return _profile(endpoint) if endpoint.credentials == "default" else None


def key_finder(endpoint: StoreEndpoint) -> Callable[[], Keys | None]:
    """What tells the keys that a request can be signed with now; None where only obstore knows them, or nobody asks."""
    provider = s3_provider(endpoint)

    def find() -> Keys | None:
        if provider is not None:
            found = provider()
            return Keys(found["access_key_id"], found["secret_access_key"], found.get("token"))
        if endpoint.access_key_id is None or endpoint.secret_access_key is None:
            return None
        return Keys(endpoint.access_key_id, endpoint.secret_access_key, endpoint.session_token)

    return find


def google_provider(endpoint: StoreEndpoint) -> Callable[[], GCSCredential] | None:
    """What gives the token for Google's store; None where obstore finds it by itself."""
    if endpoint.credentials == "none":
        # Reads are unsigned then; without this, writes would ask the metadata server for a token.
        return lambda: {"token": "", "expires_at": None}
    return _google_role(endpoint) if endpoint.credentials == "iam" else None


def _google_role(endpoint: StoreEndpoint) -> Callable[[], GCSCredential]:
    """The token of the machine's role: obstore would prefer a person's login that lies in the home directory."""
    import httpx  # noqa: PLC0415 - slow to import, and seldom used

    host = os.environ.get("GCE_METADATA_HOST")
    base = endpoint.iam_endpoint or (f"http://{host}" if host else _GOOGLE_METADATA)

    def ask() -> GCSCredential:
        try:
            with httpx.Client(timeout=5, trust_env=False) as client:
                answer = client.get(f"{base}{_GOOGLE_TOKEN}", headers={"Metadata-Flavor": "Google"})
            found = answer.raise_for_status().json()
            expires_at = datetime.now(UTC) + timedelta(seconds=float(found["expires_in"]))
            return {"token": found["access_token"], "expires_at": expires_at}
        except httpx.TransportError as error:
            raise StoreUnavailable(f"{base} gives no token: {type(error).__name__}") from None
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise _no_role(endpoint, f"{base} gives no token: {type(error).__name__}") from None

    return ask


def _profile(endpoint: StoreEndpoint) -> Callable[[], S3Credential] | None:
    """What AWS's own tools would find, profile files too; None without their package: environment and role remain."""
    try:
        boto3 = import_module("boto3")
    except ImportError:
        return None
    keys = _asked(endpoint, lambda: boto3.Session().get_credentials())
    if keys is None:
        raise StoreRefused(
            "AWS's tools find no credentials: neither in the environment, nor a profile, nor a role",
            hint=f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or correct {endpoint.plan_field}.credentials",
        )

    def ask() -> S3Credential:
        frozen = _asked(endpoint, keys.get_frozen_credentials)
        return _pair(frozen.access_key, frozen.secret_key, frozen.token)

    return ask


def _alibaba(endpoint: StoreEndpoint) -> Callable[[], S3Credential]:
    clients = _package("alibabacloud_credentials.client", endpoint, "aliyun")
    settings = None
    if endpoint.credentials == "iam":
        # Never the environment's keys: the pod's role, else the machine's.
        kind = "oidc_role_arn" if os.environ.get("ALIBABA_CLOUD_OIDC_TOKEN_FILE") else "ecs_ram_role"
        settings = _package("alibabacloud_credentials.models", endpoint, "aliyun").Config(type=kind)
    logging.getLogger("credentials").addHandler(logging.NullHandler())  # it would print tracebacks of what it raises
    client = _asked(endpoint, lambda: clients.Client(settings))

    def ask() -> S3Credential:
        found = _asked(endpoint, client.get_credential)
        return _pair(found.access_key_id, found.access_key_secret, found.security_token)

    return ask


def _tencent(endpoint: StoreEndpoint) -> Callable[[], S3Credential]:
    credential = _package("tencentcloud.common.credential", endpoint, "tencent")

    def find() -> Any:  # noqa: ANN401 - the package ships no types
        if endpoint.credentials == "default":
            return credential.DefaultCredentialProvider().get_credentials()
        # Never the environment's keys: the pod's role, else the machine's.
        if os.environ.get("TKE_WEB_IDENTITY_TOKEN_FILE"):
            return credential.DefaultTkeOIDCRoleArnProvider().get_credentials()
        return credential.CVMRoleCredential()

    found = _asked(endpoint, find)

    def ask() -> S3Credential:
        key, secret, token = _asked(endpoint, lambda: (found.secret_id, found.secret_key, found.token))
        if not key or not secret:  # what this client gives where the metadata server gives nothing
            raise _no_role(endpoint, "the machine has no role")
        return _pair(key, secret, token)

    return ask


def _pair(key: str, secret: str, token: str | None) -> S3Credential:
    return {
        "access_key_id": key,
        "secret_access_key": secret,
        "token": token or None,
        "expires_at": datetime.now(UTC) + _LIFE,
    }


def _asked(endpoint: StoreEndpoint, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - the packages ship no types
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - each of the packages has a tree of its own
        raise _no_role(endpoint, f"{endpoint.provider}'s client finds none: {type(error).__name__}") from None


def _no_role(endpoint: StoreEndpoint, reason: str) -> StoreRefused:
    return StoreRefused(
        f"no credentials of type {endpoint.credentials}: {reason}",
        hint=f"correct {endpoint.plan_field}.credentials, or run where the role is given",
    )


def _package(name: str, endpoint: StoreEndpoint, extra: str) -> Any:  # noqa: ANN401 - the packages ship no types
    try:
        return import_module(name)
    except ImportError:
        raise StoreRefused(
            f"credentials of type {endpoint.credentials} for provider {extra} need a package that is not installed",
            hint=f"pip install 'migrator[{extra}]', or give static keys in {endpoint.plan_field}.credentials",
        ) from None
