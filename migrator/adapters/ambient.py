"""What of the environment a store may see.

obstore adds to what it is given whatever it finds in the environment: keys, endpoints, proxies, even a switch that ends
the verification of certificates. So each store sees the variables only that its type of credentials asks for; address
and way of talking are the plan's alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.adapters.store_endpoint import StoreEndpoint

_READ_BY_OBSTORE = ("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "SERVICE_ACCOUNT")
_ROLE = {
    "aws": frozenset(
        {
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_ENDPOINT_URL_STS",
            "AWS_IMDSV1_FALLBACK",
            "AWS_METADATA_ENDPOINT",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        }
    ),
    "azure": frozenset(
        {
            "AZURE_AUTHORITY_HOST",
            "AZURE_CLIENT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_IDENTITY_ENDPOINT",
            "AZURE_MSI_ENDPOINT",
            "AZURE_MSI_RESOURCE_ID",
            "AZURE_OBJECT_ID",
            "AZURE_TENANT_ID",
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
        }
    ),
    "gcp": frozenset(),
}
"""What tells a process which role it has, by the maker of the names; no key among them."""
_KEYS = {
    "aws": frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}),
    "azure": frozenset(
        {
            "AZURE_CLIENT_SECRET",
            "AZURE_CREDENTIAL_TYPE",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TOKEN",
            "AZURE_USE_AZURE_CLI",
        }
    ),
    "gcp": frozenset(
        {
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_BEARER_TOKEN",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
        }
    ),
}
_NAMES_OF = {"minio": "aws", "s3": "aws", "aws": "aws", "azure": "azure", "gcp": "gcp"}
_environment = Lock()


@contextmanager
def visible_environment(endpoint: StoreEndpoint) -> Iterator[None]:
    """While it lasts, the environment holds of the stores' variables only those that `endpoint` may see.

    obstore reads them where a store is opened, and never again. One thread at a time is in here: what one hides,
    another must not take for gone.
    """
    seen = visible_variables(endpoint)
    with _environment:
        names = [name for name in os.environ if name.upper().startswith(_READ_BY_OBSTORE) and name not in seen]
        hidden = {name: os.environ.pop(name) for name in names}
        try:
            yield
        finally:
            os.environ.update(hidden)


def visible_variables(endpoint: StoreEndpoint) -> frozenset[str]:
    """The names of the variables that the store may see."""
    maker = _NAMES_OF.get(endpoint.provider)
    if maker is None or endpoint.credentials not in {"iam", "default"}:
        return frozenset()
    if endpoint.credentials == "iam":
        return _ROLE[maker]
    return _ROLE[maker] | (_KEYS[maker] if _are_for(endpoint) else frozenset())


def _are_for(endpoint: StoreEndpoint) -> bool:
    """Whether the environment's keys may be this store's: Azure's tools name the account that they belong to."""
    named = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    return endpoint.provider != "azure" or named in {None, endpoint.account}
