"""The buckets that there are at a service, for whoever named one that there is not."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from migrator.adapters.signing import AMAZON, signed, trusted_authorities
from migrator.adapters.store_credentials import key_finder
from migrator.adapters.store_opening import service_root
from migrator.errors import StoreError

if TYPE_CHECKING:
    from migrator.adapters.store_endpoint import StoreEndpoint

_NAME = re.compile(r"<Bucket>(?:(?!</Bucket>).)*?<Name>([A-Za-z0-9._-]{1,255})</Name>", re.DOTALL)


def find_bucket_names(endpoint: StoreEndpoint) -> tuple[str, ...] | None:
    """The names of the buckets, sorted; None where the service does not tell it, or not to these credentials."""
    if endpoint.bucket is None or not endpoint.speaks_s3 or endpoint.credentials == "none":
        return None
    import httpx  # noqa: PLC0415 - slow to import, and seldom used

    try:
        url, headers = _request(endpoint)
        answer = httpx.get(url, headers=headers, timeout=10, verify=trusted_authorities(endpoint))
    except (httpx.HTTPError, BaseError, StoreError, ValueError):
        return None
    return tuple(sorted(_NAME.findall(answer.text))) if answer.status_code == 200 else None


def _request(endpoint: StoreEndpoint) -> tuple[str, dict[str, str]]:
    """Where to ask, and how the request is signed: in the address itself where only obstore has the keys of a role."""
    url, keys = f"{endpoint.service_url}/", key_finder(endpoint)()
    if keys is None:
        return obstore.sign(service_root(endpoint), "GET", "", timedelta(minutes=5)), {}
    return url, signed(AMAZON, "GET", url, {}, b"", keys=keys, region=endpoint.region or "us-east-1")
